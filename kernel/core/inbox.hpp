// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Threads that are handed to a core: a queue that every core puts them into and that only its own takes them out of, in the
// order in which they came, under a lock for a few instructions. Who is inside may leave it at once, wherever it stands.
#pragma once

#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel {

struct Inbox {
    InboxQueue Cpu::*queue;
    Post Thread::*post;

    // Who is inside already stays where it is, and its core knows.
    void push(CpuId core, Thread& thread) const {
        if (put(machine::cpu(core).*queue, thread.*post, thread)) machine::interrupt(core);
    }

    // The rest on the core that it belongs to. The first ones are handed to `use`; false: there may be more.
    template <typename Use>
    bool serve(Cpu& cpu, Use use) const {
        for (unsigned i = 0; i < kServed; ++i) {
            Thread* const thread = take_first(cpu.*queue);
            if (!thread) return true;
            use(*thread);
        }
        return false;
    }
    void remove(Cpu& cpu, Thread& thread) const { remove(cpu.*queue, thread.*post); }

    // Have all been served who had come when this was first asked? Then `since` was 0; the answer keeps it.
    bool served(Cpu& cpu, u64& since) const { return served(cpu.*queue, since); }

private:
    static constexpr unsigned kServed = 8;
    static bool put(InboxQueue& to, Post& post, Thread& thread);
    static Thread* take_first(InboxQueue& from);
    static void remove(InboxQueue& from, Post& post);
    static bool served(InboxQueue& queue, u64& since);
};

inline constexpr Inbox kMail{&Cpu::mailbox, &Thread::mail};
inline constexpr Inbox kKnocks{&Cpu::knocks, &Thread::knock};

}  // namespace twain::kernel
