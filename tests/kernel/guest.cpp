// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests that run: exits, interrupts, the timer, and what a hostile one cannot do.
#include "guest.hpp"

namespace twain::test {

namespace {

using abi::Exit;

void exits() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    guest.enter_at(guest_calls);
    check("vcpu_run/hvc", guest.hvc(7) && page.x[0] == 0x1234 && page.x[30] == 0x30);
    page.x[0] = 41;
    check("vcpu_run/registers_go_in", guest.hvc(8) && page.x[0] == 42);
    check("vcpu_run/smc", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kSmc);
    check("vcpu_run/counts_exits", page.exits >= 3 && page.exits_vmm == 3);
    // How long the guest was away for, without what the core did while this thread slept.
    const sys::Ticks left = page.left, sleep = sys::to_ticks(2'000'000, sys::ticks_per_second());
    check("vcpu_run/says_when_it_was_left", left != 0 && left <= sys::now());
    (void)scratch.notification().wait(left + sleep);
    (void)guest.vcpu.run();
    check("vcpu_run/says_how_long_it_was_away",
          page.left > left + sleep && page.away > 0 && page.away <= page.left - left - sleep);
    // Memory that is not there: the VMM plays the device.
    guest.enter_at(guest_loads);
    page.x[1] = Guest::kHole + 0x18;
    check("vcpu_run/mmio_load", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kDataAbort);
    expect_equal("vcpu_run/mmio_load", Guest::kHole + 0x18, page.ipa);
    check("vcpu_run/mmio_load",
          page.pc == Guest::kRam + static_cast<u64>(guest_loads - guest_begin) && (page.esr >> 24 & 1));
    page.x[2] = 0x99;
    page.pc += 4;
    check("vcpu_run/mmio_load", guest.hvc(1) && page.x[2] == 0x99);
    check("vcpu_run/mmio_store",
          *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kDataAbort && (page.esr & 0x40));
    check("vcpu_run/mmio_store", page.ipa == Guest::kHole + 0x1c && page.x[3] == 0x55);
    page.pc += 4;
    check("vcpu_run/mmio_store", guest.hvc(2));
    check("vcpu_run/fetch_abort", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kFetchAbort);
    // Read-only memory of the guest's: its write is an exit too.
    const sys::Memory shared = scratch.memory();
    const Slot mapping = scratch.slot();
    need(guest.space.map(shared, 0, Guest::kHole, kPage, kRead, mapping));
    guest.enter_at(guest_loads);
    page.x[1] = Guest::kHole;
    check("space.map/guest_read_only", guest.hvc(1));
    check("space.map/guest_read_only", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kDataAbort);
    need(kSelf.remove(mapping));
    guest.enter_at(guest_loads);
    check("mapping.remove/guest", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kDataAbort);
    // Traps that the VMM emulates.
    guest.enter_at(guest_traps);
    check("vcpu_run/trapped_registers", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kSysreg);
    page.pc += 4;
    check("vcpu_run/set_way_traps", *guest.vcpu.run() == Exit::trap && guest.ec() == Guest::kSysreg);
    page.pc += 4;
    check("vcpu_run/unknown_hvc", guest.hvc(0x7fff));
    // A page full of nonsense.
    page.pstate = ~u64{0};
    page.loaded = ~u64{0};
    guest.enter_at(guest_calls);
    check("vcpu_run/pstate_sanitized", guest.hvc(7) && (page.pstate & 0x1f) == 5);
}

// Single steps are the guest's own: of its EL0, and with KDE of its EL1. Nobody else is stepped.
void steps() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    const auto step = [&](u64 mdscr, u64 pstate) {
        page.el1.vbar_el1 = Guest::kRam;
        page.el1.mdscr_el1 = mdscr;
        page.loaded = abi::kGroupAll;
        page.pstate = pstate;
        guest.enter_at(guest_steps);
        const auto exit = guest.vcpu.run();
        need(guest.vcpu.sync(abi::kGroupEl1));
        return exit.ok() && *exit == abi::Exit::trap && guest.ec() == Guest::kHvc ? page.esr & 0xffff : 0;
    };
    constexpr u64 kEl0 = 0, kEl1 = 0x1c5;  // debug exceptions not masked
    const auto stepped = [&](u64 ec, u64 instructions) {
        const u64 begin = Guest::kRam + static_cast<u64>(guest_steps - guest_begin);
        return page.el1.esr_el1 >> 26 == ec && page.el1.elr_el1 == begin + 4 * instructions &&
               !(page.el1.spsr_el1 & abi::kPstateStep);
    };
    check("vcpu_run/steps_user", step(~abi::kMdscrKernel, kEl0 | abi::kPstateStep) == 0xef && stepped(0x32, 1));
    check("vcpu_run/steps_user", step(abi::kMdscrStep, kEl0) == 0xef && stepped(0x32, 0));  // its step is over already
    check("vcpu_run/steps_kernel", step(~u64{0}, kEl1 | abi::kPstateStep) == 0xee && stepped(0x33, 1));
    check("vcpu_run/steps_kernel", step(~abi::kMdscrKernel, kEl1 | abi::kPstateStep) == 7);
    check("vcpu_run/steps_nobody",
          step(abi::kMdscrKernel, kEl0 | abi::kPstateStep) == 0xef && page.el1.esr_el1 >> 26 == 0);  // HVC
    // With a step left over on the core, this program goes on as before, and so does another guest.
    page.el1.mdscr_el1 = ~u64{0};
    const Guest other(scratch);
    other.page().pstate = kEl1 | abi::kPstateStep;
    other.enter_at(guest_steps);
    check("vcpu_run/steps_nobody", other.hvc(7));
}

void timer() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    page.vtimer = 0x180;  // enabled at the redistributor
    page.cntvoff = sys::now();
    page.x[1] = sys::ticks_per_second() / 200;
    const u64 start = sys::now();
    guest.enter_at(guest_timer);
    check("vcpu_run/wfi_ends_by_timer", guest.hvc(0x1a) && page.x[21] == 27);
    const u64 took = sys::now() - start;
    check("vcpu_run/wfi_ends_by_timer", took >= sys::ticks_per_second() / 200 && took < sys::ticks_per_second() / 100);
    check("vcpu_run/wfi_counts", page.exits_wfi >= 1);
    // In the past already.
    guest.enter_at(guest_timer);
    page.x[1] = 0;
    page.pstate = 0x3c5;
    check("vcpu_run/timer_in_the_past", guest.hvc(0x1a) && page.x[21] == 27);
    // Asleep while another guest has the core.
    const Guest other(scratch);
    other.enter_at(guest_calls);
    Worker worker(scratch, [](Worker& self) { self.word[0] = u64{sys::Vcpu{self.slots[0]}.run().ok()}; });
    worker.slots[0] = guest.vcpu.slot;
    guest.enter_at(guest_timer);
    page.x[1] = sys::ticks_per_second() / 100;
    page.x[21] = 0;
    page.pstate = 0x3c5;
    // A process of lower priority has the core meanwhile, as if there were no guests.
    Worker below(scratch,
                 [](Worker& self) {
                     for (; !self.word[1]; ++self.word[0]) sys::yield();
                 },
                 {.priority = 10});
    need(below.start());
    need(worker.start());
    pause();
    check("vcpu_run/sleeps_in_wfi", !worker.done() && below.word[0] != 0);
    below.word[1] = 1;
    check("vcpu_run/busy_while_it_sleeps", guest.vcpu.run().error() == Error::busy);
    check("vcpu_run/two_guests", other.hvc(7));
    check("vcpu_run/timer_of_unloaded_vcpu", wait_for([&] { return worker.done(); }) && page.x[21] == 27);
}

void interrupts() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    guest.enter_at(guest_interrupts);
    check("vcpu.posted/delivered", guest.hvc(3));
    guest.post(0, 40);
    check("vcpu.posted/delivered", guest.hvc(0x1a) && page.x[21] == 40);
    check("vcpu.posted/retired", guest.hvc(4) && (page.retired & 1));
    page.retired = 0;
    // Several: the most urgent first.
    check("vcpu.posted/priority", guest.hvc(3));
    guest.post(1, 50, 0xa0);
    guest.post(2, 51, 0x20);
    guest.post(3, 52, 0x60);
    check("vcpu.posted/priority", guest.hvc(0x1a) && page.x[21] == 51);
    check("vcpu.posted/priority", guest.hvc(0x1a) && page.x[21] == 52);
    check("vcpu.posted/priority", guest.hvc(0x1a) && page.x[21] == 50);
    check("vcpu.posted/priority", guest.hvc(4) && page.retired == 0xe);
    page.retired = 0;
    // More than there are list registers.
    check("vcpu.posted/many", guest.hvc(3));
    for (unsigned i = 0; i < abi::kVirqs; ++i) guest.post(i, 100 + i);
    u64 seen = 0;
    for (unsigned i = 0; i < abi::kVirqs && guest.hvc(0x1a); ++i) seen |= u64{1} << (page.x[21] - 100);
    check("vcpu.posted/many", seen == ~u64{0} && guest.hvc(4) && page.retired == ~u64{0});
    page.retired = 0;
    // Of all urgencies, and all taken back and posted anew, the other way round, before the guest looks: the kernel's longest
    // way to a guest.
    // PMR masks the last level.
    const auto level = [](u64 i) { return static_cast<std::uint32_t>(i * 31 / abi::kVirqs); };
    check("vcpu.posted/all_urgencies", guest.hvc(3));
    for (unsigned i = 0; i < abi::kVirqs; ++i) guest.post(i, 100 + i, level(abi::kVirqs - 1 - i) << 3);
    guest.enter_at(guest_interrupts);
    check("vcpu.posted/all_urgencies", guest.hvc(3));
    page.recalled = ~u64{0};
    for (unsigned i = 0; i < abi::kVirqs; ++i) guest.post(i, 100 + i, level(i) << 3);
    seen = 0;
    bool ordered = true;
    for (u64 last = 0, now = 0; seen != ~u64{0} && guest.hvc(0x1a); last = now) {
        now = page.x[21] - 100;
        seen |= u64{1} << now;
        ordered = ordered && level(now) >= level(last);
    }
    check("vcpu.posted/all_urgencies", ordered && seen == ~u64{0} && guest.hvc(4));
    page.retired = 0;
    // All of them and the timer's, which is one more; and each again as soon as it has been taken.
    check("vcpu.posted/more_than_entries", guest.hvc(3));
    for (unsigned i = 0; i < abi::kVirqs; ++i) guest.post(i, 100 + i);
    page.vtimer = 0x180;
    page.cntv_ctl = 1;
    page.cntv_cval = 0;
    page.cntvoff = 0;
    page.loaded = abi::kGroupTimer;
    unsigned taken[abi::kVirqs] = {}, timers = 0;
    for (unsigned i = 0; i < 2 * abi::kVirqs + 1 && guest.hvc(0x1a); ++i) {
        const u64 entry = page.x[21] - 100;
        if (page.x[21] == 27) ++timers;
        if (entry < abi::kVirqs && ++taken[entry] == 1)
            guest.post(static_cast<unsigned>(entry), 100 + static_cast<std::uint32_t>(entry));
    }
    bool twice = true;
    for (const unsigned each : taken) twice = twice && each == 2;
    check("vcpu.posted/more_than_entries", twice && timers == 1 && guest.hvc(4) && page.retired == ~u64{0});
    page.retired = 0;
    page.vtimer = 0x80;
    // Taken back before the guest looks.
    check("vcpu.recalled/pending", guest.hvc(3));
    guest.post(5, 60);
    guest.enter_at(guest_interrupts);
    check("vcpu.recalled/pending", guest.hvc(3) && (page.pending & 0x20));
    page.recalled = u64{1} << 5;
    check("vcpu.recalled/pending", guest.hvc(4) && page.retired == u64{1} << 5);
    page.retired = 0;
    // Notice at the end of it.
    check("vcpu.posted/notify", guest.hvc(3));
    guest.post(6, 61, 0x80, abi::kVirqNotify);
    check("vcpu.posted/notify", *guest.vcpu.run() == Exit::eoi && page.x[21] == 61 && (page.retired & 0x40));
    check("vcpu.posted/notify", guest.hvc(0x1a) && guest.hvc(4));
    page.retired = 0;
    // Posted once more without that before the guest has taken it: it ends quietly, for the core too.
    check("vcpu.posted/notify_no_more", guest.hvc(3));
    guest.post(6, 61, 0x80, abi::kVirqNotify);
    guest.enter_at(guest_interrupts);
    check("vcpu.posted/notify_no_more", guest.hvc(3) && (page.pending & 0x40));
    guest.post(6, 61);
    check("vcpu.posted/notify_no_more", guest.hvc(0x1a) && page.x[21] == 61 && guest.hvc(4) && page.retired == 0x40);
    page.retired = 0;
    // Who sent an SGI: version 2 tells the guest.
    check("vcpu.posted/sender", guest.hvc(3));
    guest.post(10, 3, 0x80, 5u << abi::kVirqSourceShift);
    check("vcpu.posted/sender", guest.hvc(0x1a) && page.x[21] == (page.gic == 2 ? 5u << 10 | 3 : 3) && guest.hvc(4));
    page.retired = 0;
    // It ends while another guest has the core.
    constexpr u64 kWord = 0xff0;
    guest.ram(kWord) = 0;
    page.x[26] = Guest::kRam + kWord;
    const Guest other(scratch);
    other.enter_at(guest_calls);
    Worker worker(scratch, [](Worker& self) { self.word[0] = u64{sys::Vcpu{self.slots[0]}.run().ok()}; });
    worker.slots[0] = guest.vcpu.slot;
    check("vcpu.posted/ends_unloaded", guest.hvc(3));
    guest.post(11, 62);
    need(worker.start());
    check("vcpu.posted/ends_unloaded", wait_for([&] { return page.x[21] == 62; }));
    pause();
    check("vcpu.posted/ends_unloaded", other.hvc(7));
    guest.ram(kWord) = 1;
    check("vcpu.posted/ends_unloaded",
          wait_for([&] { return worker.done(); }) && page.x[21] == 62 && page.retired == 0x800);
    page.x[26] = 0;
    page.retired = 0;
    check("vcpu.posted/ends_unloaded", guest.hvc(4));
    // Numbers that mean nothing are dropped at once.
    check("vcpu.posted/no_such_interrupt", guest.hvc(3));
    guest.post(7, 0xffff);
    guest.post(8, 1020);
    check("vcpu.posted/no_such_interrupt", guest.hvc(4) && (page.retired & 0x180) == 0x180);
    // Still pending in the picture while the guest masks them.
    check("vcpu.posted/picture", guest.hvc(3));
    guest.post(9, 70);
    guest.enter_at(guest_interrupts);
    check("vcpu.posted/picture", guest.hvc(3) && (page.pending & 0x200) && !(page.active & 0x200));
}

// Another thread wakes a guest that sleeps, and stops one that spins.
void kicks() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    Worker worker(scratch, [](Worker& self) {
        const auto exit = sys::Vcpu{self.slots[0]}.run();
        self.word[0] = static_cast<u64>(exit.error());
        self.word[1] = static_cast<u64>(*exit);
    });
    worker.slots[0] = guest.vcpu.slot;
    guest.enter_at(guest_sleeps);
    need(worker.start());
    pause();
    check("vcpu.kick/sleeping", !worker.done());
    expect("vcpu.page/busy", Error::busy, guest.vcpu.page(guest.memory));
    expect("vcpu.sync/busy", Error::busy, guest.vcpu.sync(abi::kGroupEl1));
    guest.post(0, 45);
    expect_ok("vcpu.kick/look", guest.vcpu.kick(abi::vcpu::kKickLook));
    check("vcpu.kick/look", wait_for([&] { return worker.done(); }) && page.x[21] == 45);
    need(worker.start());
    pause();
    expect_ok("vcpu.kick/exit_from_sleep", guest.vcpu.kick(abi::vcpu::kKickExit));
    check("vcpu.kick/exit_from_sleep",
          wait_for([&] { return worker.done(); }) && worker.word[1] == static_cast<u64>(Exit::kicked));
    guest.enter_at(guest_spins);
    page.x[0] = 0;
    need(worker.start());
    pause();
    expect_ok("vcpu.kick/exit_from_loop", guest.vcpu.kick(abi::vcpu::kKickExit));
    check("vcpu.kick/exit_from_loop",
          wait_for([&] { return worker.done(); }) && worker.word[1] == static_cast<u64>(Exit::kicked) && page.x[0] > 0);
    // Before the guest runs at all: it comes back at once.
    need(guest.vcpu.kick(abi::vcpu::kKickExit));
    check("vcpu.kick/kept_for_the_next_run", *guest.vcpu.run() == Exit::kicked);
    // The thread that runs it is stopped.
    need(worker.start());
    pause();
    expect_ok("thread.stop/runs_guest", worker.thread.stop());
    expect_ok("thread.stop/runs_guest", guest.vcpu.sync(abi::kGroupAll));
    check("vcpu_run/again_after_stop", page.x[0] > 0);
    need(worker.thread.resume());
    check("vcpu_run/cancelled",
          wait_for([&] { return worker.done(); }) && worker.word[0] == static_cast<u64>(Error::cancelled));
    // What it needs goes away under it.
    need(worker.start());
    pause();
    expect_ok("vcpu.remove/running", kSelf.remove(guest.vcpu.slot));
    check("vcpu.remove/running", worker.state() == abi::ThreadState::stopped);
}

void registers() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    guest.enter_at(guest_registers);
    check("vcpu.sync/el1", guest.hvc(1));
    expect_ok("vcpu.sync/el1", guest.vcpu.sync(abi::kGroupEl1));
    check("vcpu.sync/el1", page.el1.tpidr_el1 == 0xabc && page.el1.elr_el1 == 0xabc);
    page.el1.tpidr_el1 = 0xdef;
    page.loaded = abi::kGroupEl1;
    check("vcpu.sync/changes_go_in", guest.hvc(2) && page.x[0] == 0xdef && page.x[1] == 0xabc);
    check("vcpu.page/affinity", (page.x[2] & 0xff'00ff'ffff) == 0);
    const Guest floats(scratch);
    u64 mine = 0;
    floats.enter_at(guest_floats);
    asm volatile("movi v5.16b, #0x21" ::: "v5");
    const bool first = floats.hvc(1);
    asm volatile("umov %0, v5.d[1]\n movi v5.16b, #0x33" : "=r"(mine)::"v5");
    check("vcpu_run/fp_registers_apart", first && mine == 0x2121'2121'2121'2121);
    check("vcpu_run/fp_registers_apart",
          floats.hvc(2) && floats.page().x[0] == 0x5a5a'5a5a'5a5a'5a5a && floats.page().x[1] == 0x5a5a'5a5a'5a5a'5a5a);
    expect_ok("vcpu.sync/fp", floats.vcpu.sync(abi::kGroupFp));
    expect_equal("vcpu.sync/fp", 0x5a5a'5a5a'5a5a'5a5a, floats.page().v[10]);
}

// Reads the counter, floating point, unaligned and little-endian data, and the thread's own variables.
bool process_is_sound() {
    static volatile std::uint32_t probe[3] = {0x04030201, 0x08070605, 0};
    u64 thread_pointer = 0, after = 0, value = 0x4045'0000'0000'0000, back = 0, counter = 0;
    asm volatile("mrs %0, tpidr_el0" : "=r"(thread_pointer));
    asm volatile("fmov d7, %1\n fmov %0, d7" : "=r"(back) : "r"(value) : "v7");
    asm volatile("mrs %0, cntpct_el0" : "=r"(counter));
    std::uint32_t unaligned = 0;
    asm volatile("ldur %w0, [%1, #1]" : "=r"(unaligned) : "r"(probe) : "memory");
    asm volatile("mrs %0, tpidrro_el0" : "=r"(after));
    return thread_pointer != 0 && thread_pointer != ~u64{0} && after == 0 && back == value && counter != 0 &&
           unaligned == 0x05040302;
}

void hostile() {
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    check("vcpu_run/hostile_el1_registers", process_is_sound());
    guest.enter_at(guest_hostile);
    check("vcpu_run/hostile_el1_registers", guest.hvc(5));
    check("vcpu_run/hostile_el1_registers", process_is_sound());
    // MDSCR_EL1 is the debugger's: it traps, or it has no effect here.
    auto exit = guest.vcpu.run();
    if (exit.ok() && guest.ec() == Guest::kSysreg) {
        page.pc += 4;
        exit = guest.vcpu.run();
    }
    check("vcpu_run/hostile_mdscr", exit.ok() && guest.ec() == Guest::kHvc && process_is_sound());
    check("vcpu_run/hostile_has_its_own",
          guest.hvc(7) && (page.x[1] & 0x0100'0802) == 0x0100'0802 && page.x[2] == 0 && page.x[3] == ~u64{0});
    check("vcpu_run/hostile_offset", process_is_sound());
    page.cntvoff = 0x1234'5678'9abc;
    const u64 before = sys::now();
    guest.enter_at(guest_calls);
    check("vcpu_run/hostile_offset", guest.hvc(7) && sys::now() - before < sys::ticks_per_second());
}

}  // namespace

void test_guest() {
    if (!at_el2()) {
        // Guests at EL1 need shadow translations: what runs them is the VMM (docs/kernel-el1.md).
        skip("guest.cpp", "kernel at EL1");
        return;
    }
    exits();
    steps();
    timer();
    interrupts();
    kicks();
    registers();
    hostile();
}

}  // namespace twain::test
