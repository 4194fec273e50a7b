// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Notifications and their timers.
#include "test.hpp"

namespace twain::test {

namespace {

void sleep(Worker& self) {
    const auto bits = sys::Notification{self.slots[0]}.wait(self.word[2] ? self.word[2].load() : abi::kForever);
    self.word[0] = static_cast<u64>(bits.error());
    self.word[1] = *bits;
}

void bits() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const sys::Notification four{scratch.copy(note.slot, rights::note_signal, 4)};
    const sys::Notification eight{scratch.copy(note.slot, rights::note_signal, 8)};
    expect_ok("signal/bits_gather", four.signal());
    expect_ok("signal/bits_gather", eight.signal());
    expect_ok("signal/bits_gather", four.signal());
    expect_equal("signal/bits_gather", 12, note.poll());
    expect_equal("wait/takes_all_bits", 0, note.poll());
    expect("wait/timeout", Error::timeout, note.wait(abi::kPoll).status());
    const u64 start = sys::now();
    expect("wait/timeout", Error::timeout, note.wait(start + 5000).status());
    check("wait/not_before_the_deadline", sys::now() >= start + 5000);
    expect("wait/past_deadline", Error::timeout, note.wait(start).status());
    need(four.signal());
    expect_ok("wait/bits_before_deadline", note.wait(sys::after_ms(1)).status());
    expect("notification.method/bad_method", Error::bad_method, status(note.slot, kNoMethod));
}

// Bits are there, but for another.
void bits_of_another() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    Worker bound(scratch, sleep, {.note = note.slot});
    bound.slots[0] = note.slot;
    need(note.signal());
    expect("wait/busy", Error::busy, note.wait(abi::kPoll).status());
    need(bound.start());
    check("wait/bound_finds_bits", wait_for([&] { return bound.done(); }) && bound.word[0] == 0 && bound.word[1] == 1);
}

void waiters() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    Worker one(scratch, sleep);
    one.slots[0] = note.slot;
    need(one.start());
    pause();
    check("wait/sleeps", one.state() == abi::ThreadState::waiting);
    expect("wait/busy", Error::busy, note.wait(abi::kPoll).status());
    need(note.signal());
    check("signal/wakes", wait_for([&] { return one.done(); }) && one.word[0] == 0 && one.word[1] == 1);
    expect("wait/free_again", Error::timeout, note.wait(abi::kPoll).status());
    need(one.start());
    pause();
    need(one.thread.stop());
    expect("thread.stop/waiter", Error::timeout, note.wait(abi::kPoll).status());
    need(one.thread.resume());
    check("thread.resume/wait_is_over",
          wait_for([&] { return one.done(); }) && one.word[0] == static_cast<u64>(Error::cancelled));
    need(one.start());
    pause();
    expect_ok("notification.remove/waiter", kSelf.remove(note.slot));
    check("wait/cancelled", wait_for([&] { return one.done(); }) && one.word[0] == static_cast<u64>(Error::cancelled));
    // Two that time out in the other order than they began.
    const sys::Notification a = scratch.notification(), b = scratch.notification();
    Worker late(scratch, sleep), early(scratch, sleep);
    late.slots[0] = a.slot;
    early.slots[0] = b.slot;
    late.word[2] = sys::after_ms(20);
    early.word[2] = sys::after_ms(5);
    need(late.start());
    need(early.start());
    check("wait/timers_in_order", wait_for([&] { return early.done(); }) && !late.done());
    check("wait/timers_in_order", wait_for([&] { return late.done(); }));
}

void timers() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const sys::Notification timer{scratch.copy(note.slot, rights::note_arm, 0x10)};
    const sys::Notification wait_only{scratch.copy(note.slot, rights::note_wait)};
    expect("notification.arm/rights", Error::rights, wait_only.arm(sys::after_ms(1)));
    const u64 due = sys::after_ms(2);
    expect_ok("notification.arm/signals", timer.arm(due));
    const auto seen = note.wait();
    check("notification.arm/signals", *seen == 0x10 && sys::now() >= due);
    expect_ok("notification.arm/disarm", timer.arm(sys::after_ms(1)));
    expect_ok("notification.arm/disarm", timer.arm(abi::kForever));
    pause(3000);
    expect_equal("notification.arm/disarm", 0, note.poll());
    expect_ok("notification.arm/past", timer.arm(1));
    expect_equal("notification.arm/past", 0x10, *note.wait(sys::after_ms(5)));
    expect_ok("notification.arm/again_replaces", timer.arm(sys::after_ms(1)));
    expect_ok("notification.arm/again_replaces", timer.arm(sys::after_ms(4)));
    pause(2000);
    expect_equal("notification.arm/again_replaces", 0, note.poll());
    pause(4000);
    expect_equal("notification.arm/again_replaces", 0x10, note.poll());
    // The timer of a notification that goes away does not fire.
    need(timer.arm(sys::after_ms(1)));
    expect_ok("notification.remove/armed", kSelf.remove(note.slot));
    pause(3000);
    // Many at once: all fire, none early.
    sys::Notification many[24];
    const u64 base = sys::after_ms(2);
    for (unsigned i = 0; i < 24; ++i) {
        many[i] = scratch.notification();
        need(many[i].arm(base + (i * 7 % 24) * 1000));
    }
    bool good = true;
    for (unsigned i = 0; i < 24; ++i) {
        good = good && many[i].wait(sys::after_ms(50)).ok() && sys::now() >= base + (i * 7 % 24) * 1000;
    }
    check("notification.arm/many", good);
}

// Hundreds of timers, set in any order, a third of them stopped again: the others come in the order of their deadlines.
void timers_in_order() {
    Scratch scratch;
    constexpr unsigned kTimers = 300, kStep = 7 * 41;  // kStep and kTimers have no common factor
    constexpr u64 kApart = 2000;                       // ticks
    static sys::Notification timer[kTimers];
    for (sys::Notification& each : timer) each = scratch.notification();
    const u64 base = sys::after_ms(20);
    const auto due = [&](unsigned i) { return base + i * kApart; };
    for (unsigned i = 0; i < kTimers; ++i) need(timer[i * kStep % kTimers].arm(due(i * kStep % kTimers)));
    for (unsigned i = 0; i < kTimers; i += 3) need(timer[i * kStep % kTimers].arm(abi::kForever));
    bool stopped[kTimers] = {}, good = true;
    for (unsigned i = 0; i < kTimers; i += 3) stopped[i * kStep % kTimers] = true;
    for (unsigned i = 0; i < kTimers; ++i) {
        if (stopped[i]) continue;
        good = good && timer[i].wait(due(i) + sys::ticks_per_second() / 10).ok() && sys::now() >= due(i);
        for (unsigned later = i + 1; later < kTimers && good; ++later) {
            if (const u64 bits = timer[later].poll()) good = bits == 1 && sys::now() >= due(later) && !stopped[later];
            if (sys::now() >= due(i + 1)) break;
        }
    }
    check("notification.arm/hundreds_in_order", good);
    for (unsigned i = 0; i < kTimers; ++i) good = good && (!stopped[i] || timer[i].poll() == 0);
    check("notification.arm/hundreds_in_order", good);
}

void other_core() {
    if (cores() < 2) {
        skip("notification.arm/busy", "one core");
        skip("notification.arm/remote", "one core");
        return;
    }
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    Worker far(scratch,
               [](Worker& self) {
                   self.word[0] = static_cast<u64>(sys::Notification{self.slots[0]}.arm(sys::after_ms(10)).error());
               },
               {.core = 1});
    far.slots[0] = note.slot;
    need(far.start());
    (void)wait_for([&] { return far.done(); });
    check("notification.arm/remote", far.word[0] == 0);
    expect("notification.arm/busy", Error::busy, note.arm(sys::after_ms(1)));
    check("notification.arm/remote", note.wait(sys::after_ms(50)).ok());
    expect_ok("notification.arm/remote", note.arm(sys::after_ms(1)));
    check("notification.arm/remote", note.wait(sys::after_ms(50)).ok());
}

}  // namespace

void test_notification() {
    bits();
    bits_of_another();
    waiters();
    timers();
    timers_in_order();
    other_core();
}

}  // namespace twain::test
