// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A small set of disjoint address ranges, ascending.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"

namespace twain::loader {

class RangeSet {
public:
    static constexpr std::size_t kCapacity = 32;

    // Adds [base, base + bytes), joined with what it touches. False: the range wraps, or the set is full.
    bool add(std::uint64_t base, std::uint64_t bytes);
    // Takes [base, base + bytes) out. False: as for add (a hole splits a range).
    bool remove(std::uint64_t base, std::uint64_t bytes);
    // Shrinks each range to whole pages; drops what has none.
    void trim_to_pages();

    bool contains(std::uint64_t base, std::uint64_t bytes) const;
    std::uint64_t total() const;
    std::span<const abi::Range> ranges() const { return {ranges_, count_}; }

private:
    bool insert(std::size_t at, abi::Range range);
    void erase(std::size_t at);

    abi::Range ranges_[kCapacity] = {};
    std::size_t count_ = 0;
};

}  // namespace twain::loader
