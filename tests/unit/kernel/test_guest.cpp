// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// vCPUs on two cores: whose registers a core holds, who may run what, and what happens while a thread waits for another core.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace twain::kernel::test {

using abi::Sys;

namespace {

constexpr u64 kC = abi::kRootCSpace, kSpace = 40, kVcpu = 41, kPageSlot = 42, kOther = 43, kNote = 44;
constexpr u64 kKicked = static_cast<u64>(abi::Exit::kicked);

struct Guests : World {
    Guests() : World(2) {
        make_vcpu(kVcpu, kSpace, kPageSlot);
        notification(kNote);
        here = &thread(0);
        here_slot = next_slot - 2;
        there = &thread(1);
        there_slot = next_slot - 2;
        settle();
    }
    void make_vcpu(u64 vcpu, u64 space, u64 page) {
        require(create(Type::space, space, static_cast<u64>(abi::SpaceKind::guest)).ok());
        require(create(Type::vcpu, vcpu, space, 0).ok());
        require(invoke(abi::kRootRam, abi::memory::derive, page * kPage, kPage, page, rights::all).ok());
        require(invoke(vcpu, abi::vcpu::page, page, 0).ok());
    }
    static void require(bool made) { REQUIRE(made); }
    // Ends its stay in the guest, as an exit does.
    void leave(Thread& runner) {
        Vcpu& vcpu = *runner.vcpu;
        REQUIRE(guest_kick(cpu(runner.core), vcpu, abi::vcpu::kKickExit).ok());
        run(runner);
        fake::on(runner.core, [&] {
            leave_current(cpu(runner.core));
            make_ready(cpu(runner.core), runner);
        });
        go_on(runner.core);
        run(runner);
    }
    Thread* here;
    Thread* there;
    u64 here_slot, there_slot;
};

void take_away(Slot& slot) {
    while (!revoke(slot, true)) {
    }
}

}  // namespace

TEST_CASE("a vCPU that another core has just run takes its registers along too") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    fake::state().at_barrier = [&] {  // it has run there and come back, before this one was the only one
        vcpu.live = 1;
        w.cpu(1).loaded = &vcpu;
    };
    w.call(*w.here, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.here->state == State::guest);
    REQUIRE(vcpu.live == 0);
    REQUIRE(w.cpu(1).loaded == nullptr);
    w.check();
}

TEST_CASE("a vCPU that moves takes its registers along") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    w.call(*w.here, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.here->state == State::guest);
    REQUIRE(vcpu.live == 0);
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.answer(*w.there).error() == Error::busy);  // somebody runs it, and its registers stay where they are
    REQUIRE(vcpu.live == 0);
    w.leave(*w.here);
    REQUIRE(w.answer(*w.here).x[1] == kKicked);
    REQUIRE(vcpu.live == 0);
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(vcpu.live == 1);
    REQUIRE(w.cpu(0).loaded == nullptr);
    REQUIRE(w.cpu(1).loaded == &vcpu);
    w.check();
}

TEST_CASE("run_vcpu, which fastpath.S enters when it has found the vCPU, does what the system call does") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    const auto run_it = [&](Thread& thread) {
        w.run(thread);
        thread.frame.x[0] = kVcpu;
        fake::on(thread.core, [&] { run_vcpu(w.cpu(thread.core), vcpu); });
        w.go_on(thread.core);
    };
    run_it(*w.here);
    REQUIRE(w.here->vcpu == &vcpu);
    w.leave(*w.here);
    run_it(*w.there);  // from another core's registers
    REQUIRE(w.there->vcpu == &vcpu);
    REQUIRE(vcpu.live == 1);
    run_it(*w.here);
    REQUIRE(w.answer(*w.here).error() == Error::busy);
    w.check();
}

TEST_CASE("vcpu_run: no capability, another type, not the right") {
    Guests w;
    const auto error = [&](u64 slot) {
        w.call(*w.here, Sys::vcpu_run, {slot});
        return w.answer(*w.here).error();
    };
    REQUIRE(w.invoke(kC, abi::cspace::copy, kOther, kVcpu, rights::vcpu_kick).ok());
    REQUIRE(error(99) == Error::bad_slot);
    REQUIRE(error(kNote) == Error::bad_type);
    REQUIRE(error(kOther) == Error::rights);
}

TEST_CASE("while a thread waits to run a vCPU of another core, it is stopped, or the vCPU goes or is taken") {
    for (int what = 0; what < 4; ++what) {
        Guests w;
        w.call(*w.here, Sys::vcpu_run, {kVcpu});
        w.leave(*w.here);  // its registers are still in core 0
        hold_lock_until([&] {
            if (what == 0) stop(*w.there);
            if (what == 1) take_away(w.at(kVcpu));
            if (what == 2) take_away(w.at(kPageSlot));
            if (what == 3) w.call(*w.here, Sys::vcpu_run, {kVcpu});
        });
        w.call(*w.there, Sys::vcpu_run, {kVcpu});
        w.settle();
        INFO("case " << what);
        if (what == 0) {
            REQUIRE(w.there->state == State::stopped);
        } else {
            REQUIRE(w.answer(*w.there).error() == (what == 1 ? Error::bad_slot : Error::busy));
        }
        REQUIRE_FALSE(w.there->vcpu);
        if (what != 1) REQUIRE(w.object<Vcpu>(kVcpu).runner == (what == 3 ? w.here : nullptr));
        w.check();
    }
}

TEST_CASE("who takes a vCPU away holds it: nobody begins to run it meanwhile") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    vcpu.held = true;  // core 1 is between looking whether somebody runs it and what it does then
    w.call(*w.here, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.answer(*w.here).error() == Error::busy);
    REQUIRE(vcpu.runner == nullptr);
    vcpu.held = false;
    w.call(*w.here, Sys::vcpu_run, {kVcpu});
    REQUIRE(vcpu.runner == w.here);
    w.check();
}

TEST_CASE("a core whose registers of a vCPU are wanted may have given them up already") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    w.make_vcpu(60, 61, 62);
    w.call(*w.here, Sys::vcpu_run, {kVcpu});
    w.leave(*w.here);
    // Core 0 gets another guest's registers while it is asked for the first one's.
    fake::state().while_waiting = [&] { w.call(*w.here, Sys::vcpu_run, {60}); };
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(vcpu.live == 1);
    REQUIRE(w.cpu(0).loaded == &w.object<Vcpu>(60));
    w.check();
}

TEST_CASE("a kick reaches a vCPU that sleeps, on this core and on another") {
    for (const bool remote : {false, true}) {
        Guests w;
        Thread& runner = remote ? *w.there : *w.here;
        w.call(runner, Sys::vcpu_run, {kVcpu});
        Vcpu& vcpu = w.object<Vcpu>(kVcpu);
        w.run(runner);
        fake::on(runner.core, [&] {  // WFI with a deadline, as the architecture does it
            Cpu& cpu = w.cpu(runner.core);
            vcpu.sleeping = true;
            arm(cpu, runner, fake::state().clock + 1000);
            runner.state = State::waiting;
            leave_current(cpu);
        });
        w.go_on(runner.core);
        w.check();
        REQUIRE(w.invoke(kVcpu, abi::vcpu::kick, abi::vcpu::kKickLook).ok());
        w.settle();
        REQUIRE_FALSE(vcpu.sleeping);
        REQUIRE_FALSE(runner.armed());
        REQUIRE(runner.state == State::guest);
        w.check();
    }
}

TEST_CASE("a vCPU that sleeps wakes at its deadline") {
    Guests w;
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    fake::on(1, [&] {
        vcpu.sleeping = true;
        arm(w.cpu(1), *w.there, fake::state().clock + 1000);
        w.there->state = State::waiting;
        leave_current(w.cpu(1));
    });
    w.go_on(1);
    w.pass(999);
    REQUIRE(vcpu.sleeping);
    w.pass(1);
    REQUIRE_FALSE(vcpu.sleeping);
    REQUIRE(w.cpu(1).current == w.there);
    w.check();
}

TEST_CASE("a vCPU is synchronized from the core that holds it, and destroyed while it runs elsewhere") {
    Guests w;
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.invoke(kVcpu, abi::vcpu::sync, abi::kGroupAll).error() == Error::busy);
    w.leave(*w.there);
    REQUIRE(vcpu.live == 1);
    REQUIRE(w.invoke(kVcpu, abi::vcpu::sync, 0).ok());
    REQUIRE(vcpu.live == 1);
    REQUIRE(w.invoke(kVcpu, abi::vcpu::sync, abi::kGroupAll).ok());
    REQUIRE(vcpu.live == Vcpu::kNowhere);
    REQUIRE(w.cpu(1).loaded == nullptr);
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.invoke(kC, abi::cspace::remove, kVcpu).ok());
    w.settle();
    REQUIRE(w.there->state == State::stopped);
    REQUIRE(w.answer(*w.there).error() == Error::cancelled);
    REQUIRE(w.cpu(1).loaded == nullptr);
    w.check();
}

TEST_CASE("a signal for a thread that runs a guest waits until it is back, however it was knocked for") {
    Guests w;
    REQUIRE(w.invoke(w.there_slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(w.there_slot, abi::thread::configure, 0, 0, 0, 0, kNote).ok());
    REQUIRE(w.invoke(w.there_slot, abi::thread::start, 1, 2).ok());
    w.settle();
    w.call(*w.there, Sys::wait, {kNote, abi::kForever});
    w.call(*w.here, Sys::signal, {kNote});  // a knock is under way
    w.interrupt(1);
    REQUIRE(w.answer(*w.there).x[1] == abi::kTagNote);
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    w.call(*w.here, Sys::signal, {kNote});
    w.settle();
    REQUIRE(w.there->state == State::guest);
    REQUIRE(w.object<Notification>(kNote).bits == 1);
    w.leave(*w.there);
    w.call(*w.there, Sys::wait, {kNote, abi::kPoll});
    REQUIRE(w.answer(*w.there).x[2] == 1);
    w.check();
}

TEST_CASE("whoever cannot have a vCPU is told so, wherever its registers are, and leaves no trace") {
    for (int what = 0; what < 4; ++what) {
        for (const bool remote : {false, true}) {
            Guests w;
            Vcpu& vcpu = w.object<Vcpu>(kVcpu);
            const auto fast = [&](Thread& thread) {  // as fastpath.S
                w.run(thread);
                thread.frame.x[0] = kVcpu;
                fake::on(thread.core, [&] { run_vcpu(w.cpu(thread.core), vcpu); });
                w.go_on(thread.core);
            };
            Thread& thread = remote ? *w.there : *w.here;
            if (remote) {
                w.call(*w.here, Sys::vcpu_run, {kVcpu});
                w.leave(*w.here);
                REQUIRE(vcpu.live == 0);
            }
            Thread* const runner = what == 1 ? w.root : nullptr;
            if (what == 0) vcpu.held = true;      // another core is about to take it away,
            if (what == 1) vcpu.runner = runner;  // runs it,
            if (what == 2) take_away(w.at(kPageSlot));
            if (what == 3) take_away(w.at(kSpace));
            for (const bool directly : {true, false}) {
                INFO("case " << what << ", remote " << remote << ", directly " << directly);
                if (directly) {
                    fast(thread);
                } else {
                    w.call(thread, Sys::vcpu_run, {kVcpu});
                }
                REQUIRE(w.answer(thread).error() == Error::busy);
                REQUIRE_FALSE(thread.vcpu);
                REQUIRE(thread.runnable());
                REQUIRE(vcpu.runner == runner);
            }
            vcpu.runner = nullptr;
            vcpu.held = false;
            w.check();
        }
    }
}

TEST_CASE("a timer that wakes somebody more urgent takes the processor from a guest at once") {
    Guests w;
    Thread& urgent = w.thread(1, 20);
    w.settle();
    const Ticks deadline = fake::state().clock + 1000;
    w.call(urgent, Sys::wait, {kNote, abi::kForever});
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    REQUIRE(w.cpu(1).guest_mode != 0);
    fake::on(1, [&] {
        Notification& note = w.object<Notification>(kNote);
        signal(w.cpu(1), note, 1);  // as an interrupt does
    });
    REQUIRE(w.cpu(1).current == &urgent);
    REQUIRE(w.cpu(1).guest_mode == 0);
    REQUIRE(w.there->state == State::guest);
    REQUIRE(w.there->linked());
    w.go_on(1);
    w.call(urgent, Sys::wait, {kNote, deadline});
    REQUIRE(w.cpu(1).current == w.there);
    REQUIRE(w.cpu(1).guest_mode != 0);
    w.check();
}

TEST_CASE("however often a vCPU is kicked, its core is interrupted once for each time that it is in the guest") {
    for (const u64 reason : {abi::vcpu::kKickLook, abi::vcpu::kKickExit}) {
        Guests w;
        Thread& urgent = w.thread(1, 20);
        w.settle();
        w.call(urgent, Sys::wait, {kNote, abi::kForever});
        w.call(*w.there, Sys::vcpu_run, {kVcpu});
        w.call(*w.here, Sys::signal, {kNote});
        w.settle();
        REQUIRE(w.cpu(1).current == &urgent);  // who has nothing to do with the vCPU
        const u64 before = fake::state().interrupts;
        for (unsigned kick = 0; kick < 100; ++kick) {
            REQUIRE(w.invoke(kVcpu, abi::vcpu::kick, reason).ok());
            w.settle();
        }
        REQUIRE(fake::state().interrupts == before + 1);
        REQUIRE(w.cpu(1).current == &urgent);
        w.call(urgent, Sys::wait, {kNote, abi::kForever});
        const bool exit = reason == abi::vcpu::kKickExit;
        REQUIRE((w.there->vcpu == nullptr) == exit);  // told, or in the guest
        REQUIRE(w.object<Vcpu>(kVcpu).kicks == 0);
        REQUIRE(w.invoke(kVcpu, abi::vcpu::kick, reason).ok());  // the next one is one again
        REQUIRE(fake::state().interrupts == before + (exit ? 1 : 2));
        w.settle();
        w.check();
    }
}

TEST_CASE("a notification that goes leaves its thread asleep in the guest") {
    Guests w;
    REQUIRE(w.invoke(w.there_slot, abi::thread::stop).ok());
    REQUIRE(w.invoke(w.there_slot, abi::thread::configure, 0, 0, 0, 0, kNote).ok());
    REQUIRE(w.invoke(w.there_slot, abi::thread::start, 1, 2).ok());
    w.settle();
    w.call(*w.there, Sys::vcpu_run, {kVcpu});
    Vcpu& vcpu = w.object<Vcpu>(kVcpu);
    fake::on(1, [&] {
        vcpu.sleeping = true;
        w.there->state = State::waiting;
        leave_current(w.cpu(1));
    });
    w.go_on(1);
    REQUIRE(w.invoke(kC, abi::cspace::remove, kNote).ok());
    w.settle();
    REQUIRE(vcpu.sleeping);
    REQUIRE(w.there->vcpu == &vcpu);
    REQUIRE_FALSE(w.there->note);
    REQUIRE(w.invoke(kVcpu, abi::vcpu::kick, abi::vcpu::kKickLook).ok());
    w.settle();
    REQUIRE(w.there->state == State::guest);
    w.check();
}

TEST_CASE("a vCPU that may not be entered: if its guest ran, it has left now; else nothing was done for it meanwhile") {
    for (const bool entered : {false, true}) {
        Guests w;
        w.call(*w.here, Sys::vcpu_run, {kVcpu});
        Vcpu& vcpu = w.object<Vcpu>(kVcpu);
        vcpu.page->left = entered ? 1 : 0;
        vcpu.page->away = 99;
        fake::on(0, [&] { guest_refuse(w.cpu(), *w.here, abi::Exit::kicked); });
        REQUIRE(vcpu.page->exit_reason == kKicked);
        REQUIRE(vcpu.page->left != 0);
        REQUIRE((vcpu.page->left == fake::state().clock) == !entered);
        REQUIRE((vcpu.page->away == 0) == entered);
        REQUIRE_FALSE(w.here->vcpu);
    }
}

}  // namespace twain::kernel::test
