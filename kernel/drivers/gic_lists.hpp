// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The virtual CPU interface of the calling core at EL2: list registers and what surrounds them, of whichever version the
// controller is. Values are version 3's (kernel/core/virq.hpp); so are ICH_HCR_EL2's bits En and UIE, which GICH_HCR shares.
#pragma once

#include "kernel/drivers/gic.hpp"

namespace twain::kernel::gic {

class HardwareLists {
public:
    static constexpr u64 kEnable = 1, kUnderflow = 2;

    unsigned count() const { return setup.lists; }
    // By number: sixteen registers, so not in line.
    [[gnu::noinline]] u64 read(unsigned n) const { return v2_ ? Gicv2::read_list(n) : Gicv3::read_list(n); }
    [[gnu::noinline]] void write(unsigned n, u64 value) const {
        v2_ ? Gicv2::write_list(n, value) : Gicv3::write_list(n, value);
    }
    u64 empty() const { return v2_ ? Gicv2::finished() : Gicv3::finished(); }
    u64 sender(u32 word) const { return v2_ ? word >> abi::kVirqSourceShift & 7 : 0; }
    void set_control(u64 bits) const { v2_ ? Gicv2::set_control(bits) : Gicv3::set_control(bits); }

    // What the guest has set, and the priorities that are active.
    void save(u64& machine_control, u64 (&priorities)[4]) const {
        v2_ ? Gicv2::save(machine_control, priorities) : Gicv3::save(machine_control, priorities);
    }
    void load(u64 machine_control, const u64 (&priorities)[4]) const {
        v2_ ? Gicv2::load(machine_control, priorities) : Gicv3::load(machine_control, priorities);
    }

private:
    const bool v2_ = is_v2();
};

}  // namespace twain::kernel::gic
