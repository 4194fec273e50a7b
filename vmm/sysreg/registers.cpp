// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/sysreg/registers.hpp"

#include "vmm/types.hpp"

namespace twain::vmm {
namespace {

struct Call {
    const IdRegisters& ids;
    VcpuRegisters& state;
    std::uint64_t ctr;
    std::uint64_t now;
    SysregAccess& access;

    SysregResult reads(std::uint64_t value) const {
        access.value = value;
        return access.read ? SysregResult::done : SysregResult::undefined;
    }
    SysregResult writes() const { return access.read ? SysregResult::undefined : SysregResult::done; }
    // Kept; `mask`: the bits that there are.
    SysregResult keeps(std::uint64_t& place, std::uint64_t mask = ~std::uint64_t{0}) const {
        if (access.read) {
            access.value = place;
        } else {
            place = access.value & mask;
        }
        return SysregResult::done;
    }
};

using Handler = SysregResult (*)(const Call&);

SysregResult generate_sgi(const Call& c) { return c.access.read ? SysregResult::undefined : SysregResult::send_sgi; }
SysregResult ignore_write(const Call& c) { return c.writes(); }
SysregResult zero(const Call& c) {  // RAZ/WI
    c.access.value = 0;
    return SysregResult::done;
}
SysregResult read_zero(const Call& c) { return c.reads(0); }
SysregResult id(const Call& c) { return c.reads(c.ids.value(c.access.reg.crm(), c.access.reg.op2())); }
SysregResult cache_type(const Call& c) { return c.reads(c.ctr); }
SysregResult cache_selector(const Call& c) { return c.keeps(c.state.cache_selector, 0xf); }
SysregResult gic_sre(const Call& c) {  // system registers always; DFB, DIB
    c.access.value = 7;
    return SysregResult::done;
}

SysregResult timer_control(const Call& c) {
    if (c.access.read) {
        return c.reads(c.state.timer.control(c.now));
    }
    c.state.timer.set_control(c.access.value);
    return SysregResult::timer;
}
SysregResult timer_compare(const Call& c) {
    if (c.access.read) {
        return c.reads(c.state.timer.compare());
    }
    c.state.timer.set_compare(c.access.value);
    return SysregResult::timer;
}
SysregResult timer_value(const Call& c) {  // 32 bits, signed, relative to now
    if (c.access.read) {
        return c.reads(truncate(c.state.timer.compare() - c.now, 4));
    }
    c.state.timer.set_compare(c.now + sign_extend(c.access.value, 32));
    return SysregResult::timer;
}
SysregResult counter(const Call& c) { return c.reads(c.now); }

SysregResult debug_control(const Call& c) { return c.keeps(c.state.mdscr); }
SysregResult debug_point(const Call& c) {
    const unsigned n = c.access.reg.crm();
    return n < VcpuRegisters::kPoints ? c.keeps(c.state.points[n][c.access.reg.op2() - 4]) : SysregResult::undefined;
}
SysregResult os_lock_write(const Call& c) {
    if (!c.access.read) {
        c.state.os_lock = bit(c.access.value, 0);
    }
    return c.writes();
}
SysregResult os_lock_status(const Call& c) { return c.reads(0x8 | (c.state.os_lock ? 2u : 0u)); }

struct Entry {
    std::uint32_t mask;
    Sysreg reg;
    Handler handler;
};
constexpr std::uint32_t kExact = sysreg(3, 7, 15, 15, 7).key;
constexpr std::uint32_t kAnyCrmOp2 = sysreg(3, 7, 15, 0, 0).key;
constexpr std::uint32_t kAnyCrm = sysreg(3, 7, 15, 0, 7).key;

// The first match decides; what Linux uses most comes first.
constexpr std::array kEntries{
    Entry{kExact, sysreg(3, 0, 12, 11, 5), generate_sgi},  // ICC_SGI1R_EL1
    Entry{kExact, sysreg(3, 3, 14, 2, 0), timer_value},    // CNTP_TVAL_EL0
    Entry{kExact, sysreg(3, 3, 14, 2, 1), timer_control},  // CNTP_CTL_EL0
    Entry{kExact, sysreg(3, 3, 14, 2, 2), timer_compare},  // CNTP_CVAL_EL0
    Entry{kExact, sysreg(3, 3, 14, 0, 1), counter},        // CNTPCT_EL0
    Entry{kExact, sysreg(3, 0, 0, 0, 6), read_zero},       // REVIDR_EL1
    Entry{kExact, sysreg(3, 0, 0, 0, 0), nullptr},         // MIDR_EL1 and
    Entry{kExact, sysreg(3, 0, 0, 0, 5), nullptr},         // MPIDR_EL1 come from the state page
    Entry{kAnyCrmOp2, sysreg(3, 0, 0, 0, 0), id},          // ID_*
    Entry{kExact, sysreg(3, 3, 0, 0, 1), cache_type},      // CTR_EL0
    Entry{kExact, sysreg(3, 2, 0, 0, 0), cache_selector},  // CSSELR_EL1
    Entry{kExact, sysreg(3, 1, 0, 0, 0), read_zero},       // CCSIDR_EL1
    Entry{kExact, sysreg(3, 1, 0, 0, 1), read_zero},       // CLIDR_EL1
    Entry{kExact, sysreg(3, 1, 0, 0, 7), read_zero},       // AIDR_EL1
    Entry{kExact, sysreg(2, 0, 0, 2, 2), debug_control},   // MDSCR_EL1
    Entry{kAnyCrm, sysreg(2, 0, 0, 0, 4), debug_point},    // DBGBVRn_EL1
    Entry{kAnyCrm, sysreg(2, 0, 0, 0, 5), debug_point},    // DBGBCRn_EL1
    Entry{kAnyCrm, sysreg(2, 0, 0, 0, 6), debug_point},    // DBGWVRn_EL1
    Entry{kAnyCrm, sysreg(2, 0, 0, 0, 7), debug_point},    // DBGWCRn_EL1
    Entry{kExact, sysreg(2, 0, 1, 0, 4), os_lock_write},   // OSLAR_EL1
    Entry{kExact, sysreg(2, 0, 1, 1, 4), os_lock_status},  // OSLSR_EL1
    Entry{kExact, sysreg(2, 0, 1, 0, 0), read_zero},       // MDRAR_EL1
    Entry{kExact, sysreg(2, 0, 1, 3, 4), zero},            // OSDLR_EL1
    Entry{kExact, sysreg(2, 0, 1, 4, 4), zero},            // DBGPRCR_EL1
    Entry{kExact, sysreg(2, 0, 0, 2, 0), zero},            // MDCCINT_EL1
    Entry{kExact, sysreg(2, 0, 0, 0, 2), zero},            // OSDTRRX_EL1
    Entry{kExact, sysreg(2, 0, 0, 3, 2), zero},            // OSDTRTX_EL1
    Entry{kExact, sysreg(2, 0, 0, 6, 2), zero},            // OSECCR_EL1
    Entry{kExact, sysreg(2, 0, 7, 8, 6), zero},            // DBGCLAIMSET_EL1
    Entry{kExact, sysreg(2, 0, 7, 9, 6), zero},            // DBGCLAIMCLR_EL1
    Entry{kExact, sysreg(2, 0, 7, 14, 6), read_zero},      // DBGAUTHSTATUS_EL1
    Entry{kExact, sysreg(2, 3, 0, 1, 0), read_zero},       // MDCCSR_EL0
    Entry{kExact, sysreg(2, 3, 0, 4, 0), zero},            // DBGDTR_EL0
    Entry{kExact, sysreg(2, 3, 0, 5, 0), zero},            // DBGDTRRX_EL0, DBGDTRTX_EL0
    Entry{kExact, sysreg(3, 0, 1, 0, 1), zero},            // ACTLR_EL1
    // All SGIs are in Group 1, so neither of these has anything to raise.
    Entry{kExact, sysreg(3, 0, 12, 11, 6), ignore_write},  // ICC_ASGI1R_EL1
    Entry{kExact, sysreg(3, 0, 12, 11, 7), ignore_write},  // ICC_SGI0R_EL1
    Entry{kExact, sysreg(3, 0, 12, 12, 5), gic_sre},       // ICC_SRE_EL1
    // By set and way: caches stay coherent under the guest, so there is nothing to clean for it.
    Entry{kExact, sysreg(1, 0, 7, 6, 2), ignore_write},   // DC ISW
    Entry{kExact, sysreg(1, 0, 7, 10, 2), ignore_write},  // DC CSW
    Entry{kExact, sysreg(1, 0, 7, 14, 2), ignore_write},  // DC CISW
};

}  // namespace

SysregResult access_sysreg(const IdRegisters& ids, VcpuRegisters& state, std::uint64_t ctr, std::uint64_t now,
                           SysregAccess& access) {
    for (const Entry& e : kEntries) {
        if ((access.reg.key & e.mask) == e.reg.key) {
            return e.handler == nullptr ? SysregResult::undefined : e.handler({ids, state, ctr, now, access});
        }
    }
    return SysregResult::undefined;
}

}  // namespace twain::vmm
