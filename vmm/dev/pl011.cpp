// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/dev/pl011.hpp"

namespace twain::vmm {
namespace {

enum Register : unsigned {
    kData = 0x00,
    kStatus = 0x04,
    kFlags = 0x18,
    kLowPower = 0x20,
    kIntegerBaud = 0x24,
    kFractionBaud = 0x28,
    kLineControl = 0x2c,
    kControl = 0x30,
    kFifoLevels = 0x34,
    kInterruptMask = 0x38,
    kRawInterrupts = 0x3c,
    kMaskedInterrupts = 0x40,
    kInterruptClear = 0x44,
    kDma = 0x48,
    kIdentification = 0xfe0,
};

// FR
constexpr std::uint32_t kClearToSend = 1u << 0;
constexpr std::uint32_t kDataSetReady = 1u << 1;
constexpr std::uint32_t kCarrier = 1u << 2;
constexpr std::uint32_t kBusy = 1u << 3;
constexpr std::uint32_t kRxEmpty = 1u << 4;
constexpr std::uint32_t kTxFull = 1u << 5;
constexpr std::uint32_t kRxFull = 1u << 6;
constexpr std::uint32_t kTxEmpty = 1u << 7;

constexpr std::uint32_t kLoopBack = 1u << 7;       // CR.LBE
constexpr std::uint32_t kOverrunStatus = 1u << 3;  // RSR.OE; in DR bit 11
constexpr std::uint32_t kFifoEnable = 1u << 4;     // LCR_H.FEN

// UARTPeriphID0..3 (part 0x011, Arm, revision 3), UARTPCellID0..3
constexpr std::array<std::uint8_t, 8> kIds{0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

}  // namespace

unsigned Pl011::trigger(unsigned field) const {
    constexpr std::array<std::uint8_t, 8> kEighths{1, 2, 4, 6, 7, 7, 7, 7};
    return depth() == 1 ? 1 : kEighths[field & 7] * kDepth / 8;
}

std::uint32_t Pl011::raw() const {
    std::uint32_t r = latched_;
    if (rx_count_ >= trigger(fifo_levels_ >> 3)) {
        r |= kRx;
    }
    if (rx_count_ != 0) {
        r |= kTimeout;  // nothing more will come within 32 bit times
    }
    return r;
}

std::uint32_t Pl011::flags(std::uint64_t now) const {
    std::uint32_t f = kClearToSend | kDataSetReady | kCarrier;
    f |= rx_count_ == 0 ? kRxEmpty : 0;
    f |= rx_count_ >= depth() ? kRxFull : 0;
    f |= tx_count_ < kLine || gave_up(now) ? kTxEmpty : kTxFull | kBusy;
    return f;
}

std::uint32_t Pl011::take_received() {
    std::uint32_t value = overrun_ ? kOverrunStatus << 8 : 0;
    if (rx_count_ != 0) {
        value |= static_cast<unsigned char>(rx_[rx_head_]);
        rx_head_ = (rx_head_ + 1) % kDepth;
        --rx_count_;
    }
    return value;
}

void Pl011::receive(char c) {
    if (room() == 0) {
        overrun_ = true;
        latched_ |= kOverrun;
        return;
    }
    rx_[(rx_head_ + rx_count_++) % kDepth] = c;
}

void Pl011::transmit(char c, std::uint64_t now) {
    if ((control_ & kLoopBack) != 0) {
        receive(c);
        latched_ |= kTx;
        return;
    }
    if (tx_count_ >= kLine) {
        ++dropped_;
        return;
    }
    tx_[(tx_head_ + tx_count_++) % kLine] = c;
    if (tx_count_ < kLine) {
        latched_ |= kTx;
    } else {
        latched_ &= ~kTx;
        full_since_ = now != 0 ? now : 1;
    }
}

std::span<const char> Pl011::to_send() const {
    const unsigned straight = kLine - tx_head_;
    return {tx_.data() + tx_head_, tx_count_ < straight ? tx_count_ : straight};
}

void Pl011::sent(unsigned count) {
    count = count < tx_count_ ? count : tx_count_;
    if (count == 0) {
        return;
    }
    if (full_since_ != 0) {
        full_since_ = 0;
        latched_ |= kTx;
    }
    tx_head_ = (tx_head_ + count) % kLine;
    tx_count_ -= count;
}

std::uint64_t Pl011::read(const Access& a, std::uint64_t now) {
    if (a.bytes > 4 || !a.aligned()) {
        return 0;
    }
    const unsigned reg = static_cast<unsigned>(a.offset) & ~3u;
    const unsigned shift = 8 * (static_cast<unsigned>(a.offset) & 3u);
    std::uint32_t value = 0;
    switch (reg) {
        case kData: value = shift == 0 ? take_received() : 0; break;
        case kStatus: value = overrun_ ? kOverrunStatus : 0; break;
        case kFlags: value = flags(now); break;
        case kLowPower: value = low_power_; break;
        case kIntegerBaud: value = integer_baud_; break;
        case kFractionBaud: value = fraction_baud_; break;
        case kLineControl: value = line_control_; break;
        case kControl: value = control_; break;
        case kFifoLevels: value = fifo_levels_; break;
        case kInterruptMask: value = mask_; break;
        case kRawInterrupts: value = raw(); break;
        case kMaskedInterrupts: value = raw() & mask_; break;
        case kDma: value = dma_; break;
        default:
            if (reg >= kIdentification && reg < kIdentification + 4 * kIds.size()) {
                value = kIds[(reg - kIdentification) / 4];
            }
            break;
    }
    return value >> shift;
}

void Pl011::write(const Access& a, std::uint64_t word, std::uint64_t now) {
    if (a.bytes > 4 || (a.offset & 3) != 0) {
        return;
    }
    const std::uint32_t value = static_cast<std::uint32_t>(word);
    switch (a.offset) {
        case kData: transmit(static_cast<char>(value), now); break;
        case kStatus: overrun_ = false; break;
        case kLowPower: low_power_ = value & 0xff; break;
        case kIntegerBaud: integer_baud_ = value & 0xffff; break;
        case kFractionBaud: fraction_baud_ = value & 0x3f; break;
        case kLineControl:
            if (((line_control_ ^ value) & kFifoEnable) != 0) {
                rx_count_ = 0;  // what is still to be sent goes out all the same
            }
            line_control_ = value & 0xff;
            break;
        case kControl: control_ = value & 0xffff; break;
        case kFifoLevels: fifo_levels_ = value & 0x3f; break;
        case kInterruptMask: mask_ = value & 0x7ff; break;
        case kInterruptClear: latched_ &= ~value; break;
        case kDma: dma_ = value & 7; break;
        default: break;
    }
}

}  // namespace twain::vmm
