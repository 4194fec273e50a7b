// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Firmware calls (PSCI, Arm DEN 0022): by SMC from EL2, by HVC where there is a hypervisor above.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel::psci {

inline constexpr u32 kCpuOn = 0xc400'0003, kSystemOff = 0x8400'0008, kSystemReset = 0x8400'0009;

// In: function and arguments; out: the first four are results.
[[gnu::cold, gnu::noinline]] inline void call(u32 conduit, u64 (&x)[6]) {
    register u64 x0 asm("x0") = x[0];
    register u64 x1 asm("x1") = x[1];
    register u64 x2 asm("x2") = x[2];
    register u64 x3 asm("x3") = x[3];
    register u64 x4 asm("x4") = x[4];
    register u64 x5 asm("x5") = x[5];
    if (conduit == 1) {
        asm volatile("smc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5)::"x6", "x7", "x8", "x9", "x10", "x11",
                       "x12", "x13", "x14", "x15", "x16", "x17", "memory");
    } else {
        asm volatile("hvc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5)::"x6", "x7", "x8", "x9", "x10", "x11",
                       "x12", "x13", "x14", "x15", "x16", "x17", "memory");
    }
    x[0] = x0;
    x[1] = x1;
    x[2] = x2;
    x[3] = x3;
}
inline u64 call(u32 conduit, u64 function, u64 a = 0, u64 b = 0, u64 c = 0) {
    u64 x[] = {function, a, b, c, 0, 0};
    call(conduit, x);
    return x[0];
}

}  // namespace twain::kernel::psci
