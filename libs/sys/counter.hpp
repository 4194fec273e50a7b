// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Reading the counter from EL0 (Arm ARM D11). With the kernel at EL2 the virtual offset belongs to whichever guest
// ran last, so a process reads the physical counter.
#pragma once

#include <cstdint>

#include "sys/clock.hpp"

namespace twain::sys {

enum class Counter { physical, virtual_ };

inline constexpr Counter kCounter = Counter::physical;

// The ISB keeps the read from being done early; without it two reads around an event may both precede it.
template <Counter kWhich = kCounter>
inline Ticks now() {
    std::uint64_t ticks = 0;
    if constexpr (kWhich == Counter::physical) {
        asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks)::"memory");
    } else {
        asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    }
    return ticks;
}

inline std::uint64_t ticks_per_second() {
    std::uint64_t hertz = 0;
    asm("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz;
}

inline Ticks after_ns(Nanoseconds ns) { return deadline_after(now(), to_ticks(ns, ticks_per_second())); }
inline Ticks after_ms(std::uint64_t ms) { return after_ns(ms * 1'000'000); }

}  // namespace twain::sys
