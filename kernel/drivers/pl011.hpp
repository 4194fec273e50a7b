// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The UART that the kernel writes to until its driver takes it (and again when the kernel dies): PL011, DDI 0183.
#pragma once

#include "kernel/drivers/mmio.hpp"

namespace twain::kernel {

class EarlyUart {
public:
    void init(Mmio registers) {
        registers_ = registers;
        present_ = true;
    }
    bool present() const { return present_; }
    void put(char c) const {
        while (registers_.read(kFlags) & kTxFull) {
        }
        registers_.write(kData, static_cast<u8>(c));
    }
    // What a driver may have set up is not to be trusted any more.
    void reset() const {
        registers_.write(kInterruptMask, 0);
        registers_.write(kControl, 0x301);
    }

private:
    static constexpr u64 kData = 0, kFlags = 0x18, kControl = 0x30, kInterruptMask = 0x38;
    static constexpr u32 kTxFull = 1 << 5;
    Mmio registers_;
    bool present_ = false;
};

}  // namespace twain::kernel
