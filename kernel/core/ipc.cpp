// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/ipc.hpp"

#include "kernel/core/guest.hpp"
#include "kernel/core/inbox.hpp"
#include "kernel/core/ipc_parts.hpp"
#include "kernel/core/switch_to.hpp"
#include "kernel/core/transfer.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

using abi::Type;
namespace rights = abi::rights;

constexpr u64 kLabel = 0xffff'ffff;
constexpr unsigned kRefused = 16;

u64 error_tag(Error error, unsigned argument = 0) { return Status(error, argument).tag(); }

void copy_words(const Frame& from, Frame& to) {
    for (unsigned i = 2; i < 8; ++i) to.x[i] = from.x[i];
}

// What a faulted thread says arrives in the registers of its handler.
void deliver_fault(const Thread& caller, Frame& to) {
    to.x[0] = caller.badge;
    to.x[1] = static_cast<u32>(caller.fault);
    to.x[2] = caller.fault_syndrome;
    to.x[3] = caller.fault_address;
    to.x[4] = caller.frame.pc;
    to.x[5] = caller.frame.sp;
    to.x[6] = caller.id;
    to.x[7] = 0;
}

// What a caller says arrives in the server's registers; a capability only under the lock.
void deliver(Thread& caller, Thread& server, const StructureLock* lock) {
    Frame& to = server.frame;
    if (caller.fault != abi::FaultKind::none) return deliver_fault(caller, to);
    const u64 tag = caller.frame.x[1];
    to.x[0] = caller.badge;
    to.x[1] = tag & kLabel;
    copy_words(caller.frame, to);
    if (lock && (tag & abi::kTagCap)) transfer_capability(caller, server, *lock);
}

void deliver_bits(Thread& thread, u64 bits) {
    thread.frame.x[0] = 0;
    thread.frame.x[1] = abi::kTagNote;
    thread.frame.x[2] = bits;
    for (unsigned i = 3; i < 8; ++i) thread.frame.x[i] = 0;
}

u64 take_bits(Notification& note) { return __atomic_exchange_n(&note.bits, u64{0}, __ATOMIC_ACQ_REL); }

bool has_bits(const Thread& thread) {
    return thread.note && __atomic_load_n(&thread.note->bits, __ATOMIC_ACQUIRE) != 0;
}

// Would a server here work on the caller's time?
[[gnu::always_inline]] inline bool lends(const Cpu& cpu, const Thread& caller) {
    return caller.core == cpu.id && caller.active && caller.active->loans < Sched::kMostLoans;
}

void lend(Thread& caller, Thread& server) {
    Sched* sched = caller.active;
    caller.lent = sched;
    caller.active = nullptr;
    server.active = sched;
    sched->user = &server;
    ++sched->loans;
}

// Makes a thread ready that this core has served, on its own core.
void release(Cpu& cpu, Thread& thread) {
    if (thread.core == cpu.id) {
        make_ready(cpu, thread);
    } else {
        thread.state = State::replying;
        kMail.push(thread.core, thread);
    }
}

// Binds caller and server to each other.
void bind(Thread& caller, Thread& server) {
    caller.server.release(&server);
    caller.endpoint.release(nullptr);  // always one of the two says which core it is at
    server.caller = &caller;
}

[[gnu::noinline]] void begin_service(Cpu& cpu, Thread& caller, Thread& server, const StructureLock* lock) {
    bind(caller, server);
    if (lends(cpu, caller)) lend(caller, server);
    deliver(caller, server, lock);
}

bool can_serve(const Cpu& cpu, const Thread& caller, const Thread& server) {
    return lends(cpu, caller) || server.sched;
}

// The caller is answered and goes on. A reply object's answer lies one register higher: its method is in x1.
void end_service(Cpu& cpu, Thread& caller, Thread& sender, bool reply_object, const StructureLock* lock) {
    if (caller.core == cpu.id) give_back(cpu, caller);
    caller.server = nullptr;
    caller.reply = nullptr;
    const Frame& from = sender.frame;
    const u64 tag = reply_object ? from.x[2] : from.x[1];
    Frame& to = caller.frame;
    if (caller.fault != abi::FaultKind::none) {
        if ((tag & kLabel) != 0) {
            caller.state = State::faulted;
            return;
        }
        caller.fault = abi::FaultKind::none;
    } else if (reply_object) {
        to.x[0] = 0;
        to.x[1] = tag & kLabel;
        for (unsigned i = 2; i < 7; ++i) to.x[i] = from.x[i + 1];
        to.x[7] = 0;
    } else {
        to.x[0] = 0;
        to.x[1] = tag & kLabel;
        copy_words(from, to);
        if (lock && (tag & abi::kTagCap)) transfer_capability(sender, caller, *lock);
    }
    release(cpu, caller);
}

Thread* first_caller(const Endpoint& endpoint) { return endpoint.receivers ? nullptr : endpoint.waiting.front(); }

// Those in the queue whom this server has no time for are told so, a few at once. False: there may be more.
bool refuse(Cpu& cpu, Endpoint& endpoint, const Thread& server) {
    for (unsigned i = 0; i < kRefused; ++i) {
        Thread* const caller = first_caller(endpoint);
        if (!caller || can_serve(cpu, *caller, server)) return true;
        endpoint.waiting.pop_front();
        fail_call(cpu, *caller, Error::no_server);
    }
    return false;
}

void enqueue(Endpoint& endpoint, Thread& thread, bool receiver) {
    endpoint.receivers = receiver ? 1 : 0;
    endpoint.waiting.push_back(thread);
    thread.endpoint = &endpoint;
}

// The current thread waits at the endpoint: takes a caller, for whom there is time, or a signal at once if there is one.
// Returns true if the thread goes on.
bool receive(Cpu& cpu, Thread& self, Endpoint& endpoint, Ticks deadline, const StructureLock* lock) {
    if (Thread* const caller = first_caller(endpoint)) {
        endpoint.waiting.pop_front();
        begin_service(cpu, *caller, self, lock);
        if (cpu.sched != self.active) cpu.hazard |= kReschedule;  // from now on another's time
        return true;
    }
    self.state = State::receiving;
    enqueue(endpoint, self, true);
    machine::barrier();  // the state before the bits: a signaller reads them the other way round
    const bool bits = has_bits(self) && self.sched;
    if (bits || deadline == abi::kPoll) {
        leave_endpoint(self);
        self.state = State::ready;
        bits ? deliver_bits(self, take_bits(*self.note)) : self.set_result(error_tag(Error::timeout));
        return true;
    }
    if (deadline != abi::kForever) arm(cpu, self, deadline);
    return false;
}

bool waits_for_bits(const Thread& thread) {
    const State state = thread.state.acquire();
    return (state == State::receiving && thread.sched) || (state == State::waiting && !thread.vcpu);
}

// Arrival of a call at the endpoint's home core.
void arrive(Cpu& cpu, Thread& caller, const StructureLock* lock) {
    Endpoint& endpoint = *caller.endpoint;
    if (!endpoint.receivers || endpoint.waiting.empty()) {
        enqueue(endpoint, caller, false);
        return;
    }
    Thread& server = *endpoint.waiting.front();
    if (!can_serve(cpu, caller, server)) {
        fail_call(cpu, caller, Error::no_server);
        return;
    }
    leave_endpoint(server);
    disarm(cpu, server);
    begin_service(cpu, caller, server, lock);
    make_ready(cpu, server);
}

// A server of this core that waits, if nothing else is to be looked at first: it may have the processor at once.
[[gnu::always_inline]] inline Thread* idle_server(const Cpu& cpu, const Thread& self, const Endpoint& endpoint) {
    if (endpoint.core != cpu.id || !endpoint.receivers || cpu.hazard || !lends(cpu, self)) return nullptr;
    Thread* const server = endpoint.waiting.front();
    return server && !server->stopping.acquire() ? server : nullptr;
}

void start_call(Cpu& cpu, Thread& self, Endpoint& endpoint, u64 badge, const StructureLock* lock) {
    self.badge = badge;
    self.state = State::calling;
    if (Thread* const server = idle_server(cpu, self, endpoint)) {
        leave_endpoint(*server);
        disarm(cpu, *server);
        begin_service(cpu, self, *server, lock);
        return switch_on(cpu, self, *server);
    }
    self.endpoint = &endpoint;
    leave_current(cpu);
    if (endpoint.core == cpu.id) {
        arrive(cpu, self, lock);
    } else if (lock) {  // what travels along needs the lock: the other core does its part while it is held here
        run_on(endpoint.core, [&] { arrive(machine::cpu(), self, lock); });
    } else {
        kMail.push(endpoint.core, self);
    }
}

bool brings_capability(const Thread* caller) {
    return caller && caller->fault == abi::FaultKind::none && (caller->frame.x[1] & abi::kTagCap);
}

bool fail(Thread& self, Status status) {
    self.set_result(status.tag());
    return true;
}

// System calls that want the structure lock if a capability is on its way: then it is held from before the look-up to the end,
// so nothing that was found can go. False: it is wanted and not held, and nothing has been done.
bool call(Cpu& cpu, Thread& self, const StructureLock* lock) {
    const Capability cap = self.cspace->load(self.frame.x[0]);
    const bool passes = self.frame.x[1] & abi::kTagCap;
    if (!cap.has(Type::endpoint, rights::ep_call)) return fail(self, cap.lacks(Type::endpoint));
    if (passes && !(cap.rights() & rights::ep_pass)) return fail(self, {Error::rights, 0});
    if (passes && !lock) return false;
    start_call(cpu, self, cap.object<Endpoint>(), cap.badge, lock);
    return true;
}

bool reply_wait(Cpu& cpu, Thread& self, const StructureLock* lock) {
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (!cap.has(Type::endpoint, rights::ep_receive)) return fail(self, cap.lacks(Type::endpoint));
    Endpoint& endpoint = cap.object<Endpoint>();
    if (endpoint.core != cpu.id) return fail(self, {Error::no_server, 0});
    if (!refuse(cpu, endpoint, self)) [[unlikely]] {  // on the time of the caller that it is going to answer
        self.frame.pc -= 4;
        cpu.hazard |= kReschedule;
        return true;
    }
    if (!lock && ((self.frame.x[1] & abi::kTagCap) || brings_capability(first_caller(endpoint)))) return false;
    Thread* caller = self.caller;
    self.caller = nullptr;
    if (caller) end_service(cpu, *caller, self, false, lock);
    if (!receive(cpu, self, endpoint, abi::kForever, lock)) block(cpu, self);
    return true;
}

bool wait(Cpu& cpu, Thread& self, const StructureLock* lock) {
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (cap.has(Type::notification, rights::note_wait)) {
        sleep_on(cpu, cap.object<Notification>());
        return true;
    }
    if (!cap.has(Type::endpoint, rights::ep_receive)) return fail(self, cap.lacks(Type::notification));
    Endpoint& endpoint = cap.object<Endpoint>();
    if (self.caller) return fail(self, {Error::busy, 0});
    if (endpoint.core != cpu.id) return fail(self, {Error::no_server, 0});
    if (!lock && brings_capability(first_caller(endpoint))) return false;
    if (!receive(cpu, self, endpoint, self.frame.x[1], lock)) block(cpu, self);
    return true;
}

template <bool (*kCall)(Cpu&, Thread&, const StructureLock*)>
void lock_if_wanted(Cpu& cpu) {
    Thread& self = *cpu.current;
    if (kCall(cpu, self, nullptr)) [[likely]]
        return;
    const StructureLock lock(StructureLock::kCall);
    if (cpu.current == &self) (void)kCall(cpu, self, &lock);
}

// The thread sleeps, but perhaps not for long.
[[gnu::noinline]] void sleep_until(Cpu& cpu, Thread& self, u64 bits, Ticks deadline) {
    if (!bits && deadline != abi::kPoll) {
        arm(cpu, self, deadline);
        return block(cpu, self);
    }
    self.state = State::ready;
    leave_note(self);
    bits ? deliver_bits(self, bits) : self.set_result(error_tag(Error::timeout));
}

template <bool kQuick>
[[gnu::always_inline]] inline void wake_with_bits(Cpu& cpu, Thread& thread, Notification& note) {
    if (!kQuick && thread.armed() && has_bits(thread)) disarm(cpu, thread);
    const u64 bits = take_bits(note);
    if (!bits) return;
    leave_endpoint(thread);
    deliver_bits(thread, bits);
    if (!thread.bound) {
        note.waiter = nullptr;
        thread.note = nullptr;
    }
    wake<kQuick>(cpu, thread);
}

[[gnu::noinline]] void wake_slowly(Cpu& cpu, Thread& thread, Notification& note) {
    wake_with_bits<false>(cpu, thread, note);
}

}  // namespace

// The caller has its time back, wherever it has got to by now: servers in between that lent it on have their own again.
void give_back(Cpu& cpu, Thread& caller) {
    Sched* sched = caller.lent;
    if (!sched) return;
    caller.lent = nullptr;
    --sched->loans;
    for (Thread* between = caller.server; between && between->lent == sched; between = between->server) {
        between->lent = nullptr;
        --sched->loans;
        between->active = own_time(*between);
    }
    Thread* user = sched->user;
    if (user && user->active == sched) {
        const bool queued = user->runnable() && user->linked();
        if (queued) remove_ready(cpu, *user);
        user->active = own_time(*user);
        if (queued) make_ready(cpu, *user);
        if (user == cpu.current) cpu.hazard |= kReschedule;
    }
    // A server that had lent it on goes on with its own, if what was lent has ended meanwhile.
    Sched* own = sched->runnable() || caller.sched == sched ? nullptr : own_time(caller);
    caller.active = own ? own : sched;
    sched->user = own ? nullptr : &caller;
}

// Ends a call with an error.
void fail_call(Cpu& cpu, Thread& caller, Error error) {
    if (caller.core == cpu.id) give_back(cpu, caller);
    caller.endpoint = nullptr;
    caller.server = nullptr;
    caller.reply = nullptr;
    if (caller.fault != abi::FaultKind::none) {
        caller.state = State::faulted;
        return;
    }
    caller.frame.x[0] = 0;
    caller.set_result(error_tag(error));
    release(cpu, caller);
}

// The rest of what fastpath.S begins.
void sys_call(Cpu& cpu) { lock_if_wanted<call>(cpu); }
void sys_reply_wait(Cpu& cpu) { lock_if_wanted<reply_wait>(cpu); }
void sys_wait(Cpu& cpu) { lock_if_wanted<wait>(cpu); }

void sleep_on(Cpu& cpu, Notification& note) {
    Thread& self = *cpu.current;
    const Ticks deadline = self.frame.x[1];
    if (note.waiter != &self && (self.bound || !note.waiter.replace(nullptr, &self))) {
        self.set_result(error_tag(Error::busy, 0));  // somebody else waits, or this thread is bound elsewhere
        return;
    }
    self.note = &note;
    self.state = State::waiting;
    machine::barrier();  // the state before the bits: a signaller reads them the other way round
    const u64 bits = take_bits(note);
    if (bits || deadline != abi::kForever) return sleep_until(cpu, self, bits, deadline);
    block(cpu, self);
}

[[gnu::noinline]] void post_mail(Thread& thread) { kKnocks.push(thread.core, thread); }

[[gnu::noinline]] void wake_waiter(Cpu& cpu, Notification& note) {
    Thread* waiter = note.waiter.acquire();
    if (!waiter || !waits_for_bits(*waiter)) return;
    if (waiter->core != cpu.id) return post_mail(*waiter);
    if (waiter->armed() || cpu.guest_mode) return wake_slowly(cpu, *waiter, note);
    wake_with_bits<true>(cpu, *waiter, note);
}

void signal(Cpu& cpu, Notification& note, u64 bits) {
    __atomic_fetch_or(&note.bits, bits, __ATOMIC_ACQ_REL);
    machine::barrier();
    wake_waiter(cpu, note);
}

void sys_signal(Cpu& cpu) {
    Thread& self = *cpu.current;
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (!cap.has(Type::notification, rights::note_signal)) [[unlikely]] {
        self.set_result(cap.lacks(Type::notification).tag());
        return;
    }
    self.set_result(0);
    signal(cpu, cap.object<Notification>(), cap.badge ? cap.badge : 1);
}

void fault(Cpu& cpu, abi::FaultKind kind, u64 syndrome, u64 address) {
    Thread& self = *cpu.current;
    self.fault = kind;
    self.fault_syndrome = syndrome;
    self.fault_address = address;
    const Capability cap = self.refs[Thread::ref_fault].load();
    if (!cap.has(Type::endpoint, rights::ep_call)) {
        self.state = State::faulted;
        leave_current(cpu);
        return;
    }
    Endpoint& endpoint = cap.object<Endpoint>();
    Thread* const server = idle_server(cpu, self, endpoint);
    if (!server || server->armed()) return start_call(cpu, self, endpoint, cap.badge, nullptr);
    self.badge = cap.badge;
    self.state = State::calling;
    leave_endpoint(*server);
    bind(self, *server);
    lend(self, *server);
    deliver_fault(self, server->frame);
    switch_on(cpu, self, *server);
}

void thread_timeout(Cpu& cpu, Thread& thread) {
    if (thread.vcpu) {
        guest_wake(cpu, thread);
        return;
    }
    if (thread.state != State::receiving && thread.state != State::waiting) return;
    leave_endpoint(thread);
    leave_note(thread);
    thread.frame.x[0] = 0;
    thread.set_result(error_tag(Error::timeout));
    make_ready(cpu, thread);
}

void receive_mail(Cpu& cpu, Thread& thread) {
    if (thread.state == State::calling && thread.endpoint && thread.endpoint->core == cpu.id && !thread.linked()) {
        arrive(cpu, thread, nullptr);
        return;
    }
    if (thread.core == cpu.id && thread.state == State::replying) {
        give_back(cpu, thread);
        make_ready(cpu, thread);
    }
}

void receive_knock(Cpu& cpu, Thread& thread) {
    if (thread.core != cpu.id) return;
    if (thread.vcpu) {
        guest_wake(cpu, thread);
    } else if (thread.note) {
        wake_waiter(cpu, *thread.note);
    }
}

Status capture(Cpu& cpu, Reply& reply, Thread& self) {
    Thread* caller = self.caller;
    if (!caller || reply.taken) return {Error::busy, 0};
    if (!self.sched) return {Error::no_server, 0};
    if (reply.taken.exchange(true)) return {Error::busy, 0};
    give_back(cpu, *caller);
    self.caller = nullptr;
    caller->server = nullptr;
    caller->reply.release(&reply);
    reply.caller.release(caller);
    return {};
}

Status send_reply(Cpu& cpu, Reply& reply, Thread& sender) {
    Thread* caller = reply.take_out();
    if (!caller) return Error::busy;
    end_service(cpu, *caller, sender, true, nullptr);
    return {};
}

}  // namespace twain::kernel
