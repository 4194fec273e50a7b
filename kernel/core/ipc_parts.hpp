// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the sending and the ending of waits share; for ipc.cpp and stop.cpp only. All on the core that is concerned.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

// The caller has its time back, wherever it has got to by now.
void give_back(Cpu& cpu, Thread& caller);

// Ends a call with an error.
void fail_call(Cpu& cpu, Thread& caller, Error error);

// The thread leaves the queue that it stands in, if it does: for a receiver something else than a call may have come.
inline void leave_endpoint(Thread& thread) {
    if (!thread.endpoint) return;
    if (thread.linked()) Queue<Thread>::remove(thread);  // a call under way from another core is in no queue yet
    thread.endpoint = nullptr;
}

// Whoever only waited for a notification, and is not bound to it, does so no more.
inline void leave_note(Thread& thread) {
    if (!thread.note || thread.bound) return;
    thread.note->waiter = nullptr;
    thread.note = nullptr;
}

}  // namespace twain::kernel
