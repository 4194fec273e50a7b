// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>
#include <vector>

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

TEST_CASE("pools that are split and taken back in any order have exactly what they had") {
    Pool& root = fresh_pool();
    const u64 free = root.free_bytes();
    std::mt19937 random(3);
    struct Part {
        Pool* pool;
        u64 bytes;
        std::map<void*, unsigned> blocks;
    };
    std::vector<Part> parts{{&root, kBytes, {}}};
    const auto range = [](const Part& part) { return std::pair{reinterpret_cast<u64>(part.pool), part.bytes}; };
    u64 splits = 0, refusals = 0;
    for (int step = 0; step < 20'000; ++step) {
        Part& part = parts[random() % parts.size()];
        const bool has_parts =
            std::any_of(parts.begin(), parts.end(), [&](const Part& it) { return it.pool->pool == part.pool; });
        switch (random() % 4) {
            case 0: {
                const u64 bytes = Pool::kMinBytes + random() % 8 * kPage;
                const u64 before = part.pool->free_bytes(), all = part.pool->bytes();
                Pool* const made = part.pool->split(bytes);
                if (!made) {
                    REQUIRE((part.pool->free_bytes() == before && part.pool->bytes() == all));
                    ++refusals;
                    break;
                }
                ++splits;
                REQUIRE((part.pool->free_bytes() == before - bytes && part.pool->bytes() == all - bytes));
                REQUIRE((made->bytes() == bytes && made->free_bytes() == bytes - made->head()));
                parts.push_back({made, bytes, {}});
                break;
            }
            case 1: {
                if (part.pool == &root || has_parts) break;
                Pool* const from = part.pool->pool;
                for (const auto& [block, order] : part.blocks) part.pool->free(block, order);
                const u64 before = from->free_bytes(), all = from->bytes();
                while (!part.pool->wipe_step()) {  // meanwhile others take from who it was split from
                    if (void* block = random() % 4 ? nullptr : from->allocate(6)) from->free(block, 6);
                }
                REQUIRE((from->free_bytes() == before + part.bytes && from->bytes() == all + part.bytes));
                parts.erase(parts.begin() + (&part - parts.data()));
                break;
            }
            case 2: {
                const unsigned order = static_cast<unsigned>(random() % Pool::kOrders);
                if (void* const block = part.pool->allocate(order)) {
                    REQUIRE(zeroed(block, u64{64} << order));
                    std::memset(block, 0xff, u64{64} << order);
                    const u64 at = reinterpret_cast<u64>(block);
                    for (const Part& other : parts) {
                        if (other.pool == part.pool) continue;
                        const auto [base, bytes] = range(other);
                        const bool around = part.pool->pool == other.pool || base < reinterpret_cast<u64>(part.pool);
                        if (!around) REQUIRE((at + (u64{64} << order) <= base || at >= base + bytes));
                    }
                    part.blocks[block] = order;
                }
                break;
            }
            default:
                if (!part.blocks.empty()) {
                    const auto it = std::next(part.blocks.begin(), static_cast<long>(random() % part.blocks.size()));
                    part.pool->free(it->first, it->second);
                    part.blocks.erase(it);
                }
        }
        u64 total = 0;
        for (const Part& each : parts) {
            u64 used = 0;
            for (const auto& [block, order] : each.blocks) used += u64{64} << order;
            REQUIRE(each.pool->bytes() == each.pool->head() + used + each.pool->free_bytes());
            total += each.pool->bytes();
        }
        REQUIRE(total == kBytes);
    }
    REQUIRE(splits > 100);
    REQUIRE(refusals > 0);
    while (parts.size() > 1) {
        Part& part = parts.back();
        const bool has_parts =
            std::any_of(parts.begin(), parts.end(), [&](const Part& it) { return it.pool->pool == part.pool; });
        if (has_parts) {
            std::rotate(parts.begin() + 1, parts.end() - 1, parts.end());
            continue;
        }
        for (const auto& [block, order] : part.blocks) part.pool->free(block, order);
        while (!part.pool->wipe_step()) {
        }
        parts.pop_back();
    }
    for (const auto& [block, order] : parts[0].blocks) root.free(block, order);
    REQUIRE(root.bytes() == kBytes);
    REQUIRE(root.free_bytes() == free);
    unsigned pages = 0;
    while (root.allocate(6)) ++pages;
    REQUIRE(pages == free / kPage);
}

TEST_CASE("a pool whose parts have come back is wiped as a whole") {
    Pool& pool = fresh_pool(kBytes, 0);
    Pool* const one = pool.split(Pool::kMinBytes);
    Pool* const two = pool.split(Pool::kMinBytes);
    for (Pool* part : {one, two}) {
        std::memset(part->allocate(6), 0xee, kPage);
        std::memset(part->allocate(6), 0xee, kPage);
    }
    for (Pool* part : {one, two}) {  // not in the order that gives it all back as never used
        while (!part->wipe_step()) {
        }
    }
    for (int i = 0; i < 5; ++i) std::memset(pool.allocate(6), 0xee, kPage);
    while (!pool.wipe_step()) {
    }
    REQUIRE(zeroed(machine::to_virt({fake::kRamBase}), kBytes));
}

TEST_CASE("a wiped pool leaves nothing of what the kernel wrote") {
    Pool& pool = fresh_pool();
    for (int i = 0; i < 10; ++i) std::memset(pool.allocate(6), 0xee, kPage);
    while (!pool.wipe_step()) {
    }
    REQUIRE(zeroed(machine::to_virt({fake::kRamBase}), 12 * kPage));
}

}  // namespace twain::kernel
