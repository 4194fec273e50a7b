// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The switch itself, inline: it is most of what a message costs.
#pragma once

#include "kernel/core/guest.hpp"
#include "kernel/core/scheduler.hpp"
#include "switch.hpp"

namespace twain::kernel {

// Gives `thread` the processor now; the current thread must already have been put where it belongs.
[[gnu::always_inline]] inline void switch_to(Cpu& cpu, Thread& thread) {
    if (cpu.guest_mode) [[unlikely]]
        guest_leave(cpu);
    Thread* before = cpu.current;
    cpu.current = &thread;
    if (Sched* const next = thread.active; cpu.sched != next) {
        charge_slice(cpu, machine::now());
        cpu.sched = next;
        program_timer(cpu);
    }
    if (before != &thread) [[likely]]
        machine::switch_thread(cpu, before, thread);
    cpu.frame = &thread.frame;
    if (thread.vcpu) [[unlikely]]
        guest_enter(cpu, thread);
}

// The current thread has blocked: the next one takes over. Only if nothing else is to be looked at first.
[[gnu::noinline]] inline void block(Cpu& cpu) {
    if (cpu.hazard || !cpu.ready_levels) [[unlikely]] {
        leave_current(cpu);
        return;
    }
    const unsigned level = 63u - static_cast<unsigned>(__builtin_clzll(cpu.ready_levels));
    Thread* next = cpu.ready[level].pop_front();
    if (cpu.ready[level].empty()) cpu.ready_levels &= ~(u64{1} << level);
    switch_to(cpu, *next);
}

// A thread has become ready by what the current one, or an interrupt, did: if it is more urgent, it runs at once.
inline void wake(Cpu& cpu, Thread& thread) {
    Thread* current = cpu.current;
    const Sched* sched = thread.active;
    const Sched* beaten = current ? current->active : nullptr;
    if (!sched || !beaten || cpu.hazard || sched->exhausted || beaten->exhausted ||
        sched->priority <= beaten->priority || !current->runnable()) [[unlikely]] {
        make_ready(cpu, thread);
        return;
    }
    const unsigned level = beaten->priority;
    cpu.ready[level].push_front(*current);
    cpu.ready_levels |= u64{1} << level;
    thread.state = thread.vcpu ? State::guest : State::ready;
    switch_to(cpu, thread);
}

}  // namespace twain::kernel
