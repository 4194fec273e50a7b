// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A small system for a test: cores, memory, a root task with the capabilities that the kernel's start gives it, and
// threads that make system calls when the test says so.
#pragma once

#include <memory>
#include <vector>

#include "kernel/api/syscall.hpp"
#include "kernel/core/create.hpp"
#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/irq.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel::test {

namespace rights = abi::rights;
using abi::Type;

struct Answer {
    u64 x[8] = {};
    unsigned restarts = 0;  // how often the call was interrupted and made again
    Error error() const { return abi::tag_error(x[1]); }
    unsigned argument() const { return abi::tag_arg(x[1]); }
    bool ok() const { return error() == Error::none; }
};

class World {
public:
    static constexpr u64 kRam = u64{64} << 20;
    static constexpr u64 kPoolBytes = u64{4} << 20;
    static constexpr u64 kPool2Bytes = u64{4} << 20;  // behind the first: for what a test destroys

    explicit World(CpuId cores = 1, u64 ram = kRam);
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // ---- As the root task (on core 0)
    Answer invoke(u64 slot, u64 method, u64 a2 = 0, u64 a3 = 0, u64 a4 = 0, u64 a5 = 0, u64 a6 = 0, u64 a7 = 0);
    Answer create(Type type, u64 slot, u64 a4 = 0, u64 a5 = 0, u64 pool = abi::kRootPool) {
        return invoke(pool, abi::pool::create, static_cast<u64>(type), slot, a4, a5);
    }
    Slot& at(u64 slot) { return *root->cspace->find(slot); }
    template <typename T>
    T& object(u64 slot) {
        return at(slot).object<T>();
    }

    // ---- Other threads: own scheduling context, the root task's capability space and space
    Thread& thread(CpuId core = 0, u8 priority = 10, Ticks budget = 0, Ticks period = 0, bool hard = false);
    Endpoint& endpoint(u64 slot, CpuId core = 0);
    Notification& notification(u64 slot);
    Reply& reply(u64 slot);

    // The thread makes a system call now: it is put on its core whatever its priority; then the core goes on.
    void call(Thread& thread, abi::Sys number, std::initializer_list<u64> x);
    Answer answer(const Thread& thread) const;
    void start(Thread& thread) { go(thread, true); }

    // Puts a ready thread on its core.
    void run(Thread& thread);
    // The core looks at its mailbox, requests and hazards.
    void interrupt(CpuId core);
    void settle();  // until no core has an interrupt waiting
    // Time passes; cores whose timer is due take the interrupt.
    void pass(Ticks ticks);
    // The end of a kernel entry that the test has made itself.
    void go_on(CpuId core) { resolve(core); }

    Cpu& cpu(CpuId core = 0) { return machine::cpu(core); }
    // Throws if a capability, a queue, a link or a donation is not as it must be: see invariants.hpp.
    void check();

    Thread* root = nullptr;
    std::vector<Thread*> threads;  // the root task's, and those made by thread()
    u64 next_slot = 1000;          // for what thread() makes

private:
    void go(Thread& thread, bool fresh);
    void resolve(CpuId core);
};

// Core 0 holds the structure lock; the next time that another core waits for it, core 0 does `work` and lets it go.
template <typename Work>
void hold_lock_until(Work work) {
    auto lock = std::make_shared<std::unique_ptr<StructureLock>>();
    fake::on(0, [&] { *lock = std::make_unique<StructureLock>(); });
    fake::state().while_waiting = [lock, work] {
        fake::on(0, [&] {
            work();
            lock->reset();
        });
    };
}

}  // namespace twain::kernel::test
