// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System registers whose accesses come to the VMM: ID registers, SGI generation, physical timer, debug, and what
// must be there but does nothing. All others, and accesses in the wrong direction, are undefined.
#pragma once

#include <array>
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "vmm/sysreg/features.hpp"
#include "vmm/sysreg/name.hpp"

namespace twain::vmm {

// The EL1 physical timer (Arm ARM D11.2.4), emulated.
class PhysicalTimer {
public:
    static constexpr std::uint64_t kEnable = 1, kMask = 2, kStatus = 4;

    std::uint64_t control(std::uint64_t now) const { return control_ | (fired(now) ? kStatus : 0); }
    void set_control(std::uint64_t value) { control_ = value & (kEnable | kMask); }
    std::uint64_t compare() const { return compare_; }
    void set_compare(std::uint64_t value) { compare_ = value; }

    bool line(std::uint64_t now) const { return (control_ & kMask) == 0 && fired(now); }
    // When the line will rise by itself; ~0: not by itself.
    std::uint64_t deadline(std::uint64_t now) const {
        return control_ == kEnable && now < compare_ ? compare_ : ~std::uint64_t{0};
    }

private:
    bool fired(std::uint64_t now) const { return (control_ & kEnable) != 0 && now >= compare_; }

    std::uint64_t control_ = 0;
    std::uint64_t compare_ = 0;
};

// One vCPU's trapped registers. Used by the vCPU's own thread only.
struct VcpuRegisters {
    static constexpr unsigned kPoints = 2;  // break- and watchpoints, as ID_AA64DFR0_EL1 says

    // What of MDSCR_EL1 acts: the guest steps what it likes, unless it has locked its debug registers.
    std::uint64_t stepping() const { return os_lock ? 0 : mdscr & (abi::kMdscrStep | abi::kMdscrKernel); }

    std::uint64_t mdscr = 0;
    std::array<std::array<std::uint64_t, 4>, kPoints> points{};  // DBGBVR, DBGBCR, DBGWVR, DBGWCR: kept, never acted on
    bool os_lock = true;
    std::uint64_t cache_selector = 0;
    PhysicalTimer timer;
};

enum class SysregResult : std::uint8_t {
    done,
    undefined,
    send_sgi,  // `value` was written to ICC_SGI1R_EL1
    timer,     // done; the timer's line and deadline may have changed
};

struct SysregAccess {
    Sysreg reg;
    bool read = false;
    std::uint64_t value = 0;  // written, or to be read
};

// `now`: the physical counter, ticks.
SysregResult access_sysreg(const IdRegisters& ids, VcpuRegisters& state, std::uint64_t ctr, std::uint64_t now,
                           SysregAccess& access);

}  // namespace twain::vmm
