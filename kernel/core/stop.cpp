// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Ending what threads wait for: when one is stopped, or the object that it waits at goes away.
#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/ipc_parts.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kDrained = 16;  // waiters that go at once

// What the thread finds when it goes on: not its own message, which would look like an answer.
void tell_cancelled(Thread& thread) {
    thread.frame.x[0] = 0;
    thread.set_result(Status(Error::cancelled).tag());
}

// On the core where the thread was calling to: whoever stands for it there lets go of it.
void forget_caller(void* argument) {
    Thread& thread = *static_cast<Thread*>(argument);
    Cpu& cpu = machine::cpu();
    remove_mail(cpu, thread);
    if ((thread.endpoint || thread.server || thread.reply.acquire()) && thread.fault == abi::FaultKind::none)
        tell_cancelled(thread);
    leave_endpoint(thread);
    if (thread.server) {
        thread.server->caller = nullptr;
        thread.server = nullptr;
    }
    if (Reply* reply = thread.reply.exchange(nullptr)) reply->forget(thread);
}

// The core of whom the thread is calling.
CpuId served_on(const Thread& thread) {
    // In this order: see begin_service(). Whoever receives there is of that core.
    if (const Endpoint* endpoint = thread.endpoint.acquire()) return endpoint->core;
    const Thread* server = thread.server.acquire();
    return server ? server->core : thread.core;
}

void stop_here(void* argument) {
    Thread& thread = *static_cast<Thread*>(argument);
    Cpu& cpu = machine::cpu();
    remove_mail(cpu, thread);
    remove_knock(cpu, thread);
    disarm(cpu, thread);
    if (cpu.current == &thread) {
        if (cpu.call_waits) thread.frame.pc -= 4;
        leave_current(cpu);
        cpu.hazard |= kReschedule;
    } else if (thread.runnable()) {
        remove_ready(cpu, thread);
    }
    if (thread.vcpu) guest_abandon(thread, Status(Error::cancelled).tag());
    if (thread.state == State::receiving || thread.state == State::waiting) tell_cancelled(thread);
    if (thread.state == State::receiving) leave_endpoint(thread);
    if (thread.note && !thread.bound) {
        thread.note->waiter = nullptr;
        thread.note = nullptr;
    }
    const bool calling = thread.state == State::calling;
    if (!calling) thread.endpoint = nullptr;
    thread.state = State::stopped;
    give_back(cpu, thread);  // while it is known who has it
    if (served_on(thread) == cpu.id) forget_caller(&thread);
    if (Thread* caller = thread.caller) {
        thread.caller = nullptr;
        fail_call(cpu, *caller, Error::cancelled);
    }
}

}  // namespace

// While `stopping` is set nothing makes the thread ready again, though whom it was calling may answer it, and a
// signaller may still hold it: the last step finds whatever they did, after everybody has let go of it.
void stop(Thread& thread) {
    __atomic_store_n(&thread.stopping, true, __ATOMIC_RELEASE);
    run_on(thread.core, stop_here, &thread);
    run_on(served_on(thread), forget_caller, &thread);
    synchronize();
    run_on(served_on(thread), forget_caller, &thread);
    run_on(
        thread.core,
        [](void* argument) {
            stop_here(argument);
            give_back(machine::cpu(), *static_cast<Thread*>(argument));
        },
        &thread);
    thread.stopping = false;
}

bool drain_step(Endpoint& endpoint) {
    struct Step {
        Endpoint& dying;
        bool done = false;
    } step{endpoint};
    run_on(
        endpoint.core,
        [](void* argument) {
            Cpu& cpu = machine::cpu();
            Step& work = *static_cast<Step*>(argument);
            for (unsigned i = 0; i < kDrained && !work.dying.waiting.empty(); ++i) {
                Thread& thread = *work.dying.waiting.pop_front();
                thread.endpoint = nullptr;
                if (!work.dying.receivers) {
                    fail_call(cpu, thread, Error::cancelled);
                    continue;
                }
                disarm(cpu, thread);
                thread.frame.x[0] = 0;
                thread.set_result(Status(Error::cancelled).tag());
                make_ready(cpu, thread);
            }
            if (!work.dying.waiting.empty()) return;
            // Calls on their way here from other cores; no new ones can begin.
            Thread* list = __atomic_exchange_n(&cpu.mailbox, nullptr, __ATOMIC_ACQ_REL);
            while (list) {
                Thread& each = *list;
                list = each.mail;
                if (each.endpoint == &work.dying && each.state == State::calling) {
                    __atomic_store_n(&each.mailed, u8{0}, __ATOMIC_RELEASE);
                    fail_call(cpu, each, Error::cancelled);
                } else {
                    push_mail(cpu.id, each);
                }
            }
            work.done = true;
        },
        &step);
    return step.done;
}

void drain(Reply& reply) {
    Thread* caller = reply.caller;
    if (!caller) return;
    run_on(
        caller->core,
        [](void* argument) {
            auto& dying = *static_cast<Reply*>(argument);
            Thread* left = dying.take_out();
            if (left) fail_call(machine::cpu(), *left, Error::cancelled);
        },
        &reply);
}

void leave_notification(Thread& waiter) {
    run_on(
        waiter.core,
        [](void* argument) {
            Cpu& cpu = machine::cpu();
            Thread& thread = *static_cast<Thread*>(argument);
            if (!thread.note) return;
            thread.note->waiter = nullptr;
            thread.note = nullptr;
            thread.bound = false;
            if (thread.state != State::waiting || thread.vcpu) return;
            disarm(cpu, thread);
            thread.frame.x[0] = 0;
            thread.set_result(Status(Error::cancelled).tag());
            make_ready(cpu, thread);
        },
        &waiter);
}

void drain(Notification& note) {
    if (const u32 owner = __atomic_load_n(&note.timer_owner, __ATOMIC_ACQUIRE)) {
        run_on(
            owner - 1, [](void* argument) { machine::cpu().timers.remove(*static_cast<Notification*>(argument)); }, &note);
    }
    if (note.waiter) leave_notification(*note.waiter);
}

void drain(Sched& sched) {
    run_on(
        sched.core, [](void* argument) { machine::cpu().timers.remove(*static_cast<Sched*>(argument)); }, &sched);
}

void detach_sched(Thread& thread) {
    stop(thread);
    Sched* sched = thread.sched;
    if (!sched) return;
    run_on(
        thread.core,
        [](void* argument) {
            Cpu& cpu = machine::cpu();
            Thread& owner = *static_cast<Thread*>(argument);
            Sched& gone = *owner.sched;
            if (cpu.sched == &gone) {
                charge(cpu, machine::now());
                cpu.sched = nullptr;
            }
            if (Thread* user = gone.user; user && user->active == &gone) {
                if (cpu.current == user) {
                    leave_current(cpu);
                } else if (user->runnable()) {
                    remove_ready(cpu, *user);
                }
                user->active = nullptr;
            }
            gone.user = nullptr;
            gone.bound = nullptr;
            owner.sched = nullptr;
            owner.active = nullptr;
            cpu.hazard |= kReschedule;
        },
        &thread);
}

}  // namespace twain::kernel
