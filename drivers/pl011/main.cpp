// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The PL011 driver: a process that holds one register page, one interrupt and two rings, and nothing else.
#include <cstdint>

#include "drivers/pl011/pl011.hpp"
#include "ring/port.hpp"
#include "rt/env.hpp"
#include "sys/sys.hpp"

namespace {

using namespace twain;

// Device memory: 32-bit accesses only, in program order.
struct MmioBus {
    std::uint64_t base;
    std::uint32_t read(std::uint32_t offset) const {
        return *reinterpret_cast<const volatile std::uint32_t*>(base + offset);
    }
    void write(std::uint32_t offset, std::uint32_t value) const {
        *reinterpret_cast<volatile std::uint32_t*>(base + offset) = value;
    }
};

// Interrupts in a row for which the device had nothing: then it is broken, and is left masked.
constexpr unsigned kSpuriousLimit = 10'000;

int serve() {
    const sys::Notification events{rt::slot("events")};
    const sys::Irq irq{rt::slot("irq")};
    const sys::Notification irq_note{rt::slot("irq.note")};
    const std::uint64_t irq_bit = ring::port_event("irq");
    ring::OutPort rx{"rx"};
    ring::InPort tx{"tx"};

    pl011::Uart uart{MmioBus{rt::region("regs").address}};
    uart.start();
    if (!irq.bind(irq_note)) {
        return 1;
    }
    // An interrupt that a predecessor never acknowledged would keep the line masked.
    (void)irq.ack();

    unsigned spurious = 0;
    std::uint64_t bits = irq_bit | rx.event | tx.event;
    for (;;) {
        if ((bits & irq_bit) != 0) {
            spurious = uart.acknowledge() ? 0 : spurious + 1;
            if (spurious > kSpuriousLimit) {
                uart.silence();
                return 2;
            }
        }
        if ((bits & rx.event) != 0 && rx.ring.broken()) {
            rx.ring.resync();
        }
        if ((bits & tx.event) != 0 && tx.ring.broken()) {
            tx.resync();
        }
        const auto received = uart.receive(rx.ring);
        const auto sent = uart.transmit(tx.ring);
        if (received.bell) {
            (void)rx.bell.signal();
        }
        if (sent.bell) {
            (void)tx.bell.signal();
        }
        if ((bits & irq_bit) != 0) {
            (void)irq.ack();
        }
        if (received.again || sent.again) {
            bits = events.poll();
            continue;
        }
        const auto woken = events.wait();
        if (!woken) {
            return 3;
        }
        bits = *woken;
    }
}

}  // namespace

int main() { return serve(); }
