// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Calls, replies, signals and faults between threads: each path once, then at random against invariants.
#include <catch2/catch.hpp>
#include <random>

#include "world.hpp"

namespace twain::kernel::test {

using abi::Sys;

namespace {

constexpr u64 kE = 40, kN = 41, kR = 42, kC = abi::kRootCSpace;

struct Pair : World {  // a client and a server on core 0
    explicit Pair(CpuId cores = 1, CpuId client_core = 0, CpuId server_core = 0) : World(cores) {
        endpoint(kE, server_core);
        notification(kN);
        reply(kR);
        server = &thread(server_core);
        client = &thread(client_core);
        settle();
    }
    void serve() { call(*server, Sys::reply_wait, {kE}); }
    Thread* server;
    Thread* client;
};

}  // namespace

TEST_CASE("call and reply_wait: six words and the badge, and the time goes along") {
    Pair w;
    REQUIRE(w.invoke(kC, abi::cspace::copy, 50, kE, rights::all, 77).ok());
    w.serve();
    REQUIRE(w.server->state == State::receiving);
    Sched* time = w.client->active;
    w.call(*w.client, Sys::call, {50, u64{0xff} << 56 | 5, 1, 2, 3, 4, 5, 6});
    const Answer got = w.answer(*w.server);
    REQUIRE(got.x[0] == 77);
    REQUIRE(got.x[1] == 5);
    for (u64 i = 2; i < 8; ++i) REQUIRE(got.x[i] == i - 1);
    REQUIRE(w.client->state == State::calling);
    REQUIRE(w.server->active == time);
    w.check();
    w.call(*w.server, Sys::reply_wait, {kE, 9, 11, 12, 13, 14, 15, 16});
    const Answer back = w.answer(*w.client);
    REQUIRE(back.x[0] == 0);
    REQUIRE(back.x[1] == 9);
    for (u64 i = 2; i < 8; ++i) REQUIRE(back.x[i] == i + 9);
    REQUIRE(w.client->active == time);
    REQUIRE(w.server->active == w.server->sched);
    w.check();
}

TEST_CASE("a caller waits in a queue until somebody receives; first come, first served") {
    Pair w;
    Thread& second = w.thread();
    w.call(*w.client, Sys::call, {kE, 1});
    w.call(second, Sys::call, {kE, 2});
    w.check();
    w.serve();
    REQUIRE(w.answer(*w.server).x[1] == 1);
    w.check();
    w.serve();
    REQUIRE(w.answer(*w.server).x[1] == 2);
    REQUIRE(w.client->runnable());
    w.check();
}

TEST_CASE("errors of call, reply_wait, wait and signal") {
    Pair w(2);
    const auto error = [&](Sys number, u64 slot, u64 tag = 0) {
        w.call(*w.client, number, {slot, tag});
        return w.answer(*w.client).error();
    };
    REQUIRE(error(Sys::call, 60) == Error::bad_slot);
    REQUIRE(error(Sys::call, ~u64{0}) == Error::bad_slot);
    REQUIRE(error(Sys::call, kN) == Error::bad_type);
    REQUIRE(error(Sys::reply_wait, 60) == Error::bad_slot);
    REQUIRE(error(Sys::reply_wait, kN) == Error::bad_type);
    REQUIRE(error(Sys::wait, 60) == Error::bad_slot);
    REQUIRE(error(Sys::wait, kR) == Error::bad_type);
    REQUIRE(error(Sys::signal, 60) == Error::bad_slot);
    REQUIRE(error(Sys::signal, kE) == Error::bad_type);
    REQUIRE(w.invoke(kC, abi::cspace::copy, 61, kE, 0).ok());
    REQUIRE(w.invoke(kC, abi::cspace::copy, 62, kN, 0).ok());
    REQUIRE(error(Sys::call, 61) == Error::rights);
    REQUIRE(error(Sys::reply_wait, 61) == Error::rights);
    REQUIRE(error(Sys::signal, 62) == Error::rights);
    REQUIRE(error(Sys::wait, 62) == Error::rights);
    REQUIRE(w.invoke(kC, abi::cspace::copy, 63, kE, rights::ep_call).ok());
    REQUIRE(error(Sys::call, 63, abi::kTagCap) == Error::rights);
    w.endpoint(64, 1);
    REQUIRE(error(Sys::reply_wait, 64) == Error::no_server);
    REQUIRE(error(Sys::wait, 64) == Error::no_server);
    REQUIRE(error(Sys::wait, kE, abi::kPoll) == Error::timeout);
    REQUIRE(error(Sys::wait, kN, abi::kPoll) == Error::timeout);
    w.check();
}

TEST_CASE("wait with a deadline times out, on endpoint and notification") {
    for (const u64 what : {kE, kN}) {
        Pair w;
        w.call(*w.client, Sys::wait, {what, fake::state().clock + 500});
        REQUIRE_FALSE(w.client->runnable());
        w.pass(499);
        REQUIRE_FALSE(w.client->runnable());
        w.pass(2);
        REQUIRE(w.client->runnable());
        REQUIRE(w.answer(*w.client).error() == Error::timeout);
        w.check();
    }
}

TEST_CASE("signals are bits that wait; a waiter gets them all at once") {
    Pair w;
    REQUIRE(w.invoke(kC, abi::cspace::copy, 50, kN, rights::note_signal, 4).ok());
    w.call(*w.client, Sys::signal, {kN});
    w.call(*w.client, Sys::signal, {50});
    w.call(*w.server, Sys::wait, {kN, abi::kForever});
    REQUIRE(w.answer(*w.server).x[1] == abi::kTagNote);
    REQUIRE(w.answer(*w.server).x[2] == 5);
    w.call(*w.server, Sys::wait, {kN, abi::kForever});
    REQUIRE(w.server->state == State::waiting);
    w.call(*w.client, Sys::wait, {kN, abi::kPoll});
    REQUIRE(w.answer(*w.client).error() == Error::busy);  // one waiter only
    w.call(*w.client, Sys::signal, {50});
    REQUIRE(w.server->runnable());
    REQUIRE(w.answer(*w.server).x[2] == 4);
    w.check();
}

TEST_CASE("a bound notification comes through the endpoint, before and during the wait") {
    Pair w;
    Thread& bound = w.thread();
    const u64 slot = w.next_slot - 2;
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 0, 0, kN).ok());
    REQUIRE(w.invoke(slot, abi::thread::start, 1, 2).ok());
    w.call(*w.client, Sys::signal, {kN});
    w.call(bound, Sys::reply_wait, {kE});
    REQUIRE(w.answer(bound).x[1] == abi::kTagNote);
    w.call(bound, Sys::reply_wait, {kE});
    REQUIRE(bound.state == State::receiving);
    w.call(*w.client, Sys::signal, {kN});
    REQUIRE(bound.runnable());
    REQUIRE(w.answer(bound).x[2] == 1);
    w.call(bound, Sys::reply_wait, {kE});
    w.call(*w.client, Sys::call, {kE, 3});
    w.call(*w.server, Sys::signal, {kN});  // while it serves
    REQUIRE(w.answer(bound).x[1] == 3);
    w.call(bound, Sys::reply_wait, {kE, 8});
    REQUIRE(w.answer(*w.client).x[1] == 8);
    REQUIRE(w.answer(bound).x[1] == abi::kTagNote);
    w.check();
    // Another cannot be bound to it, and the bound one cannot wait elsewhere.
    w.notification(70);
    w.call(bound, Sys::wait, {70, abi::kPoll});
    REQUIRE(w.answer(bound).error() == Error::busy);
    w.thread();
    REQUIRE(w.invoke(w.next_slot - 2, abi::thread::stop).ok());
    REQUIRE(w.invoke(w.next_slot - 2, abi::thread::configure, 0, 0, 0, 0, kN).error() == Error::occupied);
}

TEST_CASE("whoever waits for a notification that goes away is told so, bound or not") {
    for (const bool bind : {false, true}) {
        Pair w;
        w.thread();
        Thread& waiter = *w.threads.back();
        const u64 slot = w.next_slot - 2;
        if (bind) {
            REQUIRE(w.invoke(slot, abi::thread::stop).ok());
            REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, 0, 0, kN).ok());
            REQUIRE(w.invoke(slot, abi::thread::start, 1, 2).ok());
        }
        w.call(waiter, Sys::wait, {kN, abi::kForever});
        REQUIRE(waiter.state == State::waiting);
        REQUIRE(w.invoke(kC, abi::cspace::remove, kN).ok());
        REQUIRE(waiter.runnable());
        REQUIRE(w.answer(waiter).error() == Error::cancelled);
        w.check();
    }
}

TEST_CASE("an endpoint that goes away tells callers and receivers") {
    Pair w;
    w.serve();
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    REQUIRE(w.answer(*w.server).error() == Error::cancelled);
    w.endpoint(kE);
    w.call(*w.client, Sys::call, {kE, 1});
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    REQUIRE(w.answer(*w.client).error() == Error::cancelled);
    w.check();
    w.endpoint(kE);  // a call that is being served goes on without its endpoint
    w.serve();
    w.call(*w.client, Sys::call, {kE, 1});
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    REQUIRE(w.client->state == State::calling);
    w.call(*w.server, Sys::reply_wait, {kE, 4});
    w.check();
}

TEST_CASE("capabilities travel with messages, both ways, and never displace anything") {
    Pair w;
    const u64 server_slot = w.next_slot - 4, client_slot = w.next_slot - 2;
    REQUIRE(w.invoke(server_slot, abi::thread::receive, 80).ok());
    w.serve();
    w.call(*w.client, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, kN});
    REQUIRE(w.answer(*w.server).x[1] == (abi::kTagCap | 1));
    REQUIRE(w.answer(*w.server).x[7] == 80);
    REQUIRE(w.at(80).type() == Type::notification);
    w.call(*w.server, Sys::reply_wait, {kE, abi::kTagCap | 2, 0, 0, 0, 0, 0, kN});
    REQUIRE(w.answer(*w.client).x[1] == 2);  // no receive slot
    w.call(*w.client, Sys::call, {kE, abi::kTagCap | 3, 7, 0, 0, 0, 0, kN});
    REQUIRE(w.answer(*w.server).x[1] == 3);  // the slot is in use
    REQUIRE(w.answer(*w.server).x[2] == 7);
    REQUIRE(w.answer(*w.server).x[7] == 0);
    REQUIRE(w.invoke(client_slot, abi::thread::receive, 81).ok());
    w.call(*w.server, Sys::reply_wait, {kE, abi::kTagCap | 4, 0, 0, 0, 0, 0, kE});
    REQUIRE(w.answer(*w.client).x[7] == 81);
    REQUIRE(w.at(81).type() == Type::endpoint);
    REQUIRE(w.invoke(client_slot, abi::thread::receive, 8192).error() == Error::bad_slot);
    w.call(*w.client, Sys::call, {kE, abi::kTagCap | 5, 0, 0, 0, 0, 0, 99});  // nothing there to send
    REQUIRE(w.answer(*w.server).x[1] == 5);
    w.check();
}

TEST_CASE("a deferred reply: capture, send, once; the object dies, the caller is told") {
    Pair w;
    w.call(*w.server, Sys::invoke, {kR, abi::reply::capture});
    REQUIRE(w.answer(*w.server).error() == Error::busy);  // no caller
    w.serve();
    w.call(*w.client, Sys::call, {kE, 1, 2, 3});
    w.call(*w.server, Sys::invoke, {kR, abi::reply::capture});
    REQUIRE(w.answer(*w.server).ok());
    REQUIRE(w.client->reply == &w.object<Reply>(kR));
    w.check();
    w.call(*w.server, Sys::invoke, {kR, abi::reply::send, 6, 21, 22, 23, 24, 25});
    REQUIRE(w.answer(*w.client).x[1] == 6);
    REQUIRE(w.answer(*w.client).x[2] == 21);
    REQUIRE(w.answer(*w.client).x[6] == 25);
    REQUIRE(w.answer(*w.client).x[7] == 0);
    w.check();
    w.call(*w.server, Sys::invoke, {kR, abi::reply::send, 6});
    REQUIRE(w.answer(*w.server).error() == Error::busy);
    w.serve();
    w.call(*w.client, Sys::call, {kE, 1});
    w.call(*w.server, Sys::invoke, {kR, abi::reply::capture});
    REQUIRE(w.invoke(kC, abi::cspace::remove, kR).ok());
    REQUIRE(w.answer(*w.client).error() == Error::cancelled);
    w.check();
}

TEST_CASE("faults are calls; the answer decides") {
    for (const u64 label : {0, 1}) {
        Pair w;
        const u64 slot = w.next_slot - 2;
        REQUIRE(w.invoke(slot, abi::thread::stop).ok());
        REQUIRE(w.invoke(slot, abi::thread::configure, 0, 0, kE).ok());
        REQUIRE(w.invoke(slot, abi::thread::start, 0x1234, 0x5678).ok());
        w.serve();
        w.run(*w.client);
        fault(w.cpu(), abi::FaultKind::data, 0x111, 0x222);
        resolve_hazards(w.cpu());
        const Answer told = w.answer(*w.server);
        REQUIRE(told.x[1] == static_cast<u64>(abi::FaultKind::data));
        REQUIRE(told.x[2] == 0x111);
        REQUIRE(told.x[3] == 0x222);
        REQUIRE(told.x[4] == 0x1234);
        REQUIRE(told.x[5] == 0x5678);
        REQUIRE(told.x[6] == w.client->id);
        w.check();
        w.call(*w.server, Sys::reply_wait, {kE, label});
        REQUIRE(w.client->state == (label ? State::faulted : State::ready));
        w.check();
    }
}

TEST_CASE("a fault without an endpoint leaves the thread faulted; it can be resumed") {
    Pair w;
    const u64 slot = w.next_slot - 2;
    w.call(*w.client, static_cast<Sys>(100), {});
    REQUIRE(w.client->state == State::faulted);
    REQUIRE(w.invoke(slot, abi::thread::state).x[3] == static_cast<u64>(abi::FaultKind::svc));
    REQUIRE(w.invoke(slot, abi::thread::resume).ok());
    REQUIRE(w.client->runnable());
    REQUIRE(w.invoke(slot, abi::thread::resume).error() == Error::busy);
    w.check();
}

TEST_CASE("stop undoes whatever a thread waits for") {
    for (int what = 0; what < 6; ++what) {
        Pair w;
        const u64 client_slot = w.next_slot - 2, server_slot = w.next_slot - 4;
        switch (what) {
            case 0: w.call(*w.client, Sys::call, {kE, 1}); break;
            case 1: w.call(*w.client, Sys::wait, {kE, abi::kForever}); break;
            case 2: w.call(*w.client, Sys::wait, {kN, fake::state().clock + 100}); break;
            case 3:
                w.serve();
                w.call(*w.client, Sys::call, {kE, 1});
                break;
            case 4:
                w.serve();
                w.call(*w.client, Sys::call, {kE, 1});
                w.call(*w.server, Sys::invoke, {kR, abi::reply::capture});
                break;
            default: break;
        }
        w.check();
        REQUIRE(w.invoke(client_slot, abi::thread::stop).ok());
        REQUIRE(w.client->state == State::stopped);
        w.check();
        REQUIRE(w.invoke(client_slot, abi::thread::start, 1, 2).ok());
        w.check();
        if (what == 3 || what == 4) {  // the server's answer leads nowhere
            w.call(*w.server, Sys::reply_wait, {kE, 4});
            REQUIRE(w.answer(*w.client).x[1] == 0);
            w.check();
        }
        if (what == 5) {  // the server stops instead: its caller is told
            w.serve();
            w.call(*w.client, Sys::call, {kE, 1});
            REQUIRE(w.invoke(server_slot, abi::thread::stop).ok());
            REQUIRE(w.answer(*w.client).error() == Error::cancelled);
            w.check();
        }
    }
}

TEST_CASE("calls across cores: message, reply, cancel; time stays at home") {
    Pair w(2, 0, 1);
    w.serve();
    w.call(*w.client, Sys::call, {kE, 1, 5});
    REQUIRE(w.client->mail.inside);
    w.check();
    w.interrupt(1);
    REQUIRE(w.answer(*w.server).x[2] == 5);
    REQUIRE(w.server->active == w.server->sched);
    REQUIRE(w.client->active == w.client->sched);
    w.check();
    w.call(*w.server, Sys::reply_wait, {kE, 2, 6});
    REQUIRE(w.client->state == State::replying);
    w.interrupt(0);
    REQUIRE(w.client->runnable());
    REQUIRE(w.answer(*w.client).x[2] == 6);
    w.check();
    // Under way, the endpoint goes; the thread is stopped; the server is stopped.
    w.call(*w.client, Sys::call, {kE, 1});
    REQUIRE(w.invoke(kC, abi::cspace::remove, kE).ok());
    w.settle();
    REQUIRE(w.answer(*w.client).error() == Error::cancelled);
    w.check();
    w.endpoint(kE, 1);
    w.call(*w.client, Sys::call, {kE, 1});
    const u64 client_slot = w.next_slot - 2, server_slot = w.next_slot - 4;
    REQUIRE(w.invoke(client_slot, abi::thread::stop).ok());
    w.settle();
    w.check();
    REQUIRE(w.invoke(client_slot, abi::thread::start, 1, 2).ok());
    w.settle();
    w.call(*w.server, Sys::reply_wait, {kE});
    w.call(*w.client, Sys::call, {kE, 1});
    w.settle();
    REQUIRE(w.invoke(server_slot, abi::thread::stop).ok());
    w.settle();
    REQUIRE(w.answer(*w.client).error() == Error::cancelled);
    w.check();
}

TEST_CASE("a signal across cores wakes a waiter there") {
    Pair w(2, 0, 1);
    w.call(*w.server, Sys::wait, {kN, abi::kForever});
    w.call(*w.client, Sys::signal, {kN});
    REQUIRE(w.server->state == State::waiting);
    w.interrupt(1);
    REQUIRE(w.server->runnable());
    REQUIRE(w.answer(*w.server).x[2] == 1);
    w.check();
}

TEST_CASE("a notification's timer signals its badge") {
    Pair w;
    REQUIRE(w.invoke(kC, abi::cspace::copy, 50, kN, rights::note_arm, 8).ok());
    REQUIRE(w.invoke(50, abi::notification::arm, fake::state().clock + 100).ok());
    w.call(*w.server, Sys::wait, {kN, abi::kForever});
    w.pass(99);
    REQUIRE_FALSE(w.server->runnable());
    w.pass(1);
    REQUIRE(w.answer(*w.server).x[2] == 8);
    REQUIRE(w.invoke(50, abi::notification::arm, fake::state().clock + 100).ok());
    REQUIRE(w.invoke(50, abi::notification::arm, abi::kForever).ok());
    w.pass(200);
    w.call(*w.server, Sys::wait, {kN, abi::kPoll});
    REQUIRE(w.answer(*w.server).error() == Error::timeout);
    REQUIRE(w.invoke(50, abi::notification::arm, 0).ok());  // past: at once
    w.pass(1);
    w.call(*w.server, Sys::wait, {kN, abi::kPoll});
    REQUIRE(w.answer(*w.server).x[2] == 8);
    REQUIRE(w.invoke(50, abi::notification::arm, fake::state().clock + 100).ok());
    REQUIRE(w.invoke(kC, abi::cspace::remove, kN).ok());
    w.pass(200);
    w.check();
}

TEST_CASE("of many timers that are due together a few are served by each interrupt") {
    World w;
    constexpr u64 kFirst = 60, kTimers = 9;
    for (u64 slot = kFirst; slot < kFirst + kTimers; ++slot) {
        w.notification(slot);
        REQUIRE(w.invoke(slot, abi::notification::arm, 5000).ok());
    }
    const auto signalled = [&] {
        u64 count = 0;
        for (u64 slot = kFirst; slot < kFirst + kTimers; ++slot) count += w.object<Notification>(slot).bits;
        return count;
    };
    REQUIRE(fake::state().clock < 5000);
    fake::state().clock = 5000;
    for (const u64 so_far : {4, 8, 9}) {
        REQUIRE(fake::state().timer[0] <= 5000);
        w.pass(0);
        REQUIRE(signalled() == so_far);
    }
    REQUIRE(fake::state().timer[0] > 5000);
}

TEST_CASE("random calls, replies, stops and removals leave every thread in exactly one place") {
    const auto seed = GENERATE(range(1u, 25u));
    std::mt19937 random(seed);
    const auto pick = [&](u64 below) { return static_cast<u64>(random() % below); };
    const CpuId cores = 1 + seed % 2;
    World w(cores);
    for (u64 i = 0; i < 3; ++i) w.endpoint(40 + i, static_cast<CpuId>(i % cores));
    for (u64 i = 0; i < 2; ++i) w.notification(50 + i);
    for (u64 i = 0; i < 2; ++i) w.reply(60 + i);
    constexpr u64 kThreads = 6;
    for (u64 i = 0; i < kThreads; ++i) w.thread(static_cast<CpuId>(i % cores), static_cast<u8>(5 + i / 3));
    w.settle();
    const u64 first = 1000;  // slots of the threads: every second one
    const auto free = [&] { return w.invoke(abi::kRootPool, abi::pool::stat).x[3]; };
    const u64 free_before = free();
    for (int step = 0; step < 1500; ++step) {
        const u64 which = pick(kThreads);
        Thread& thread = *w.threads[1 + which];
        const u64 slot = first + 2 * which;
        if (pick(10) == 0) {  // somebody interferes
            switch (pick(5)) {
                case 0: REQUIRE(w.invoke(slot, abi::thread::stop).ok()); break;
                case 1: {
                    const u64 gone = 40 + pick(3);
                    REQUIRE(w.invoke(kC, abi::cspace::remove, gone).ok());
                    w.endpoint(gone, static_cast<CpuId>((gone - 40) % cores));
                    break;
                }
                case 2: {
                    const u64 gone = 60 + pick(2);
                    REQUIRE(w.invoke(kC, abi::cspace::remove, gone).ok());
                    w.reply(gone);
                    break;
                }
                case 3: {
                    const u64 gone = 50 + pick(2);
                    REQUIRE(w.invoke(kC, abi::cspace::remove, gone).ok());
                    w.notification(gone);
                    break;
                }
                default: w.pass(pick(1000)); break;
            }
        } else if (thread.runnable() && (w.cpu(thread.core).current == &thread || thread.linked())) {
            const u64 endpoint = 40 + pick(3), note = 50 + pick(2), answer = 60 + pick(2);
            switch (pick(8)) {
                case 0:
                case 1: w.call(thread, Sys::call, {endpoint, pick(4)}); break;
                case 2:
                case 3: w.call(thread, Sys::reply_wait, {endpoint, pick(4)}); break;
                case 4:
                    w.call(thread, Sys::wait,
                           {pick(2) ? note : endpoint, pick(2) ? fake::state().clock + pick(500) : abi::kForever});
                    break;
                case 5: w.call(thread, Sys::signal, {note}); break;
                case 6: w.call(thread, Sys::invoke, {answer, abi::reply::capture}); break;
                default: w.call(thread, Sys::invoke, {answer, abi::reply::send, 0, pick(9)}); break;
            }
        } else if (thread.state == State::stopped || thread.state == State::faulted) {
            REQUIRE(w.invoke(slot, abi::thread::start, 1, 2).ok());
        }
        INFO("seed " << seed << " step " << step << " thread " << thread.id);
        w.check();
        if (pick(3)) {
            for (CpuId core = 0; core < cores; ++core) {
                if (fake::state().interrupted[core]) w.interrupt(core);
            }
            w.check();
        }
    }
    for (u64 i = 0; i < kThreads; ++i) REQUIRE(w.invoke(first + 2 * i, abi::thread::stop).ok());
    w.settle();
    w.check();
    for (Thread* thread : w.threads) {
        if (thread == w.root) continue;
        REQUIRE(thread->active == thread->sched);  // everybody has their own time again
        REQUIRE(thread->sched->user == thread);
    }
    REQUIRE(free() == free_before);
}

TEST_CASE("a capability that cannot be passed on, or is nowhere, does not travel; the message does") {
    Pair w;
    REQUIRE(w.invoke(w.next_slot - 4, abi::thread::receive, 80).ok());
    REQUIRE(w.invoke(abi::kRootRam, abi::memory::derive, 0, kPage, 70, rights::all).ok());
    REQUIRE(w.invoke(abi::kRootSpace, abi::space::map, 70, 0, 0x100000, kPage, rights::mem_read, 71).ok());
    w.serve();
    for (const u64 slot : {u64{71}, u64{8191}, ~u64{0}}) {  // a mapping belongs to its space; the others are nothing
        w.call(*w.client, Sys::call, {kE, abi::kTagCap | 1, 0, 0, 0, 0, 0, slot});
        REQUIRE(w.answer(*w.server).x[1] == 1);
        REQUIRE(w.answer(*w.server).x[7] == 0);
        REQUIRE((w.root->cspace->find(80) == nullptr || w.at(80).empty()));
        w.call(*w.server, Sys::reply_wait, {kE, 2});
        REQUIRE(w.answer(*w.client).x[1] == 2);
    }
    w.check();
}

}  // namespace twain::kernel::test
