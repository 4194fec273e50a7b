// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The eight system calls as they are: registers in, registers out. The only file of user code with an SVC in
// it; host tests put their own sys/svc.hpp, which leads to a fake kernel, first on the include path.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"

namespace twain::sys {

struct Regs {
    std::uint64_t x0 = 0, x1 = 0, x2 = 0, x3 = 0, x4 = 0, x5 = 0, x6 = 0, x7 = 0;
};

// The whole register file of a call: all of x0..x7 go in and come out, x8..x18 are destroyed.
template <abi::Sys kCall>
[[gnu::always_inline]] inline Regs svc(const Regs& in) {
    register std::uint64_t x0 asm("x0") = in.x0;
    register std::uint64_t x1 asm("x1") = in.x1;
    register std::uint64_t x2 asm("x2") = in.x2;
    register std::uint64_t x3 asm("x3") = in.x3;
    register std::uint64_t x4 asm("x4") = in.x4;
    register std::uint64_t x5 asm("x5") = in.x5;
    register std::uint64_t x6 asm("x6") = in.x6;
    register std::uint64_t x7 asm("x7") = in.x7;
    asm volatile("svc %[call]"
                 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7)
                 : [call] "i"(static_cast<int>(kCall))
                 : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "cc", "memory");
    return {x0, x1, x2, x3, x4, x5, x6, x7};
}

// Calls with at most two arguments: x2..x7 come back but need not be set before, so nothing is loaded for them.
template <abi::Sys kCall>
[[gnu::always_inline]] inline Regs svc(std::uint64_t a0, std::uint64_t a1) {
    register std::uint64_t x0 asm("x0") = a0;
    register std::uint64_t x1 asm("x1") = a1;
    register std::uint64_t x2 asm("x2");
    register std::uint64_t x3 asm("x3");
    register std::uint64_t x4 asm("x4");
    register std::uint64_t x5 asm("x5");
    register std::uint64_t x6 asm("x6");
    register std::uint64_t x7 asm("x7");
    asm volatile("svc %[call]"
                 : "+r"(x0), "+r"(x1), "=r"(x2), "=r"(x3), "=r"(x4), "=r"(x5), "=r"(x6), "=r"(x7)
                 : [call] "i"(static_cast<int>(kCall))
                 : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "cc", "memory");
    return {x0, x1, x2, x3, x4, x5, x6, x7};
}

}  // namespace twain::sys
