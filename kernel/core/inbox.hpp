// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Threads that are handed to a core: a list that every core pushes to and that only its own takes, all at once.
#pragma once

#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel {

struct Inbox {
    Thread* Cpu::*list;
    Thread* Thread::*next;
    u8 Thread::*inside;

    // The thread is marked as inside already.
    void push(CpuId core, Thread& thread) const {
        Thread*& first = machine::cpu(core).*list;
        Thread* head = __atomic_load_n(&first, __ATOMIC_RELAXED);
        do {
            thread.*next = head;
        } while (!__atomic_compare_exchange_n(&first, &head, &thread, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
        machine::interrupt(core);
    }

    // On the core that it belongs to. Who is not wanted goes back in.
    template <typename Wanted, typename Use>
    void take(Cpu& cpu, Wanted wanted, Use use) const {
        Thread* rest = __atomic_exchange_n(&(cpu.*list), nullptr, __ATOMIC_ACQ_REL);
        while (rest) {
            Thread& thread = *rest;
            rest = thread.*next;
            if (wanted(thread)) {
                __atomic_store_n(&(thread.*inside), u8{0}, __ATOMIC_RELEASE);
                use(thread);
            } else {
                push(cpu.id, thread);
            }
        }
    }
    void remove(Cpu& cpu, Thread& thread) const {
        if (!__atomic_load_n(&(thread.*inside), __ATOMIC_ACQUIRE)) return;
        take(
            cpu, [&](Thread& each) { return &each == &thread; }, [](Thread&) {});
    }
};

inline constexpr Inbox kMail{&Cpu::mailbox, &Thread::mail, &Thread::mailed};
inline constexpr Inbox kKnocks{&Cpu::knocks, &Thread::knock, &Thread::knocked};

}  // namespace twain::kernel
