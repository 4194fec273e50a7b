// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Messages, signals, capabilities, mappings, faults, interrupts.
#include "bench.hpp"

namespace twain::bench {

namespace {

template <unsigned kSeries>
void calls(sys::Endpoint to, const sys::Message& message) {
    (void)to.call(message);
    series<kSeries>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        const sys::Message answer = to.call(message);
        end();
        need(answer.status(), "call");
    }
}

}  // namespace

void measure_ipc() {
    const sys::Endpoint server = endpoint();
    start_partner(bench_server, server.slot);
    calls<1>(server, sys::message(1));
    calls<2>(server, sys::message(1, 1, 2, 3, 4, 5, 6));
    // The same by turns to eight servers, each in its own space.
    constexpr unsigned kServers = 8;
    sys::Endpoint servers[kServers];
    for (sys::Endpoint& each : servers) {
        each = endpoint();
        start_partner(bench_server, each.slot);
        (void)each.call(sys::message(1));
    }
    series<16>();
    for (unsigned i = 0; i < kSamples; ++i) {
        const sys::Endpoint to = servers[i % kServers];
        begin();
        const sys::Message answer = to.call(sys::message(1));
        end();
        need(answer.status(), "call");
    }
}

void measure_signals() {
    const sys::Notification quiet{kQuiet};
    series<3>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        const sys::Status status = quiet.signal();
        end();
        need(status, "signal");
    }
    const sys::Notification wake = notification();
    start_partner(bench_sleeper, wake.slot);
    series<4>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        need(wake.signal(), "signal");  // the interval ends in the sleeper
    }
    const sys::Notification ping = notification(), pong = notification();
    start_partner(bench_echo, ping.slot, pong.slot);
    series<5>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        (void)ping.signal();
        const sys::Result<std::uint64_t> bits = pong.wait();
        end();
        need(bits.status(), "wait");
    }
}

void measure_capabilities() {
    constexpr std::uint64_t kScratch = 0x3'0000'0000;
    // A neighbour keeps the tables around it.
    need(kSpace.map(sys::Memory{kSpare}, 0, kScratch + kPage, kPage, abi::rights::mem_read, next_slot()),
         "map neighbour");
    for (unsigned i = 0; i < kSamples; ++i) {
        series<6>();
        begin();
        const sys::Status mapped =
            kSpace.map(sys::Memory{kSpare}, 0, kScratch, kPage, abi::rights::mem_read, kSpareMapping);
        end();
        need(mapped, "map");
        series<7>();
        begin();
        const sys::Status unmapped = kSelf.remove(kSpareMapping);
        end();
        need(unmapped, "unmap");
        series<8>();
        begin();
        const sys::Status copied = kSelf.copy(kFree, kQuiet);
        end();
        need(copied, "copy");
        series<9>();
        begin();
        const sys::Status removed = kSelf.remove(kFree);
        end();
        need(removed, "remove");
    }
}

// A thread that loads from nowhere for ever; this one handles its faults: an interval is from the answer to the next
// fault.
void measure_faults() {
    const sys::Endpoint faults = endpoint();
    const sys::Thread faulter = start_partner(bench_faulter, kQuiet, 0, faults);
    sys::Received fault = faults.wait();
    series<10>();
    for (unsigned i = 0; i < kSamples; ++i) {
        need(fault.status(), "fault");
        begin();
        fault = faults.reply_wait(sys::message(0));
        end();
    }
    need(faulter.stop(), "stop");  // until then this thread runs on the other's time, with its priority
}

namespace {

// The board's real-time clock (Arm PL031, DDI 0224): its alarm comes when match equals count.
constexpr std::uint64_t kClock = 0x0901'0000;
constexpr std::uint32_t kClockIntid = 34;

}  // namespace

void measure_interrupts() {
    const sys::Memory device{next_slot()};
    need(kSystem.make_memory(device.slot, kClock, kPage), "clock");
    auto* const clock = static_cast<volatile std::uint32_t*>(map(device, 1));
    clock[0x10 / 4] = 1;  // IMSC: the interrupt gets out
    const sys::Notification note = notification();
    const sys::Irq irq{next_slot()};
    need(kSystem.make_irq(kObjects, irq.slot, kClockIntid, false, 0), "irq");
    need(irq.bind(note), "bind");
    start_partner(bench_sleeper, note.slot);
    series<11>();
    for (unsigned i = 0; i < kSamples; ++i) {
        const std::uint32_t now = clock[0];
        begin();
        clock[0x04 / 4] = now;  // the interval ends in the sleeper
        asm volatile("isb");
        clock[0x1c / 4] = 1;
        need(irq.ack(), "ack");
    }
    need(kSelf.remove(irq.slot), "remove");
}

}  // namespace twain::bench
