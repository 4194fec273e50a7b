// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>

#include "kernel/core/pool.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr u64 kBytes = 256 * 1024;

Pool& fresh_pool(u64 bytes = kBytes, int left = 0xa5) {
    fake::reset(1, u64{1} << 20);
    std::memset(machine::to_virt({fake::kRamBase}), left, bytes);
    return *Pool::create(machine::to_virt({fake::kRamBase}), bytes);
}

bool zeroed(const void* at, u64 bytes) {
    const auto* each = static_cast<const unsigned char*>(at);
    for (u64 i = 0; i < bytes; ++i) {
        if (each[i]) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("a pool gives zeroed, aligned blocks and counts them") {
    Pool& pool = fresh_pool();
    const u64 free = pool.free_bytes();
    REQUIRE(pool.bytes() == kBytes);
    REQUIRE(free == kBytes - 2 * kPage);  // one page for itself and 4096 units' notes, which spill into a second
    void* small = pool.allocate(0);
    void* page = pool.allocate(6);
    REQUIRE(reinterpret_cast<u64>(small) % 64 == 0);
    REQUIRE(reinterpret_cast<u64>(page) % kPage == 0);
    REQUIRE(zeroed(small, 64));
    REQUIRE(zeroed(page, kPage));
    REQUIRE(pool.free_bytes() == free - 64 - kPage);
    std::memset(small, 1, 64);
    pool.free(small, 0);
    pool.free(page, 6);
    REQUIRE(pool.free_bytes() == free);
    REQUIRE(zeroed(pool.allocate(0), 64));
}

TEST_CASE("the smallest pool works, and says when it is exhausted") {
    Pool& pool = fresh_pool(Pool::kMinBytes);
    unsigned pages = 0;
    while (pool.allocate(6)) ++pages;
    REQUIRE(pages == 3);
    REQUIRE(pool.free_bytes() == 0);
    REQUIRE(pool.allocate(0) == nullptr);
}

TEST_CASE("blocks never overlap, and buddies merge") {
    Pool& pool = fresh_pool();
    const u64 free = pool.free_bytes();
    std::mt19937 random(2);
    std::map<u64, unsigned> live;  // address -> order
    for (int step = 0; step < 50'000; ++step) {
        if (live.empty() || random() % 2) {
            const unsigned order = static_cast<unsigned>(random() % Pool::kOrders);
            void* block = pool.allocate(order);
            if (!block) continue;
            const u64 at = reinterpret_cast<u64>(block), bytes = u64{64} << order;
            REQUIRE(at % bytes == 0);
            const auto after = live.lower_bound(at);
            if (after != live.end()) REQUIRE(at + bytes <= after->first);
            if (after != live.begin()) {
                const auto before = std::prev(after);
                REQUIRE(before->first + (u64{64} << before->second) <= at);
            }
            REQUIRE(zeroed(block, bytes));
            std::memset(block, 0xff, bytes);
            live[at] = order;
        } else {
            auto each = live.begin();
            std::advance(each, static_cast<long>(random() % live.size()));
            pool.free(reinterpret_cast<void*>(each->first), each->second);
            live.erase(each);
        }
        u64 used = 0;
        if (step % 64 == 0) {
            for (const auto& [at, order] : live) used += u64{64} << order;
            REQUIRE(pool.free_bytes() == free - used);
        }
    }
    for (const auto& [at, order] : live) pool.free(reinterpret_cast<void*>(at), order);
    REQUIRE(pool.free_bytes() == free);
    unsigned pages = 0;  // everything has merged into pages again
    while (pool.allocate(6)) ++pages;
    REQUIRE(pages == free / kPage);
}

TEST_CASE("what a user left in memory does not tell a pool what is free") {
    constexpr unsigned kFreeNote = 0x80;  // and the order
    for (unsigned order = 0; order + 1 < Pool::kOrders; ++order) {
        Pool& pool = fresh_pool(kBytes, static_cast<int>(kFreeNote | order));
        while (pool.free_bytes() > kPage) (void)pool.allocate(6);  // the last page's notes are not in the pool's first
        const u64 bytes = u64{64} << order;
        void* const kept = pool.allocate(order);
        void* const buddy = pool.allocate(order);
        std::memset(kept, 0xff, bytes);
        pool.free(buddy, order);
        while (pool.allocate(6)) {  // merges what was freed, to see whether it makes a page
        }
        while (void* block = pool.allocate(order)) REQUIRE(block != kept);
        const auto* each = static_cast<const unsigned char*>(kept);
        for (u64 i = 0; i < bytes; ++i) REQUIRE(each[i] == 0xff);
    }
}

TEST_CASE("a wiped pool leaves nothing of what the kernel wrote") {
    Pool& pool = fresh_pool();
    for (int i = 0; i < 10; ++i) std::memset(pool.allocate(6), 0xee, kPage);
    while (!pool.wipe_step()) {
    }
    REQUIRE(zeroed(machine::to_virt({fake::kRamBase}), 12 * kPage));
}

}  // namespace twain::kernel
