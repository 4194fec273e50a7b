// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Registers that both versions have, at the same offsets: the distributor's, and for a core's private interrupts (the
// first 32) those that version 2 banks in the distributor and version 3 has in each redistributor.
#pragma once

#include "kernel/arch/aarch64/layout.hpp"
#include "kernel/core/cpu.hpp"
#include "kernel/drivers/mmio.hpp"

namespace twain::kernel::gic {

inline constexpr u64 kCtlr = 0x0, kTyper = 0x4, kGroup = 0x80, kSetEnable = 0x100, kClearEnable = 0x180,
                     kClearPending = 0x280, kSetActive = 0x300, kClearActive = 0x380, kPriority = 0x400,
                     kConfig = 0xc00;
inline constexpr u64 kGicdBytes = 0x10000;

inline constexpr Mmio distributor() { return Mmio(layout::kDevices); }

}  // namespace twain::kernel::gic
