// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Scheduling context: a budget of processor time per period, a priority and a core. A thread runs only on one;
// a local call lends the caller's to the server.
#pragma once

#include "kernel/core/budget.hpp"
#include "kernel/core/slot.hpp"
#include "kernel/core/timer.hpp"

namespace twain::kernel {

class Thread;

class Sched : public Object, public TimerOf<Timer::Kind::sched> {  // the timer: when a piece of the budget comes back
public:
    static constexpr Type kType = Type::sched;
    static constexpr u64 kMostLoans = 32;  // who takes it back goes along all of them

    Thread* bound;  // whose own it is
    Thread* user;   // who runs on it, or waits to
    u64 loans;      // how many have lent it on, from its owner to the one who lent it to the user
    Ticks used;
    Budget budget;  // without a limit: a slice for taking turns
    u8 priority;
    u8 core;
    bool hard;
    bool exhausted;

    // What counts in the ready queues: an exhausted one without a hard limit may use idle time.
    unsigned level() const { return exhausted ? 0 : priority; }
    bool runnable() const { return !(exhausted && hard); }
};

}  // namespace twain::kernel
