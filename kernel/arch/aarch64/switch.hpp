// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The part of a switch between threads that every message pays for.
#pragma once

#include "fpu.hpp"
#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel::machine {

inline void set_translation(Cpu& cpu, u64 base) {
    __atomic_store_n(&cpu.translation, base, __ATOMIC_RELAXED);
    Regime::UserTable::write(base);
}

// Makes a space the one of user mode on this core.
inline void activate(Cpu& cpu, Space& space) {
    u64 base = space.tag.word();
    if (base & Tag::kStale) base = renew_tag(space);
    set_translation(cpu, base);
}

void enter_slowly(Cpu& cpu, Thread& thread);  // the rest of enter_thread() when there is more to do

// The thread that has just run is put away.
inline void leave_thread(Cpu&, Thread& thread) { thread.thread_pointer = reg::TPIDR_EL0::read(); }

// The thread runs next.
inline void enter_thread(Cpu& cpu, Thread& thread) {
    reg::TPIDR_EL0::write(thread.thread_pointer);
    const u64 base = thread.space->tag.word();
    if ((base & Tag::kStale) || cpu.fpu_on) return enter_slowly(cpu, thread);
    set_translation(cpu, base);
}

}  // namespace twain::kernel::machine
