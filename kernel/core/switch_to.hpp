// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The switch itself, inline: it is most of what a message costs.
#pragma once

#include "kernel/core/guest.hpp"
#include "kernel/core/scheduler.hpp"
#include "switch.hpp"

namespace twain::kernel {

[[gnu::always_inline]] inline void enter(Cpu& cpu, Thread& thread) {
    cpu.current = &thread;
    cpu.frame = &thread.frame;
    machine::enter_thread(cpu, thread);
}

// The most urgent of those that wait for this core. There is one.
inline Thread& take_first(Cpu& cpu) {
    const unsigned level = 63u ^ static_cast<unsigned>(__builtin_clzll(cpu.ready_levels));
    Queue<Thread>& queue = cpu.ready[level];
    Thread& first = queue.first();
    Queue<Thread>::remove(first);
    if (queue.empty()) cpu.ready_levels &= ~(u64{1} << level);
    return first;
}

// From the current thread, which has been put where it belongs, to `thread`. Neither runs a guest. Whatever is seldom is
// a call at the end, here and in what is made of this: so that it all needs no stack.
[[gnu::always_inline]] inline void switch_to(Cpu& cpu, Thread& before, Thread& thread) {
    machine::leave_thread(cpu, before);
    if (cpu.sched != thread.active && !change_slice(cpu, *thread.active)) return give_processor(cpu, thread);
    enter(cpu, thread);
}

// The same on the time that the current thread has lent.
[[gnu::always_inline]] inline void switch_on(Cpu& cpu, Thread& before, Thread& thread) {
    thread.state = State::ready;
    machine::leave_thread(cpu, before);
    if (cpu.sched != thread.active) return give_processor(cpu, thread);
    enter(cpu, thread);
}

// The current thread, which runs no guest, has blocked: the next one takes over. Only if nothing else is to be looked at
// first.
[[gnu::noinline]] inline void block(Cpu& cpu, Thread& self) {
    if (cpu.hazard || !cpu.ready_levels) return leave_current(cpu);
    Thread& next = take_first(cpu);
    next.vcpu ? switch_slowly(cpu, next) : switch_to(cpu, self, next);
}

// A thread has become ready by what the current one, or an interrupt, did: if it is more urgent, it runs at once. kQuick:
// the current one runs no guest.
template <bool kQuick>
[[gnu::always_inline]] inline void wake(Cpu& cpu, Thread& thread) {
    Thread* current = cpu.current;
    const Sched* sched = thread.active;
    const Sched* beaten = current ? current->active : nullptr;
    if (!sched || !beaten || cpu.hazard || sched->exhausted || beaten->exhausted ||
        sched->priority <= beaten->priority || !current->runnable()) [[unlikely]]
        return make_ready(cpu, thread);
    const unsigned level = beaten->priority;
    cpu.ready[level].push_front(*current);
    cpu.ready_levels |= u64{1} << level;
    thread.state = State::ready;
    kQuick ? switch_to(cpu, *current, thread) : switch_slowly(cpu, thread);
}

}  // namespace twain::kernel
