// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Names of system registers, as the syndrome of a trapped access (EC 0x18) encodes them (Arm ARM D17.2.37).
#pragma once

#include <cstdint>

namespace twain::vmm {

struct Sysreg {
    std::uint32_t key = 0;  // op0, op2, op1, CRn, CRm at their places in ISS
    constexpr bool operator==(const Sysreg&) const = default;

    constexpr unsigned op0() const { return (key >> 20) & 3; }
    constexpr unsigned op1() const { return (key >> 14) & 7; }
    constexpr unsigned crn() const { return (key >> 10) & 15; }
    constexpr unsigned crm() const { return (key >> 1) & 15; }
    constexpr unsigned op2() const { return (key >> 17) & 7; }
};

constexpr Sysreg sysreg(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return {(op0 << 20) | (op2 << 17) | (op1 << 14) | (crn << 10) | (crm << 1)};
}

// The feature registers, ID_*: op0 3, op1 0, CRn 0, CRm 1 to 7.
constexpr bool names_feature(Sysreg reg) {
    return (reg.key & sysreg(3, 7, 15, 8, 0).key) == sysreg(3, 0, 0, 0, 0).key && reg.crm() != 0;
}

constexpr Sysreg sysreg_of(std::uint64_t esr) { return {static_cast<std::uint32_t>(esr) & 0x3f'fc1e}; }

}  // namespace twain::vmm
