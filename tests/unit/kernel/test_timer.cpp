// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "kernel/core/timer.hpp"

namespace twain::kernel {

namespace {
struct Alarm : TimerOf<Timer::Kind::thread> {};
}  // namespace

TEST_CASE("a timer queue gives the earliest deadline first") {
    TimerQueue queue;
    Alarm a, b, c;
    REQUIRE(queue.next() == abi::kForever);
    queue.insert(a, 30);
    queue.insert(b, 10);
    queue.insert(c, 20);
    REQUIRE(queue.next() == 10);
    REQUIRE(queue.pop_due(9) == nullptr);
    REQUIRE(queue.pop_due(10) == &b);
    REQUIRE_FALSE(b.armed());
    queue.remove(c);
    queue.remove(c);  // not in it any more: nothing happens
    REQUIRE(queue.pop_due(100) == &a);
    REQUIRE(queue.next() == abi::kForever);
}

TEST_CASE("timers behave like a sorted map") {
    std::mt19937 random(1);
    TimerQueue queue;
    std::vector<Alarm> alarms(200);
    std::multimap<Ticks, Alarm*> model;
    const auto forget = [&](Alarm* alarm) {
        for (auto each = model.begin(); each != model.end(); ++each) {
            if (each->second == alarm) {
                model.erase(each);
                return;
            }
        }
    };
    for (int step = 0; step < 100'000; ++step) {
        Alarm& alarm = alarms[random() % alarms.size()];
        switch (random() % 3) {
            case 0:
                if (!alarm.armed()) {
                    const Ticks deadline = random() % 50;
                    queue.insert(alarm, deadline);
                    model.emplace(deadline, &alarm);
                }
                break;
            case 1:
                queue.remove(alarm);
                forget(&alarm);
                break;
            default:
                if (random() % 4 == 0) {
                    const Ticks now = random() % 50;
                    Timer* due = queue.pop_due(now);
                    REQUIRE((due != nullptr) == (!model.empty() && model.begin()->first <= now));
                    if (due) {
                        REQUIRE(due->deadline() == model.begin()->first);
                        forget(static_cast<Alarm*>(due));
                    }
                }
        }
        REQUIRE(queue.next() == (model.empty() ? abi::kForever : model.begin()->first));
    }
    for (Alarm& alarm : alarms) {
        bool in_model = false;
        for (const auto& [deadline, each] : model) in_model |= each == &alarm;
        REQUIRE(alarm.armed() == in_model);
    }
}

}  // namespace twain::kernel
