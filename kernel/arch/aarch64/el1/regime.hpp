// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel at EL1, where EL2 is not ours: what differs from EL2. The kernel has the upper half of the addresses
// (TTBR1), a process the lower half (TTBR0). ASIDs come from TTBR1 (TCR_EL1.A1), so that with guests one write
// changes both the upper half and the ASID; see guest.cpp.
#pragma once

#include "sysreg.hpp"

namespace twain::kernel {

struct Regime {
    static constexpr u64 kPointerUpper = 0xffff'0000'0000'0000;
    static constexpr unsigned kExceptionLevel = 1;
    using Vbar = reg::VBAR_EL1;
    using Cpu = reg::TPIDR_EL1;
    using Esr = reg::ESR_EL1;
    using Far = reg::FAR_EL1;
    using Elr = reg::ELR_EL1;
    using Spsr = reg::SPSR_EL1;
    using TimerControl = SysReg<3, 3, 14, 2, 1>;  // CNTP_CTL_EL0
    using TimerCompare = SysReg<3, 3, 14, 2, 2>;  // CNTP_CVAL_EL0
    static constexpr u32 abi::BootInfo::*kTimerIntid = &abi::BootInfo::timer_phys_intid;

    // Attributes of the kernel's own tables (stage 1, EL1&0: UXN bit 54, PXN bit 53, nG bit 11, AP[2] bit 7).
    static constexpr u64 kNormal = 0x400 | 0x300 | 0 << 2;  // AF, inner shareable, MAIR index 0
    static constexpr u64 kDevice = 0x400 | 1 << 2;          // AF, MAIR index 1
    static constexpr u64 kNoExecute = u64{1} << 53;
    static constexpr u64 kReadOnly = 0x80;
    static constexpr u64 kAlways = u64{1} << 54;
    static constexpr u64 kLinear = 0x800;  // not global: where a guest's own addresses may be

    // SCTLR_EL1: M, C, SA, SA0, I, DZE, UCT, nTWE, UCI and what is RES1. UMA and nTWI stay clear: DAIF and WFI trap.
    static constexpr u64 kSctlr =
        0x30d0'0800 | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 18 | 1 << 26;

    static constexpr u64 kMdscr = 1 << 12;  // EL0's debug channel traps; KDE clear: nothing ever steps the kernel

    static constexpr bool kVmmInjects = true;
    static constexpr u64 kGroupsInCore = abi::kGroupFp;

    static void trap_fp(bool trap) { reg::CPACR_EL1::write(1 << 28 | (trap ? 0 : 3 << 20)); }
    static void enable_gic() {}

    struct Roots {   // physical
        u64 kernel;  // the kernel's own upper half
        u64 empty;   // maps nothing
    };
    static Roots& roots();

    // What user mode translates by: the table of the lower half, with the ASID.
    struct UserTable {
        static constexpr u64 kTable = 0x0000'ffff'ffff'ffff;
        // No walk may mix one's table with another's ASID, so nothing is mapped while both change.
        static void write(u64 base) {
            reg::TTBR0_EL1::write(roots().empty);
            isb();
            reg::TTBR1_EL1::write(roots().kernel | (base & ~kTable));
            isb();
            reg::TTBR0_EL1::write(base & kTable);
        }
    };
};

extern "C" Regime::Roots kernel_regime_roots;
inline Regime::Roots& Regime::roots() { return kernel_regime_roots; }

// Stage-1 descriptors (Arm ARM D8.5): AttrIndx[4:2], AP[7:6], SH[9:8], AF[10], nG[11], PXN[53], UXN[54]. What may be
// written may be read; what may only be executed may not.
struct TableFormat {
    static constexpr bool kTopLevel = true;  // TCR_EL1.T0SZ is the one that guests need: 48 bits
    static constexpr u64 kUser = 0x40, kReadOnly = 0x80, kUserNoExecute = u64{1} << 54;

    static constexpr u64 leaf(u8 rights, bool device) {
        u64 entry = 0x400 | 0x800 | u64{1} << 53;
        entry |= device ? 1 << 2 : 0x300;
        if (rights & (abi::rights::mem_read | abi::rights::mem_write)) entry |= kUser;
        if (!(rights & abi::rights::mem_write)) entry |= kReadOnly;
        if (!(rights & abi::rights::mem_exec)) entry |= kUserNoExecute;
        return entry;
    }
};

}  // namespace twain::kernel
