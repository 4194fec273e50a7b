// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the guest kernel's privileged instructions become in copies of its text (docs/kernel-el1.md). Either another
// instruction, or a branch to a *stub*: a few instructions that do the same on the shared registers of the vCPU
// (abi::SharedRegisters) and branch back. Pure functions of the instruction and where it is.
//
// A stub may be interrupted anywhere and go on at another vCPU, so it has no pointer to shared registers over more than
// one instruction: each access comes right behind the MRS TPIDRRO_EL0 that makes its address, and a vCPU that is
// interrupted between the two is set back by one instruction (is_pointer).
#pragma once

#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"

namespace twain::vmm {

inline constexpr unsigned kStubWords = 16;  // no stub is longer

// Immediates of SVC at virtual EL1 which the kernel leaves to the VMM, + n for Xn: IC IVAU and TLBI VALE1IS.
inline constexpr std::uint32_t kInvalidateLine = 0x74c0, kFlushPage = 0x74e0;
static_assert(kInvalidateLine >= abi::kShadowTable1 + 32);
// Words behind the shared registers, which their stubs look at first (unexecuted.hpp, flushed.hpp).
inline constexpr std::uint64_t kUnexecutedOffset = sizeof(abi::SharedRegisters), kFlushedOffset = kUnexecutedOffset + 8;

// ERET and the system instructions: all others are themselves.
inline constexpr std::uint32_t kEret = 0xd69f'03e0;
constexpr bool may_be_privileged(std::uint32_t word) { return (word >> 24) == 0xd5 || word == kEret; }

// The instruction that does the same where the guest's kernel is at EL0, or that traps if this one would do something else;
// most instructions are themselves.
std::uint32_t exchanged(std::uint32_t word);

// Can the instruction be a stub? `stack`: SP can be relied upon (it cannot in the vector table, where a kernel looks for
// overflows).
bool has_stub(std::uint32_t word, bool stack);

// The stub at address `at` of an instruction at `site`; the number of words, 0 if there is none. `site` is within reach
// of a branch.
unsigned make_stub(std::uint32_t word, std::uint64_t at, std::uint64_t site, std::span<std::uint32_t, kStubWords> code);

// B from one address to another; reach: ±128 MiB.
inline constexpr std::uint64_t kBranchReach = std::uint64_t{128} << 20;
constexpr std::uint32_t branch(std::uint64_t from, std::uint64_t to) {
    return 0x1400'0000u | (static_cast<std::uint32_t>((to - from) >> 2) & 0x3ff'ffffu);
}

// MRS Xt, TPIDRRO_EL0: what comes next in a stub uses the address.
constexpr bool is_pointer(std::uint32_t word) { return (word & ~std::uint32_t{31}) == 0xd53b'd060; }

}  // namespace twain::vmm
