// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What only version 3 has: CPU interface and list registers as system registers (Arm IHI 0069, 12.2), affinity routing,
// redistributors.
#pragma once

#include "kernel/arch/aarch64/sysreg.hpp"
#include "kernel/drivers/gicd.hpp"

namespace twain::kernel::gic {

struct Gicv3 {
    static u32 acknowledge() {
        const u32 token = static_cast<u32>(reg::ICC_IAR1_EL1::read()) & 0xffffff;
        dsb_sy();
        return token;
    }
    static u32 intid(u32 token) { return token; }
    static void drop_priority(u32 token) { reg::ICC_EOIR1_EL1::write(token); }
    static void deactivate(u32 token) { reg::ICC_DIR_EL1::write(token); }

    static constexpr u32 kGroups = ~0u;  // Group 1
    static void init_distributor(const abi::BootInfo& boot);
    static Mmio prepare_core(CpuId core);
    static void enable_core();
    static void send_ipi(CpuId core);
    static void route(u32 intid, CpuId core);

    static u32 list_count() { return (static_cast<u32>(reg::ICH_VTR_EL2::read()) & 0x1f) + 1; }
    static u64 read_list(unsigned n) {
        u64 value = 0;
        with_list(n, [&](auto list) { value = list.read(); });
        return value;
    }
    static void write_list(unsigned n, u64 value) {
        with_list(n, [&](auto list) { list.write(value); });
    }
    static u64 finished() { return reg::ICH_ELRSR_EL2::read() | reg::ICH_EISR_EL2::read(); }
    static void set_control(u64 bits) { reg::ICH_HCR_EL2::write(bits); }
    static void save(u64& machine_control, u64 (&priorities)[4]) {
        machine_control = reg::ICH_VMCR_EL2::read();
        priorities[0] = reg::ICH_AP1R_EL2<0>::read();
        priorities[1] = reg::ICH_AP0R_EL2<0>::read();
        if (preemption_bits() > 5) {
            priorities[2] = reg::ICH_AP1R_EL2<1>::read();
            priorities[3] = reg::ICH_AP0R_EL2<1>::read();
        }
    }
    static void load(u64 machine_control, const u64 (&priorities)[4]) {
        reg::ICH_VMCR_EL2::write(machine_control);
        reg::ICH_AP1R_EL2<0>::write(priorities[0]);
        reg::ICH_AP0R_EL2<0>::write(priorities[1]);
        if (preemption_bits() > 5) {
            reg::ICH_AP1R_EL2<1>::write(priorities[2]);
            reg::ICH_AP0R_EL2<1>::write(priorities[3]);
        }
    }

private:
    static unsigned preemption_bits() { return static_cast<unsigned>(reg::ICH_VTR_EL2::read() >> 26 & 7) + 1; }

    // ICH_LR<n>_EL2 by number.
    template <typename Use>
    static void with_list(unsigned n, Use use) {
        if (n == 0) return use(reg::ICH_LR_EL2<0>{});  // nearly always
        switch (n) {
            case 1: use(reg::ICH_LR_EL2<1>{}); break;
            case 2: use(reg::ICH_LR_EL2<2>{}); break;
            case 3: use(reg::ICH_LR_EL2<3>{}); break;
            case 4: use(reg::ICH_LR_EL2<4>{}); break;
            case 5: use(reg::ICH_LR_EL2<5>{}); break;
            case 6: use(reg::ICH_LR_EL2<6>{}); break;
            case 7: use(reg::ICH_LR_EL2<7>{}); break;
            case 8: use(reg::ICH_LR_EL2<8>{}); break;
            case 9: use(reg::ICH_LR_EL2<9>{}); break;
            case 10: use(reg::ICH_LR_EL2<10>{}); break;
            case 11: use(reg::ICH_LR_EL2<11>{}); break;
            case 12: use(reg::ICH_LR_EL2<12>{}); break;
            case 13: use(reg::ICH_LR_EL2<13>{}); break;
            case 14: use(reg::ICH_LR_EL2<14>{}); break;
            default: use(reg::ICH_LR_EL2<15>{}); break;
        }
    }
};

}  // namespace twain::kernel::gic
