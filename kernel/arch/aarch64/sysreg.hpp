// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System registers by their encoding (Arm ARM D17, IHI 0069 chapter 12): SysReg<op0, op1, CRn, CRm, op2>.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

template <unsigned Op0, unsigned Op1, unsigned Crn, unsigned Crm, unsigned Op2>
struct SysReg {
    static u64 read() {
        u64 value;
        asm volatile("mrs %0, S%c1_%c2_C%c3_C%c4_%c5"
                     : "=r"(value)
                     : "i"(Op0), "i"(Op1), "i"(Crn), "i"(Crm), "i"(Op2)
                     : "memory");
        return value;
    }
    static void write(u64 value) {
        asm volatile("msr S%c1_%c2_C%c3_C%c4_%c5, %x0" ::"rZ"(value), "i"(Op0), "i"(Op1), "i"(Crn), "i"(Crm), "i"(Op2)
                     : "memory");
    }
};

namespace reg {
using MIDR_EL1 = SysReg<3, 0, 0, 0, 0>;
using MPIDR_EL1 = SysReg<3, 0, 0, 0, 5>;
using ID_AA64PFR0_EL1 = SysReg<3, 0, 0, 4, 0>;
using ID_AA64PFR1_EL1 = SysReg<3, 0, 0, 4, 1>;
using ID_AA64DFR0_EL1 = SysReg<3, 0, 0, 5, 0>;
using ID_AA64MMFR1_EL1 = SysReg<3, 0, 0, 7, 1>;
using ID_AA64MMFR0_EL1 = SysReg<3, 0, 0, 7, 0>;
using CSSELR_EL1 = SysReg<3, 2, 0, 0, 0>;
using SCTLR_EL1 = SysReg<3, 0, 1, 0, 0>;
using ACTLR_EL1 = SysReg<3, 0, 1, 0, 1>;
using CPACR_EL1 = SysReg<3, 0, 1, 0, 2>;
using TTBR0_EL1 = SysReg<3, 0, 2, 0, 0>;
using TTBR1_EL1 = SysReg<3, 0, 2, 0, 1>;
using TCR_EL1 = SysReg<3, 0, 2, 0, 2>;
using SPSR_EL1 = SysReg<3, 0, 4, 0, 0>;
using ELR_EL1 = SysReg<3, 0, 4, 0, 1>;
using SP_EL1 = SysReg<3, 4, 4, 1, 0>;
using AFSR0_EL1 = SysReg<3, 0, 5, 1, 0>;
using AFSR1_EL1 = SysReg<3, 0, 5, 1, 1>;
using ESR_EL1 = SysReg<3, 0, 5, 2, 0>;
using FAR_EL1 = SysReg<3, 0, 6, 0, 0>;
using PAR_EL1 = SysReg<3, 0, 7, 4, 0>;
using MAIR_EL1 = SysReg<3, 0, 10, 2, 0>;
using AMAIR_EL1 = SysReg<3, 0, 10, 3, 0>;
using VBAR_EL1 = SysReg<3, 0, 12, 0, 0>;
using ISR_EL1 = SysReg<3, 0, 12, 1, 0>;
using CONTEXTIDR_EL1 = SysReg<3, 0, 13, 0, 1>;
using TPIDR_EL1 = SysReg<3, 0, 13, 0, 4>;
using TPIDR_EL0 = SysReg<3, 3, 13, 0, 2>;
using TPIDRRO_EL0 = SysReg<3, 3, 13, 0, 3>;
using MDSCR_EL1 = SysReg<2, 0, 0, 2, 2>;
using AMUSERENR_EL0 = SysReg<3, 3, 13, 2, 3>;
using TPIDR2_EL0 = SysReg<3, 3, 13, 0, 5>;
using PMUSERENR_EL0 = SysReg<3, 3, 9, 14, 0>;
using CNTKCTL_EL1 = SysReg<3, 0, 14, 1, 0>;
using CNTFRQ_EL0 = SysReg<3, 3, 14, 0, 0>;
using CNTPCT_EL0 = SysReg<3, 3, 14, 0, 1>;
using CNTV_CTL_EL0 = SysReg<3, 3, 14, 3, 1>;
using CNTV_CVAL_EL0 = SysReg<3, 3, 14, 3, 2>;

// A feature's field of an ID register: is it there?
template <typename Id>
bool has(unsigned shift) {
    const u64 field = Id::read() >> shift & 0xf;
    return field != 0 && field != 0xf;
}

// How long physical addresses are, as TCR_ELx and VTCR_EL2 take it.
inline u64 physical_range() {
    const u64 range = ID_AA64MMFR0_EL1::read() & 0xf;
    return range > 5 ? 5 : range;  // 48 bits are enough
}

using VPIDR_EL2 = SysReg<3, 4, 0, 0, 0>;
using VMPIDR_EL2 = SysReg<3, 4, 0, 0, 5>;
using SCTLR_EL2 = SysReg<3, 4, 1, 0, 0>;
using HCR_EL2 = SysReg<3, 4, 1, 1, 0>;
using MDCR_EL2 = SysReg<3, 4, 1, 1, 1>;
using CPTR_EL2 = SysReg<3, 4, 1, 1, 2>;
using HSTR_EL2 = SysReg<3, 4, 1, 1, 3>;
using VTTBR_EL2 = SysReg<3, 4, 2, 1, 0>;
using VTCR_EL2 = SysReg<3, 4, 2, 1, 2>;
using SPSR_EL2 = SysReg<3, 4, 4, 0, 0>;
using ELR_EL2 = SysReg<3, 4, 4, 0, 1>;
using ESR_EL2 = SysReg<3, 4, 5, 2, 0>;
using FAR_EL2 = SysReg<3, 4, 6, 0, 0>;
using HPFAR_EL2 = SysReg<3, 4, 6, 0, 4>;
using VDISR_EL2 = SysReg<3, 4, 12, 1, 1>;
using VBAR_EL2 = SysReg<3, 4, 12, 0, 0>;
using TPIDR_EL2 = SysReg<3, 4, 13, 0, 2>;
using CNTVOFF_EL2 = SysReg<3, 4, 14, 0, 3>;
using CNTHCTL_EL2 = SysReg<3, 4, 14, 1, 0>;
using CNTHP_CTL_EL2 = SysReg<3, 4, 14, 2, 1>;
using CNTHP_CVAL_EL2 = SysReg<3, 4, 14, 2, 2>;

using ICC_PMR_EL1 = SysReg<3, 0, 4, 6, 0>;
using ICC_DIR_EL1 = SysReg<3, 0, 12, 11, 1>;
using ICC_SGI1R_EL1 = SysReg<3, 0, 12, 11, 5>;
using ICC_IAR1_EL1 = SysReg<3, 0, 12, 12, 0>;
using ICC_EOIR1_EL1 = SysReg<3, 0, 12, 12, 1>;
using ICC_CTLR_EL1 = SysReg<3, 0, 12, 12, 4>;
using ICC_SRE_EL1 = SysReg<3, 0, 12, 12, 5>;
using ICC_IGRPEN1_EL1 = SysReg<3, 0, 12, 12, 7>;
using ICC_SRE_EL2 = SysReg<3, 4, 12, 9, 5>;
using ICH_HCR_EL2 = SysReg<3, 4, 12, 11, 0>;
using ICH_VTR_EL2 = SysReg<3, 4, 12, 11, 1>;
using ICH_EISR_EL2 = SysReg<3, 4, 12, 11, 3>;
using ICH_ELRSR_EL2 = SysReg<3, 4, 12, 11, 5>;
using ICH_VMCR_EL2 = SysReg<3, 4, 12, 11, 7>;
template <unsigned N>
using ICH_AP0R_EL2 = SysReg<3, 4, 12, 8, N>;
template <unsigned N>
using ICH_AP1R_EL2 = SysReg<3, 4, 12, 9, N>;
template <unsigned N>
using ICH_LR_EL2 = SysReg<3, 4, 12, 12 + N / 8, N % 8>;
}  // namespace reg

inline void isb() { asm volatile("isb" ::: "memory"); }
inline void dsb_ish() { asm volatile("dsb ish" ::: "memory"); }
inline void dsb_ishst() { asm volatile("dsb ishst" ::: "memory"); }
inline void dsb_sy() { asm volatile("dsb sy" ::: "memory"); }
inline void wfi() { asm volatile("dsb sy\n wfi" ::: "memory"); }

}  // namespace twain::kernel
