// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// PL011 UART r1p5 (Arm DDI 0183G), with 32-entry FIFOs. There is no baud rate: what the guest sends has left the transmit
// FIFO at once, and is on the line until somebody takes it; what is received comes at once.
//
// When the line is full the transmitter looks busy (FR.TXFF), but for at most `patience` ticks; then it discards what does
// not fit, and counts, until the peer takes something again. So a guest that polls TXFF is slowed down, never stopped.
//
// The enable bits of CR are kept but not enforced, so that an early console works before any driver has set them.
//
// Not thread-safe: the caller holds the lock of the device.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmm/bus.hpp"

namespace twain::vmm {

class Pl011 {
public:
    static constexpr unsigned kDepth = 32;
    static constexpr unsigned kLine = 256;  // characters under way
    static constexpr std::uint64_t kWindowBytes = 0x1000;

    explicit Pl011(std::uint64_t patience) : patience_(patience) {}

    void reset() { *this = Pl011(patience_); }

    // `now` in ticks. Widths 1, 2 and 4 reach the register whose word holds the offset; others RAZ/WI.
    std::uint64_t read(const Access& a, std::uint64_t now);
    void write(const Access& a, std::uint64_t value, std::uint64_t now);

    // False: the next access does not look at `now`.
    bool wants_time() const { return tx_count_ + 1 >= kLine; }

    // The interrupt line, UARTINTR.
    bool line() const { return (raw() & mask_) != 0; }

    // What waits to be sent, oldest first, in one piece; then `sent` says how many the peer has taken.
    std::span<const char> to_send() const;
    void sent(unsigned count);

    // A full line: when its patience ends (~0: it is not full, or has), and what follows then: the transmitter is ready.
    std::uint64_t deadline(std::uint64_t now) const {
        return full_since_ != 0 && !gave_up(now) ? full_since_ + patience_ + 1 : ~std::uint64_t{0};
    }
    void expire(std::uint64_t now) { latched_ |= gave_up(now) ? kTx : 0u; }

    // How many characters can be received now; receive() takes at most as many.
    unsigned room() const { return depth() - rx_count_; }
    void receive(char c);

    std::uint64_t dropped() const { return dropped_; }

private:
    enum Interrupt : std::uint32_t { kRx = 1u << 4, kTx = 1u << 5, kTimeout = 1u << 6, kOverrun = 1u << 10 };

    unsigned depth() const { return (line_control_ & 0x10) != 0 ? kDepth : 1; }
    unsigned trigger(unsigned field) const;
    std::uint32_t raw() const;
    std::uint32_t flags(std::uint64_t now) const;
    bool gave_up(std::uint64_t now) const { return full_since_ != 0 && now - full_since_ > patience_; }
    std::uint32_t take_received();
    void transmit(char c, std::uint64_t now);

    std::uint64_t patience_;
    std::array<char, kDepth> rx_{};
    std::array<char, kLine> tx_{};
    unsigned rx_head_ = 0, rx_count_ = 0;
    unsigned tx_head_ = 0, tx_count_ = 0;
    std::uint64_t full_since_ = 0;  // 0: the line is not full
    std::uint64_t dropped_ = 0;
    std::uint32_t latched_ = 0;  // interrupts that ICR clears: transmit, overrun
    std::uint32_t mask_ = 0;
    std::uint32_t control_ = 0x300;
    std::uint32_t line_control_ = 0;
    std::uint32_t fifo_levels_ = 0x12;
    std::uint32_t integer_baud_ = 0, fraction_baud_ = 0, low_power_ = 0, dma_ = 0;
    bool overrun_ = false;
};

}  // namespace twain::vmm
