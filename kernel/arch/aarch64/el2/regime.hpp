// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel at EL2: what differs from EL1. The kernel runs on stage 1 of EL2; processes and guests alike run on
// stage-2 tables (HCR_EL2.TGE for processes), so there is one table format.
#pragma once

#include "sysreg.hpp"

namespace twain::kernel {

struct Regime {
    static constexpr u64 kPointerUpper = 0;
    static constexpr unsigned kExceptionLevel = 2;
    using Vbar = reg::VBAR_EL2;
    using Cpu = reg::TPIDR_EL2;
    using Esr = reg::ESR_EL2;
    using Far = reg::FAR_EL2;
    using Elr = reg::ELR_EL2;
    using Spsr = reg::SPSR_EL2;
    using UserTable = reg::VTTBR_EL2;  // of processes and guests: table and VMID
    using TimerControl = reg::CNTHP_CTL_EL2;
    using TimerCompare = reg::CNTHP_CVAL_EL2;
    static constexpr u32 abi::BootInfo::*kTimerIntid = &abi::BootInfo::timer_hyp_intid;

    // Attributes of the kernel's own tables (stage 1, EL2: bit 54 XN, AP[2] bit 7, AP[1] res1).
    static constexpr u64 kNormal = 0x400 | 0x300 | 0 << 2;  // AF, inner shareable, MAIR index 0
    static constexpr u64 kDevice = 0x400 | 1 << 2;          // AF, MAIR index 1
    static constexpr u64 kNoExecute = u64{1} << 54;
    static constexpr u64 kReadOnly = 0x80;
    static constexpr u64 kAlways = 0x40;
    static constexpr u64 kLinear = 0;

    // SCTLR_EL2: M, C, SA, I, WXN off (the tables are W^X), and what is RES1.
    static constexpr u64 kSctlr = 0x30c5'0830 | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 12;

    static constexpr u64 kCptrBase = (0x33ff & ~(u64{1} << 10)) | 1 << 20 | 1 << 30;  // SVE, SME, trace, AMU trap
    static constexpr u64 kCptrFpTrap = u64{1} << 10;
    static constexpr bool kVmmInjects = false;
    static constexpr u64 kGroupsInCore = abi::kGroupAll;

    static void trap_fp(bool trap) { reg::CPTR_EL2::write(kCptrBase | (trap ? kCptrFpTrap : 0)); }
    static void enable_gic() {
        reg::ICC_SRE_EL2::write(0xf);
        isb();
        reg::ICH_HCR_EL2::write(0);
    }
};

// Stage-2 descriptors (Arm ARM D8.5): MemAttr[5:2], S2AP[7:6], SH[9:8], AF[10], XN[54].
struct TableFormat {
    static constexpr u64 leaf(u8 rights, bool device) {
        static_assert((abi::rights::mem_read | abi::rights::mem_write) == 3 && abi::rights::mem_exec == 4);
        const u64 executable = rights >> 2 & 1;
        return 0x400 | (device ? 0x1 << 2 : 0xf << 2 | 0x300) | u64{rights & 3u} << 6 | (executable ^ 1) << 54;
    }
};

inline constexpr u64 kHcrHost = u64{1} << 31 | 1u << 27 | 1u << 12 | 1u << 5 | 1u << 4 | 1u << 3 | 1u;
// RW, TERR, TLOR, TACR, TIDCP, TSC, TSW, TID3, TID1, TWI, BSU inner, FB, AMO, IMO, FMO, SWIO, VM. What is clear traps as
// well: API, APK (pointer authentication and its keys), ATA (tags), EnSCXT, FIEN, TME.
inline constexpr u64 kHcrGuest = u64{1} << 31 | u64{1} << 36 | u64{1} << 35 | 1u << 21 | 1u << 20 | 1u << 19 |
                                 1u << 22 | 1u << 18 | 1u << 16 | 1u << 13 | 1u << 10 | 1u << 9 | 1u << 5 | 1u << 4 |
                                 1u << 3 | 1u << 1 | 1u;
// What of SCTLR_EL1 acts on processes under TGE: UCI, UCT, DZE on, nTWE, nTWI, SA0, little endian.
inline constexpr u64 kSctlrEl1Host = 0x30d0'0800 | 1 << 26 | 1 << 18 | 1 << 16 | 1 << 15 | 1 << 14 | 1 << 4;
inline constexpr u64 kCntkctlHost = 3;  // EL0 reads both counters, sets no timer
// EL1PCTEN, and for processes EL1PCEN: CNTKCTL_EL1 keeps the timers from them, and QEMU 7.2 takes EL1PCEN for the
// counter as well. A guest's accesses to the physical timer trap.
inline constexpr u64 kCnthctlHost = 3, kCnthctlGuest = 1;
inline constexpr u64 kCpacrHost = 3 << 20;

}  // namespace twain::kernel
