// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What one core owns: the thread it runs, its ready queues, its timers, its mailbox. Only the core itself touches
// it, but for the mailbox and the request slot.
#pragma once

#include "kernel/core/thread.hpp"

namespace twain::kernel {

// Work that another core is asked to do while the asker waits (structure lock held). `run` must not block.
struct Request {
    void (*run)(void* argument);
    void* argument;
};

// Threads that other cores hand over: see inbox.hpp.
struct InboxQueue {
    u32 taken;  // the lock
    u64 came;   // how many have come
    Queue<Post> posts;
};

struct Cpu {
    // entry.S and fastpath.S know these by offset.
    Thread* current;  // nullptr: idle
    Frame* frame;     // where the registers of what runs in user mode belong
    u64 guest_mode;   // nonzero: `frame` is a vCPU state page, and the syndrome of its return is set already
    u64 hazard;       // nonzero: look at the queues before going back to user mode
    u64 fpu_on;       // nonzero: FP registers may be used now without a trap
    CpuId id;
    u32 one;          // with `id`: what Endpoint::core and receivers read as if this core may receive there
    u64 translation;  // what the translation base register for user mode holds

    Sched* sched;      // whose budget is being used
    Ticks since;       // from when on
    Vcpu* loaded;      // whose EL1 registers, timer and list registers are in the core
    void* fpu_owner;   // thread or vCPU whose FP registers are in the core
    u64 ready_levels;  // bitmap of non-empty queues
    Queue<Thread> ready[abi::sched::kPriorities];
    TimerQueue timers;
    u64 alternate;       // 0, or what `translation` may become without coming here: the other virtual level of a guest
    Ticks idle;          // ticks spent idle
    InboxQueue mailbox;  // calls and answers
    InboxQueue knocks;   // threads for whom something may have come
    Shared<Request*> request;  // from the holder of the structure lock
    u64 mpidr;
    Shared<bool> online;
    bool timer_routed;     // PPI 27, a guest's virtual timer, is enabled
    Shared<bool> passing;  // another core waits until this one is between two uses of what it has read: pass_all_cores
    bool halting;          // with it: this core is to stop for good, as another has panicked
    bool call_waits;       // the current thread's system call waits for the structure lock: nothing of it has happened
};

// Hazards
inline constexpr u64 kReschedule = 1;

// How many turns a panic waits for what may be broken.
inline constexpr u32 kPatience = 1 << 20;

// The lock for everything structural: create, derive, map, remove, bind. Fair enough (ticket); a waiter serves
// requests of other cores, so a holder may wait for them.
class StructureLock {
public:
    static constexpr bool kCall = true;  // of a system call: it is made again if its thread is stopped while it waits
    explicit StructureLock(bool call = false) {
        const u32 mine = __atomic_fetch_add(&next_ticket_, 1, __ATOMIC_RELAXED);
        if (!served(mine)) [[unlikely]]
            wait(mine, call);
    }
    ~StructureLock() { __atomic_store_n(&now_serving_, now_serving_ + 1, __ATOMIC_RELEASE); }
    StructureLock(const StructureLock&) = delete;
    StructureLock& operator=(const StructureLock&) = delete;

    // Does somebody wait for the one that is held here?
    static bool wanted() { return __atomic_load_n(&next_ticket_, __ATOMIC_RELAXED) != now_serving_ + 1; }

private:
    static bool served(u32 mine) { return __atomic_load_n(&now_serving_, __ATOMIC_ACQUIRE) == mine; }
    static void wait(u32 mine, bool call);
    inline static u32 next_ticket_ = 0, now_serving_ = 0;
};

// Who holds the structure lock for long should stop at the next consistent state: an interrupt waits, or another core waits
// for the lock, and that one takes no interrupts meanwhile.
bool should_pause();

// Runs something on a core, or nothing on every core, and waits for it. Structure lock held. When it returns, each
// of those cores has left every path that had looked something up before.
void run_on(CpuId core, void (*run)(void*), void* argument);
template <typename Work>
void run_on(CpuId core, Work work) {
    run_on(
        core, [](void* it) { (*static_cast<Work*>(it))(); }, &work);
}
void synchronize();

// Waits until every other core has been in user mode, idle, or in wait_in_kernel(): whatever it does from then on, it does
// with what this core has written before. Without the structure lock too; interrupts are off.
void pass_all_cores();
// One turn of a loop that waits for another core.
void wait_in_kernel();
// The kernel is broken: stops all other cores, when they are at one of those places. Waits for that, but not for ever.
void halt_other_cores();

// Entered on the inter-processor interrupt: the mailbox and the request. If there is more, the core interrupts itself.
void serve_other_cores(Cpu& cpu);
// The first ones of the mailbox. False: there may be more.
bool serve_mail(Cpu& cpu);

}  // namespace twain::kernel
