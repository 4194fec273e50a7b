// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The PL011 UART (Arm DDI 0183), driven by interrupts: what arrives goes into a ring, what a ring holds is sent.
// Every loop is bounded by a FIFO's depth, whatever the device's flags say, and no value of the device is
// used as a length or an index.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>

#include "ring/byte_ring.hpp"

namespace twain::pl011 {

// Register offsets and bits, DDI 0183 chapter 3.
namespace reg {
inline constexpr std::uint32_t kData = 0x00, kFlags = 0x18, kIntegerBaud = 0x24, kFractionBaud = 0x28,
                               kLineControl = 0x2c, kControl = 0x30, kFifoLevel = 0x34, kMask = 0x38, kMasked = 0x40,
                               kClear = 0x44;
}  // namespace reg
inline constexpr std::uint32_t kDataBreak = 1u << 10, kDataOverrun = 1u << 11;
inline constexpr std::uint32_t kFlagReceiveEmpty = 1u << 4, kFlagTransmitFull = 1u << 5, kFlagTransmitEmpty = 1u << 7;
inline constexpr std::uint32_t kLine8n1Fifo = (3u << 5) | (1u << 4);
inline constexpr std::uint32_t kControlEnable = 1u | (1u << 8) | (1u << 9);  // UARTEN, TXE, RXE
inline constexpr std::uint32_t kIntReceive = 1u << 4, kIntTransmit = 1u << 5, kIntReceiveTimeout = 1u << 6,
                               kIntOverrun = 1u << 10;
inline constexpr std::uint32_t kIntAll = 0x7ff;

inline constexpr unsigned kFifoDepth = 32;     // DDI 0183 r1p5
inline constexpr unsigned kFifoDepthOld = 16;  // before: what an empty transmit FIFO surely takes

template <typename Bus>
concept RegisterBus = requires(Bus bus, std::uint32_t offset, std::uint32_t value) {
    { bus.read(offset) } -> std::same_as<std::uint32_t>;
    bus.write(offset, value);
};

struct Counters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t overruns = 0;  // lost by the device
    std::uint64_t dropped = 0;   // lost because the receiving ring is quarantined
};

template <RegisterBus Bus>
class Uart {
public:
    explicit Uart(Bus bus) : bus_(bus) {}

    // Takes the device over in whatever state it is. Line speed stays what the firmware has set.
    void start() {
        bus_.write(reg::kMask, 0);
        bus_.write(reg::kControl, 0);
        bus_.write(reg::kClear, kIntAll);
        bus_.write(reg::kLineControl, kLine8n1Fifo);
        bus_.write(reg::kFifoLevel, 0);  // interrupt when the receive FIFO is 1/8 full, the transmit FIFO 1/8
        bus_.write(reg::kControl, kControlEnable);
        mask_ = kIntReceive | kIntReceiveTimeout | kIntOverrun;
        bus_.write(reg::kMask, mask_);
    }

    // Acknowledges at the device what it signals; what the signals stand for is found by looking. False: it signals nothing.
    bool acknowledge() {
        const std::uint32_t status = bus_.read(reg::kMasked) & kIntAll;
        bus_.write(reg::kClear, status);
        return status != 0;
    }

    struct Work {
        bool bell = false;   // ring the peer's bell
        bool again = false;  // the bound was reached: there may be more
        bool moved = false;  // at least one byte
    };

    // Device to ring. If the ring is full the device keeps the rest, and its interrupt is masked until there is space.
    Work receive(ring::ByteProducer& ring) {
        Work work;
        const bool discard = ring.broken();
        std::uint64_t space = discard ? kFifoDepth : ring.space();
        std::array<char, kFifoDepth> bytes{};
        unsigned count = 0;
        unsigned reads = 0;
        while (reads < kFifoDepth && count < space && (bus_.read(reg::kFlags) & kFlagReceiveEmpty) == 0) {
            const std::uint32_t data = bus_.read(reg::kData);
            ++reads;
            counters_.overruns += (data & kDataOverrun) != 0 ? 1 : 0;
            if ((data & kDataBreak) == 0) {
                bytes[count++] = static_cast<char>(data & 0xff);
            }
        }
        work.moved = reads != 0;
        work.again = reads == kFifoDepth;
        if (discard) {
            counters_.dropped += count;
        } else if (count != 0) {
            const auto written = ring.write({bytes.data(), count});
            counters_.received += written.bytes;
            counters_.dropped += count - written.bytes;
            work.bell = written.bell;
            space -= written.bytes;
        }
        if (!discard && space == 0) {
            if (ring.wait_for_space()) {
                work.again = false;
                set_mask(mask_ & ~(kIntReceive | kIntReceiveTimeout));
                return work;
            }
            work.again = true;
        }
        set_mask(mask_ | kIntReceive | kIntReceiveTimeout);
        return work;
    }

    // Ring to device. What the FIFO does not take stays in the ring, for a successor should we die; the transmit interrupt
    // asks for more. The flags are read once for a whole FIFO if it is empty: a register access costs more than all the
    // rest.
    Work transmit(ring::ByteConsumer& ring) {
        Work work;
        std::array<char, kFifoDepth> bytes{};
        const std::size_t count = ring.peek(bytes);
        if (count == 0) {
            set_mask(mask_ & ~kIntTransmit);
            work.again = !ring.wait_for_data();
            return work;
        }
        std::size_t sent = 0;
        for (unsigned room = 0; sent < count; --room) {
            room = room != 0 ? room : transmit_room();
            if (room == 0) {
                set_mask(mask_ | kIntTransmit);
                break;
            }
            bus_.write(reg::kData, static_cast<unsigned char>(bytes[sent++]));
        }
        work.bell = ring.release(sent);
        work.moved = sent != 0;
        work.again = sent == count;  // there may be more
        counters_.sent += sent;
        return work;
    }

    // For a device that signals without end.
    void silence() { bus_.write(reg::kMask, 0); }

    const Counters& counters() const { return counters_; }

private:
    unsigned transmit_room() {
        const std::uint32_t flags = bus_.read(reg::kFlags);
        if ((flags & kFlagTransmitFull) != 0) {
            return 0;
        }
        return (flags & kFlagTransmitEmpty) != 0 ? kFifoDepthOld : 1;
    }

    void set_mask(std::uint32_t mask) {
        if (mask != mask_) {
            mask_ = mask;
            bus_.write(reg::kMask, mask);
        }
    }

    Bus bus_;
    std::uint32_t mask_ = 0;
    Counters counters_;
};

}  // namespace twain::pl011
