// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "kernel/core/virq.hpp"
#include "tests/unit/kernel/fake_lists.hpp"

namespace twain::kernel {

namespace {

using Plan = VirqPlan;
using Lists = fake::Lists;

constexpr u32 word(u32 intid, u32 priority, bool notify = false) {
    return intid | priority << 16 | (notify ? abi::kVirqNotify : 0);
}

struct Fixture {
    Plan plan;
    Lists lists;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a posted interrupt goes into a list register and is retired when it ends") {
    plan.post(lists, 3, word(40, 0x80));
    REQUIRE(plan.wakes(lists));
    REQUIRE_FALSE(plan.fill(lists, 0));
    const int at = lists.find(40);
    REQUIRE(at >= 0);
    REQUIRE((lists.read(static_cast<unsigned>(at)) >> 48 & 0xff) == 0x80);
    REQUIRE(plan.wakes(lists));
    REQUIRE(lists.take() == at);
    REQUIRE_FALSE(plan.wakes(lists));
    plan.collect(lists);
    REQUIRE(plan.take_retired() == 0);
    lists.end(at);
    plan.collect(lists);
    REQUIRE(plan.take_retired() == u64{1} << 3);
    REQUIRE(plan.take_retired() == 0);
    REQUIRE_FALSE(plan.take_notify());
    REQUIRE_FALSE(plan.any_listed());
}

TEST_CASE_METHOD(Fixture, "posting an active interrupt makes it active and pending") {
    plan.post(lists, 0, word(40, 0));
    (void)plan.fill(lists, 0);
    const int at = lists.take();
    plan.post(lists, 0, word(40, 0));
    REQUIRE((lists.read(static_cast<unsigned>(at)) & Plan::kStates) == Plan::kStates);
    lists.end(at);
    plan.collect(lists);
    REQUIRE(plan.take_retired() == 0);
    REQUIRE(lists.take() == at);
    lists.end(at);
    plan.collect(lists);
    REQUIRE(plan.take_retired() == 1);
}

TEST_CASE_METHOD(Fixture, "the end of an interrupt with notification is told") {
    plan.post(lists, 7, word(41, 0, true));
    (void)plan.fill(lists, 0);
    const int at = lists.take();
    lists.end(at);
    plan.collect(lists);
    REQUIRE(plan.take_notify());
    REQUIRE(plan.take_retired() == u64{1} << 7);
    REQUIRE(lists.read(static_cast<unsigned>(at)) == 0);
}

TEST_CASE_METHOD(Fixture, "posting again with or without notification is as posting it so from the start") {
    for (const bool notify : {false, true}) {
        plan.post(lists, 7, word(41, 0, !notify));
        (void)plan.fill(lists, 0);
        const int at = lists.take();
        plan.post(lists, 7, word(41, 0, notify));
        REQUIRE(lists.take() == -1);
        lists.end(at);
        REQUIRE(lists.take() == at);
        lists.end(at);
        REQUIRE((lists.ended != 0) == notify);
        plan.collect(lists);
        REQUIRE(plan.take_notify() == notify);
        REQUIRE(plan.take_retired() == u64{1} << 7);
        REQUIRE(lists.ended == 0);
    }
}

TEST_CASE_METHOD(Fixture, "a number without a meaning is dropped") {
    plan.post(lists, 9, word(1020, 0));
    plan.post(lists, 10, 0xffff);
    REQUIRE(plan.take_retired() == (u64{1} << 9 | u64{1} << 10));
    REQUIRE_FALSE(plan.any_waiting());
}

TEST_CASE_METHOD(Fixture, "recall takes back what is pending, not what is active") {
    plan.post(lists, 0, word(40, 0));
    plan.recall(lists, 0);
    REQUIRE(plan.take_retired() == 1);
    REQUIRE_FALSE(plan.any_waiting());
    plan.post(lists, 0, word(40, 0));
    (void)plan.fill(lists, 0);
    plan.recall(lists, 0);
    REQUIRE(lists.find(40) == -1);
    REQUIRE(plan.take_retired() == 1);
    plan.post(lists, 0, word(40, 0));
    (void)plan.fill(lists, 0);
    const int at = lists.take();
    plan.post(lists, 0, word(40, 0));
    plan.recall(lists, 0);
    REQUIRE((lists.read(static_cast<unsigned>(at)) & Plan::kStates) == Plan::kActive);
    REQUIRE(plan.take_retired() == 0);
}

TEST_CASE_METHOD(Fixture, "the more urgent displace the less urgent; those wait and come back") {
    for (u32 i = 0; i < 4; ++i) plan.post(lists, i, word(40 + i, 0xa0));
    REQUIRE_FALSE(plan.fill(lists, 0xff));
    plan.post(lists, 10, word(50, 0x10));
    REQUIRE(plan.fill(lists, 0xff));
    REQUIRE(lists.find(50) >= 0);
    u64 pending = 0, active = 0;
    plan.picture(lists, pending, active);
    REQUIRE(pending == (0xf | u64{1} << 10));
    REQUIRE(active == 0);
    int taken = lists.take();
    REQUIRE((lists.read(static_cast<unsigned>(taken)) & 0xffff) == 50);
    lists.end(taken);
    plan.collect(lists);
    REQUIRE_FALSE(plan.fill(lists, 0xff));
    REQUIRE_FALSE(plan.any_waiting());
}

TEST_CASE_METHOD(Fixture, "the timer's interrupt is bound to the physical one") {
    plan.raise_timer();
    REQUIRE(plan.timer_in_flight());
    REQUIRE(plan.any_waiting());
    (void)plan.fill(lists, 0x20);
    const int at = lists.find(27);
    REQUIRE(at >= 0);
    REQUIRE((lists.read(static_cast<unsigned>(at)) & Plan::kHw));
    REQUIRE((lists.read(static_cast<unsigned>(at)) >> 32 & 0x1fff) == 27);
    plan.raise_timer();  // it is in the list already
    REQUIRE_FALSE(plan.any_waiting());
    lists.take();
    lists.end(at);
    plan.collect(lists);
    REQUIRE_FALSE(plan.timer_in_flight());
    REQUIRE(plan.take_retired() == 0);
}

TEST_CASE("however many wait, the most urgent are in the registers, each of which was touched at most twice") {
    const auto number = GENERATE(1u, 4u, 16u);
    std::mt19937 random(number);
    for (int round = 0; round < 500; ++round) {
        Plan plan;
        Lists lists;
        lists.number = number;
        std::map<unsigned, unsigned> urgency;  // by interrupt, of those that the guest has not taken
        const u8 timer = static_cast<u8>(random() % 32 << 3);
        for (unsigned batch = 0; batch < 4; ++batch) {
            for (unsigned entry = batch; entry < abi::kVirqs; entry += 4) {
                const u32 priority = static_cast<u32>(round ? random() % 32 : (entry * 11 + 31 * (4 - batch)) % 32)
                                     << 3;
                plan.post(lists, entry, word(32 + entry, priority));
                urgency[32 + entry] = priority;
            }
            if (batch == 2) {
                plan.raise_timer();
                urgency[27] = timer;
            }
            lists.accesses = 0;
            const bool more = plan.fill(lists, timer);
            REQUIRE(more == plan.any_waiting());
            REQUIRE(more == (number < 16 || batch > 0));
            REQUIRE(lists.accesses <= 2 * number);
            unsigned worst = 0, pending = 0, urgent = 0;
            for (unsigned i = 0; i < number; ++i) {
                if ((lists.registers[i] & Plan::kStates) != Plan::kPending) continue;
                ++pending;
                worst = std::max(worst, static_cast<unsigned>(lists.registers[i] >> 48 & 0xff));
            }
            for (const auto& [intid, priority] : urgency) urgent += priority < worst;
            REQUIRE((pending == 0 || urgent < pending));
            if (const int at = lists.take(); at >= 0)
                urgency.erase(static_cast<unsigned>(lists.registers[at] & 0xffff));
        }
    }
}

TEST_CASE("no posted interrupt is lost, doubled or reordered against priority") {
    const auto seed = GENERATE(range(1u, 9u));
    std::mt19937 random(seed);
    Plan plan;
    Lists lists;
    lists.number = 1 + seed % 4;
    std::map<unsigned, bool> posted;  // entry -> posted since it was last retired
    std::vector<int> active;
    for (int step = 0; step < 20'000; ++step) {
        const unsigned entry = static_cast<unsigned>(random() % 12);
        switch (random() % 4) {
            case 0:
                if (!posted[entry]) {
                    plan.post(lists, entry, word(32 + entry, static_cast<u32>(random() % 8) << 3, random() % 4 == 0));
                    posted[entry] = true;
                }
                break;
            case 1:
                if (const int at = lists.take(); at >= 0) active.push_back(at);
                break;
            case 2:
                if (!active.empty()) {
                    lists.end(active.back());
                    active.pop_back();
                }
                break;
            default: plan.collect(lists); (void)plan.fill(lists, 0xff);
        }
        for (u64 retired = plan.take_retired(); retired; retired &= retired - 1) {
            const unsigned which = static_cast<unsigned>(__builtin_ctzll(retired));
            REQUIRE(posted[which]);
            posted[which] = false;
        }
        unsigned listed[12] = {};
        for (unsigned i = 0; i < lists.number; ++i) {
            if (lists.registers[i] & Plan::kStates) ++listed[(lists.registers[i] & 0xffff) - 32];
        }
        for (unsigned n : listed) REQUIRE(n <= 1);
    }
    for (int rounds = 0; rounds < 100; ++rounds) {  // let the guest work everything off
        for (; !active.empty(); active.pop_back()) lists.end(active.back());
        plan.collect(lists);
        (void)plan.fill(lists, 0xff);
        if (const int at = lists.take(); at >= 0) active.push_back(at);
        for (u64 retired = plan.take_retired(); retired; retired &= retired - 1) {
            posted[static_cast<unsigned>(__builtin_ctzll(retired))] = false;
        }
    }
    for (const auto& [entry, waits] : posted) REQUIRE_FALSE(waits);
}

TEST_CASE_METHOD(Fixture, "the picture tells pending from active, both of one, and leaves the timer out") {
    for (unsigned i = 0; i < 3; ++i) plan.post(lists, i, word(40 + i, 0x10 * (i + 1)));
    plan.raise_timer();
    REQUIRE(plan.any_waiting());
    REQUIRE(plan.wakes(lists));
    (void)plan.fill(lists, 0xf0);
    REQUIRE(plan.timer_in_flight());
    REQUIRE(lists.take() == lists.find(40));
    REQUIRE(lists.take() == lists.find(41));
    plan.post(lists, 1, word(41, 0x20));
    plan.post(lists, 9, word(50, 0x20));  // waits: the registers are full
    u64 pending = 0, active = 0;
    plan.picture(lists, pending, active);
    REQUIRE(active == 0b011);
    REQUIRE(pending == (0b110 | u64{1} << 9));
}

TEST_CASE_METHOD(Fixture, "an interrupt that is over and comes again before anybody has looked is not lost") {
    plan.post(lists, 5, word(40, 0x10));
    (void)plan.fill(lists, 0xff);
    lists.end(lists.take());
    plan.post(lists, 5, word(40, 0x10));
    REQUIRE(plan.any_waiting());
    (void)plan.fill(lists, 0xff);
    lists.end(lists.take());
    plan.collect(lists);
    REQUIRE(plan.take_retired() == u64{1} << 5);
}

}  // namespace twain::kernel
