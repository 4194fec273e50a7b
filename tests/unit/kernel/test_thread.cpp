// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Methods of threads, vCPUs (without registers) and the system, and the log.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernel/core/log.hpp"
#include "world.hpp"

namespace twain::kernel::test {

using abi::Sys;

namespace {
constexpr u64 kC = abi::kRootCSpace, kSystem = abi::kRootSystem, kP = abi::kRootPool, kRam = abi::kRootRam;
}

TEST_CASE("thread: configure checks everything before it changes anything") {
    World w;
    REQUIRE(w.create(Type::thread, 40).ok());
    REQUIRE(w.create(Type::space, 41, 1).ok());  // a guest's
    const auto configure = [&](u64 a2, u64 a3, u64 a4, u64 a5, u64 a6) {
        return w.invoke(40, abi::thread::configure, a2, a3, a4, a5, a6);
    };
    REQUIRE(w.invoke(40, abi::thread::start).error() == Error::bad_arg);  // no spaces yet
    REQUIRE(configure(kC, 41, 0, 0, 0).argument() == 3);
    REQUIRE(w.object<Thread>(40).cspace == nullptr);
    REQUIRE(configure(99, 0, 0, 0, 0).error() == Error::bad_slot);
    REQUIRE(configure(kP, 0, 0, 0, 0).error() == Error::bad_type);
    REQUIRE(w.create(Type::endpoint, 42).ok());
    REQUIRE(w.invoke(kC, abi::cspace::copy, 43, 42, rights::ep_receive).ok());
    REQUIRE(configure(kC, abi::kRootSpace, 43, 0, 0).error() == Error::rights);
    REQUIRE(configure(0, 0, 0, abi::kRootSched, 0).error() == Error::occupied);
    REQUIRE(configure(kC, abi::kRootSpace, 42, 0, 0).ok());
    REQUIRE(w.object<Thread>(40).cspace == w.root->cspace);
    REQUIRE(w.invoke(kC, abi::cspace::remove, 42).ok());
    REQUIRE(w.object<Thread>(40).refs[Thread::ref_fault].empty());
    const u64 children = w.at(kC).has_children();
    REQUIRE(configure(kC, 0, 0, 0, 0).ok());  // the same again replaces the reference
    REQUIRE(w.at(kC).has_children() == children);
    REQUIRE(w.invoke(kC, abi::cspace::remove, 40).ok());
}

TEST_CASE("thread: registers") {
    World w;
    Thread& thread = w.thread();
    const u64 slot = w.next_slot - 2;
    REQUIRE(w.invoke(slot, abi::thread::write, 0, 1, 5).error() == Error::busy);
    REQUIRE(w.invoke(slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(slot, abi::thread::write, 0, 0, 5).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, abi::thread::write, 0, 5, 5).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, abi::thread::write, 34, 2, 5).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, abi::thread::write, 35, 1, 5).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, abi::thread::write, ~u64{0}, 2, 5).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, abi::thread::write, 29, 4, 1, 2, 3, 4).ok());
    REQUIRE(thread.frame.x[29] == 1);
    REQUIRE(thread.frame.x[30] == 2);
    REQUIRE(thread.frame.sp == 3);
    REQUIRE(thread.frame.pc == 4);
    REQUIRE(w.invoke(slot, abi::thread::write, 33, 2, ~u64{0}, 77).ok());
    REQUIRE(thread.frame.pstate == machine::kUserPstate);  // a thread stays at EL0
    REQUIRE(thread.thread_pointer == 77);
    const Answer read = w.invoke(slot, abi::thread::read, 31);
    REQUIRE(read.x[3] == 3);
    REQUIRE(read.x[4] == 4);
    REQUIRE(read.x[6] == 77);
    REQUIRE(read.x[7] == 0);
    REQUIRE(w.invoke(slot, abi::thread::read, 35).error() == Error::bad_arg);
    REQUIRE(w.invoke(slot, 8).error() == Error::bad_method);
    REQUIRE(w.invoke(kC, abi::cspace::copy, 40, slot, rights::thread_regs).ok());
    REQUIRE(w.invoke(40, abi::thread::stop).error() == Error::rights);
    REQUIRE(w.invoke(40, abi::thread::read, 0).ok());
    REQUIRE(w.invoke(kC, abi::cspace::copy, 41, slot, rights::thread_control).ok());
    REQUIRE(w.invoke(41, abi::thread::read, 0).error() == Error::rights);
    REQUIRE(w.invoke(41, abi::thread::start, 1, 2, 3, 4).ok());
    REQUIRE(thread.frame.x[0] == 3);
    REQUIRE(thread.frame.x[1] == 4);
    REQUIRE(thread.frame.x[29] == 0);
    REQUIRE(w.invoke(41, abi::thread::start, 1, 2).error() == Error::busy);
    w.check();
}

TEST_CASE("a thread that is removed is gone from every queue") {
    World w(2);
    w.endpoint(40, 1);
    w.notification(41);
    for (const CpuId core : {0u, 1u}) {
        for (int what = 0; what < 4; ++what) {
            Thread& thread = w.thread(core);
            const u64 slot = w.next_slot - 2;
            w.settle();
            if (what == 1) w.call(thread, Sys::call, {40, 1});
            if (what == 2) w.call(thread, Sys::wait, {41, fake::state().clock + 10'000});
            if (what == 3) {
                w.call(thread, Sys::call, {40, 1});
                w.settle();
            }
            w.threads.pop_back();
            REQUIRE(w.invoke(kC, abi::cspace::remove, slot).ok());
            w.settle();
            w.check();
            REQUIRE(w.object<Endpoint>(40).waiting.empty());
            REQUIRE(w.object<Notification>(41).waiter == nullptr);
        }
    }
    w.pass(20'000);
}

TEST_CASE("vCPU: what it needs, who runs it, how it ends") {
    World w;
    REQUIRE(w.create(Type::space, 40, static_cast<u64>(abi::SpaceKind::guest)).ok());
    REQUIRE(w.create(Type::vcpu, 41, 40, 1).ok());
    REQUIRE(w.create(Type::vcpu, 42, 40, u64{1} << 31).error() == Error::bad_arg);
    REQUIRE(w.invoke(kRam, abi::memory::derive, 0, 2 * kPage, 43, rights::all).ok());
    REQUIRE(w.invoke(kC, abi::cspace::copy, 44, 43, rights::mem_read).ok());
    Thread& runner = w.thread();
    Thread& other = w.thread();
    w.call(runner, Sys::vcpu_run, {41});
    REQUIRE(w.answer(runner).error() == Error::busy);  // no state page
    REQUIRE(w.invoke(41, abi::vcpu::sync, abi::kGroupAll).error() == Error::busy);
    REQUIRE(w.invoke(41, abi::vcpu::page, 44, 0).error() == Error::rights);
    REQUIRE(w.invoke(41, abi::vcpu::page, 43, 1).error() == Error::bad_arg);
    REQUIRE(w.invoke(41, abi::vcpu::page, 43, 2 * kPage).error() == Error::bad_arg);
    REQUIRE(w.invoke(41, abi::vcpu::page, 43, kPage).ok());
    REQUIRE(w.invoke(41, abi::vcpu::page, 43, kPage).error() == Error::occupied);
    REQUIRE(w.invoke(41, abi::vcpu::sync, 8).error() == Error::bad_arg);
    REQUIRE(w.invoke(41, abi::vcpu::kick, 2).error() == Error::bad_arg);
    w.call(runner, Sys::vcpu_run, {41});
    REQUIRE(runner.vcpu);
    w.call(other, Sys::vcpu_run, {41});
    REQUIRE(w.answer(other).error() == Error::busy);
    REQUIRE(w.invoke(41, abi::vcpu::sync, abi::kGroupAll).error() == Error::busy);
    REQUIRE(w.invoke(41, abi::vcpu::page, 43, 0).error() == Error::busy);
    w.check();
    REQUIRE(w.invoke(41, abi::vcpu::kick, abi::vcpu::kKickExit).ok());
    w.run(runner);
    REQUIRE_FALSE(runner.vcpu);
    REQUIRE(w.answer(runner).x[1] == static_cast<u64>(abi::Exit::kicked));
    w.call(runner, Sys::vcpu_run, {41});
    REQUIRE(w.invoke(kC, abi::cspace::remove, 43).ok());  // the page goes: the runner is stopped
    REQUIRE(runner.state == State::stopped);
    REQUIRE(w.object<Vcpu>(41).page == nullptr);
    REQUIRE(w.invoke(41, abi::vcpu::page, kRam, 0).ok());
    w.call(other, Sys::vcpu_run, {41});
    REQUIRE(w.invoke(kC, abi::cspace::remove, 40).ok());  // the space goes
    REQUIRE(other.state == State::stopped);
    REQUIRE(w.object<Vcpu>(41).space == nullptr);
    REQUIRE(w.invoke(kC, abi::cspace::remove, 41).ok());
    REQUIRE(w.cpu().loaded == nullptr);
    w.check();
}

TEST_CASE("system: rights for each method, information, power, UART") {
    World w(2);
    REQUIRE(w.invoke(kC, abi::cspace::copy, 40, kSystem, 0).ok());
    for (u64 method = 0; method < 10; ++method) REQUIRE(w.invoke(40, method).error() == Error::rights);
    REQUIRE(w.invoke(40, 10).error() == Error::bad_method);
    REQUIRE(w.invoke(kSystem, ~u64{0}).error() == Error::bad_method);
    const Answer info = w.invoke(kSystem, abi::system::info, 1);
    REQUIRE(info.x[2] == 2);
    REQUIRE(info.x[5] == abi::kVersion);
    REQUIRE(w.invoke(kSystem, abi::system::info, 2).error() == Error::bad_arg);
    REQUIRE(w.invoke(kSystem, abi::system::power, 2).error() == Error::unsupported);
    REQUIRE(w.invoke(kSystem, abi::system::uart, 2).error() == Error::bad_arg);
    REQUIRE(w.invoke(kSystem, abi::system::uart, 0).ok());
    REQUIRE_FALSE(fake::state().uart_owned);
    REQUIRE(w.invoke(kSystem, abi::system::uart, 1).ok());
}

TEST_CASE("a firmware call is passed on, but none that would take the machine from the kernel") {
    World w;
    auto& machine = fake::state();
    const auto make = [&](u64 function) {
        return w.invoke(kSystem, abi::system::firmware, function, 11, 12, 13, 14, 15);
    };
    const Answer answer = make(0x8000'0000);  // SMCCC_VERSION
    REQUIRE(answer.ok());
    REQUIRE((answer.x[2] == 0x8000'0001 && answer.x[3] == 12 && answer.x[4] == 13 && answer.x[5] == 14));
    const auto passes = [&](u64 function) {
        const std::size_t before = machine.firmware_calls.size();
        const Answer made = make(function);
        const bool passed = machine.firmware_calls.size() > before;
        REQUIRE(made.error() == (passed ? Error::none : Error::bad_arg));
        return passed;
    };
    for (const u64 width : {u64{0}, u64{1} << 30}) {
        for (u64 n = 0; n < 0x40; ++n) REQUIRE_FALSE(passes(0x8400'0000 | width | n));
        REQUIRE(passes(0x8400'0050 | width));        // TRNG_VERSION
        REQUIRE_FALSE(passes(0x0400'0050 | width));  // not fast
        REQUIRE(passes(0xb200'0001 | width));        // a trusted OS
        REQUIRE_FALSE(passes(0x8401'0003 | width));  // PSCI with the hint that there is no SVE state
        REQUIRE_FALSE(passes(u64{1} << 32 | 0x8200'0000 | width));
        REQUIRE_FALSE(passes(~u64{0}));
        for (const u64 owner : {5, 6}) {
            machine.conduit = smccc::Conduit::hvc;
            REQUIRE_FALSE(passes(u64{1} << 31 | width | owner << 24));
            machine.conduit = smccc::Conduit::smc;
            REQUIRE(passes(u64{1} << 31 | width | owner << 24));
        }
    }
    machine.conduit = smccc::Conduit::none;
    REQUIRE(make(0x8000'0000).error() == Error::unsupported);
}

TEST_CASE("the log keeps the last 16 KiB and says where it goes on") {
    World w;
    const u64 start = log_read(~u64{0}, nullptr, 0).next;
    w.call(*w.root, Sys::log, {kSystem, 5, 0x6f6c6c6568});
    REQUIRE(fake::state().uart == "hello");
    const Answer part = w.invoke(kSystem, abi::system::log_read, start);
    REQUIRE(part.x[2] == start + 5);
    REQUIRE(part.x[3] == 5);
    REQUIRE(part.x[4] == 0x6f6c6c6568);
    REQUIRE(w.invoke(kSystem, abi::system::log_read, start + 5).x[3] == 0);
    REQUIRE(w.invoke(kSystem, abi::system::log_read, ~u64{0}).x[2] == start + 5);
    w.call(*w.root, Sys::log, {kSystem, 49});
    REQUIRE(w.answer(*w.root).error() == Error::bad_arg);
    w.call(*w.root, Sys::log, {kP, 1});
    REQUIRE_FALSE(w.answer(*w.root).ok());
    w.call(*w.root, Sys::log, {99, 1});
    REQUIRE(w.answer(*w.root).error() == Error::bad_slot);
    log("{} of {}: {}\n", 16, "x", u64{0});
    REQUIRE(fake::state().uart == "hello0x10 of x: 0\n");
    for (int i = 0; i < 2000; ++i) log("0123456789");
    const LogPart old = log_read(start, nullptr, 0);
    REQUIRE(old.next > start + 5);
    char text[32];
    REQUIRE(log_read(old.next, text, sizeof text).bytes == 32);
}

TEST_CASE("what is no hole in a format is text, and so is a hole for which there is nothing") {
    World w;
    log("{ } {x {} }{", 5);
    log("{}{}", "one");
    REQUIRE(fake::state().uart == "{ } {x 5 }{one{}");
}

}  // namespace twain::kernel::test
