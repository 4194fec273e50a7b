// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Copies of the guest kernel's text in which some instructions are exchanged (stub.hpp). The guest executes the copies;
// what it writes and reads by other addresses is its own memory. The architecture obliges it to invalidate the
// instruction cache after it has changed code: then the copies are brought up to date, as an instruction cache would be.
// Like one, they may be forgotten at any time.
//
// A branch reaches 128 MiB, so stubs lie in *islands*: 2 MiB of virtual addresses near the text, which the guest's tables
// leave unmapped. Should the guest map something there later, the island is given up.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/guest_memory.hpp"
#include "vmm/shadow/translation.hpp"

namespace twain::vmm {

class TextCopies {
public:
    static constexpr unsigned kPages = 1792, kIslands = 4, kIslandPages = 64;
    static constexpr std::uint64_t kBytes = std::uint64_t{kPages + kIslands * kIslandPages} * 4096;

    // `to`: kBytes of memory of the VMM's, which the guest space has at `base`, where the guest has nothing.
    TextCopies(const GuestMemory& memory, void* to, Ipa base)
        : memory_(memory), to_(static_cast<std::uint32_t*>(to)), base_(base) {}

    // The copy of a page of RAM that virtual EL1 executes at an address of the upper half, or (lower half) without stubs;
    // made or refreshed if need be. False: there is no more room; forget() first.
    bool get(const abi::El1State& el1, Ipa page, Gva at, bool refresh, Ipa& copy);

    // The 64 bytes around an address have changed. False: there is no copy of them.
    bool update_line(const abi::El1State& el1, Ipa at);
    void update_all(const abi::El1State& el1);
    void forget();

    // The page of stubs at an address, if there is one.
    bool stubs(Gva at, Ipa& page) const;
    // The guest has something of its own there: never again. forget() first.
    void avoid(Gva at);
    // Where a vCPU that is interrupted at `pc` goes on.
    std::uint64_t resume(std::uint64_t pc) const;

    // What has been written since the last call, for the data cache: a part of the copies and one of the stubs.
    struct Written {
        const void* first = nullptr;
        std::uint64_t bytes = 0;
    };
    std::array<Written, 2> take_written();

    unsigned pages() const { return used_; }
    unsigned sites() const { return sites_; }

private:
    static constexpr unsigned kSlots = 4096, kSites = 16384, kNone = ~0u;
    static constexpr unsigned kIslandWords = kIslandPages * 1024;
    static constexpr std::uint64_t kIslandSpan = std::uint64_t{2} << 20;

    struct Copy {
        std::uint64_t page = 0;  // of RAM
        std::uint64_t at = 0;    // address; 0: without stubs
        std::uint64_t sum = 0;   // of the page when all of it was last rewritten
    };
    struct Island {
        std::uint64_t at = 0;
        unsigned used = 0;  // words
    };
    struct Site {
        std::uint64_t at = 0;
        std::uint32_t word = 0;
        std::uint32_t stub = 0;  // index of its first word in to_, 0: free
    };

    static unsigned slot_of(std::uint64_t page) { return static_cast<unsigned>(page * 0x9e37'79b1 >> 8) % kSlots; }
    void rewrite(const abi::El1State& el1, unsigned copy, unsigned first, unsigned end);
    void rewrite_page(const abi::El1State& el1, unsigned copy, bool if_changed);
    std::uint32_t rewritten(const abi::El1State& el1, std::uint32_t word, std::uint64_t at);
    unsigned island_for(const abi::El1State& el1, std::uint64_t at);
    std::uint64_t find_hole(const abi::El1State& el1, std::uint64_t at) const;
    bool avoided(std::uint64_t at) const;
    std::uint64_t address_of(std::uint32_t word_index) const;
    void put(std::size_t index, std::uint32_t word);

    const GuestMemory& memory_;
    std::uint32_t* to_;
    Ipa base_;
    unsigned used_ = 0, sites_ = 0, islands_ = 0, avoided_count_ = 0;
    struct Words {
        std::size_t first = ~std::size_t{0}, end = 0;
    };
    std::array<Words, 2> written_;  // far from each other: of copies, of stubs
    std::array<Copy, kPages> copies_{};
    std::array<std::uint16_t, kSlots> index_{};  // by hash of the page: copy plus one
    std::array<Island, kIslands> island_{};
    std::array<Site, kSites> site_{};  // by hash of address and instruction
    std::array<std::uint64_t, 8> avoided_{};
};

}  // namespace twain::vmm
