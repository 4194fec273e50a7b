// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The processor that the guest sees in its ID registers (Arm ARM D17.2.59 and following): what the real one has,
// bounded field by field by what we virtualize. Hidden whatever the processor has: EL2, EL3, AArch32, SVE, SME,
// pointer authentication, BTI, MTE, RAS, AMU, MPAM, PMU, trace, TME, and debug beyond the architected minimum.
//
// A process cannot read ID registers. As long as nobody tells it better, the VMM offers Armv8.0 without options.
#pragma once

#include <array>
#include <cstdint>

namespace twain::vmm {

// Values of the real registers.
struct CpuFeatures {
    std::uint64_t pfr0 = 0x0000'0000'0000'0011;
    std::uint64_t isar0 = 0;
    std::uint64_t isar1 = 0;
    std::uint64_t mmfr0 = 0x0000'0000'0000'0022;  // 40 bits of physical address, 16 of ASID; 4K and 64K granules
    std::uint64_t mmfr1 = 0;
    std::uint64_t mmfr2 = 0;
    std::uint64_t ctr = 0x8444'c004;  // 64-byte lines, PIPT
};

// The ID space: op0 3, op1 0, CRn 0, CRm 1..7; what is not named in it reads as zero.
class IdRegisters {
public:
    // `gic`: the interrupt controller has system registers (version 3).
    constexpr explicit IdRegisters(const CpuFeatures& real = {}, bool gic = true);
    constexpr std::uint64_t value(unsigned crm, unsigned op2) const { return values_[crm % 8 * 8 + op2 % 8]; }

private:
    constexpr std::uint64_t& at(unsigned crm, unsigned op2) { return values_[crm * 8 + op2]; }
    std::array<std::uint64_t, 64> values_{};
};

// Each 4-bit field is the smaller of the two.
constexpr std::uint64_t bounded(std::uint64_t real, std::uint64_t most) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 4) {
        const std::uint64_t r = (real >> shift) & 0xf;
        const std::uint64_t m = (most >> shift) & 0xf;
        value |= (r < m ? r : m) << shift;
    }
    return value;
}

constexpr IdRegisters::IdRegisters(const CpuFeatures& real, bool gic) {
    // ID_AA64PFR0_EL1: CSV3, CSV2, DIT; GIC 1; AdvSIMD, FP up to half precision; EL1, EL0 in AArch64 only
    at(4, 0) = bounded(real.pfr0, 0x1101'0000'0011'0000) | (gic ? 0x0100'0011 : 0x11);
    // ID_AA64DFR0_EL1: two breakpoints, two watchpoints, Armv8 debug
    at(5, 0) = 0x0000'0000'0010'1006;
    // ID_AA64ISAR0_EL1: RNDR, TLB, TS, FHM, DP, SM4, SM3, SHA3, RDM, Atomic, CRC32, SHA2, SHA1, AES
    at(6, 0) = bounded(real.isar0, 0x1221'1111'1021'2120);
    // ID_AA64ISAR1_EL1: I8MM, DGH, BF16, SB, FRINTTS, LRCPC, FCMA, JSCVT, DPB
    at(6, 1) = bounded(real.isar1, 0x0011'1011'0021'1002);
    // ID_AA64MMFR0_EL1: 40 bits of address at most; mixed endianness; granules as they are
    at(7, 0) = bounded(real.mmfr0, 0x0000'0000'fff0'0122);
    // ID_AA64MMFR1_EL1: PAN, hierarchical permission disables, hardware access flag and dirty state
    at(7, 1) = bounded(real.mmfr1, 0x0000'0000'0020'1002);
    // ID_AA64MMFR2_EL1: E0PD, BBM, AT, ST, CCIDX, LSM, UAO, CnP
    at(7, 2) = bounded(real.mmfr2, 0x1020'0001'1010'0111);
}

}  // namespace twain::vmm
