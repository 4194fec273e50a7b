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
    Queue<Thread> waiting;   // callers, or receivers
    CpuId core;
    u32 receivers;           // what `waiting` holds: 1 receivers, 0 callers
};

// The right to answer one caller later.
class Reply : public Object {
public:
    static constexpr Type kType = Type::reply;
    Thread* caller;
};

// A word of bits, and at most one thread that waits for them. Signals may come from any core: the bits are
// atomic, and only the waiter's own core makes it ready.
class Notification : public Object, public TimerOf<Timer::Kind::notification> {
public:
    static constexpr Type kType = Type::notification;
    u64 bits;
    Thread* waiter;  // bound to it, or waiting for it now
    u64 timer_badge;
    CpuId timer_core;
};

}  // namespace twain::kernel
