// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Budgets as sporadic servers, against the definition: in any window of one period at most the budget is used.
#include "kernel/core/budget.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace twain::kernel::test {

namespace {

// Who uses a budget as the scheduler does: it stops when nothing is left, `late` ticks after that at most.
struct User {
    Budget budget;
    std::vector<u8> used;  // tick by tick

    Ticks now() const { return used.size(); }
    void idle(Ticks ticks) { used.resize(used.size() + ticks, 0); }
    // Wants to run for `ticks`; how many it got.
    Ticks run(Ticks ticks, Ticks late, Ticks charged_every) {
        Ticks got = 0;
        budget.collect(now());
        while (got < ticks && !budget.empty()) {
            Ticks turn = std::min({budget.left(), ticks - got, charged_every});
            if (turn == budget.left()) turn += late;
            const Ticks from = now();
            used.resize(used.size() + turn, 1);
            budget.collect(now());
            budget.spend(from, turn);
            got += turn;
        }
        return got;
    }
    u64 most_in_a_window() const {
        const Ticks period = budget.period();
        u64 sum = 0, most = 0;
        for (Ticks at = 0; at < used.size(); ++at) {
            sum += used[at];
            if (at >= period) sum -= used[at - period];
            most = std::max(most, sum);
        }
        return most;
    }
};

}  // namespace

TEST_CASE("a budget used in one go comes back one period after it began") {
    Budget budget;
    budget.set(100, 1000);
    budget.spend(5000, 100);
    REQUIRE(budget.empty());
    REQUIRE(budget.next() == 6000);
    budget.collect(5999);
    REQUIRE(budget.empty());
    budget.collect(6000);
    REQUIRE(budget.full());
    REQUIRE(budget.next() == abi::kForever);
}

TEST_CASE("pieces come back one by one, what was charged in between is one piece") {
    Budget budget;
    budget.set(100, 1000);
    budget.spend(5000, 10);
    budget.spend(5010, 20);
    budget.spend(5500, 70);
    REQUIRE(budget.empty());
    budget.collect(6000);
    REQUIRE(budget.left() == 30);
    REQUIRE(budget.next() == 6500);
    budget.collect(6500);
    REQUIRE(budget.full());
}

TEST_CASE("an over-run is paid back first") {
    Budget budget;
    budget.set(100, 1000);
    budget.spend(0, 40);
    budget.spend(500, 100);  // 40 too many
    REQUIRE(budget.empty());
    budget.collect(1000);
    REQUIRE(budget.empty());
    budget.collect(1500);
    REQUIRE(budget.full());
}

TEST_CASE("many short runs: the last piece waits for those that it has taken in") {
    Budget budget;
    budget.set(100, 1000);
    for (Ticks i = 0; i < 20; ++i) budget.spend(i * 10, 1);
    REQUIRE(budget.left() == 80);
    for (Ticks i = 0; i < Budget::kPieces - 1; ++i) {
        budget.collect(1000 + i * 10);
        REQUIRE(budget.left() == 81 + i);
    }
    budget.collect(1190 - 13);  // 13 ticks: the last of them not before its time
    REQUIRE(budget.left() == 87);
    budget.collect(1190 - 12);
    REQUIRE(budget.full());
}

TEST_CASE("without a limit nothing comes back by itself") {
    Budget budget;
    budget.set(100, 0);
    budget.spend(0, 130);
    budget.collect(100'000);
    REQUIRE(budget.empty());
    REQUIRE(budget.next() == abi::kForever);
    budget.refill();
    REQUIRE(budget.full());
}

TEST_CASE("no window of a period sees more than the budget and one over-run") {
    std::mt19937_64 random(20260101);
    const auto upto = [&](u64 n) { return random() % n + 1; };
    for (unsigned round = 0; round < 300; ++round) {
        const Ticks period = 20 + upto(200), amount = upto(period - 1);
        const Ticks late = round % 3 == 0 ? 0 : upto(5);
        User user;
        user.budget.set(amount, period);
        for (unsigned i = 0; i < 300; ++i) {
            user.run(upto(round % 2 ? 4 : amount), late, upto(10));
            user.idle(upto(round % 5 ? 8 : period));
        }
        INFO("round " << round << ": " << amount << " of " << period << ", late by " << late);
        REQUIRE(user.most_in_a_window() <= amount + late);
        // And it is not lost: after one period of rest all of it is there.
        user.idle(period);
        user.budget.collect(user.now());
        REQUIRE(user.budget.full());
    }
}

TEST_CASE("who always wants to run gets the budget in every period, all of the time if it is the period") {
    for (const Ticks amount : {1, 7, 50, 99, 100}) {
        User user;
        user.budget.set(static_cast<Ticks>(amount), 100);
        while (user.now() < 10'000) {
            if (!user.run(1000, 0, 13)) user.idle(1);
        }
        const u64 sum = static_cast<u64>(std::count(user.used.begin(), user.used.begin() + 10'000, 1));
        REQUIRE(sum == 100 * amount);
    }
}

}  // namespace twain::kernel::test
