// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Interrupts, by the board's real-time clock (Arm PL031, DDI 0224): its alarm comes when match equals count.
#include "test.hpp"

namespace twain::test {

namespace {

constexpr u64 kClock = 0x0901'0000;
constexpr std::uint32_t kClockIntid = 34, kFree = 40;
constexpr u64 kInvokeBind = abi::irq::bind;

class Clock {
public:
    explicit Clock(Scratch& scratch) {
        const sys::Memory device{scratch.slot()};
        need(kSystem.make_memory(device.slot, kClock, kPage));
        at_ = scratch.map(device);
        reg(0x10) = 1;  // IMSC: the interrupt gets out
        quiet();
    }
    ~Clock() { quiet(); }
    void ring() const { reg(0x04) = reg(0x00); }  // match = now
    void quiet() const { reg(0x1c) = 1; }

private:
    volatile std::uint32_t& reg(u64 offset) const { return *reinterpret_cast<volatile std::uint32_t*>(at_ + offset); }
    u64 at_;
};

void arguments() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const auto make = [&](u64 pool, u64 slot, u64 intid, u64 flags, u64 core) {
        return status(abi::kRootSystem, abi::system::make_irq, pool, slot, intid, flags, core);
    };
    expect("system.make_irq/rights", Error::rights,
           sys::System{scratch.copy(abi::kRootSystem, rights::sys_log)}.make_irq(kObjects, to, kFree, false, 0));
    expect("system.make_irq/rights", Error::rights, make(scratch.copy(kPool, 0), to, kFree, 0, 0));
    expect("system.make_irq/bad_slot", Error::bad_slot, make(to, to, kFree, 0, 0));
    expect("system.make_irq/bad_slot", Error::bad_slot, make(kPool, 0, kFree, 0, 0));
    expect("system.make_irq/bad_type", Error::bad_type, make(kRam, to, kFree, 0, 0));
    expect("system.make_irq/occupied", Error::occupied, make(kPool, kRam, kFree, 0, 0));
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, 31, 0, 0));  // private to a core
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, 0, 0, 0));
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, 1020, 0, 0));
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, u64{1} << 32 | kFree, 0, 0));
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, kFree, 2, 0));
    expect("system.make_irq/bad_arg", Error::bad_arg, make(kPool, to, kFree, 0, cores()));
    expect("system.make_irq/depth", Error::depth, make(scratch.deepest(kPool), to, kFree, 0, 0));
    need(make(kPool, to, kFree, 0, 0));
    expect("system.make_irq/occupied", Error::occupied,
           make(kPool, scratch.slot(), kFree, 0, 0));  // one object for a line

    const sys::Irq irq{to};
    const sys::Notification note = scratch.notification();
    const sys::Irq bind_only{scratch.copy(to, rights::irq_bind)}, ack_only{scratch.copy(to, rights::irq_ack)};
    expect("irq.bind/rights", Error::rights, ack_only.bind(note));
    expect("irq.ack/rights", Error::rights, bind_only.ack());
    expect("irq.bind/bad_slot", Error::bad_slot, irq.bind(sys::Notification{scratch.slot()}));
    expect("irq.bind/bad_slot", Error::bad_slot, status(to, kInvokeBind, ~u64{0}));
    expect("irq.bind/bad_type", Error::bad_type, irq.bind(sys::Notification{kPool}));
    expect("irq.bind/rights", Error::rights, irq.bind(sys::Notification{scratch.copy(note.slot, rights::note_wait)}));
    expect("irq.bind/depth", Error::depth, irq.bind(sys::Notification{scratch.deepest(note.slot)}));
    expect_ok("irq.bind/binds", irq.bind(note));
    expect("irq.bind/occupied", Error::occupied, irq.bind(note));
    expect_ok("irq.bind/unbinds", irq.unbind());
    expect_ok("irq.bind/unbinds", irq.bind(note));
    expect_ok("irq.ack/nothing_there", irq.ack());
    expect("irq.method/bad_method", Error::bad_method, status(to, kNoMethod));
}

void alarm(unsigned core) {
    Scratch scratch;
    const Clock clock(scratch);
    const sys::Notification note = scratch.notification();
    const sys::Irq irq{scratch.slot()};
    need(kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, core));
    need(irq.bind(sys::Notification{scratch.copy(note.slot, rights::note_signal, 0x80)}));
    clock.ring();
    expect_equal("irq.bind/signals", 0x80, *note.wait(sys::after_ms(50)));
    pause();
    expect_equal("irq.ack/not_before", 0, note.poll());  // still asserted, but nobody has acknowledged it
    expect_ok("irq.ack/level_comes_again", irq.ack());
    expect_equal("irq.ack/level_comes_again", 0x80, *note.wait(sys::after_ms(50)));
    clock.quiet();
    need(irq.ack());
    pause();
    expect_equal("irq.ack/quiet", 0, note.poll());
    clock.ring();
    check("irq.ack/next", note.wait(sys::after_ms(50)).ok());
    // Unbound while it is active and asserted: silent, and it can be made anew.
    need(irq.unbind());
    need(irq.ack());
    pause();
    expect_equal("irq.bind/unbound_is_silent", 0, note.poll());
    need(irq.bind(note));
    check("irq.bind/again", note.wait(sys::after_ms(50)).ok());
    expect_ok("notification.remove/bound_to_irq", kSelf.remove(note.slot));
    clock.quiet();
    need(irq.ack());
    expect_ok("irq.remove/line_free_again", kSelf.remove(irq.slot));
    expect_ok("irq.remove/line_free_again", kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, 0));
}

// An interrupt that comes and is never acknowledged, whose object then goes: the next owner gets it.
void abandoned(unsigned core) {
    Scratch scratch;
    const Clock clock(scratch);
    const sys::Notification note = scratch.notification();
    const sys::Irq irq{scratch.slot()};
    need(kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, core));
    need(irq.bind(note));
    clock.ring();
    check("irq.remove/unacknowledged", note.wait(sys::after_ms(50)).ok());
    need(kSelf.remove(irq.slot));
    clock.quiet();
    need(kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, core));
    need(irq.bind(note));
    clock.ring();
    check("irq.remove/unacknowledged", note.wait(sys::after_ms(50)).ok());
    clock.quiet();
    need(irq.ack());
}

}  // namespace

void test_irq() {
    arguments();
    alarm(0);
    abandoned(0);
    if (cores() > 1) {
        alarm(1);
        abandoned(1);
        check("irq.bind/remote_core", true);
    } else {
        skip("irq.bind/remote_core", "one core");
    }
}

}  // namespace twain::test
