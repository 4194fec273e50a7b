// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Firmware calls (PSCI, Arm DEN 0022): by SMC from EL2, by HVC where there is a hypervisor above.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel::psci {

inline constexpr u32 kCpuOn = 0xc400'0003, kSystemOff = 0x8400'0008, kSystemReset = 0x8400'0009;

inline u64 call(u32 conduit, u64 function, u64 a = 0, u64 b = 0, u64 c = 0) {
    register u64 x0 asm("x0") = function;
    register u64 x1 asm("x1") = a;
    register u64 x2 asm("x2") = b;
    register u64 x3 asm("x3") = c;
    if (conduit == 1) {
        asm volatile("smc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                       "x13", "x14", "x15", "x16", "x17", "memory");
    } else {
        asm volatile("hvc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                       "x13", "x14", "x15", "x16", "x17", "memory");
    }
    return x0;
}

}  // namespace twain::kernel::psci
