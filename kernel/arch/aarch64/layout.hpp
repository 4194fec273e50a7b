// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Where things are in the kernel's own translation regime (48-bit addresses).
//
//   kPointerUpper | 0x8000'0000'0000   all RAM, linear, read-write, never executable
//   kPointerUpper | 0xffff'ff80'0000   the kernel image: text R-X, constants R--, data RW-
//                 + 2 MiB              devices of the kernel: interrupt controller, early UART
#pragma once

#include "kernel/core/types.hpp"
#include "regime.hpp"

namespace twain::kernel::layout {

inline constexpr u64 kLinear = Regime::kPointerUpper | 0x8000'0000'0000;
inline constexpr u64 kImage = Regime::kPointerUpper | 0xffff'ff80'0000;
inline constexpr u64 kDevices = kImage + 0x20'0000;
inline constexpr u64 kDeviceBytes = 0x20'0000;
inline constexpr u64 kWindows = kDevices + kDeviceBytes - 16 * kPage;  // two pages per core: see map_window()
inline constexpr u64 kWindowBytes = 2 * kPage;
inline constexpr u64 kMaxRamEnd = u64{1} << 39;  // one level-1 table of the linear map
inline constexpr u64 kStackBytes = 2 * kPage;    // per core, above a guard page, below the core's Cpu page

}  // namespace twain::kernel::layout
