// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The exception syndrome (Arm ARM D17.2.37, ESR_ELx): typed views over the word that the kernel reports and
// makers of the word that an injected exception shows the guest.
#pragma once

#include <cstdint>

#include "vmm/types.hpp"

namespace twain::vmm {

enum class ExceptionClass : std::uint8_t {
    unknown = 0x00,
    wfx = 0x01,
    simd_fp = 0x07,
    svc64 = 0x15,
    hvc64 = 0x16,
    smc64 = 0x17,
    sysreg = 0x18,
    instruction_abort_lower = 0x20,
    instruction_abort_same = 0x21,
    pc_alignment = 0x22,
    data_abort_lower = 0x24,
    data_abort_same = 0x25,
    sp_alignment = 0x26,
    step_lower = 0x32,
    step_same = 0x33,
};
inline constexpr unsigned kExceptionClasses = 64;

class Syndrome {
public:
    constexpr explicit Syndrome(std::uint64_t esr) : esr_(esr) {}
    constexpr unsigned ec() const { return static_cast<unsigned>(bits(esr_, 31, 26)); }
    constexpr bool is(ExceptionClass c) const { return ec() == static_cast<unsigned>(c); }
    constexpr bool long_instruction() const { return bit(esr_, 25); }

    // Data aborts
    constexpr bool valid() const { return bit(esr_, 24); }  // ISV: the fields up to sixty_four() mean something
    constexpr unsigned access_bytes() const { return 1u << bits(esr_, 23, 22); }
    constexpr bool sign_extends() const { return bit(esr_, 21); }
    constexpr unsigned transfer_register() const { return static_cast<unsigned>(bits(esr_, 20, 16)); }
    constexpr bool sixty_four() const { return bit(esr_, 15); }
    constexpr bool far_not_valid() const { return bit(esr_, 10); }
    constexpr bool cache_maintenance() const { return bit(esr_, 8); }
    constexpr bool on_table_walk() const { return bit(esr_, 7); }  // S1PTW; also instruction aborts
    constexpr bool write() const { return bit(esr_, 6); }
    constexpr unsigned fault_status() const { return static_cast<unsigned>(bits(esr_, 5, 0)); }

    // System register access
    constexpr bool is_read() const { return bit(esr_, 0); }
    constexpr unsigned sysreg_rt() const { return static_cast<unsigned>(bits(esr_, 9, 5)); }

private:
    std::uint64_t esr_;
};

// Fault status codes (DFSC, IFSC)
inline constexpr unsigned kFaultExternal = 0x10;
inline constexpr unsigned kFaultExternalOnWalk = 0x14;  // level 0

constexpr std::uint64_t make_syndrome(ExceptionClass c, std::uint64_t iss) {
    return (static_cast<std::uint64_t>(c) << 26) | (std::uint64_t{1} << 25) | iss;
}

}  // namespace twain::vmm
