// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Who waits for a lock, and who is told that it is free.
#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "fake_platform.hpp"
#include "vmm/machine/lock.hpp"

namespace twain::vmm {
namespace {

using test::FakePlatform;
using Who = std::vector<VcpuIndex>;

struct Recorded : FakePlatform {
    Who rested, roused;
    Recorded() {
        rouses = [this](VcpuIndex v) { roused.push_back(v); };
    }
};

}  // namespace

TEST_CASE("lock: who finds it taken sleeps until it is unlocked, and is told") {
    for (const VcpuIndex waiter : {VcpuIndex{1}, VcpuIndex{kMaxVcpus - 1}, kNoVcpu}) {
        Recorded p;
        Lock<FakePlatform> lock;
        lock.lock(p, 0);
        p.rests = [&](VcpuIndex v) {
            p.rested.push_back(v);
            lock.unlock(p);
            CHECK(p.roused == p.rested);
            if (p.rested.size() < 3) {  // somebody else was faster
                lock.lock(p, 0);
            }
        };
        lock.lock(p, waiter);
        CHECK(p.rested == Who(3, waiter));
        p.roused.clear();
        lock.unlock(p);
        CHECK(p.roused.empty());
    }
}

TEST_CASE("lock: all who sleep are told, once, and nobody else") {
    Recorded p;
    Lock<FakePlatform> lock;
    lock.lock(p, 0);
    // Each waiter brings the next one, the last is there when the lock is unlocked.
    const Who waiters{5, kNoVcpu, 2};
    unsigned next = 1;
    p.rests = [&](VcpuIndex) {
        if (next < waiters.size()) {
            lock.lock(p, waiters[next++]);
            CHECK(p.roused == Who{2, 5, kNoVcpu});
            lock.unlock(p);
        } else if (p.roused.empty()) {
            lock.unlock(p);
        }
    };
    lock.lock(p, waiters[0]);
    lock.unlock(p);
    CHECK(p.roused == Who{2, 5, kNoVcpu});
}

TEST_CASE("lock: threads that sleep until they are told get through, one at a time") {
    constexpr unsigned kThreads = 4, kRounds = 2000;
    FakePlatform p;
    std::vector<std::atomic<unsigned>> told(kThreads);
    p.rests = [&](VcpuIndex v) {
        told[v].wait(0);
        told[v] = 0;
    };
    p.rouses = [&](VcpuIndex v) {
        told[v] = 1;
        told[v].notify_one();
    };
    Lock<FakePlatform> lock;
    unsigned count = 0;  // under the lock
    std::vector<std::thread> threads;
    for (VcpuIndex v = 0; v < kThreads; ++v) {
        threads.emplace_back([&, v] {
            for (unsigned i = 0; i < kRounds; ++i) {
                const Guard<FakePlatform> guard(lock, p, v);
                const unsigned before = count;
                if (i % 64 == 0) {
                    std::this_thread::yield();
                }
                count = before + 1;
            }
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    CHECK(count == kThreads * kRounds);
}

}  // namespace twain::vmm
