// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Turning the core into the state that the kernel at EL2 wants.
#include "regime.hpp"

#include "kernel_tables.hpp"

namespace twain::kernel {

namespace {

using TTBR0_EL2 = SysReg<3, 4, 2, 0, 0>;
using TCR_EL2 = SysReg<3, 4, 2, 0, 2>;
using MAIR_EL2 = SysReg<3, 4, 10, 2, 0>;
using HACR_EL2 = SysReg<3, 4, 1, 1, 7>;
using OSLAR_EL1 = SysReg<2, 0, 1, 0, 4>;
using PMCR_EL0 = SysReg<3, 3, 9, 12, 0>;
using HCRX_EL2 = SysReg<3, 4, 1, 2, 2>;
using HFGRTR_EL2 = SysReg<3, 4, 1, 1, 4>;
using HFGWTR_EL2 = SysReg<3, 4, 1, 1, 5>;
using HFGITR_EL2 = SysReg<3, 4, 1, 1, 6>;
using HDFGRTR_EL2 = SysReg<3, 4, 3, 1, 4>;
using HDFGWTR_EL2 = SysReg<3, 4, 3, 1, 5>;

}  // namespace

void flush_kernel_translations() {
    asm volatile("tlbi alle2is" ::: "memory");
    dsb_ish();
    isb();
}

void flush_kernel_page(u64 at) {
    dsb_ish();
    asm volatile("tlbi vae2, %0" ::"r"(at >> 12 & 0xfff'ffff'ffff) : "memory");
    dsb_ish();
    isb();
}

void enable_kernel_regime(u64 root, u64 vectors) {
    const u64 range = reg::physical_range();
    reg::HCR_EL2::write(kHcrHost);
    // Normal write-back; Device-nGnRE.
    MAIR_EL2::write(0xff | 0x04 << 8);
    // 48 bits, 4K, inner shareable write-back walks; bits 31 and 23 are RES1.
    TCR_EL2::write(u64{1} << 31 | u64{1} << 23 | range << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 16);
    TTBR0_EL2::write(root);
    // Stage 2: 39 bits from level 1, 4K, inner shareable write-back walks, 8-bit VMID.
    reg::VTCR_EL2::write(u64{1} << 31 | range << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 6 | 25);
    reg::VTTBR_EL2::write(0);
    reg::VBAR_EL2::write(vectors);
    Regime::trap_fp(true);
    reg::HSTR_EL2::write(0);
    HACR_EL2::write(0);
    // Debug registers, trace, profiling and performance counters trap; all counters belong to the guest's (trapped) view. Not
    // TDE: breakpoint instructions and single steps are the guest's own. Linux uses them for BUG, WARN, kprobes and ptrace.
    const bool pmu = reg::has<reg::ID_AA64DFR0_EL1>(8);
    const u64 counters = pmu ? PMCR_EL0::read() >> 11 & 0x1f : 0;
    reg::MDCR_EL2::write(1 << 19 | 1 << 14 | 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5 | counters);
    if (pmu) reg::PMUSERENR_EL0::write(0);
    if (reg::has<reg::ID_AA64PFR0_EL1>(44)) reg::AMUSERENR_EL0::write(0);
    // Zero: what newer cores have is disabled or traps.
    if (reg::has<reg::ID_AA64MMFR1_EL1>(40)) HCRX_EL2::write(0);
    if (reg::has<reg::ID_AA64MMFR0_EL1>(56)) {
        HFGRTR_EL2::write(0);
        HFGWTR_EL2::write(0);
        HFGITR_EL2::write(0);
        HDFGRTR_EL2::write(0);
        HDFGWTR_EL2::write(0);
    }
    OSLAR_EL1::write(0);  // locked, guests could not step
    reg::MDSCR_EL1::write(0);
    reg::CNTHCTL_EL2::write(kCnthctlHost);
    reg::CNTVOFF_EL2::write(0);
    reg::CNTV_CTL_EL0::write(0);
    reg::CNTHP_CTL_EL2::write(0);
    reg::SCTLR_EL1::write(kSctlrEl1Host);
    reg::CPACR_EL1::write(kCpacrHost);
    reg::CNTKCTL_EL1::write(kCntkctlHost);
    reg::VPIDR_EL2::write(reg::MIDR_EL1::read());
    reg::VMPIDR_EL2::write(reg::MPIDR_EL1::read());
    asm volatile("tlbi alle2\n tlbi alle1\n ic iallu" ::: "memory");
    dsb_sy();
    isb();
    reg::SCTLR_EL2::write(Regime::kSctlr);
    isb();
}

}  // namespace twain::kernel
