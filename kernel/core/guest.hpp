// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Virtual CPU: what a thread runs between vcpu_run and the exit that its VMM has to handle.
#pragma once

#include "kernel/core/cpu.hpp"
#include "kernel/core/thread.hpp"
#include "kernel/core/virq.hpp"

namespace twain::kernel {

class Vcpu : public Object {
public:
    static constexpr Type kType = Type::vcpu;
    static constexpr CpuId kNowhere = ~CpuId{0};
    enum Ref : unsigned { ref_space, ref_page, kRefs };

    Space* space;
    abi::VcpuPage* page;
    bool shares;             // the page behind `page` is bound with it (abi::SharedRegisters)
    Shared<Thread*> runner;  // in vcpu_run on this vCPU
    CpuId live;              // core that holds its registers, or kNowhere
    u64 affinity;
    Shared<u32> kicks;  // that wait: as long as there is one, its core knows, or looks before it enters the guest
    bool sleeping;      // in WFI
    Shared<bool> held;  // nobody may begin to run it: see Hold in guest.cpp
    bool timer_active;  // PPI 27 is active at the redistributor on its behalf
    VirqPlan virqs;
    u64 lists[VirqPlan::kMaxLists];  // list registers while not live
    u64 vmcr;
    u64 active_priorities[4];
    Slot refs[kRefs];

    static constexpr u32 kExit = 1, kLook = 2;
    // Takes the kicks that wait, before a look at what has been posted. Is the guest to be left?
    bool take_kicks() {
        const u32 taken = kicks.exchange(0);
        machine::barrier();
        return machine::kVmmInjects ? taken != 0 : (taken & kExit) != 0;
    }
};
static_assert(sizeof(Vcpu) <= 1024);

// The system call; and what fastpath.S leaves to be done when it has found the vCPU.
extern "C" void sys_vcpu_run(Cpu& cpu);
extern "C" void run_vcpu(Cpu& cpu, Vcpu& vcpu);

// The architecture's. The current thread runs a guest: the core goes into it, or back to process state. Unload: the
// registers that the core holds of `cpu.loaded` go to memory; on that core, not in guest mode.
void guest_enter(Cpu& cpu, Thread& thread);
void guest_leave(Cpu& cpu);
void guest_unload(Cpu& cpu);

// The guest is entered. `cpu.since` is later than its exit if others have run meanwhile.
inline void note_entry(const Cpu& cpu, abi::VcpuPage& page) {
    const Ticks left = page.left;
    if (!left) return;
    page.away = machine::counter() - (left > cpu.since ? left : cpu.since);
    page.left = 0;
}

// A sleeping vCPU has a reason to look: an interrupt posted, its timer, a kick.
void guest_wake(Cpu& cpu, Thread& thread);

// The thread runs its guest no more; vcpu_run has ended with `tag`. On its core.
inline void guest_abandon(Thread& thread, u64 tag) {
    Vcpu& vcpu = *thread.vcpu;
    vcpu.sleeping = false;
    thread.vcpu = nullptr;
    vcpu.runner.release(nullptr);
    thread.frame.x[0] = 0;
    thread.set_result(tag);
}

// vcpu_run returns to the current thread, which is in process state already.
inline void guest_finish(Cpu& cpu, Thread& thread, u64 tag) {
    guest_abandon(thread, tag);
    cpu.frame = &thread.frame;
}

// The guest is not entered, as it has been kicked, or the VMM is to know what has ended: it is asked for once more.
void guest_refuse(Cpu& cpu, Thread& thread, abi::Exit reason);

// Methods; structure lock.
Status guest_kick(Cpu& cpu, Vcpu& vcpu, u64 reason);
[[gnu::cold]] Status guest_sync(Vcpu& vcpu, u64 groups);
void guest_bind_page(abi::VcpuPage& page);  // says in it what the VMM has to know of the machine
// Kernel memory for a guest's translations is taken in advance: is there enough for another call? If not, under the
// structure lock, take some; false: interrupted.
bool guest_stocked(const Vcpu& vcpu);
[[gnu::cold]] bool guest_stock(Vcpu& vcpu);
// With or without the structure lock. fill, view, drop: arguments from x2 on, and what they return in x2.
Status guest_translate(Vcpu& vcpu, u32 method, u64* x);
[[gnu::cold]] void guest_destroy(Vcpu& vcpu);
[[gnu::cold]] void guest_lose_reference(Slot& slot);

}  // namespace twain::kernel
