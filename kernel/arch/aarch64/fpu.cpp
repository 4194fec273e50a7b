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

}  // namespace

bool fpu_take(Cpu& cpu) {
    FpuState* next;
    if (cpu.guest_mode) {
        next = reinterpret_cast<FpuState*>(&cpu.current->vcpu->page->fpcr);
    } else {
        Thread& thread = *cpu.current;
        if (!thread.fpu) {
            const StructureLock lock;
            if (cpu.current != &thread) return true;  // stopped while it waited for the lock
            thread.fpu = static_cast<FpuState*>(thread.pool->allocate(Pool::order_of<FpuState>()));
        }
        next = thread.fpu;
        if (!next) return false;
    }
    set_trap(cpu, false);
    isb();
    auto* owner = static_cast<FpuState*>(cpu.fpu_owner);
    if (owner == next) return true;
    if (owner) fpu_save(owner);
    fpu_load(next);
    cpu.fpu_owner = next;
    return true;
}

void fpu_offer(Cpu& cpu, const FpuState* next) {
    if (cpu.fpu_on && cpu.fpu_owner != next) set_trap(cpu, true);
}

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
