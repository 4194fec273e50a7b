// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Time: ticks of the counter that the kernel's deadlines count, and their conversion to nanoseconds.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"

namespace twain::sys {

using Ticks = std::uint64_t;
using Nanoseconds = std::uint64_t;

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// Rounded down; saturates. `frequency` in ticks per second, 1 Hz to 4 GHz.
constexpr Nanoseconds to_ns(Ticks ticks, std::uint64_t frequency) {
    if (frequency == 0) {
        return 0;
    }
    const std::uint64_t seconds = ticks / frequency;
    if (seconds >= ~std::uint64_t{0} / kNsPerSecond) {
        return ~std::uint64_t{0};
    }
    return seconds * kNsPerSecond + ticks % frequency * kNsPerSecond / frequency;
}

// Rounded down; saturates just below abi::kForever.
constexpr Ticks to_ticks(Nanoseconds ns, std::uint64_t frequency) {
    const std::uint64_t seconds = ns / kNsPerSecond;
    if (frequency != 0 && seconds >= (abi::kForever - 1) / frequency - 1) {
        return abi::kForever - 1;
    }
    return seconds * frequency + ns % kNsPerSecond * frequency / kNsPerSecond;
}

// A deadline `delta` after `from`; never wraps into the past, never becomes kForever.
constexpr Ticks deadline_after(Ticks from, Ticks delta) {
    return delta >= abi::kForever - 1 - from ? abi::kForever - 1 : from + delta;
}

}  // namespace twain::sys
