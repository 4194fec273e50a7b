// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Ending what threads wait for: when one is stopped, or the object that it waits at goes away.
#include "kernel/core/guest.hpp"
#include "kernel/core/inbox.hpp"
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
void forget_caller(Thread& thread) {
    Cpu& cpu = machine::cpu();
    kMail.remove(cpu, thread);
    bool calls = thread.endpoint || thread.server;
    // Who takes it out of a reply object, on whatever core, is the one who tells it something.
    if (Reply* reply = thread.reply.exchange(nullptr)) calls |= reply->forget(thread);
    if (calls && thread.fault == abi::FaultKind::none) tell_cancelled(thread);
    leave_endpoint(thread);
    if (thread.server) {
        thread.server->caller = nullptr;
        thread.server = nullptr;
    }
}

// The core of whom the thread is calling.
CpuId served_on(const Thread& thread) {
    // In this order: see begin_service(). Whoever receives there is of that core.
    if (const Endpoint* endpoint = thread.endpoint.acquire()) return endpoint->core;
    const Thread* server = thread.server.acquire();
    return server ? server->core : thread.core;
}

void stop_here(Thread& thread) {
    Cpu& cpu = machine::cpu();
    kMail.remove(cpu, thread);
    kKnocks.remove(cpu, thread);
    disarm(cpu, thread);
    if (cpu.current == &thread) {
        if (cpu.call_waits) thread.frame.pc -= 4;
        leave_current(cpu);
    } else if (thread.runnable()) {
        remove_ready(cpu, thread);
    }
    if (thread.vcpu) guest_abandon(thread, Status(Error::cancelled).tag());
    if (thread.state == State::receiving || thread.state == State::waiting) tell_cancelled(thread);
    if (thread.state == State::receiving) leave_endpoint(thread);
    leave_note(thread);
    const bool calling = thread.state == State::calling;
    if (!calling) thread.endpoint = nullptr;
    thread.state = State::stopped;
    give_back(cpu, thread);  // while it is known who has it
    if (served_on(thread) == cpu.id) forget_caller(thread);
    if (Thread* caller = thread.caller) {
        thread.caller = nullptr;
        fail_call(cpu, *caller, Error::cancelled);
    }
}

}  // namespace

// While `stopping` is set nothing makes the thread ready again, though whom it was calling may answer it, and a
// signaller may still hold it: the last step finds whatever they did, after everybody has let go of it.
void stop(Thread& thread) {
    if (thread.state == State::stopped) return;
    thread.stopping.release(true);
    run_on(thread.core, [&] { stop_here(thread); });
    run_on(served_on(thread), [&] { forget_caller(thread); });
    synchronize();
    run_on(served_on(thread), [&] { forget_caller(thread); });
    run_on(thread.core, [&] { stop_here(thread); });
    thread.stopping = false;
}

bool drain_step(Endpoint& endpoint) {
    bool done = false;
    run_on(endpoint.core, [&] {
        Cpu& cpu = machine::cpu();
        if (endpoint.waiting.empty()) {
            // Calls on their way here from other cores come in first; no new ones can begin.
            done = kMail.served(cpu, endpoint.draining);
            if (!done) (void)serve_mail(cpu);
            return;
        }
        for (unsigned i = 0; i < kDrained && !endpoint.waiting.empty(); ++i) {
            Thread& thread = *endpoint.waiting.pop_front();
            thread.endpoint = nullptr;
            if (!endpoint.receivers) {
                fail_call(cpu, thread, Error::cancelled);
                continue;
            }
            disarm(cpu, thread);
            tell_cancelled(thread);
            make_ready(cpu, thread);
        }
    });
    return done;
}

void drain(Reply& reply) {
    Thread* caller = reply.caller;
    if (!caller) return;
    run_on(caller->core, [&] {
        if (Thread* left = reply.take_out()) fail_call(machine::cpu(), *left, Error::cancelled);
    });
}

void leave(Notification& note) {
    Thread* const waiter = note.waiter;
    if (!waiter) return;
    run_on(waiter->core, [&] {
        Cpu& cpu = machine::cpu();
        if (note.waiter != waiter) return;  // it has gone on meanwhile
        note.waiter = nullptr;
        waiter->note = nullptr;
        waiter->bound = false;
        if (waiter->state != State::waiting || waiter->vcpu) return;
        disarm(cpu, *waiter);
        tell_cancelled(*waiter);
        make_ready(cpu, *waiter);
    });
}

void drain(Notification& note) {
    if (const u32 owner = note.timer_owner.acquire()) {
        run_on(owner - 1, [&] { machine::cpu().timers.remove(note); });
    }
    leave(note);
}

void drain(Sched& sched) {
    run_on(sched.core, [&] { machine::cpu().timers.remove(sched); });
}

void detach_sched(Thread& thread) {
    const auto leave = [&] {
        Cpu& cpu = machine::cpu();
        Sched* const sched = thread.sched;
        stop_charging(cpu, *sched);
        if (Thread* user = sched->user; user && user->active == sched) {
            if (cpu.current == user) {
                leave_current(cpu);
            } else if (user->runnable()) {
                remove_ready(cpu, *user);
            }
            user->active = nullptr;
        }
        sched->user = nullptr;
        sched->bound = nullptr;
        thread.sched = nullptr;
        thread.active = nullptr;
    };
    run_on(thread.core, [&] {
        if (thread.state == State::receiving && !thread.armed()) leave();
    });
    if (!thread.sched) return;
    stop(thread);
    run_on(thread.core, leave);
}

}  // namespace twain::kernel
