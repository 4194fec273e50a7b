// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System registers and fields of PSTATE that virtual EL1 reads and writes.
#pragma once

#include <cstdint>

#include "vmm/shadow/vcpu.hpp"

namespace twain::vmm {

template <Platform P>
class ShadowRegisters {
public:
    explicit ShadowRegisters(ShadowVcpu<P>& vcpu) : c_(vcpu), page_(vcpu.page) {}

    // MRS, MSR (register)
    void access(Sysreg r, bool read, unsigned rt) {
        const std::uint64_t in = c_.get_register(rt);
        bool moves = false;
        if (std::uint64_t* place = kept(r, moves)) [[likely]] {
            if (read) {
                c_.set_register(rt, *place);
            } else if (*place != in) {
                *place = in;
                if (moves) {
                    moved(r);
                }
            }
            c_.advance();
            return;
        }
        std::uint64_t value = in;
        if (c_.interface.access(r, read, value)) {
            c_.attention = true;
        } else if (!own(r, read, value)) {
            SysregAccess access{r, read, in};
            const SysregResult result = c_.machine.access_sysreg(c_.v, access);
            if (result == SysregResult::undefined) {
                c_.undefined();
                return;
            }
            if (result == SysregResult::send_sgi) {
                c_.v.meter.count(Event::sgi);
                c_.machine.send_sgi(c_.v, access.value);
            }
            value = access.value;
        }
        if (read) {
            c_.set_register(rt, value);
        }
        c_.advance();
    }

    // MSR TTBRn_EL1, Xt of rewritten text; PC is behind it.
    void write_table(bool upper, unsigned rt) {
        (upper ? page_.el1.ttbr1_el1 : page_.el1.ttbr0_el1) = c_.get_register(rt);
        c_.moved = true;
    }

    // MSR (immediate)
    void field(Sysreg r) {
        const std::uint64_t masks = std::uint64_t{r.crm()} << 6;
        // QEMU 7.2 exchanges op1 and op2 in the syndrome.
        const auto is = [&](unsigned op2) {
            return r.crn() == 4 && ((r.op1() == 3 && r.op2() == op2) || (r.op1() == op2 && r.op2() == 3));
        };
        if (is(6)) {
            page_.pstate |= masks;
        } else if (is(7)) {
            page_.pstate &= ~masks;
        } else if (r.crn() == 4 && r.op1() == 0 && r.op2() == 5) {
            select_stack(r.crm());
        } else if (r.crn() != 2 && r.crn() != 3) {  // hints and barriers that trap do nothing
            c_.undefined();
            return;
        }
        c_.advance();
    }

private:
    using V = ShadowVcpu<P>;

    // A register that is only kept. `moves`: translation depends on it.
    std::uint64_t* kept(Sysreg r, bool& moves) {
        abi::El1State& el1 = page_.el1;
        switch (r.key) {
            case sysreg(3, 0, 4, 1, 0).key:
                return (page_.pstate & V::kModeBits) == V::kModeEl1h ? &page_.sp_el0 : nullptr;
            case sysreg(3, 0, 13, 0, 4).key: return &el1.tpidr_el1;
            case sysreg(3, 0, 4, 0, 0).key: return &el1.spsr_el1;
            case sysreg(3, 0, 4, 0, 1).key: return &el1.elr_el1;
            case sysreg(3, 0, 5, 2, 0).key: return &el1.esr_el1;
            case sysreg(3, 0, 6, 0, 0).key: return &el1.far_el1;
            case sysreg(3, 0, 2, 0, 0).key: moves = true; return &el1.ttbr0_el1;
            case sysreg(3, 0, 2, 0, 1).key: moves = true; return &el1.ttbr1_el1;
            case sysreg(3, 0, 2, 0, 2).key: moves = true; return &el1.tcr_el1;
            case sysreg(3, 0, 1, 0, 0).key: moves = true; return &el1.sctlr_el1;
            case sysreg(3, 0, 10, 2, 0).key: return &el1.mair_el1;
            case sysreg(3, 0, 13, 0, 1).key: return &el1.contextidr_el1;
            case sysreg(3, 3, 13, 0, 3).key:
            case sysreg(3, 4, 13, 0, 3).key: return &el1.tpidrro_el0;  // as stub.cpp writes it
            case sysreg(3, 3, 13, 0, 2).key:
            case sysreg(3, 4, 13, 0, 2).key: return &el1.tpidr_el0;
            case sysreg(3, 0, 12, 0, 0).key: return &el1.vbar_el1;
            case sysreg(3, 0, 10, 3, 0).key: return &el1.amair_el1;
            case sysreg(3, 0, 1, 0, 2).key: return &el1.cpacr_el1;
            case sysreg(3, 0, 5, 1, 0).key: return &el1.afsr0_el1;
            case sysreg(3, 0, 5, 1, 1).key: return &el1.afsr1_el1;
            case sysreg(3, 0, 7, 4, 0).key: return &el1.par_el1;
            case sysreg(3, 0, 14, 1, 0).key: return &el1.cntkctl_el1;
            case sysreg(3, 2, 0, 0, 0).key: return &el1.csselr_el1;
            default: return nullptr;
        }
    }

    void moved(Sysreg r) {
        c_.moved = true;
        c_.v.meter.because(Cause::table);
        c_.forget_fetch();
        if (r != sysreg(3, 0, 2, 0, 0) && r != sysreg(3, 0, 2, 0, 1)) {  // what the tables mean has changed, too
            Guard guard(c_.guest.lock, c_.platform, c_.v.index);
            c_.guest.tables.begin(c_.v.index);
        }
    }

    void select_stack(std::uint64_t own) { page_.pstate = (page_.pstate & ~V::kModeBits) | V::kModeEl1t | (own & 1); }

    // Registers with a meaning. False: none of them.
    bool own(Sysreg r, bool read, std::uint64_t& value) {
        const auto gives = [&](std::uint64_t what) {
            value = read ? what : value;
            return true;
        };
        switch (r.key) {
            case sysreg(3, 3, 4, 2, 1).key:  // DAIF
                if (!read) {
                    page_.pstate = (page_.pstate & ~V::kMasks) | (value & V::kMasks);
                }
                return gives(page_.pstate & V::kMasks);
            case sysreg(3, 0, 4, 2, 2).key: return read && gives(4);  // CurrentEL
            case sysreg(3, 0, 4, 2, 0).key:                           // SPSel
                if (!read) {
                    select_stack(value);
                }
                return gives(page_.pstate & 1);
            case sysreg(3, 0, 0, 0, 0).key: return read && gives(page_.vpidr != 0 ? page_.vpidr : page_.shadow.midr);
            case sysreg(3, 0, 0, 0, 5).key: return read && gives(page_.vmpidr);
            case sysreg(3, 0, 0, 4, 0).key:  // ID_AA64PFR0_EL1
            case sysreg(3, 0, 0, 7, 2).key:  // ID_AA64MMFR2_EL1
                return read && identify(r, value);
            case sysreg(3, 3, 14, 3, 0).key:  // CNTV_TVAL_EL0
                c_.attention = true;
                if (!read) {
                    page_.cntv_cval = c_.platform.now() + sign_extend(value, 32);
                }
                return gives(truncate(page_.cntv_cval - c_.platform.now(), 4));
            case sysreg(3, 3, 14, 3, 1).key:  // CNTV_CTL_EL0
                if (!read) {
                    c_.attention = true;
                    page_.cntv_ctl = value & 3;
                }
                return gives(page_.cntv_ctl | (read && c_.timer_fired(c_.platform.now()) ? 4 : 0));
            case sysreg(3, 3, 14, 3, 2).key:  // CNTV_CVAL_EL0
                if (!read) {
                    c_.attention = true;
                    page_.cntv_cval = value;
                }
                return gives(page_.cntv_cval);
            default: return false;
        }
    }

    // E0PD and CSV3: the guest's kernel need not hide itself from its users by tables of its own.
    bool identify(Sysreg r, std::uint64_t& value) {
        SysregAccess access{r, true, 0};
        (void)c_.machine.access_sysreg(c_.v, access);
        value = access.value | std::uint64_t{1} << 60;
        return true;
    }

    V& c_;
    abi::VcpuPage& page_;
};

}  // namespace twain::vmm
