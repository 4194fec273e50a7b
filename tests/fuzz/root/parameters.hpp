// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What tools/twainlib/fuzz.py asks for. QEMU's loader device writes it into the last page of the largest range of free
// RAM, before the machine starts; without it the numbers below hold.
#pragma once

#include <cstdint>

namespace twain::fuzz {

inline constexpr std::uint64_t kParametersMagic = 0x315a5a55464e5754;  // "TWNFUZZ1"

struct Parameters {
    std::uint64_t magic = kParametersMagic;
    std::uint64_t seed = 1;
    std::uint64_t calls = 20'000;           // in all
    std::uint64_t calls_per_round = 5'000;  // then everything is destroyed and counted
    std::uint64_t workers_per_core = 4;
    std::uint64_t report = 10'000;     // calls between two lines about the progress
    std::uint64_t patience_ms = 1000;  // of virtual time in which the supervisor may say nothing
};

}  // namespace twain::fuzz
