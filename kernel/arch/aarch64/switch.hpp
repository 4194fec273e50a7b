// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The part of a switch between threads that every message pays for.
#pragma once

#include "fpu.hpp"
#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel::machine {

// Makes a space the one of user mode on this core.
inline void activate(Cpu& cpu, Space& space) {
    u64 base = space.tag.word();
    if (base & Tag::kStale) [[unlikely]]
        base = renew_tag(space);
    __atomic_store_n(&cpu.translation, base, __ATOMIC_RELAXED);
    Regime::UserTable::write(base);
}

// The thread that has just run is put away.
inline void leave_thread(Cpu&, Thread& thread) { thread.thread_pointer = reg::TPIDR_EL0::read(); }

// From the thread that has just run (nullptr: it has been left already) to the next.
inline void switch_thread(Cpu& cpu, Thread* before, Thread& after) {
    const u64 next = after.thread_pointer;
    if (before) [[likely]]
        before->thread_pointer = reg::TPIDR_EL0::read();
    reg::TPIDR_EL0::write(next);
    if (!before || before->vcpu || before->space != after.space) activate(cpu, *after.space);
    if (cpu.fpu_on) [[unlikely]]
        fpu_offer(cpu, after.fpu);
}

}  // namespace twain::kernel::machine
