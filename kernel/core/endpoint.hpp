// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Endpoint, reply and notification: the objects through which threads meet.
#pragma once

#include "kernel/core/list.hpp"
#include "kernel/core/slot.hpp"
#include "kernel/core/timer.hpp"

namespace twain::kernel {

class Thread;

// Its queues are touched only on its home core with interrupts off, so they need no lock. At most one of the
// two is not empty.
class Endpoint : public Object {
public:
    static constexpr Type kType = Type::endpoint;
    Queue<Thread> waiting;  // callers, or receivers
    CpuId core;
    u32 receivers;  // what `waiting` holds: 1 receivers, 0 callers
    u64 draining;   // it goes: who comes into the mailbox from this number on does not call it
};

// The right to answer one caller later. Several cores may try to put a caller in, or to answer it, at the same time.
class Reply : public Object {
public:
    static constexpr Type kType = Type::reply;
    Shared<Thread*> caller;  // whoever takes it out has it
    Shared<bool> taken;      // from the moment on at which a caller is about to be put in

    Thread* take_out() {
        Thread* const found = caller.exchange(nullptr);
        if (found) taken.release(false);
        return found;
    }
    // The same for one thread. False: somebody else has it.
    bool forget(Thread& thread) {
        const bool found = caller.replace(&thread, nullptr);
        if (found) taken.release(false);
        return found;
    }
};

// A word of bits, and at most one thread that waits for them. Signals may come from any core: the bits are
// atomic, and only the waiter's own core makes it ready.
class Notification : public Object, public TimerOf<Timer::Kind::notification> {
public:
    static constexpr Type kType = Type::notification;
    u64 bits;
    Shared<Thread*> waiter;  // bound to it, or waiting for it now
    u64 timer_badge;
    Shared<u32>
        timer_owner;  // 0: its timer is not set; else the core plus one that has it in its queue, and alone may touch it
};

}  // namespace twain::kernel
