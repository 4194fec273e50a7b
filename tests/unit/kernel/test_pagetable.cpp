// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "kernel/core/pagetable.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr u64 kMega2 = u64{1} << 21, kGiga = u64{1} << 30;
constexpr u8 kRead = abi::rights::mem_read, kReadWrite = kRead | abi::rights::mem_write;

struct Fixture {
    Fixture() {
        fake::reset(1, u64{8} << 20);
        pool = Pool::create(machine::to_virt({fake::kRamBase}), u64{8} << 20);
        free = pool->free_bytes();
        REQUIRE(tables.init(*pool));
    }
    Error map(u64 at, u64 to, u64 bytes, u8 rights = kRead, unsigned* steps = nullptr) {
        for (u64 done = 0; done < bytes;) {
            const auto step = tables.map_step(*pool, {at + done}, {to + done}, bytes - done,
                                              machine::TableFormat::leaf(rights, false));
            if (step.error != Error::none) return step.error;
            done += step.bytes;
            if (steps) ++*steps;
        }
        return Error::none;
    }
    void unmap(u64 at, u64 bytes) {
        for (u64 left = bytes; left;) left -= tables.unmap_step({at + left - kPage});
    }
    // What the tables say of an address: descriptor's physical address and size; 0, 0: nothing.
    std::pair<u64, u64> walk(u64 at) const {
        const u64* table = static_cast<const u64*>(machine::to_virt(tables.root()));
        for (unsigned level = 1;; ++level) {
            const unsigned shift = 39 - 9 * level;
            const u64 entry = table[at >> shift & 511];
            if (!(entry & 1)) return {0, 0};
            const u64 address = entry & 0x0000'ffff'ffff'f000;
            if (level == 3 || !(entry & 2)) return {address, u64{1} << shift};
            table = static_cast<const u64*>(machine::to_virt({address}));
        }
    }
    Pool* pool;
    u64 free;
    PageTable<machine::TableFormat> tables{};
};

}  // namespace

TEST_CASE_METHOD(Fixture, "descriptors are as large as alignment and length allow") {
    unsigned steps = 0;
    REQUIRE(map(kGiga - kPage, kGiga - kPage, kPage + kGiga + kMega2 + kPage, kRead, &steps) == Error::none);
    REQUIRE(steps == 4);
    REQUIRE(walk(kGiga - kPage) == std::pair{kGiga - kPage, kPage});
    REQUIRE(walk(kGiga + 0x1234000) == std::pair{kGiga, kGiga});
    REQUIRE(walk(2 * kGiga) == std::pair{2 * kGiga, kMega2});
    REQUIRE(walk(2 * kGiga + kMega2) == std::pair{2 * kGiga + kMega2, kPage});
    REQUIRE(walk(2 * kGiga + kMega2 + kPage).second == 0);
}

TEST_CASE_METHOD(Fixture, "an address is mapped once only") {
    REQUIRE(map(kMega2, kMega2, kMega2) == Error::none);
    REQUIRE(map(kMega2 + kPage, 0, kPage) == Error::occupied);
    REQUIRE(map(0, 0, kGiga) == Error::occupied);
    unmap(0, kMega2);  // how far it got
    REQUIRE(map(kMega2, kMega2, kMega2) == Error::occupied);
    REQUIRE(map(0, 0, kPage) == Error::none);
    REQUIRE(map(0, kPage, kPage) == Error::occupied);
}

TEST_CASE_METHOD(Fixture, "a table in which nothing is mapped makes way for a block") {
    REQUIRE(map(kMega2, kMega2, kPage) == Error::none);
    unmap(kMega2, kPage);
    REQUIRE(map(kMega2, kMega2, kMega2) == Error::none);
    REQUIRE(fake::state().flushed_walks == 1);
    REQUIRE(walk(kMega2).second == kMega2);
}

TEST_CASE_METHOD(Fixture, "two levels of tables in which nothing is mapped are in nobody's way") {
    REQUIRE(map(kGiga, kGiga, kPage) == Error::none);
    unmap(kGiga, kPage);
    REQUIRE(map(kGiga, kGiga, kGiga) == Error::none);
    REQUIRE(walk(kGiga).second == kMega2);  // the upper of the two stays
    REQUIRE(walk(2 * kGiga - kPage).first == 2 * kGiga - kMega2);
    REQUIRE(map(kGiga, kGiga, kGiga) == Error::occupied);
}

TEST_CASE_METHOD(Fixture, "rights change in place") {
    REQUIRE(map(0, 0, kMega2 + kPage, kReadWrite) == Error::none);
    REQUIRE(tables.protect_step({0}, machine::TableFormat::leaf(kRead, false)) == kMega2);
    REQUIRE(tables.protect_step({kMega2}, machine::TableFormat::leaf(kRead, false)) == kPage);
    REQUIRE(tables.protect_step({3 * kMega2}, machine::TableFormat::leaf(kRead, false)) ==
            kMega2);  // nothing there: nothing changes
    REQUIRE(walk(0) == std::pair{u64{0}, kMega2});
    REQUIRE(walk(3 * kMega2).second == 0);
}

TEST_CASE_METHOD(Fixture, "no memory for tables is an error, and nothing is lost") {
    while (pool->allocate(6)) {
    }
    REQUIRE(map(0, 0, kPage) == Error::no_memory);
    REQUIRE(map(0, 0, kGiga) == Error::none);  // needs no table
}

TEST_CASE_METHOD(Fixture, "tables go back to the pool") {
    REQUIRE(map(kGiga - kMega2 - kPage, 0, 3 * kMega2) == Error::none);
    REQUIRE(map(100 * kGiga, 0, kPage) == Error::none);
    REQUIRE(pool->free_bytes() < free);
    while (!tables.free_step(*pool)) {
    }
    REQUIRE(pool->free_bytes() == free);
    REQUIRE(tables.free_step(*pool));  // nothing is left to free
}

TEST_CASE_METHOD(Fixture, "a page table is a map from pages to pages") {
    std::mt19937 random(3);
    struct Range {
        u64 to, bytes;
    };
    std::map<u64, Range> model;
    const auto overlaps = [&](u64 at, u64 bytes) {
        for (const auto& [base, range] : model) {
            if (at < base + range.bytes && base < at + bytes) return true;
        }
        return false;
    };
    for (int step = 0; step < 3000; ++step) {
        if (model.size() < 20 && random() % 2) {
            const u64 at = (random() % 2048) * kPage + (random() % 3) * kGiga;
            const u64 bytes = (1 + random() % (random() % 4 ? 8 : 1200)) * kPage;
            const u64 to = random() % 2 ? at : (random() % 4096) * kPage;
            const u64 used = pool->free_bytes();
            const Error error = map(at, to, bytes);
            REQUIRE((error == Error::occupied) == overlaps(at, bytes));
            if (error == Error::none) {
                model[at] = {to, bytes};
            } else {  // what got mapped before it met something goes again, as the kernel does
                for (u64 done = 0; done < bytes && !overlaps(at + done, kPage); done += kPage) {
                    if (walk(at + done).second) done += tables.unmap_step({at + done}) - kPage;
                }
                (void)used;
            }
        } else if (!model.empty()) {
            auto each = model.begin();
            std::advance(each, static_cast<long>(random() % model.size()));
            unmap(each->first, each->second.bytes);
            model.erase(each);
        }
        for (const auto& [at, range] : model) {
            for (u64 offset : {u64{0}, range.bytes / 2 & ~(kPage - 1), range.bytes - kPage}) {
                const auto [to, size] = walk(at + offset);
                REQUIRE(size != 0);
                REQUIRE((to | ((at + offset) & (size - 1))) == range.to + offset);
            }
        }
        const u64 probe = (random() % 4096) * kPage + (random() % 3) * kGiga;
        REQUIRE((walk(probe).second != 0) == overlaps(probe, kPage));
    }
    while (!tables.free_step(*pool)) {
    }
    REQUIRE(pool->free_bytes() == free);
}

TEST_CASE_METHOD(Fixture,
                 "what is looked up: pages as if they were mapped alone, and nothing beyond the tables' reach") {
    REQUIRE(map(kMega2, kMega2, kMega2) == Error::none);
    u64 size = 0;
    const u64 entry = tables.find({kMega2 + 5 * kPage}, size);
    REQUIRE((entry & 0x0000'ffff'ffff'f000) == kMega2 + 5 * kPage);
    REQUIRE(size == kMega2);
    REQUIRE(tables.find({0}, size) == 0);
    REQUIRE(tables.find({u64{1} << 39 | kMega2}, size) == 0);  // not the address that the lower bits name
    REQUIRE(tables.find({~u64{0}}, size) == 0);
}

}  // namespace twain::kernel
