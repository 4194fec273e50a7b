// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the kernel's checks share. A check prints one line to the kernel log:
//
//   ok ID      FAIL ID file:line detail      skip ID|FILE reason
//
// ID is METHOD/ERROR or METHOD/CASE, a literal, so that tests/coverage.py finds it. An ID may be checked in several
// places. Everything a check makes hangs on a Scratch, which takes it away again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rt/thread.hpp"
#include "sys/sys.hpp"

namespace twain::test {

using abi::Error;
using abi::Slot;
namespace rights = abi::rights;
using u64 = std::uint64_t;

inline constexpr u64 kPage = 4096;
inline constexpr sys::System kSystem{abi::kRootSystem};
inline constexpr sys::CSpace kSelf{abi::kRootCSpace};
inline constexpr sys::Space kSpace{abi::kRootSpace};
inline constexpr sys::Rights kRead = rights::mem_read, kReadWrite = rights::mem_read | rights::mem_write,
                             kReadExec = rights::mem_read | rights::mem_exec;

// Slots made once by prepare().
inline constexpr Slot kPool = 40;   // most objects come from it
inline constexpr Slot kSpare = 41;  // exclusive memory of kSpareBytes without children
inline constexpr Slot kRam = 42;    // from which Scratch::memory() derives
inline constexpr Slot kLarge = 43;  // exclusive memory without children: most of it
inline constexpr u64 kSpareBytes = 64 * kPage, kSmallPool = 4 * kPage;
inline constexpr sys::Pool kObjects{kPool};

// One source line, taken where a check is written.
struct Where {
    const char* file;
    unsigned line;
    static constexpr Where here(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
        return {file, line};
    }
};

void check(std::string_view id, bool good, Where where = Where::here());
void expect_equal(std::string_view id, u64 want, u64 got, Where where = Where::here());
void expect(std::string_view id, Error want, sys::Status got, Where where = Where::here());
void expect_ok(std::string_view id, sys::Status got, Where where = Where::here());
void skip(std::string_view id, std::string_view why);
// What a check needs before it can begin; a failure ends the run.
void need(sys::Status status, Where where = Where::here());

u64 free_bytes();  // of the pools that objects and this program's own tables come from
unsigned cores();
bool at_el2();
// In every loop that spins: an emulator that runs one core at a time goes on to the next.
inline void relax() { asm volatile("yield" ::: "memory"); }
void pause(u64 microseconds = 1000);  // everything else runs meanwhile

template <typename Condition>
bool wait_for(Condition condition, unsigned milliseconds = 200) {
    for (unsigned i = 0; i < milliseconds * 10 && !condition(); ++i) pause(100);
    return condition();
}

// A method as it is, with any numbers.
inline sys::Regs raw(Slot slot, u64 method, u64 a2 = 0, u64 a3 = 0, u64 a4 = 0, u64 a5 = 0, u64 a6 = 0, u64 a7 = 0) {
    return sys::svc<abi::Sys::invoke>(sys::Regs{slot, method, a2, a3, a4, a5, a6, a7});
}
inline sys::Status status(Slot slot, u64 method, u64 a2 = 0, u64 a3 = 0, u64 a4 = 0, u64 a5 = 0, u64 a6 = 0,
                          u64 a7 = 0) {
    return sys::Status{raw(slot, method, a2, a3, a4, a5, a6, a7).x1};
}
inline constexpr u64 kNoMethod = 77;

// Slots and memory that are free again at the end of the block. Nests like the blocks do.
class Scratch {
public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    Slot slot();  // an empty one
    sys::Notification notification();
    sys::Endpoint endpoint(unsigned core = 0);
    sys::Reply reply();
    sys::CSpace cspace();
    sys::Space space(abi::SpaceKind kind = abi::SpaceKind::host);
    sys::Thread thread();
    sys::Sched sched(unsigned priority, unsigned core = 0, u64 budget = 0, u64 period = 0, bool hard = false);
    sys::Memory memory(u64 bytes = kPage, sys::Rights rights = rights::all);
    u64 map(sys::Memory memory, u64 bytes = kPage, sys::Rights rights = kReadWrite);  // in this program's space
    sys::Pool small_pool();  // of kSmallPool bytes; one at a time
    Slot copy(Slot from, sys::Rights rights = rights::all, u64 badge = 0);
    Slot deepest(Slot from);  // a copy of a copy of ... that cannot be copied again

private:
    Slot first_;
    u64 memory_;
};

// A thread of this program. It runs `body`, then stops.
class Worker {
public:
    using Body = void (*)(Worker&);
    struct Options {
        unsigned priority = 20;
        unsigned core = 0;
        Slot fault = 0;
        Slot note = 0;
        Slot sched = 0;  // 0: one of its own
        Slot cspace = abi::kRootCSpace;
    };
    Worker(Scratch& scratch, Body body, Options options);
    Worker(Scratch& scratch, Body body) : Worker(scratch, body, Options()) {}
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    sys::Status start();
    bool done() const { return done_.load(); }
    abi::ThreadState state() const { return thread.state()->state; }

    sys::Thread thread;
    sys::Sched sched;
    Slot slots[6] = {};  // whatever body needs
    std::atomic<u64> word[8] = {};

private:
    static void run(void* self);
    std::atomic<bool> done_{false};
    Body body_;
    rt::ThreadStart start_;
    alignas(16) std::byte stack_[6144];
};

// One per file.
void test_cspace();
void test_memory();
void test_shared_errors();
void test_mapping();
void test_pool();
void test_thread();
void test_ipc();
void test_transfer();
void test_reply();
void test_notification();
void test_irq();
void test_sched();
void test_fault();
void test_system();
void test_vcpu();
void test_guest();
void test_shadow();
void test_steps();
void test_tags();
void test_registers();
void test_cores();
void test_dma();
void test_crowd();

}  // namespace twain::test
