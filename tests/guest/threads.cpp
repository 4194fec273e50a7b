// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Threads: locks, thread-local storage, vector registers, and threads that map while others read.
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "check.hpp"

namespace check {
namespace {

constexpr int kThreads = 8;

template <typename Body>
void all(Body body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back(body, i);
    }
    for (std::thread& t : threads) {
        t.join();
    }
}

thread_local long own = 0;

std::uint64_t thread_pointer() {
    std::uint64_t p = 0;
    asm volatile("mrs %0, tpidr_el0" : "=r"(p));
    return p;
}

// Vector registers hold this thread's pattern while others run.
bool vectors_stay(int self) {
    bool good = true;
    const std::uint64_t mine = 0x0101'0101'0101'0101ULL * static_cast<unsigned>(self + 1);
    for (int i = 0; i < 200; ++i) {
        std::uint64_t a = 0, b = 0;
        asm volatile(
            "dup v8.2d, %2\n\tdup v30.2d, %2\n\tmov x8, #124\n\tsvc #0\n\tumov %0, v8.d[1]\n\tumov %1, v30.d[0]"
            : "=r"(a), "=r"(b)
            : "r"(mine)
            : "x0", "x8", "v8", "v30", "memory");  // sched_yield
        good = good && a == mine && b == mine;
    }
    return good;
}

}  // namespace

void threads() {
    std::mutex lock;
    long counter = 0;
    all([&](int) {
        for (int i = 0; i < 2000; ++i) {
            const std::lock_guard guard(lock);
            ++counter;
        }
    });
    ok("a lock counts right", counter == 2000 * kThreads, counter);
    std::atomic<long> atomic{0};
    all([&](int) {
        for (int i = 0; i < 20000; ++i) {
            atomic.fetch_add(1);
        }
    });
    ok("atomics count right", atomic == 20000 * kThreads, atomic);
    std::atomic<int> wrong{0};
    all([&](int self) {
        own = self;
        const std::uint64_t pointer = thread_pointer();
        for (int i = 0; i < 500; ++i) {
            sched_yield();
            wrong += own != self + i || thread_pointer() != pointer ? 1 : 0;
            ++own;
        }
    });
    ok("thread-local storage stays local", wrong == 0, wrong);
    all([&](int self) { wrong += vectors_stay(self) ? 0 : 1; });
    ok("vector registers stay", wrong == 0, wrong);
    std::condition_variable changed;
    int turn = 0;
    all([&](int self) {
        for (int round = 0; round < 50; ++round) {
            std::unique_lock held(lock);
            changed.wait(held, [&] { return turn % kThreads == self; });
            ++turn;
            changed.notify_all();
        }
    });
    ok("threads take turns", turn == 50 * kThreads, turn);
    all([&](int) {
        for (int i = 0; i < 20; ++i) {
            std::thread([&] { atomic.fetch_sub(1); }).join();
        }
    });
    ok("threads come and go", atomic == 20000 * kThreads - 20 * kThreads, atomic);
    // What one thread unmaps, no other may still read: it finds the new page or faults, never the old one.
    std::atomic<volatile int*> place{nullptr};
    std::atomic<bool> done{false};
    std::atomic<int> stale{0};
    auto* fixed = static_cast<char*>(
        need_map(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap"));
    std::atomic<int> generation{0};
    place = reinterpret_cast<volatile int*>(fixed);
    std::thread reader([&] {
        while (!done) {
            const int before = generation;
            const int seen = *place.load();
            stale += seen != 0 && seen < before ? 1 : 0;
        }
    });
    for (int i = 1; i <= 500; ++i) {
        need_map(mmap(fixed, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap");
        *place.load() = i;
        generation = i;
    }
    done = true;
    reader.join();
    ok("no thread reads a page that is gone", stale == 0, stale);
    // Protection that one thread takes, all have lost.
    std::atomic<int> missed{0};
    std::atomic<int> state{0};
    std::thread writer([&] {
        while (state != 3) {
            if (state == 1) {
                const Raised r = signal_of([&] { *place.load() = 1; });
                missed += r.signal == SIGSEGV ? 0 : 1;
                state = 2;
            }
            sched_yield();
        }
    });
    for (int i = 0; i < 200; ++i) {
        *place.load() = 2;
        need(mprotect(fixed, kPage, PROT_READ), "mprotect");
        state = 1;
        while (state != 2) {
            sched_yield();
        }
        need(mprotect(fixed, kPage, PROT_READ | PROT_WRITE), "mprotect");
    }
    state = 3;
    writer.join();
    ok("no thread writes what has become read-only", missed == 0, missed);
}

}  // namespace check
