// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Turning the core into the state that the kernel at EL1 wants.
#include "regime.hpp"

#include "kernel_tables.hpp"

namespace twain::kernel {

Regime::Roots kernel_regime_roots;

namespace {

using CNTP_CTL_EL0 = Regime::TimerControl;
using OSLAR_EL1 = SysReg<2, 0, 1, 0, 4>;
constexpr u64 kCntkctl = 3;  // EL0 reads both counters, sets no timer

struct alignas(kPage) Empty {
    u64 entry[512];
};
Empty empty;

}  // namespace

void flush_kernel_translations() {
    asm volatile("tlbi vmalle1is" ::: "memory");
    dsb_ish();
    isb();
}

void flush_kernel_page(u64 at) {
    dsb_ish();
    asm volatile("tlbi vaae1, %0" ::"r"(at >> 12 & 0xfff'ffff'ffff) : "memory");
    dsb_ish();
    isb();
}

// Runs at physical addresses, all cores: the lower half is where they are, the upper half what the kernel is linked to.
void enable_kernel_regime(u64 root, u64 vectors) {
    Regime::roots() = {root, reinterpret_cast<u64>(&empty)};
    reg::MAIR_EL1::write(0xff | 0x04 << 8);  // normal write-back; Device-nGnRE
    // Both halves 48 bits, 4K, inner shareable write-back walks; ASIDs of TTBR1; the tag byte of EL0's addresses ignored.
    constexpr u64 kWalks = 3 << 12 | 1 << 10 | 1 << 8 | 16;
    reg::TCR_EL1::write(u64{1} << 37 | reg::physical_range() << 32 | u64{2} << 30 | kWalks << 16 | 1 << 22 | kWalks);
    reg::TTBR0_EL1::write(root);
    reg::TTBR1_EL1::write(root);
    reg::VBAR_EL1::write(vectors);
    Regime::trap_fp(true);
    if (reg::has<reg::ID_AA64DFR0_EL1>(8)) reg::PMUSERENR_EL0::write(0);
    if (reg::has<reg::ID_AA64PFR0_EL1>(44)) reg::AMUSERENR_EL0::write(0);
    OSLAR_EL1::write(0);
    reg::MDSCR_EL1::write(Regime::kMdscr);
    reg::CNTKCTL_EL1::write(kCntkctl);
    reg::CNTV_CTL_EL0::write(0);
    CNTP_CTL_EL0::write(0);
    reg::TPIDRRO_EL0::write(0);
    asm volatile("tlbi vmalle1\n ic iallu" ::: "memory");
    dsb_sy();
    isb();
    reg::SCTLR_EL1::write(Regime::kSctlr);
    isb();
}

}  // namespace twain::kernel
