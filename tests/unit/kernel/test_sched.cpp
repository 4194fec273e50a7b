// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Priorities, turns and budgets.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace twain::kernel::test {

using abi::Sys;

namespace {

constexpr u64 kC = abi::kRootCSpace, kSystem = abi::kRootSystem, kP = abi::kRootPool;
constexpr Ticks kSlice = 10'000'000 / 16;  // 10 ms of the fake machine's ticks

void park_root(World& w) {  // the root task waits for good, so that others run
    w.notification(90);
    w.call(*w.root, Sys::wait, {90, abi::kForever});
}

}  // namespace

TEST_CASE("the most urgent thread runs; equals take turns after a slice, or when one yields") {
    World w;
    Thread& low = w.thread(0, 5);
    Thread& a = w.thread(0, 9);
    Thread& b = w.thread(0, 9);
    park_root(w);
    REQUIRE(w.cpu().current == &a);
    w.pass(kSlice - 1);
    REQUIRE(w.cpu().current == &a);
    w.pass(1);
    REQUIRE(w.cpu().current == &b);
    w.call(b, Sys::yield, {});
    REQUIRE(w.cpu().current == &a);
    REQUIRE(low.runnable());
    w.check();
    w.call(a, Sys::wait, {90, abi::kForever});  // busy: root waits there; a goes on
    REQUIRE(w.answer(a).error() == Error::busy);
    REQUIRE(w.cpu().current == &a);
}

TEST_CASE("a signal to a more urgent thread switches at once, to a less urgent one does not") {
    World w;
    Thread& low = w.thread(0, 5);
    Thread& high = w.thread(0, 9);
    w.notification(91);
    w.notification(92);
    park_root(w);
    w.call(high, Sys::wait, {91, abi::kForever});
    REQUIRE(w.cpu().current == &low);
    w.call(low, Sys::signal, {91});
    REQUIRE(w.cpu().current == &high);
    REQUIRE(low.runnable());
    w.check();
    w.call(high, Sys::signal, {92});
    REQUIRE(w.cpu().current == &high);
    w.check();
}

TEST_CASE("an exhausted budget: hard stands still, soft runs in the background, both come back") {
    for (const bool hard : {true, false}) {
        World w;
        Thread& limited = w.thread(0, 9, 1000, 10'000, hard);
        Thread& other = w.thread(0, 5);
        park_root(w);
        REQUIRE(w.cpu().current == &limited);
        w.pass(999);
        REQUIRE(w.cpu().current == &limited);
        w.pass(1);
        REQUIRE(w.cpu().current == &other);
        REQUIRE(limited.linked() != hard);
        w.check();
        w.pass(8'999);
        REQUIRE(w.cpu().current == &other);
        w.pass(1);
        REQUIRE(w.cpu().current == &limited);  // full again, one period after it began
        REQUIRE(limited.sched->used == 1000);
        w.pass(500);
        charge(w.cpu(), machine::now());
        REQUIRE(limited.sched->used == 1500);
        w.check();
    }
}

TEST_CASE("in the background an exhausted thread uses idle time") {
    World w;
    Thread& limited = w.thread(0, 9, 1000, 10'000, false);
    park_root(w);
    w.pass(1000);
    REQUIRE(w.cpu().current == &limited);
    REQUIRE(limited.active->level() == 0);
    w.pass(8'999);
    REQUIRE(limited.active->level() == 0);
    w.pass(1);
    REQUIRE(limited.active->level() == 9);
    w.check();
}

TEST_CASE("what was used in pieces comes back in pieces, also over a border between periods") {
    World w;
    Thread& limited = w.thread(0, 9, 1000, 10'000, true);
    Thread& other = w.thread(0, 5);
    w.notification(91);
    park_root(w);
    w.pass(400);
    w.call(limited, Sys::wait, {91, abi::kForever});
    w.pass(5'000);
    w.call(other, Sys::signal, {91});
    REQUIRE(w.cpu().current == &limited);
    w.pass(600);
    REQUIRE(w.cpu().current == &other);
    w.pass(3'999);
    REQUIRE(w.cpu().current == &other);
    w.pass(1);
    REQUIRE(w.cpu().current == &limited);  // the first 400
    w.pass(400);
    REQUIRE(w.cpu().current == &other);
    w.pass(4'999);
    REQUIRE(w.cpu().current == &other);
    w.pass(1);
    REQUIRE(w.cpu().current == &limited);  // the other 600
    w.pass(600);
    REQUIRE(w.cpu().current == &other);
    REQUIRE(limited.sched->used == 2000);
    w.check();
}

TEST_CASE("time beyond the budget is a debt") {
    World w;
    Thread& limited = w.thread(0, 9, 1000, 10'000, true);
    Thread& other = w.thread(0, 5);
    park_root(w);
    fake::state().clock += 1300;  // the core takes notice late
    w.pass(0);
    REQUIRE(w.cpu().current == &other);
    REQUIRE(limited.sched->used == 1300);
    w.pass(8'700);
    REQUIRE(w.cpu().current == &limited);
    w.pass(999);
    REQUIRE(w.cpu().current == &limited);
    w.pass(1);
    REQUIRE(w.cpu().current == &other);
}

TEST_CASE("an exhausted context that changes its owner is replenished all the same") {
    World w;
    Thread& limited = w.thread(0, 9, 1000, 10'000, true);
    const u64 thread = w.next_slot - 2, sched = w.next_slot - 1;
    Thread& heir = w.thread(0, 5);
    const u64 heir_slot = w.next_slot - 2, heir_sched = w.next_slot - 1;
    REQUIRE(w.invoke(thread, abi::thread::stop).ok());
    REQUIRE(w.invoke(heir_slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(thread, abi::thread::resume).ok());
    w.run(limited);
    w.pass(1000);
    REQUIRE(limited.sched->exhausted);
    REQUIRE(w.invoke(thread, abi::thread::stop).ok());
    REQUIRE(w.invoke(kC, abi::cspace::copy, 900, sched, rights::all).ok());
    REQUIRE(w.invoke(thread, abi::thread::configure, 0, 0, 0, heir_sched).error() == Error::occupied);
    REQUIRE(w.invoke(kC, abi::cspace::remove, thread).ok());
    REQUIRE(w.invoke(heir_slot, abi::thread::configure, 0, 0, 0, sched).ok());
    REQUIRE(w.invoke(heir_slot, abi::thread::resume).ok());
    REQUIRE_FALSE(heir.linked());
    w.pass(10'000);
    REQUIRE_FALSE(heir.sched->exhausted);
    w.check();
}

TEST_CASE("a call lends priority and budget; a hard limit that ends leaves the server its own") {
    World w;
    w.endpoint(40);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9, 1000, 100'000, true);
    Thread& middle = w.thread(0, 7);
    park_root(w);
    w.call(server, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    REQUIRE(w.cpu().current == &server);  // before the one in the middle: on the client's priority
    w.pass(1000);
    REQUIRE(w.cpu().current == &middle);
    REQUIRE(server.active == server.sched);
    REQUIRE(client.sched->used == 1000);
    w.check();
    w.call(middle, Sys::wait, {40, abi::kPoll});
    w.call(server, Sys::reply_wait, {40, 2});
    REQUIRE(client.state == State::ready);
    REQUIRE_FALSE(client.linked());  // answered, without time left
    w.check();
    w.pass(100'000);
    REQUIRE(w.cpu().current == &client);
    w.check();
}

TEST_CASE("the server's work is on the caller's account") {
    World w;
    w.endpoint(40);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9);
    park_root(w);
    w.call(server, Sys::reply_wait, {40});
    const Ticks server_used = server.sched->used, client_used = client.sched->used;
    w.call(client, Sys::call, {40, 1});
    fake::state().clock += 300;
    w.call(server, Sys::reply_wait, {40, 2});
    w.call(client, Sys::wait, {40, abi::kPoll});
    fake::state().clock += 10;
    w.call(client, Sys::wait, {90, abi::kForever});
    charge(w.cpu(), machine::now());
    REQUIRE(server.sched->used == server_used);
    REQUIRE(client.sched->used - client_used >= 300);
}

TEST_CASE("a queued caller's time is used from the moment the server takes it") {
    World w;
    w.endpoint(40);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9);
    park_root(w);
    w.call(client, Sys::call, {40, 1});
    w.call(server, Sys::reply_wait, {40});
    REQUIRE(server.active == client.sched);
    REQUIRE(w.cpu().sched == client.sched);
    w.check();
}

TEST_CASE("a client that is stopped takes its time back through two servers") {
    World w;
    w.endpoint(40);
    w.endpoint(41);
    Thread& inner = w.thread(0, 5);
    Thread& outer = w.thread(0, 5);
    Thread& client = w.thread(0, 9);
    const u64 client_slot = w.next_slot - 2;
    w.call(inner, Sys::reply_wait, {41});
    w.call(outer, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    w.call(outer, Sys::call, {41, 1});
    REQUIRE(inner.active == client.sched);
    w.check();
    REQUIRE(w.invoke(client_slot, abi::thread::stop).ok());
    REQUIRE(inner.active == inner.sched);
    w.check();
    w.call(inner, Sys::reply_wait, {41, 1});
    REQUIRE(outer.active == outer.sched);
    w.check();
    REQUIRE(w.invoke(kC, abi::cspace::remove, client_slot + 1).ok());  // its scheduling context
    REQUIRE(outer.runnable());
    w.check();
}

TEST_CASE("a captured caller has its time back at once") {
    World w;
    w.endpoint(40);
    w.reply(41);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9);
    w.call(server, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    w.call(server, Sys::invoke, {41, abi::reply::capture});
    REQUIRE(server.active == server.sched);
    REQUIRE(client.active == client.sched);
    w.check();
}

TEST_CASE("a server whose borrowed budget ends just as it gives up the processor goes on with its own time") {
    World w;
    w.endpoint(40);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9, 1000, 10'000, true);
    Thread& urgent = w.thread(0, 12);
    w.notification(91);
    park_root(w);
    w.call(urgent, Sys::wait, {91, abi::kForever});
    w.call(server, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    REQUIRE(server.active == client.sched);
    fake::state().clock += 1000;  // the timer interrupt has not been taken yet
    w.call(server, Sys::signal, {91});
    REQUIRE(w.cpu().current == &urgent);
    REQUIRE(server.active == server.sched);
    w.check();
    w.call(urgent, Sys::wait, {91, abi::kForever});
    REQUIRE(w.cpu().current == &server);
    w.check();
}

TEST_CASE("make_sched and configure: every argument's limits") {
    World w(2);
    const auto make = [&](Ticks budget, Ticks period, u64 param) {
        return w.invoke(kSystem, abi::system::make_sched, kP, 40, budget, period, param);
    };
    REQUIRE(make(0, 10, 1).argument() == 4);
    REQUIRE(make(11, 10, 1).error() == Error::bad_arg);
    REQUIRE(make(1, (u64{1} << 48) + 1, 1).argument() == 5);
    REQUIRE(make(1, 2, 64).argument() == 6);
    REQUIRE(make(1, 2, 2 << 8).argument() == 6);
    REQUIRE(make(1, 2, 1 << 17).argument() == 6);
    REQUIRE(w.at(40).empty());
    REQUIRE(make(1, 2, 63 | 1 << 8 | abi::sched::kHardLimit).ok());
    const Answer stat = w.invoke(40, abi::sched::stat);
    REQUIRE(stat.x[3] == 1);
    REQUIRE(stat.x[4] == 2);
    REQUIRE(stat.x[5] == 63);
    REQUIRE(stat.x[6] == 1);
    REQUIRE(w.invoke(40, abi::sched::configure, 3, 4, 7).ok());
    REQUIRE(w.invoke(40, abi::sched::stat).x[6] == 0);
    REQUIRE(w.invoke(40, abi::sched::configure, 5, 4, 7).argument() == 2);
    REQUIRE(w.invoke(40, 7).error() == Error::bad_method);
    REQUIRE(w.invoke(kC, abi::cspace::copy, 41, 40, rights::sched_bind).ok());
    REQUIRE(w.invoke(41, abi::sched::configure, 3, 4, 7).error() == Error::rights);
}

TEST_CASE("a running thread's priority and budget may change, its core may not") {
    World w(2);
    Thread& a = w.thread(0, 5);
    const u64 sched = w.next_slot - 1;
    Thread& b = w.thread(0, 7);
    REQUIRE(w.invoke(sched, abi::sched::configure, 0, 0, 5 | 1 << 8).error() == Error::busy);
    REQUIRE(w.invoke(sched, abi::sched::configure, 0, 0, 9).ok());
    w.check();
    park_root(w);
    REQUIRE(w.cpu().current == &a);
    REQUIRE(b.runnable());
    w.check();
}

TEST_CASE("a context that moves to another core is charged by that one alone") {
    World w(2);
    Thread& a = w.thread(1, 5);
    const u64 thread = w.next_slot - 2, sched = w.next_slot - 1;
    w.settle();
    REQUIRE(w.cpu(1).current == &a);
    REQUIRE(w.invoke(thread, abi::thread::stop).ok());  // core 1 has served the request and gone no further
    REQUIRE(w.invoke(sched, abi::sched::configure, 1000, 10'000, 5).ok());
    REQUIRE(w.cpu(1).sched == nullptr);
    w.check();
}

TEST_CASE("a scheduling context has one owner; who loses it stands still") {
    World w;
    Thread& a = w.thread(0, 5);
    const u64 thread_a = w.next_slot - 2, sched_a = w.next_slot - 1;
    w.thread(0, 5);
    const u64 thread_b = w.next_slot - 2;
    REQUIRE(w.invoke(thread_b, abi::thread::stop).ok());
    REQUIRE(w.invoke(thread_b, abi::thread::configure, 0, 0, 0, sched_a).error() == Error::occupied);
    REQUIRE(w.invoke(thread_a, abi::thread::configure, 0, 0, 0, sched_a).error() == Error::busy);  // running
    REQUIRE(w.invoke(kC, abi::cspace::remove, sched_a).ok());
    REQUIRE(a.state == State::stopped);
    REQUIRE(a.sched == nullptr);
    REQUIRE(w.invoke(thread_a, abi::thread::start, 1, 2).ok());  // it waits for time
    REQUIRE_FALSE(a.linked());
    REQUIRE(w.invoke(thread_a, abi::thread::stop).ok());
    w.check();
}

TEST_CASE("an idle core uses nobody's budget") {
    World w;
    park_root(w);
    REQUIRE(w.cpu().current == nullptr);
    REQUIRE(w.cpu().sched == nullptr);
}

TEST_CASE("a piece that comes back does not end a debt that is larger") {
    World w;
    Thread& limited = w.thread(0, 9, 1000, 10'000, true);
    Thread& other = w.thread(0, 5);
    w.notification(91);
    park_root(w);
    w.pass(400);
    w.call(limited, Sys::wait, {91, abi::kForever});
    w.pass(4'600);
    w.call(other, Sys::signal, {91});
    fake::state().clock += 2'500;  // the core takes notice late
    w.pass(0);
    REQUIRE(w.cpu().current == &other);
    w.pass(2'500);  // the first 400
    REQUIRE(w.cpu().current == &other);
    REQUIRE(limited.sched->exhausted);
    w.check();
    w.pass(4'999);
    REQUIRE(w.cpu().current == &other);
    w.pass(1);
    REQUIRE(w.cpu().current == &limited);  // the rest
    REQUIRE(limited.sched->budget.left() == 1000);
    w.check();
}

TEST_CASE("a hard limit that ends two servers away leaves the one in the middle its own time") {
    World w;
    w.endpoint(40);
    w.endpoint(41);
    Thread& inner = w.thread(0, 5);
    Thread& outer = w.thread(0, 6);
    Thread& client = w.thread(0, 9, 1000, 100'000, true);
    park_root(w);
    w.call(inner, Sys::reply_wait, {41});
    w.call(outer, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    w.call(outer, Sys::call, {41, 2});
    REQUIRE(inner.active == client.sched);
    w.pass(1000);
    REQUIRE(inner.active == inner.sched);
    w.check();
    w.call(inner, Sys::reply_wait, {41, 3});
    REQUIRE(w.answer(outer).x[1] == 3);
    REQUIRE(outer.active == outer.sched);  // and not what stands still until the client's next period
    REQUIRE(w.cpu().current == &outer);
    w.check();
    w.call(outer, Sys::reply_wait, {40, 4});
    REQUIRE(client.active == client.sched);
    REQUIRE_FALSE(client.linked());
    w.pass(100'000);
    REQUIRE(w.cpu().current == &client);
    w.check();
}

TEST_CASE("a signal for a thread whose budget is used up makes it go on in the background") {
    World w;
    w.notification(91);
    Thread& limited = w.thread(0, 9, 1000, 100'000, false);
    Thread& other = w.thread(0, 5);
    park_root(w);
    w.pass(1000);
    REQUIRE(w.cpu().current == &other);
    w.call(limited, Sys::wait, {91, abi::kForever});
    w.call(other, Sys::signal, {91});
    REQUIRE(limited.linked());
    REQUIRE(limited.active->level() == 0);
    REQUIRE(w.cpu().current == &other);
    w.check();
}

TEST_CASE("whose server waits is taken to it by a fault at once, and back by the answer, all on its own time") {
    for (const bool armed : {false, true}) {
        World w;
        w.endpoint(40);
        Thread& server = w.thread(0, 5);
        Thread& client = w.thread(0, 9);
        const u64 slot = w.next_slot - 2;
        REQUIRE(w.invoke(slot, abi::thread::stop).ok());
        REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 40).ok());
        REQUIRE(w.invoke(slot, abi::thread::start, 0x1234, 0x5678).ok());
        if (armed) {
            w.call(server, Sys::wait, {40, fake::state().clock + 100'000});
        } else {
            w.call(server, Sys::reply_wait, {40});
        }
        park_root(w);
        REQUIRE(w.cpu().current == &client);
        REQUIRE(w.cpu().hazard == 0);
        fake::on(0, [&] { fault(w.cpu(), abi::FaultKind::data, 0x111, 0x222); });
        w.go_on(0);
        REQUIRE(w.cpu().current == &server);
        REQUIRE(server.active == client.sched);
        REQUIRE_FALSE(server.armed());
        REQUIRE(w.answer(server).x[1] == static_cast<u64>(abi::FaultKind::data));
        REQUIRE(w.answer(server).x[4] == 0x1234);
        w.check();
        w.call(server, Sys::reply_wait, {40, 0});
        REQUIRE(w.cpu().current == &client);
        REQUIRE(client.frame.pc == 0x1234);
        w.check();
    }
}

}  // namespace twain::kernel::test
