// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The guest's RAM as the VMM sees it: one contiguous range of intermediate physical addresses, mapped somewhere
// in the VMM. Every access is checked; nothing outside the range can be reached through this class. The guest's
// vCPUs may write at any time: what has been read is a copy, and never read twice.
#pragma once

#include <cstdint>
#include <cstring>

#include "vmm/types.hpp"

namespace twain::vmm {

class GuestMemory {
public:
    GuestMemory() = default;
    GuestMemory(Ipa base, void* at, std::uint64_t bytes) : base_(base), at_(static_cast<char*>(at)), bytes_(bytes) {}

    Ipa base() const { return base_; }
    std::uint64_t bytes() const { return bytes_; }

    bool contains(Ipa at, std::uint64_t bytes) const {
        const std::uint64_t offset = at.value - base_.value;
        return offset < bytes_ && bytes <= bytes_ - offset;
    }

    // Null if any of the bytes lies outside.
    char* pointer(Ipa at, std::uint64_t bytes) const {
        return contains(at, bytes) ? at_ + (at.value - base_.value) : nullptr;
    }

    // One aligned or unaligned scalar of 1, 2, 4 or 8 bytes, little-endian.
    bool load(Ipa at, unsigned bytes, std::uint64_t& value) const {
        const char* p = pointer(at, bytes);
        if (p == nullptr) {
            return false;
        }
        std::uint64_t word = 0;
        for (unsigned i = 0; i < bytes; ++i) {
            word |= std::uint64_t{static_cast<const volatile unsigned char*>(static_cast<const void*>(p))[i]}
                    << (8 * i);
        }
        value = word;
        return true;
    }
    bool store(Ipa at, unsigned bytes, std::uint64_t value) const {
        char* p = pointer(at, bytes);
        if (p == nullptr) {
            return false;
        }
        for (unsigned i = 0; i < bytes; ++i) {
            p[i] = static_cast<char>(value >> (8 * i));
        }
        return true;
    }
    // One naturally aligned word, read at once (a page-table descriptor, an instruction).
    template <typename Word>
    bool load_once(Ipa at, Word& value) const {
        const char* p = pointer(at, sizeof(Word));
        if (p == nullptr || at.value % sizeof(Word) != 0) {
            return false;
        }
        value = __atomic_load_n(static_cast<const Word*>(static_cast<const void*>(p)), __ATOMIC_RELAXED);
        return true;
    }

private:
    Ipa base_;
    char* at_ = nullptr;
    std::uint64_t bytes_ = 0;
};

}  // namespace twain::vmm
