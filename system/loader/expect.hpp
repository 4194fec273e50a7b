// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Is this the machine that the image was built for?
#pragma once

#include <cstddef>
#include <span>

#include "loader/packed.hpp"
#include "loader/tree.hpp"

namespace twain::loader {

struct Mismatch {
    enum class Unit { name, number, choice, address, bytes };
    const char* what;
    Unit unit;
    std::uint64_t expected;  // name: see the texts; choice: bit n is the number n
    std::uint64_t found;
    const char* expected_text = "";
    const char* found_text = "";
};

class Mismatches {
public:
    void add(const Mismatch& mismatch) {
        if (count_ < kMax) {
            list_[count_++] = mismatch;
        }
    }
    std::span<const Mismatch> list() const { return {list_, count_}; }

private:
    static constexpr std::size_t kMax = 8;
    Mismatch list_[kMax] = {};
    std::size_t count_ = 0;
};

// Compares everything, so that all differences can be told at once.
Mismatches compare(const Expectation& expect, const void* tree, const Machine& machine);

}  // namespace twain::loader
