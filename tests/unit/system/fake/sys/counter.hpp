// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// In place of libs/sys/counter.hpp: time stands still unless a test moves it.
#pragma once

#include <cstdint>

#include "sys/clock.hpp"

namespace twain::sys {

inline Ticks fake_now = 1'000'000;
inline Ticks now() { return fake_now; }
inline std::uint64_t ticks_per_second() { return 62'500'000; }
inline Ticks after_ns(Nanoseconds ns) { return deadline_after(now(), to_ticks(ns, ticks_per_second())); }
inline Ticks after_ms(std::uint64_t ms) { return after_ns(ms * 1'000'000); }

}  // namespace twain::sys
