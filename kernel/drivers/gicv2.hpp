// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What only version 2 has: CPU interface, routing and SGIs by bit masks, list registers in memory. Registers: Arm IHI
// 0048B, 4.3 GICD, 4.4 GICC, 5.3 GICH. All but GICD are banked: each core sees its own.
#pragma once

#include "kernel/drivers/gicd.hpp"

namespace twain::kernel::gic {

struct Gicv2 {
    // A token is what acknowledge() gives: for an SGI the core that sent it is part of it.
    static u32 acknowledge() {
        const u32 token = interface().read(kIar);
        dsb_sy();
        return token;
    }
    static u32 intid(u32 token) { return token & 0x3ff; }
    static void drop_priority(u32 token) { interface().write(kEoir, token); }
    // A shared interrupt may end on another core than it was acknowledged on: the distributor takes that, GICC_DIR need not.
    static void deactivate(u32 token) {
        const u32 n = intid(token);
        if (n < 32) {
            interface().write(kDir, token);
        } else {
            distributor().write(kClearActive + n / 32 * 4, 1u << n % 32);
        }
    }

    static constexpr u32 kGroups = 0;  // Group 0; where there are two security states these bits are not ours
    static void init_distributor(const abi::BootInfo& boot);
    static Mmio prepare_core(CpuId core);
    static void enable_core();
    static void send_ipi(CpuId core);
    static void route(u32 intid, CpuId core);

    // The virtual interface, in the words of version 3 (kernel/core/virq.hpp). GICH_LR<n>:
    //
    //   31 30  29 28  27 23  22 20 19         10 9          0
    //   HW grp state  prio   res0  physical      virtual INTID      HW = 0: [19] EOI maintenance, [12:10] source core
    //
    // Physical INTID and what stands there otherwise are [41:32] of version 3's. Guests have Group 0 only.
    static u32 list_count() {
        const u32 count = (control().read(kVtr) & 0x3f) + 1;
        return count < 16 ? count : 16;
    }
    static u64 read_list(unsigned n) {
        const u64 value = control().read(kList + 4 * n);
        return (value & 0x8000'0000) << 30 | (value & 0x3000'0000) << 34 | (value & 0x0f80'0000) << 28 |
               (value & 0xffc00) << 22 | (value & 0x3ff);
    }
    static void write_list(unsigned n, u64 value) {
        control().write(kList + 4 * n,
                        static_cast<u32>((value >> 30 & 0x8000'0000) | (value >> 34 & 0x3000'0000) |
                                         (value >> 28 & 0x0f80'0000) | (value >> 22 & 0xffc00) | (value & 0x3ff)));
    }
    static u64 finished() { return control().read(kElrsr) | control().read(kEisr); }
    static void set_control(u64 bits) { control().write(kHcr, static_cast<u32>(bits)); }
    static void save(u64& machine_control, u64 (&priorities)[4]) {
        machine_control = control().read(kVmcr);
        priorities[0] = control().read(kApr);
    }
    static void load(u64 machine_control, const u64 (&priorities)[4]) {
        control().write(kVmcr, static_cast<u32>(machine_control));
        control().write(kApr, static_cast<u32>(priorities[0]));
    }

    static constexpr u64 kInterfaceBytes = 2 * kPage;  // GICC, and GICV

private:
    static constexpr u64 kInterface = kGicdBytes,
                         kControl = kInterface + kInterfaceBytes;  // GICC, GICH behind the distributor
    static constexpr u64 kCtlr = 0, kPmr = 4, kIar = 0xc, kEoir = 0x10, kDir = 0x1000;
    static constexpr u64 kHcr = 0, kVtr = 4, kVmcr = 8, kEisr = 0x20, kElrsr = 0x30, kApr = 0xf0, kList = 0x100;
    static constexpr Mmio interface() { return Mmio(layout::kDevices + kInterface); }
    static constexpr Mmio control() { return Mmio(layout::kDevices + kControl); }
};

}  // namespace twain::kernel::gic
