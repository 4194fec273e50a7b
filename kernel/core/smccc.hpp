// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Firmware calls as a number (SMC Calling Convention, Arm DEN 0028, 2.5 and 6):
//
//   31     30     29    24 23    16 15             0
//  +------+------+--------+--------+----------------+
//  | fast | 64   | owner  |  zero  |    function    |
//  +------+------+--------+--------+----------------+
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel::smccc {

enum class Conduit : u32 { none, smc, hvc };  // as abi::BootInfo::psci_conduit

// May user code have this call made? Fast calls only: another could return anywhere. None that turns cores on and off or
// makes the firmware enter the kernel's level (PSCI, SDEI: the standard secure service's first 64 functions), and none of
// the hypervisor's whose guest the kernel is.
constexpr bool may_pass(u64 call, Conduit conduit) {
    constexpr u64 kFast = u64{1} << 31, kStandardSecure = 4, kStandardHypervisor = 5, kVendorHypervisor = 6;
    const u64 owner = call >> 24 & 0x3f;
    if ((call & ~u64{0x7f00'ffff}) != kFast) return false;
    if (owner == kStandardSecure && (call & 0xffff) < 0x40) return false;
    return conduit != Conduit::hvc || (owner != kStandardHypervisor && owner != kVendorHypervisor);
}

}  // namespace twain::kernel::smccc
