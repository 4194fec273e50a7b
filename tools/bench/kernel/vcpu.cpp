// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The smallest monitor: this thread runs a guest (guest.S) and does what its hypercalls ask for. What is measured
// between the guest's markers is gross.
#include "bench.hpp"

namespace twain::bench {

namespace {

constexpr std::uint64_t kGuestRam = 0x4000'0000, kHole = 0x5000'0000, kDevice = 0x6000'0000, kClock = 0x0901'0000;
constexpr std::uint32_t kClockIntid = 34;
constexpr std::uint64_t kHvc = 0x16, kDataAbort = 0x24;
constexpr sys::Rights kAll = abi::rights::mem_read | abi::rights::mem_write | abi::rights::mem_exec;

enum Hypercall : unsigned { kDone = 0, kQuieten = 1, kUnmap = 2, kNothing = 3 };

void fail(std::string_view what) { need(sys::Status(abi::Error::bad_arg), what); }

}  // namespace

void measure_vcpu() {
    const sys::Space space{next_slot()};
    const sys::Vcpu vcpu{next_slot()};
    need(kObjects.create_space(space.slot, abi::SpaceKind::guest), "guest space");
    const sys::Memory ram = memory(1), state = memory(1);
    copy_code(map(ram, 1), bench_guest_begin, bench_guest_end);
    auto& page = *static_cast<abi::VcpuPage*>(map(state, 1));
    page = abi::VcpuPage{};
    need(space.map(ram, 0, kGuestRam, kPage, kAll, next_slot()), "guest RAM");
    need(space.map(ram, 0, kHole + kPage, kPage, kAll, next_slot()), "neighbour of the hole");
    need(kObjects.create_vcpu(vcpu.slot, space, 0), "vcpu");
    need(vcpu.page(state), "page");
    page.pc = kGuestRam;
    page.pstate = 0x3c5;  // EL1h, all masked
    page.vtimer = 0x80;
    page.loaded = abi::kGroupAll;

    const sys::Memory device{next_slot()};
    need(kSystem.make_memory(device.slot, kClock, kPage), "clock");
    need(space.map(device, 0, kClock, kPage, abi::rights::mem_read | abi::rights::mem_write, next_slot()),
         "guest's clock");
    const sys::Notification note = notification();
    const sys::Irq irq{next_slot()};
    need(kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, 0), "irq");
    need(irq.bind(note), "bind");

    const abi::Slot filled = next_slot();
    for (;;) {
        need(vcpu.run().status(), "run");
        const std::uint64_t ec = page.esr >> 26;
        if (ec == kDataAbort && page.ipa == kHole) {
            need(space.map(ram, 0, kHole, kPage, kAll, filled), "fill");
            continue;
        }
        if (ec == kDataAbort && page.ipa == kDevice) {
            page.pc += 4;
            continue;
        }
        if (ec != kHvc) fail("the guest has gone astray");
        switch (page.esr & 0xffff) {
            case kDone: return;
            case kQuieten:
                (void)note.poll();
                need(irq.ack(), "ack");
                break;
            case kUnmap: need(kSelf.remove(filled), "unmap"); break;
            default: break;
        }
    }
}

}  // namespace twain::bench
