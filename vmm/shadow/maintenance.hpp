// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// SYS instructions of virtual EL1: TLB and cache maintenance, address translation (Arm ARM C5.3 to C5.5). A TLBI has
// done its work on all vCPUs when it returns, whatever its shareability says: they share their roots.
#pragma once

#include <cstdint>

#include "vmm/shadow/vcpu.hpp"

namespace twain::vmm {

template <Platform P>
class ShadowMaintenance {
public:
    explicit ShadowMaintenance(ShadowVcpu<P>& vcpu) : c_(vcpu) {}

    void execute(Sysreg r, std::uint64_t value) {
        if (r.crn() == 8 && r.op1() == 0 && (r.crm() == 3 || r.crm() == 7 || r.crm() == 1)) {
            flush_translations(r.op2(), value);
        } else if (r.crn() == 7 && r.op1() == 0 && r.crm() == 8 && r.op2() <= 3) {
            translate_address(r, value);
        } else if (r.crn() == 7 && r.op1() == 0 && (r.crm() == 1 || r.crm() == 5)) {  // IC IALLUIS, IALLU
            c_.page.shadow.icache = 1;
            Guard guard(c_.guest.lock, c_.platform, c_.v.index);
            c_.guest.text.update_all(c_.page.el1);
            c_.publish_text();
        } else if (r.crn() == 7 && r.op1() >= 3 && r.crm() == 5) {  // IC IVAU, by stub.cpp's name or by its own
            invalidate_line({value});
        } else if (r.crn() != 7) {
            c_.undefined();
            return;
        }
        c_.advance();
    }

    // IC IVAU
    void invalidate_line(Gva at) {
        c_.v.meter.because(Cause::cache);
        c_.page.shadow.icache = 1;
        Guard guard(c_.guest.lock, c_.platform, c_.v.index);
        const Translation t = translate(c_.page.el1, c_.machine.memory(), at);
        if (t.fault != 0) {
            return;
        }
        constexpr std::uint64_t kUpper = 0xffff'0000'0000'0000;  // without a tag
        if (c_.guest.text.update_line(c_.page.el1, t.at)) {
            c_.publish_text();
        } else if (at.value >= kUpper && t.shift <= 21) {
            c_.guest.unexecuted.mark(c_.v.index, at, t.at);
        }
    }

    void flush_translations(unsigned op2, std::uint64_t value) {
        c_.v.meter.because(Cause::tlbi);
        c_.forget_fetch();
        const std::uint64_t page = sign_extend((value & 0xfff'ffff'ffff) << 12, 56);
        Guard guard(c_.guest.lock, c_.platform, c_.v.index);
        ShadowTables<P>& tables = c_.guest.tables;
        const bool by_page = bit(op2, 0);
        if (by_page) {
            c_.guest.unexecuted.translated({page});
        } else {
            c_.guest.unexecuted.forget_all();
        }
        switch (op2) {
            case 2: tables.forget_asid(c_.v.index, value >> 48); break;  // ASIDE1
            case 1:
            case 5: tables.forget_page(c_.v.index, {page}, value >> 48, false); break;  // VAE1, VALE1
            case 3:
            case 7: tables.forget_page(c_.v.index, {page}, 0, true); break;  // VAAE1, VAALE1
            default: tables.forget_all(c_.v.index); break;                   // VMALLE1
        }
    }

private:
    // AT S1E1R, S1E1W, S1E0R, S1E0W; PAR_EL1: Arm ARM D17.2.101
    void translate_address(Sysreg r, std::uint64_t at) {
        abi::El1State& el1 = c_.page.el1;
        const Translation t = translate(el1, c_.machine.memory(), {at});
        unsigned fault = t.fault;
        const bool user = r.op2() >= 2, write = bit(r.op2(), 0);
        if (fault == 0 && ((user && !t.user) || (write && t.read_only))) {
            fault = kFaultPermission + t.level;
        }
        constexpr std::uint64_t kSharable = 3 << 7, kAlways = 1 << 11, kWriteBack = 0xff;
        el1.par_el1 = fault != 0 ? 1 | kAlways | std::uint64_t{fault} << 1
                                 : (t.at.value & ~std::uint64_t{4095}) | kWriteBack << 56 | kAlways | kSharable;
    }

    ShadowVcpu<P>& c_;
};

}  // namespace twain::vmm
