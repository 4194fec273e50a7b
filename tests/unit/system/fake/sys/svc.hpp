// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// In place of libs/sys/svc.hpp: system calls of host tests go to the fake kernel.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"

namespace twain::sys {

struct Regs {
    std::uint64_t x0 = 0, x1 = 0, x2 = 0, x3 = 0, x4 = 0, x5 = 0, x6 = 0, x7 = 0;
};

Regs fake_svc(abi::Sys call, const Regs& in);

template <abi::Sys kCall>
Regs svc(const Regs& in) {
    return fake_svc(kCall, in);
}

template <abi::Sys kCall>
Regs svc(std::uint64_t a0, std::uint64_t a1) {
    return fake_svc(kCall, Regs{a0, a1});
}

}  // namespace twain::sys
