// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What other cores do while one of them waits: the interleavings that a test on a real machine meets once a year.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <utility>

#include "kernel/core/inbox.hpp"
#include "kernel/core/log.hpp"
#include "world.hpp"

namespace twain::kernel::test {

using abi::Sys;

namespace {

constexpr u64 kE = 40, kC = abi::kRootCSpace;

}  // namespace

TEST_CASE("a core that panics halts the others, even one that waits, and does not wait for one that cannot") {
    World w(3);
    fake::state().while_waiting = [] {
        // Core 1 is interrupted, core 2 waits in the kernel; then both are gone.
        fake::on(1, [] { REQUIRE_THROWS_AS(serve_other_cores(machine::cpu()), fake::Halted); });
        fake::state().while_waiting = [] {
            fake::on(2, [] { REQUIRE_THROWS_AS(wait_in_kernel(), fake::Halted); });
            fake::state().while_waiting = nullptr;
        };
    };
    halt_other_cores();
    REQUIRE(machine::cpu(0).online);
    REQUIRE_FALSE(machine::cpu(1).online);
    REQUIRE_FALSE(machine::cpu(2).online);
    machine::cpu(1).online = true;  // and does not listen
    unsigned turns = 0;
    std::function<void()> deaf = [&] {
        ++turns;
        fake::state().while_waiting = deaf;
    };
    fake::state().while_waiting = deaf;
    halt_other_cores();
    REQUIRE(turns == kPatience);
    fake::state().while_waiting = nullptr;
}

TEST_CASE("the server answers while its caller is being stopped") {
    World w(2);
    w.endpoint(kE, 1);
    Thread& server = w.thread(1);
    Thread& client = w.thread(0);
    const u64 slot = w.next_slot - 2;
    w.settle();
    w.call(server, Sys::reply_wait, {kE});
    w.call(client, Sys::call, {kE, 1});
    w.settle();
    fake::state().while_waiting = [&] { w.call(server, Sys::reply_wait, {kE, 9}); };
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    w.settle();
    REQUIRE(client.state == State::stopped);
    w.check();
    REQUIRE(w.invoke(slot, abi::thread::start, 1, 2).ok());
    w.check();
}

TEST_CASE("a caller arrives while it is being stopped") {
    World w(2);
    w.endpoint(kE, 1);
    Thread& server = w.thread(1);
    Thread& client = w.thread(0);
    const u64 slot = w.next_slot - 2;
    w.settle();
    w.call(server, Sys::reply_wait, {kE});
    w.call(client, Sys::call, {kE, 1});
    fake::state().while_waiting = [&] { w.interrupt(1); };
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    w.settle();
    REQUIRE(client.state == State::stopped);
    w.check();
}

TEST_CASE("a signal meets a waiter that is being stopped or removed") {
    for (const bool remove : {false, true}) {
        World w(2);
        w.notification(kE);
        Thread& waiter = w.thread(1);
        const u64 slot = w.next_slot - 2;
        Thread& signaller = w.thread(0);
        w.settle();
        w.call(waiter, Sys::wait, {kE, abi::kForever});
        w.call(signaller, Sys::signal, {kE});  // mail is under way
        if (remove) {
            REQUIRE(w.invoke(kC, abi::cspace::remove, slot).ok());
        } else {
            REQUIRE(w.invoke(slot, abi::thread::stop).ok());
        }
        w.settle();
        w.check();
        REQUIRE(w.cpu(1).mailbox.posts.empty());
        REQUIRE(w.cpu(1).knocks.posts.empty());
    }
}

TEST_CASE("a thread is bound to a notification while another begins to wait for it") {
    for (const bool again : {false, true}) {
        World w(2);
        Notification& note = w.notification(kE);
        Thread& waiter = w.thread(1);
        Thread& bound = w.thread(1);
        const u64 slot = w.next_slot - 2;
        w.settle();
        REQUIRE(w.invoke(slot, abi::thread::stop).ok());
        if (again) REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 0, 0, kE).ok());
        fake::state().while_waiting = [&] { w.call(waiter, Sys::wait, {kE, abi::kForever}); };
        REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 0, slot + 1, kE).ok());
        REQUIRE(note.waiter == &bound);
        REQUIRE(bound.bound);
        REQUIRE(waiter.note == nullptr);
        REQUIRE(w.answer(waiter).error() == Error::busy);
        w.check();
    }
}

TEST_CASE("a notification goes while its waiter goes on to another") {
    World w(2);
    w.notification(kE);
    Notification& other = w.notification(kE + 1);
    Thread& waiter = w.thread(1);
    w.settle();
    w.call(waiter, Sys::wait, {kE, machine::now() + 100});
    std::function<void()> meanwhile = [&] {
        if (!w.cpu(1).request->run) {  // nobody finds it any more; then its waiter is looked for
            fake::on(1, [&] { serve_other_cores(w.cpu(1)); });
            fake::state().while_waiting = meanwhile;
            return;
        }
        w.pass(100);
        w.call(waiter, Sys::wait, {kE + 1, abi::kForever});
    };
    fake::state().while_waiting = meanwhile;
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    REQUIRE(waiter.state == State::waiting);
    REQUIRE(other.waiter == &waiter);
    w.check();
}

TEST_CASE("a thread is stopped while it waits for the structure lock") {
    for (int what = 0; what < 4; ++what) {
        World w(2);
        w.endpoint(kE, 1);
        w.endpoint(41, 1);
        w.thread(1);
        Thread& receiver = w.thread(1);
        const u64 receiver_slot = w.next_slot - 2;
        Thread& thread = w.thread(1);
        w.settle();
        REQUIRE(w.invoke(receiver_slot, abi::thread::receive, 80).ok());
        w.settle();
        if (what == 1) w.call(receiver, Sys::reply_wait, {kE});
        if (what >= 2) {
            w.call(receiver, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, 41});
            w.settle();
        }
        hold_lock_until([&] { stop(thread); });
        if (what == 0)
            w.call(thread, Sys::invoke, {abi::kRootPool, abi::pool::create, static_cast<u64>(Type::endpoint), 300});
        if (what == 1) w.call(thread, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, 41});
        if (what == 2) w.call(thread, Sys::reply_wait, {kE});
        if (what == 3) w.call(thread, Sys::wait, {kE, abi::kForever});
        w.settle();
        REQUIRE(thread.state == State::stopped);
        REQUIRE(w.cpu(1).current != &thread);
        if (what == 0) REQUIRE((!w.root->cspace->find(300) || w.at(300).empty()));
        w.check();
    }
}

TEST_CASE("the capability that a call waits with is removed meanwhile") {
    World w(2);
    w.endpoint(kE, 1);
    w.endpoint(41, 1);
    Thread& thread = w.thread(1);
    w.settle();
    hold_lock_until([&] {
        while (!revoke(w.at(kE), true)) {
        }
    });
    w.call(thread, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, 41});
    REQUIRE(w.answer(thread).error() == Error::bad_slot);
    hold_lock_until([&] {
        while (!revoke(w.at(41), true)) {
        }
    });
    w.call(thread, Sys::invoke, {kC, abi::cspace::copy, 50, 41, rights::all});
    REQUIRE(w.answer(thread).error() == Error::bad_slot);
    for (const Sys number : {Sys::wait, Sys::reply_wait}) {
        w.endpoint(kE, 1);
        w.endpoint(41, 1);
        Thread& caller = w.thread(1);
        w.settle();
        w.call(caller, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, 41});  // waits, with a capability
        hold_lock_until([&] {
            while (!revoke(w.at(kE), true)) {
            }
        });
        w.call(thread, number, {kE, number == Sys::wait ? abi::kForever : 0});
        REQUIRE(w.answer(thread).error() == Error::bad_slot);
        REQUIRE(w.invoke(kC, abi::cspace::remove, 41).ok());
    }
    w.check();
}

TEST_CASE("a thread for which a signal is under way calls across cores itself") {
    World w(2);
    w.notification(39);
    w.endpoint(kE, 0);
    w.endpoint(41, 1);
    Thread& server = w.thread(0);
    Thread& thread = w.thread(1);
    const u64 slot = w.next_slot - 2;
    Thread& local = w.thread(1);
    Thread& signaller = w.thread(0);
    w.settle();
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 0, 0, 39).ok());
    REQUIRE(w.invoke(slot, abi::thread::start, 1, 2).ok());
    w.settle();
    w.call(thread, Sys::reply_wait, {41});
    w.call(signaller, Sys::signal, {39});  // knocks at core 1, which has not looked yet
    w.call(local, Sys::call, {41, 5});
    w.call(thread, Sys::call, {kE, 6});  // on its way to core 0 and knocked for at core 1
    w.call(server, Sys::reply_wait, {kE});
    w.interrupt(1);
    w.check();
    w.interrupt(0);
    REQUIRE(w.answer(server).x[1] == 6);
    w.call(server, Sys::reply_wait, {kE, 7});
    w.settle();
    REQUIRE(w.answer(thread).x[1] == 7);
    w.call(thread, Sys::reply_wait, {41, 8});
    REQUIRE(w.answer(thread).x[1] == abi::kTagNote);
    w.settle();
    w.check();
}

TEST_CASE("two cores answer through one reply object: the first wins") {
    World w(2);
    w.endpoint(kE);
    w.reply(42);
    Thread& server = w.thread(0);
    Thread& client = w.thread(0);
    Thread& helper = w.thread(1);
    w.settle();
    w.call(server, Sys::reply_wait, {kE});
    w.call(client, Sys::call, {kE, 1});
    w.call(server, Sys::invoke, {42, abi::reply::capture});
    w.call(helper, Sys::invoke, {42, abi::reply::send, 7, 1});
    w.call(server, Sys::invoke, {42, abi::reply::send, 8, 2});
    REQUIRE(w.answer(server).error() == Error::busy);
    w.settle();
    REQUIRE(w.answer(client).x[1] == 7);
    w.check();
}

TEST_CASE("while one core puts a caller into a reply object, or sets a timer, another is told that it is busy") {
    World w(2);
    w.endpoint(40);
    w.reply(41);
    w.notification(42);
    Thread& server = w.thread(0, 5);
    Thread& client = w.thread(0, 9);
    w.call(server, Sys::reply_wait, {40});
    w.call(client, Sys::call, {40, 1});
    w.object<Reply>(41).taken = true;  // the other core is between taking and putting
    w.call(server, Sys::invoke, {41, abi::reply::capture});
    REQUIRE(w.answer(server).error() == Error::busy);
    REQUIRE(server.caller == &client);
    w.object<Reply>(41).taken = false;
    w.call(server, Sys::invoke, {41, abi::reply::capture});
    REQUIRE(w.answer(server).ok());
    REQUIRE(client.reply == &w.object<Reply>(41));
    // Stopping a caller does not empty the object for whoever was put in since.
    Thread& other = w.thread(0, 9);
    w.object<Reply>(41).forget(other);
    REQUIRE(w.object<Reply>(41).caller == &client);
    w.check();
    w.object<Notification>(42).timer_owner = 2;
    REQUIRE(w.invoke(42, abi::notification::arm, 100'000).error() == Error::busy);
    REQUIRE_FALSE(w.object<Notification>(42).armed());
    w.object<Notification>(42).timer_owner = 0;
    REQUIRE(w.invoke(42, abi::notification::arm, 100'000).ok());
    REQUIRE(w.invoke(42, abi::notification::arm, abi::kForever).ok());
    REQUIRE(w.object<Notification>(42).timer_owner == 0);
}

TEST_CASE("a long call pauses for a core that waits for the structure lock") {
    World world(2);
    bool alone = true, wanted = false;
    fake::on(0, [&] {
        const StructureLock lock;
        alone = !should_pause();
    });
    hold_lock_until([&] { wanted = should_pause(); });
    fake::on(1, [] { const StructureLock lock; });
    REQUIRE(alone);
    REQUIRE(wanted);
}

TEST_CASE("a core that panics writes, though another never lets the log go, and a third waits for it") {
    World w(3);
    fake::state().while_writing = [&] {  // core 0 is in the middle of a line, and stays there
        fake::state().while_waiting = [&] {
            unsigned turns = 0;
            std::function<void()> deaf = [&] {
                ++turns;
                fake::state().while_waiting = deaf;
            };
            fake::state().while_waiting = deaf;
            fake::on(2, [] { log_seize(); });
            REQUIRE(turns == kPatience);
            fake::state().while_waiting = nullptr;
            fake::on(2, [] { log("panic\n"); });
        };
        fake::on(1, [] { log("third\n"); });
    };
    log("first\n");
    REQUIRE(fake::state().uart == "panic\nthird\nfirst\n");
    unsigned turns = 0;
    fake::state().while_waiting = [&] { ++turns; };
    log_seize();  // nobody holds it
    REQUIRE(turns == 0);
    fake::state().while_waiting = nullptr;
}

TEST_CASE("a core that is not there is not waited for") {
    World w(3);
    w.cpu(2).online = false;
    bool ran = false;
    run_on(2, [&] { ran = true; });
    REQUIRE_FALSE(ran);
    const u64 interrupts = fake::state().interrupts;
    synchronize();
    pass_all_cores();
    REQUIRE(fake::state().interrupts - interrupts == 2);  // both times of core 1
    REQUIRE_FALSE(fake::state().interrupted[2]);
}

TEST_CASE("a core that waits in the kernel lets others pass, and does what it is asked to do there") {
    World w(2);
    fake::state().while_waiting = [] {
        fake::state().while_waiting = [] {};  // what core 1 waits for may take longer
        fake::on(1, [] { wait_in_kernel(); });
    };
    pass_all_cores();
    REQUIRE_FALSE(w.cpu(1).passing);
    REQUIRE(w.cpu(1).online);
    fake::state().mail_while_waiting = true;
    synchronize();
    REQUIRE(w.cpu(1).request == nullptr);
}

TEST_CASE("who calls a server that is being stopped is told so") {
    World w(2);
    w.endpoint(kE, 1);
    Thread& server = w.thread(1);
    const u64 slot = w.next_slot - 2;
    Thread& client = w.thread(1);
    w.settle();
    w.call(server, Sys::reply_wait, {kE});
    fake::state().while_waiting = [&] {  // core 1 has not looked at what it is asked yet
        w.call(client, Sys::call, {kE, 1});
        REQUIRE(server.state == State::stopped);
    };
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    w.settle();
    REQUIRE(server.state == State::stopped);
    REQUIRE(w.answer(client).error() == Error::cancelled);
    w.check();
}

TEST_CASE("calls from other cores are delivered in the order in which they were made") {
    World w(2);
    w.endpoint(kE, 1);
    Thread& server = w.thread(1);
    std::vector<Thread*> callers;
    for (unsigned i = 0; i < 20; ++i) callers.push_back(&w.thread(0));
    const u64 gone = w.next_slot - 2 * 5;
    w.settle();
    for (u64 i = 0; i < 20; ++i) w.call(*callers[i], Sys::call, {kE, i});
    fake::on(1, [&] { serve_other_cores(w.cpu(1)); });  // some of them; then whatever else has come
    REQUIRE_FALSE(w.cpu(1).mailbox.posts.empty());
    REQUIRE(fake::state().interrupted[1]);
    w.check();
    REQUIRE(w.invoke(gone, abi::thread::stop).ok());  // one that is still under way; the others keep their order
    w.settle();
    for (u64 i = 0; i < 20; ++i) {
        if (i == 15) continue;
        w.call(server, Sys::reply_wait, {kE});
        REQUIRE(w.answer(server).x[1] == i);
    }
    w.check();
}

TEST_CASE("a mailbox is left only by who has its lock") {
    World w(2);
    w.endpoint(kE, 1);
    Thread& client = w.thread(0);
    const u64 slot = w.next_slot - 2;
    w.settle();
    w.call(client, Sys::call, {kE});
    InboxQueue& mailbox = w.cpu(1).mailbox;
    mailbox.taken = 1;  // another core is putting somebody in
    bool seen = false;
    fake::state().while_waiting = [&] {
        seen = client.mail.inside != nullptr;
        mailbox.taken = 0;
    };
    fake::on(1, [&] { kMail.remove(w.cpu(1), client); });
    REQUIRE(seen);
    REQUIRE_FALSE(client.mail.inside);
    REQUIRE(mailbox.posts.empty());
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    w.settle();
    w.check();
}

TEST_CASE("a passive server refuses calls from other cores, a few at once") {
    World w(2);
    w.endpoint(kE, 1);
    w.notification(41);
    w.reply(42);
    Thread& server = w.thread(1);
    const u64 sched = w.next_slot - 1;
    Thread& near = w.thread(1);
    std::vector<Thread*> callers;
    for (unsigned i = 0; i < 20; ++i) callers.push_back(&w.thread(0));
    w.settle();
    const auto refused = [&] {
        return std::count_if(callers.begin(), callers.end(),
                             [&](const Thread* each) { return w.answer(*each).error() == Error::no_server; });
    };
    w.call(server, Sys::reply_wait, {kE});
    REQUIRE(w.invoke(kC, abi::cspace::revoke, sched).ok());
    REQUIRE(server.state == State::receiving);
    REQUIRE(server.sched == nullptr);
    w.check();
    w.call(*callers[0], Sys::call, {kE, 1});
    w.settle();
    REQUIRE(refused() == 1);
    w.call(near, Sys::call, {kE, 1});
    REQUIRE(server.active == near.sched);
    w.call(server, Sys::invoke, {42, abi::reply::capture});
    REQUIRE(w.answer(server).error() == Error::no_server);
    for (Thread* each : callers) w.call(*each, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, 41});
    w.settle();
    REQUIRE(refused() == 0);
    const u64 pc = server.frame.pc;
    w.call(server, Sys::reply_wait, {kE, 5});
    w.settle();
    REQUIRE(refused() == 16);
    REQUIRE(server.frame.pc == pc);  // it is made again, and its caller has not been answered
    REQUIRE(near.state == State::calling);
    w.check();
    w.call(server, Sys::reply_wait, {kE, 5});
    w.settle();
    REQUIRE(refused() == 20);
    REQUIRE(w.answer(near).x[1] == 5);
    REQUIRE(server.state == State::receiving);
    w.check();
}

TEST_CASE("time is lent on so many times; then a server works on its own, or there is none") {
    World w;
    constexpr u64 kFirst = 100, kServers = 2 * Sched::kMostLoans;
    std::vector<Thread*> servers;
    for (u64 i = 0; i < kServers; ++i) {
        w.endpoint(kFirst + i);
        servers.push_back(&w.thread(0));
    }
    Thread& client = w.thread(0);
    const u64 slot = w.next_slot - 2;
    w.settle();
    for (u64 i = 0; i < kServers; ++i) w.call(*servers[i], Sys::reply_wait, {kFirst + i});
    w.call(client, Sys::call, {kFirst, 1});
    for (u64 i = 0; i + 1 < kServers; ++i) w.call(*servers[i], Sys::call, {kFirst + i + 1, 1});
    REQUIRE(client.sched->loans == Sched::kMostLoans);
    REQUIRE(servers[Sched::kMostLoans - 1]->active == client.sched);
    REQUIRE(servers[Sched::kMostLoans]->lent == servers[Sched::kMostLoans]->sched);
    w.check();
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    REQUIRE(client.active == client.sched);
    REQUIRE(client.sched->loans == 0);
    w.check();
    REQUIRE(w.invoke(slot, abi::thread::resume).ok());
    w.settle();
    // All have their own again, so what the first ones are asked ends in the middle, where nobody waits for a call.
    for (u64 i = kServers; i-- > 0;) {
        w.call(*servers[i], Sys::reply_wait, {kFirst + i, 2});
        REQUIRE(servers[i]->active == servers[i]->sched);
    }
    w.call(client, Sys::call, {kFirst, 1});
    REQUIRE(client.sched->loans == 1);
    w.check();
}

TEST_CASE("who has lost a borrowed context while its call waits is served on the server's own") {
    World w;
    w.endpoint(kE);
    w.endpoint(41);
    Thread& inner = w.thread(0, 5);
    Thread& passive = w.thread(0, 5);
    const u64 sched = w.next_slot - 1;
    Thread& client = w.thread(0, 9);
    const u64 client_slot = w.next_slot - 2;
    w.call(passive, Sys::reply_wait, {kE});
    REQUIRE(w.invoke(kC, abi::cspace::revoke, sched).ok());
    w.call(client, Sys::call, {kE, 1});
    w.call(passive, Sys::call, {41, 2});
    REQUIRE(w.invoke(client_slot, abi::thread::stop).ok());
    REQUIRE(passive.active == nullptr);
    w.check();
    w.call(inner, Sys::reply_wait, {41});
    REQUIRE(w.answer(inner).x[1] == 2);
    REQUIRE(inner.active == inner.sched);
    w.check();
    w.call(inner, Sys::reply_wait, {41, 3});
    REQUIRE(w.answer(passive).x[1] == 3);
    REQUIRE(passive.state == State::ready);  // it has no time to go on with
    REQUIRE_FALSE(passive.linked());
    w.check();
}

TEST_CASE("an endpoint that goes takes along the calls that are on their way to it, and no others") {
    World w(2);
    w.endpoint(kE, 1);
    w.endpoint(41, 1);
    Thread& server = w.thread(1);
    Thread& lost = w.thread(0);
    Thread& client = w.thread(0);
    w.settle();
    w.call(server, Sys::reply_wait, {41});
    w.call(lost, Sys::call, {kE, 1});
    w.call(client, Sys::call, {41, 2});  // both are in core 1's mailbox
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    REQUIRE(w.answer(lost).error() == Error::cancelled);
    w.settle();
    REQUIRE(w.answer(server).x[1] == 2);
    w.call(server, Sys::reply_wait, {41, 3});
    w.settle();
    REQUIRE(w.answer(client).x[1] == 3);
    w.check();
}

}  // namespace twain::kernel::test
