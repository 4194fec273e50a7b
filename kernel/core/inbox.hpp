// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Threads that are handed to a core: a queue that every core puts them into and that only its own takes them out of, in the
// order in which they came. No lock: who comes makes itself the last, then tells the one before (or the core) who is next.
#pragma once

#include "kernel/core/cpu.hpp"
#include "machine.hpp"

namespace twain::kernel {

struct Inbox {
    InboxEnds Cpu::*ends;
    Thread* Thread::*next;
    u8 Thread::*inside;

    // The thread is marked as inside already.
    void push(CpuId core, Thread& thread) const {
        put(machine::cpu(core), thread);
        machine::interrupt(core);
    }

    // The rest on the core that it belongs to. The first ones are handed to `use`; false: there may be more.
    template <typename Use>
    bool serve(Cpu& cpu, Use use) const {
        for (unsigned i = 0; i < kServed; ++i) {
            Thread* const thread = pop(cpu);
            if (!thread) return true;
            __atomic_store_n(&(thread->*inside), u8{0}, __ATOMIC_RELEASE);
            use(*thread);
        }
        return false;
    }
    // All who are wanted; the others stay as they were.
    template <typename Wanted, typename Use>
    void take(Cpu& cpu, Wanted wanted, Use use) const {
        const Thread* const last = __atomic_load_n(&(cpu.*ends).last, __ATOMIC_ACQUIRE);
        for (Thread* each = nullptr; each != last;) {
            while (!(each = pop(cpu))) machine::relax();  // who found the queue empty is about to say who is first
            if (wanted(*each)) {
                __atomic_store_n(&(each->*inside), u8{0}, __ATOMIC_RELEASE);
                use(*each);
            } else {
                put(cpu, *each);
            }
        }
    }
    void remove(Cpu& cpu, Thread& thread) const {
        if (!__atomic_load_n(&(thread.*inside), __ATOMIC_ACQUIRE)) return;
        take(
            cpu, [&](Thread& each) { return &each == &thread; }, [](Thread&) {});
    }

private:
    static constexpr unsigned kServed = 8;

    void put(Cpu& cpu, Thread& thread) const {
        InboxEnds& queue = cpu.*ends;
        __atomic_store_n(&(thread.*next), nullptr, __ATOMIC_RELAXED);
        Thread* const before = __atomic_exchange_n(&queue.last, &thread, __ATOMIC_ACQ_REL);
        __atomic_store_n(before ? &(before->*next) : &queue.first, &thread, __ATOMIC_RELEASE);
    }
    Thread* pop(Cpu& cpu) const {
        InboxEnds& queue = cpu.*ends;
        Thread* const thread = __atomic_load_n(&queue.first, __ATOMIC_ACQUIRE);
        if (!thread) return nullptr;
        Thread* rest = __atomic_load_n(&(thread->*next), __ATOMIC_ACQUIRE);
        if (!rest) {  // the last one, unless somebody is just coming
            __atomic_store_n(&queue.first, nullptr, __ATOMIC_RELAXED);
            Thread* only = thread;
            if (__atomic_compare_exchange_n(&queue.last, &only, nullptr, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
                return thread;
            while (!(rest = __atomic_load_n(&(thread->*next), __ATOMIC_ACQUIRE))) machine::relax();
        }
        __atomic_store_n(&queue.first, rest, __ATOMIC_RELAXED);
        return thread;
    }
};

inline constexpr Inbox kMail{&Cpu::mailbox, &Thread::mail, &Thread::mailed};
inline constexpr Inbox kKnocks{&Cpu::knocks, &Thread::knock, &Thread::knocked};

}  // namespace twain::kernel
