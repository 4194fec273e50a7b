// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A thread of the arena that makes random calls for ever. What it counts, and what it found, lies in this program's memory,
// so it is there whatever becomes of the thread; and it can begin anew at any time.
#pragma once

#include <atomic>

#include "call.hpp"
#include "rt/thread.hpp"

namespace twain::fuzz {

inline constexpr unsigned kErrors = 16;

class Worker {
public:
    Worker() : start_{&Worker::run, this} {}
    void seed(u64 seed) { random_ = Random(seed); }
    u64 entry_argument() { return reinterpret_cast<u64>(&start_); }
    u64 stack_top() { return reinterpret_cast<u64>(stack_ + sizeof stack_); }

    sys::Thread thread;  // the supervisor's capabilities
    sys::Sched sched;
    u64 object = 0;  // the thread's id
    u64 seen = 0;    // calls when the supervisor looked last
    unsigned idle = 0;

    // Calls made, of which failed, by error.
    std::atomic<u64> calls{0};
    std::atomic<u64> errors[kErrors] = {};
    std::atomic<u64> checks{0};  // failed calls after which the arena's state was compared

    // The supervisor asks for calls whose failures are checked, while nobody else works.
    std::atomic<bool> check{false};

    // What the kernel did wrong, and upon which call; nullptr: nothing.
    std::atomic<const char*> complaint{nullptr};
    Call call;
    sys::Regs answer;
    unsigned changed = 0;  // the first slot of the arena that is not as it was

private:
    static void run(void* self);
    void one();
    void quieten();
    bool same(const Picture& before, const Picture& after, bool but_for_pools);
    void checked();
    void complain(const char* what, const sys::Regs& regs);

    Random random_;
    rt::ThreadStart start_;
    alignas(16) std::byte stack_[8192];
};

}  // namespace twain::fuzz
