// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Messages and signals between threads.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

// The system calls. Arguments and results are in the current thread's frame.
void sys_call(Cpu& cpu);
void sys_reply_wait(Cpu& cpu);
void sys_wait(Cpu& cpu);
void sys_signal(Cpu& cpu);

// What fastpath.S leaves to be done. A signal's bits are set: wakes the waiter, if there is one. The current thread waits
// for a notification; frame: the deadline in x1.
extern "C" void wake_waiter(Cpu& cpu, Notification& note);
extern "C" void sleep_on(Cpu& cpu, Notification& note);

// Sets bits of a notification and wakes its waiter, wherever that one runs.
void signal(Cpu& cpu, Notification& note, u64 bits);

// The current thread has faulted: calls its fault endpoint in its name, or leaves it faulted if it has none.
void fault(Cpu& cpu, abi::FaultKind kind, u64 syndrome, u64 address);

void thread_timeout(Cpu& cpu, Thread& thread);

// Asks a thread's core to look at what the thread waits for.
void post_mail(Thread& thread);

// Another core has put `thread` into this core's mailbox, or has knocked for it.
void receive_mail(Cpu& cpu, Thread& thread);
void receive_knock(Cpu& cpu, Thread& thread);

// Puts the current thread's caller into `reply`. The thread goes on with its own time; the caller's is its own again.
Status capture(Cpu& cpu, Reply& reply, Thread& self);

// Answers the caller that `reply` holds; the words are in the sender's frame (x2 tag, x3..x7).
Status send_reply(Cpu& cpu, Reply& reply, Thread& sender);

// Undoes whatever the thread waits for, and leaves it stopped; whom it was serving gets Error::cancelled.
// Structure lock.
void stop(Thread& thread);

// Ends all waiting at an endpoint, a reply, a notification or for a budget that goes away. Structure lock.
bool drain_step(Endpoint& endpoint);  // for some of those who wait; true: nobody is left
void drain(Reply& reply);
void drain(Notification& note);
void drain(Sched& sched);

// Whoever is bound to the notification, or waits for it, is not any more. Structure lock.
void leave(Notification& note);

// A scheduling context goes away, or is taken from its owner. That stops, unless it waits for a call, for as long as need be:
// then it goes on waiting, and works on its callers' time. Structure lock.
void detach_sched(Thread& thread);

}  // namespace twain::kernel
