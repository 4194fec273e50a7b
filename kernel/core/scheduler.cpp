// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/scheduler.hpp"

#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/switch_to.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kExpired = 4;

void requeue_level(Cpu& cpu, Thread& thread) {
    if (!thread.linked()) return;
    remove_ready(cpu, thread);
    make_ready(cpu, thread);
}

[[gnu::cold, gnu::noinline]] void exhaust(Cpu& cpu, Sched& sched) {
    if (!sched.budget.limited()) {
        sched.budget.refill();
        return;
    }
    sched.exhausted = true;
    if (!sched.armed()) cpu.timers.insert(sched, sched.budget.next());
    Thread* user = sched.user;
    if (!user) return;
    // A server that has been working on its caller's time goes on with its own.
    if (Sched* const own = own_time(*user); sched.hard && own && own != &sched) {
        sched.user = nullptr;
        user->active = own;
    }
    if (user->runnable()) requeue_level(cpu, *user);  // it gave up the processor just when the budget ended
}

void replenish(Cpu& cpu, Sched& sched, Ticks now) {
    sched.budget.collect(now);
    if (sched.budget.empty()) {  // it has paid for an over-run
        cpu.timers.insert(sched, sched.budget.next());
        return;
    }
    sched.exhausted = false;
    Thread* user = sched.user;
    if (user && user->runnable() && user != cpu.current) {
        remove_ready(cpu, *user);
        make_ready(cpu, *user);
    } else if (user && user == cpu.current) {
        cpu.hazard |= kReschedule;
    }
}

void expire(Cpu& cpu, Timer& timer, Ticks now) {
    switch (timer.kind()) {
        case Timer::Kind::thread: thread_timeout(cpu, static_cast<Thread&>(timer)); break;
        case Timer::Kind::notification: {
            auto& note = static_cast<Notification&>(timer);
            const u64 badge = note.timer_badge;
            note.timer_owner.release(0);  // any core may set it again
            signal(cpu, note, badge);
            break;
        }
        case Timer::Kind::sched: replenish(cpu, static_cast<Sched&>(timer), now); break;
    }
}

}  // namespace

void make_ready(Cpu& cpu, Thread& thread, bool front) {
    if (thread.stopping.acquire()) [[unlikely]] {
        thread.state = State::stopped;
        return;
    }
    thread.state = thread.vcpu ? State::guest : State::ready;
    Sched* sched = thread.active;
    if (!sched || !sched->runnable()) return;  // waits for a caller, or for its budget
    const unsigned level = sched->level();
    front ? cpu.ready[level].push_front(thread) : cpu.ready[level].push_back(thread);
    cpu.ready_levels |= u64{1} << level;
    if (!cpu.current || !cpu.current->active || cpu.current->active->level() < level) cpu.hazard |= kReschedule;
}

void remove_ready(Cpu& cpu, Thread& thread) {
    if (!thread.linked()) return;
    Queue<Thread>::remove(thread);
    // The thread's level may have changed since it was queued, so look at what became empty.
    for (u64 levels = cpu.ready_levels; levels; levels &= levels - 1) {
        const unsigned level = static_cast<unsigned>(__builtin_ctzll(levels));
        if (cpu.ready[level].empty()) cpu.ready_levels &= ~(u64{1} << level);
    }
}

void charge(Cpu& cpu, Ticks now) {
    Sched* sched = cpu.sched;
    const Ticks from = cpu.since;
    cpu.since = now;
    if (!sched) return;
    sched->used += now - from;
    if (sched->exhausted && !sched->hard) return;  // in the background: nobody's budget
    sched->budget.collect(now);
    sched->budget.spend(from, now - from);
    if (sched->budget.empty()) exhaust(cpu, *sched);
}

void stop_charging(Cpu& cpu, Sched& sched) {
    cpu.hazard |= kReschedule;
    if (cpu.sched != &sched) return;
    charge(cpu, machine::now());
    cpu.sched = nullptr;
}

void move(Thread& thread, CpuId core) {
    if (thread.core == core) return;
    machine::settle_thread(thread);
    thread.core = core;
}

void reconfigure(Sched& sched, const Sched& wanted) {
    run_on(sched.core, [&] {
        Cpu& cpu = machine::cpu();
        stop_charging(cpu, sched);
        cpu.timers.remove(sched);
        sched.budget = wanted.budget;
        sched.exhausted = false;
        sched.priority = wanted.priority;
        sched.hard = wanted.hard;
        Thread* user = sched.user;
        if (user && user->active == &sched && user->runnable() && user != cpu.current) {
            remove_ready(cpu, *user);
            make_ready(cpu, *user);
        }
        program_timer(cpu);
    });
    sched.core = wanted.core;
    if (sched.bound) move(*sched.bound, wanted.core);
}

void arm(Cpu& cpu, Timer& timer, Ticks deadline) {
    cpu.timers.remove(timer);
    cpu.timers.insert(timer, deadline);
    if (cpu.timers.next() == deadline) program_timer(cpu);
}

void disarm(Cpu& cpu, Timer& timer) { cpu.timers.remove(timer); }

void change_time(Cpu& cpu, Sched& next) {
    charge(cpu, machine::now());
    cpu.sched = &next;
    program_timer(cpu);
}

void give_processor(Cpu& cpu, Thread& thread) {
    cpu.current = &thread;
    if (cpu.sched != thread.active) change_time(cpu, *thread.active);
    thread.vcpu ? guest_enter(cpu, thread) : enter(cpu, thread);
}

void leave_current(Cpu& cpu) {
    if (cpu.guest_mode) guest_leave(cpu);
    if (cpu.current) machine::leave_thread(cpu, *cpu.current);
    cpu.current = nullptr;
    cpu.hazard |= kReschedule;
}

void switch_slowly(Cpu& cpu, Thread& thread) {
    if (cpu.guest_mode) guest_leave(cpu);
    machine::leave_thread(cpu, *cpu.current);
    give_processor(cpu, thread);
}

void schedule(Cpu& cpu) {
    for (;;) {
        cpu.hazard &= ~kReschedule;
        if (cpu.ready_levels) {
            give_processor(cpu, take_first(cpu));
            return;
        }
        charge(cpu, machine::now());
        cpu.sched = nullptr;
        program_timer(cpu);
        const Ticks before = machine::now();
        machine::idle(cpu);
        const Ticks after = machine::now();
        cpu.idle += after - before;
        cpu.since = after;
    }
}

void resolve_hazards(Cpu& cpu) {
    while (cpu.hazard || !cpu.current) {
        cpu.hazard = 0;
        Thread* current = cpu.current;
        if (current) {
            Sched* sched = current->active;
            const bool may_run = sched && sched->runnable();
            const bool beaten = cpu.ready_levels && may_run && (cpu.ready_levels >> sched->level()) > 1;
            if (may_run && !beaten) {
                if (cpu.sched != sched) change_time(cpu, *sched);
                return;
            }
            leave_current(cpu);
            make_ready(cpu, *current, true);
        }
        schedule(cpu);
    }
}

void on_timer(Cpu& cpu) {
    const Ticks now = machine::now();
    charge(cpu, now);
    // A few at once: for the others it is due again as soon as it has ended.
    for (unsigned i = 0; i < kExpired; ++i) {
        Timer* const timer = cpu.timers.pop_due(now);
        if (!timer) break;
        expire(cpu, *timer, now);
    }
    Thread* current = cpu.current;
    if (current && current->active) {
        Sched& sched = *current->active;
        // The end of a slice: the next of the same level has its turn.
        const bool turn = cpu.sched == &sched && (sched.exhausted || sched.budget.full());
        if (turn || cpu.sched != &sched) {
            leave_current(cpu);
            make_ready(cpu, *current);
        }
    }
    cpu.hazard |= kReschedule;
    program_timer(cpu);
}

}  // namespace twain::kernel
