// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "fpu.hpp"

#include "kernel/core/guest.hpp"
#include "kernel/core/pool.hpp"
#include "machine.hpp"

namespace twain::kernel {

extern "C" void fpu_save(FpuState* to);
extern "C" void fpu_load(const FpuState* from);

namespace {

void set_trap(Cpu& cpu, bool trap) {
    cpu.fpu_on = !trap;
    Regime::trap_fp(trap);
}

inline void give(Cpu& cpu, FpuState* next) {
    set_trap(cpu, false);
    isb();
    auto* owner = static_cast<FpuState*>(cpu.fpu_owner);
    if (owner == next) return;
    if (owner) fpu_save(owner);
    fpu_load(next);
    cpu.fpu_owner = next;
}

// A thread's first use: it gets memory for them.
[[gnu::noinline]] bool take_first(Cpu& cpu) {
    Thread& thread = *cpu.current;
    const StructureLock lock;
    if (cpu.current != &thread) return true;  // stopped while it waited for the lock
    thread.fpu = static_cast<FpuState*>(thread.pool->allocate(Pool::order_of<FpuState>()));
    if (!thread.fpu) return false;
    give(cpu, thread.fpu);
    return true;
}

}  // namespace

bool fpu_take(Cpu& cpu) {
    const Thread& thread = *cpu.current;
    FpuState* next = cpu.guest_mode ? reinterpret_cast<FpuState*>(&thread.vcpu->page->fpcr) : thread.fpu;
    if (!next) return take_first(cpu);
    give(cpu, next);
    return true;
}

void fpu_hide(Cpu& cpu) { set_trap(cpu, true); }

void fpu_flush(Cpu& cpu, FpuState* state) {
    if (cpu.fpu_owner != state) return;
    set_trap(cpu, false);
    isb();
    fpu_save(state);
    fpu_forget(cpu, state);
}

void fpu_forget(Cpu& cpu, const FpuState* state) {
    if (cpu.fpu_owner != state || !state) return;
    cpu.fpu_owner = nullptr;
    set_trap(cpu, true);
}

}  // namespace twain::kernel
