// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// FP/SIMD registers, switched on first use.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

struct alignas(16) FpuState {  // the tail of abi::VcpuPage has this shape
    u64 fpcr, fpsr;
    u64 v[64];
};
static_assert(offsetof(abi::VcpuPage, v) == offsetof(abi::VcpuPage, fpcr) + 16);
static_assert(offsetof(abi::VcpuPage, fpcr) % 16 == 0);

// A trap on FP use: gives the registers to what runs now. False: there is no memory to keep them in.
bool fpu_take(Cpu& cpu);
// Before something else runs: trap on use, unless the registers are its own.
void fpu_hide(Cpu& cpu);
inline void fpu_offer(Cpu& cpu, const FpuState* next) {
    if (cpu.fpu_on && cpu.fpu_owner != next) fpu_hide(cpu);
}
// The contents go to memory / are forgotten. On the core that holds them.
void fpu_flush(Cpu& cpu, FpuState* state);
void fpu_forget(Cpu& cpu, const FpuState* state);

}  // namespace twain::kernel
