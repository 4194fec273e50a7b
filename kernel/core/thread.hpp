// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Thread: a register frame, the spaces it lives in, and what it waits for.
#pragma once

#include "kernel/core/cspace.hpp"
#include "kernel/core/endpoint.hpp"
#include "kernel/core/sched.hpp"
#include "kernel/core/space.hpp"

namespace twain::kernel {

class Vcpu;
struct InboxQueue;

// A thread's place among those that are handed to a core: see inbox.hpp.
struct Post : Link {
    Shared<InboxQueue*> inside;  // nullptr: nowhere
    Thread* thread;
    u64 number;  // who came later has a higher one
};

// Registers as entry.S saves them; the first part of a vCPU state page has the same shape.
struct Frame {
    u64 x[31];
    u64 sp;
    u64 pc;
    u64 pstate;
};
static_assert(sizeof(Frame) == 272);

using State = abi::ThreadState;

class Thread : public Object, public Link, public TimerOf<Timer::Kind::thread> {
public:
    static constexpr Type kType = Type::thread;

    // References, held as derived capabilities so that removing the object removes the reference.
    enum Ref : unsigned { ref_cspace, ref_space, ref_fault, ref_sched, ref_note, kRefs };

    alignas(16) Frame frame;  // entry.S stores through the stack pointer
    // What a message touches, in the order in which fastpath.S wants it in pairs.
    CSpace* cspace;
    Sched* sched;                // its own
    Sched* active;               // what it runs on now: its own, or its caller's; nullptr: lent, or it has none
    Sched* lent;                 // what it lent to its server
    Thread* caller;              // whom it is to answer
    Shared<Endpoint*> endpoint;  // in whose queue it stands
    Shared<Thread*> server;      // who is to answer it
    Notification* note;          // bound, or waited for
    Space* space;
    u64 thread_pointer;  // TPIDR_EL0 while it does not run
    abi::FaultKind fault;
    Shared<State> state;
    bool bound;  // `note` is bound, not only waited for

    Shared<bool> stopping;  // stop() is at work: nothing makes it ready
    Shared<Reply*> reply;   // which object holds the right to answer it
    Vcpu* vcpu;             // the guest it is running
    u64 badge;              // of the call that it makes
    machine::FpuState* fpu;
    Post mail;   // in a core's mailbox
    Post knock;  // among the knocks at its own core: any core may do that at any time
    u32 receive_slot;
    CpuId core;
    u64 fault_syndrome;
    u64 fault_address;
    Slot refs[kRefs];

    bool runnable() const { return state == State::ready || state == State::guest; }
    void set_result(u64 tag) { frame.x[1] = tag; }
};
static_assert(sizeof(Thread) <= 1024);

}  // namespace twain::kernel
