// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Which thread runs: priorities, budgets, and the switch itself.
#pragma once

#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel {

inline constexpr Ticks kSliceNs = 10'000'000;  // turn taking among threads without a limit

// Puts a thread that has become ready into its core's queue (this core's). Sets the reschedule hazard if it
// should run before the current one. A thread without a scheduling context waits until it is given one.
void make_ready(Cpu& cpu, Thread& thread, bool front = false);
void remove_ready(Cpu& cpu, Thread& thread);

// The current thread stops being current (it blocks, stops, or goes back to the queue).
void leave_current(Cpu& cpu);

// Gives `thread` the processor, which nobody has.
void give_processor(Cpu& cpu, Thread& thread);
// The same, from the current thread.
void switch_slowly(Cpu& cpu, Thread& thread);

// Picks the most urgent thread, waiting for one if there is none. The core must have no current thread.
void schedule(Cpu& cpu);

// Handles hazards at the end of a kernel entry: afterwards the core has a current thread.
void resolve_hazards(Cpu& cpu);

// The timer interrupt: due timers, the end of a budget.
void on_timer(Cpu& cpu);

// Charges the running scheduling context up to now.
void charge(Cpu& cpu, Ticks now);
// The next timer interrupt: the first deadline, or the end of the budget.
inline void program_timer(Cpu& cpu, const Sched& sched) {
    Ticks next = cpu.timers.next();
    if (const Ticks end = sched.budget.end(cpu.since); !sched.exhausted && end < next) next = end;
    machine::set_timer(next);
}
inline void program_timer(Cpu& cpu) {
    cpu.sched ? program_timer(cpu, *cpu.sched) : machine::set_timer(cpu.timers.next());
}

// Charges it one last time if it is the running one. If its thread stays where it is, that begins anew.
void stop_charging(Cpu& cpu, Sched& sched);

// What a thread has of its own to run on; nullptr: nothing, or it has lent it.
inline Sched* own_time(const Thread& thread) {
    return thread.sched && thread.sched->user == &thread ? thread.sched : nullptr;
}

// From now on the core uses another budget.
void change_time(Cpu& cpu, Sched& next);
// The same, if all that ends is a part of a slice; else nothing is done.
[[gnu::always_inline]] inline bool change_slice(Cpu& cpu, Sched& next) {
    const Ticks now = machine::now(), ticks = now - cpu.since;
    Sched* const sched = cpu.sched;
    if (!sched || !sched->budget.spend_slice(ticks)) return false;
    sched->used += ticks;
    cpu.since = now;
    cpu.sched = &next;
    program_timer(cpu, next);
    return true;
}

// A thread that does not run belongs to another core from now on. Structure lock.
[[gnu::cold]] void move(Thread& thread, CpuId core);

// Gives a scheduling context the parameters of another. Its core may change only while its thread is stopped.
// Structure lock.
[[gnu::cold]] void reconfigure(Sched& sched, const Sched& wanted);

void arm(Cpu& cpu, Timer& timer, Ticks deadline);
void disarm(Cpu& cpu, Timer& timer);

}  // namespace twain::kernel
