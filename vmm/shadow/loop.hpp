// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A vCPU's thread where the kernel has no EL2: both of the guest's exception levels run at EL0 (docs/kernel-el1.md). What
// the guest's kernel does that EL0 may not traps, and is sent from here to who does it: registers.hpp, maintenance.hpp,
// fault.hpp.
#pragma once

#include "vmm/esr.hpp"
#include "vmm/shadow/fault.hpp"
#include "vmm/shadow/maintenance.hpp"
#include "vmm/shadow/registers.hpp"
#include "vmm/shadow/vcpu.hpp"

namespace twain::vmm {

template <Platform P>
class ShadowLoop {
public:
    ShadowLoop(Machine<P>& machine, ShadowGuest<P>& guest, VcpuIndex index)
        : c_(machine, guest, index), page_(c_.page), registers_(c_), maintenance_(c_), faults_(c_) {}

    // Never returns.
    [[noreturn]] void run() {
        for (;;) {
            c_.machine.wait_for_power(c_.v);
            c_.begin();
            while (!c_.stop && c_.machine.running()) {
                c_.machine.settle_interrupts(c_.v);
                step();
            }
            c_.machine.leave(c_.v);
        }
    }

private:
    // ---- entry

    void step() {
        if (c_.interface.has_news()) {
            c_.interface.take();
            c_.attention = true;
        }
        if (c_.attention) {
            update_interrupts();
        }
        if (c_.moved && !choose_tables()) {
            return;
        }
        const bool swapped = c_.translates() && c_.guest.rewrites;
        page_.shadow.flags =
            (swapped ? abi::kShadowSwapped : 0) | (c_.eager != V::kNowhere ? abi::kShadowSlowReturn : 0);
        const RunResult result = c_.platform.run(c_.v.index);
        c_.moved = c_.moved || page_.shadow.moved != 0;
        if (result.error != abi::Error::none) [[unlikely]] {
            c_.machine.fail(c_.v.index, "a virtual processor cannot run");
            c_.stop = true;
            return;
        }
        c_.v.meter.over(page_.away);
        if (result.exit == abi::Exit::trap) [[likely]] {
            trap(Syndrome(page_.esr));
        } else {
            c_.v.meter.because(Cause::kicked);
            c_.attention = true;
        }
    }

    void update_interrupts() {
        c_.attention = false;
        page_.shadow.deadline = abi::kForever;
        if ((page_.cntv_ctl & 3) == 1 && bit(page_.vtimer, 8)) {
            const bool fired = c_.timer_fired(c_.platform.now());
            c_.interface.set_timer_line(fired);
            if (!fired) {
                page_.shadow.deadline = page_.cntv_cval;
            }
        } else {
            c_.interface.set_timer_line(false);
        }
        page_.shadow.irq = c_.interface.signals() ? 1 : 0;
        if (page_.shadow.irq != 0 && c_.guest.rewrites && !c_.at_el0()) {
            Guard guard(c_.guest.lock, c_.platform, c_.v.index);
            page_.pc = c_.guest.text.resume(page_.pc);
        }
    }

    bool choose_tables() {
        c_.moved = false;
        c_.forget_fetch();
        if (!supported(page_.el1)) {
            c_.machine.fail(c_.v.index,
                            "the guest's pages are of 16 or 64 KiB or its addresses of 52 bits: not without EL2");
            c_.stop = true;
            return false;
        }
        Guard guard(c_.guest.lock, c_.platform, c_.v.index);
        c_.guest.tables.choose(c_.v.index, page_.el1);
        c_.guest.unexecuted.forget(c_.v.index);
        return true;
    }

    // ---- traps

    void trap(Syndrome s) {
        c_.v.meter.because(Cause::exception);
        switch (static_cast<ExceptionClass>(s.ec())) {
            case ExceptionClass::unknown: unknown(); break;
            case ExceptionClass::sysreg: trapped_register(s); break;
            case ExceptionClass::instruction_abort_lower: faults_.abort(s, true); break;
            case ExceptionClass::data_abort_lower: faults_.abort(s, false); break;
            case ExceptionClass::svc64: service_call(); break;
            case ExceptionClass::step_lower: stepped(); break;
            case ExceptionClass::wfx:  // WFE
                c_.v.meter.because(Cause::hint);
                c_.advance();
                break;
            case ExceptionClass::pc_alignment:
            case ExceptionClass::sp_alignment:
                page_.el1.far_el1 = page_.far;
                inject_synchronous(page_, page_.esr);
                break;
            default: inject_synchronous(page_, page_.esr); break;
        }
    }

    // A single step of virtual EL1. One of what an instruction was rewritten to is none of the guest's.
    void stepped() {
        Ipa stubs;
        Guard guard(c_.guest.lock, c_.platform, c_.v.index);
        if (c_.guest.rewrites && c_.guest.text.stubs({page_.pc}, stubs)) {
            page_.pstate |= abi::kPstateStep;
        } else {
            inject_synchronous(page_, make_syndrome(ExceptionClass::step_same, page_.esr & 0x1ff'ffff));
        }
    }

    // SVC of virtual EL1: from rewritten text, or its own.
    void service_call() {
        const unsigned what = page_.esr & 0xffff, kind = what & ~31u;
        if (!c_.at_el0()) {
            if (what == abi::kShadowReturn) {
                exception_return();
                return;
            }
            if (kind == abi::kShadowTable0 || kind == abi::kShadowTable1) {
                c_.v.meter.because(Cause::table);
                registers_.write_table(kind == abi::kShadowTable1, what & 31);
                return;
            }
            if (what == abi::kShadowUnmasked) {
                return;
            }
            if (kind == kInvalidateLine) {
                maintenance_.invalidate_line({c_.get_register(what & 31)});
                return;
            }
            if (kind == kFlushPage) {
                maintenance_.flush_translations(5, c_.get_register(what & 31));
                return;
            }
        }
        inject_synchronous(page_, page_.esr);
    }

    void unknown() {
        std::uint32_t word = 0;
        if (!c_.at_el0() && !c_.fetch(word)) {
            return;  // the guest will fault by itself
        }
        if ((word & 0xffc0'0000) == 0xd500'0000) {
            system_instruction(
                sysreg(bits(word, 20, 19), bits(word, 18, 16), bits(word, 15, 12), bits(word, 11, 8), bits(word, 7, 5)),
                bit(word, 21), bits(word, 4, 0));
        } else if (word == kEret) {
            exception_return();
        } else if ((word & 0xffe0'001f) == 0xd400'0002 || (word & 0xffe0'001f) == 0xd400'0003) {  // HVC, SMC
            c_.v.meter.because(Cause::call);
            c_.advance();
            c_.stop = c_.machine.obey(c_.v, c_.machine.firmware().call(page_, c_.v.random));
        } else {  // UDF, and everything at virtual EL0
            c_.undefined();
        }
    }

    void trapped_register(Syndrome s) {
        if (c_.at_el0()) {
            inject_synchronous(page_, page_.esr);
        } else {
            system_instruction(sysreg_of(page_.esr), s.is_read(), s.sysreg_rt());
        }
    }

    void system_instruction(Sysreg r, bool read, unsigned rt) {
        switch (r.op0()) {
            case 0:
                c_.v.meter.because(Cause::field);
                registers_.field(r);
                break;
            case 1:
                c_.v.meter.because(Cause::cache);
                maintenance_.execute(r, c_.get_register(rt));
                break;
            default:
                c_.v.meter.because(Cause::sysreg);
                registers_.access(r, read, rt);
                break;
        }
    }

    void exception_return() {
        c_.v.meter.because(Cause::eret);
        const std::uint64_t to = page_.el1.spsr_el1, mode = to & V::kModeBits;
        page_.pc = page_.el1.elr_el1;
        const bool known = mode == V::kModeEl0 || mode == V::kModeEl1t || mode == V::kModeEl1h;
        page_.pstate = (to & (V::kFlags | V::kMasks | abi::kPstateStep)) | (known ? mode : V::kModeEl1h);
        if (c_.eager != V::kNowhere && c_.at_el0()) {
            faults_.fill_eagerly();
        }
    }

    using V = ShadowVcpu<P>;

    V c_;
    abi::VcpuPage& page_;
    ShadowRegisters<P> registers_;
    ShadowMaintenance<P> maintenance_;
    ShadowFaults<P> faults_;
};

}  // namespace twain::vmm
