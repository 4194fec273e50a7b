// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Copies of the guest kernel's text in which some instructions are exchanged for ones that EL0 may execute, or that trap
// where the original would do something else (docs/kernel-el1.md). The guest executes the copies and sees its own memory.
//
// The architecture obliges the guest to invalidate the instruction cache after it has changed code: then the copies are
// brought up to date, as an instruction cache would be. Like one, they may be forgotten at any time.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/guest_memory.hpp"

namespace twain::vmm {

class TextCopies {
public:
    static constexpr unsigned kPages = 2048;
    static constexpr std::uint64_t kBytes = std::uint64_t{kPages} * 4096;

    // `to`: kBytes of memory of the VMM's, which the guest space has at `base`, beyond the guest's RAM.
    TextCopies(const GuestMemory& memory, void* to, Ipa base)
        : memory_(memory), to_(static_cast<std::uint32_t*>(to)), base_(base) {}

    // The copy of a page of RAM, made or refreshed if need be. False: there is no more room; forget() first.
    bool get(Ipa page, bool refresh, Ipa& copy);

    // The 64 bytes around an address have changed.
    void update_line(Ipa at);
    void update_all();
    void forget();

private:
    static constexpr unsigned kSlots = 2 * kPages, kNone = ~0u;

    unsigned find(std::uint64_t page) const;
    void rewrite(unsigned copy, unsigned first, unsigned end);

    const GuestMemory& memory_;
    std::uint32_t* to_;
    Ipa base_;
    unsigned used_ = 0;
    std::array<std::uint64_t, kPages> pages_{};   // of which page each copy is
    std::array<std::uint16_t, kSlots> index_{};   // by hash of the page: copy plus one
};

}  // namespace twain::vmm
