// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A vCPU's thread where the kernel has no EL2: both of the guest's exception levels run at EL0 (docs/kernel-el1.md). What
// the guest's kernel does that EL0 may not traps and is done here: system registers, TLB maintenance, ERET, HVC. Aborts
// are either the guest's own, and reflected, or shadow translations that are missing, and filled.
#pragma once

#include <array>
#include <optional>

#include "vmm/emul/execute.hpp"
#include "vmm/esr.hpp"
#include "vmm/inject.hpp"
#include "vmm/machine/machine.hpp"
#include "vmm/shadow/cpu_interface.hpp"
#include "vmm/shadow/tables.hpp"
#include "vmm/shadow/text.hpp"

namespace twain::vmm {

// What the vCPUs of a guest share.
template <Platform P>
struct ShadowGuest {
    ShadowGuest(P& platform, const GuestMemory& memory, void* copies, Ipa copies_at)
        : tables(platform), text(memory, copies, copies_at) {}
    Lock<P> lock;
    ShadowTables<P> tables;
    TextCopies text;
    bool rewrites = false;  // the guest kernel runs from copies: from when on its text is read-only
};

template <Platform P>
class ShadowLoop {
public:
    ShadowLoop(Machine<P>& machine, ShadowGuest<P>& guest, VcpuIndex index)
        : machine_(machine),
          platform_(machine.platform()),
          guest_(guest),
          v_(machine.vcpu(index)),
          page_(*v_.page),
          interface_(page_) {}

    // Never returns.
    [[noreturn]] void run() {
        for (;;) {
            machine_.wait_for_power(v_);
            begin();
            stop_ = false;
            while (!stop_ && machine_.running()) {
                machine_.settle_interrupts(v_);
                step();
            }
            machine_.leave(v_);
        }
    }

private:
    static constexpr std::uint64_t kModeEl0 = 0, kModeEl1t = 4, kModeEl1h = 5, kModeBits = 0x1f;
    static constexpr std::uint64_t kMasks = 0x3c0, kFlags = 0xf000'0000;
    static constexpr unsigned kFillAround = 16;

    bool at_el0() const { return (page_.pstate & 0xc) == 0; }

    void begin() {
        interface_.reset();
        page_.cntvoff = 0;  // nobody else sets it: the guest reads the counter as it is
        page_.shadow.irq = 0;
        page_.shadow.icache = 1;
        attention_ = moved_ = true;
        Guard guard(guest_.lock, platform_, v_.index);
        guest_.tables.forget_all(v_.index);
        if (v_.index == 0) {
            guest_.text.forget();
            guest_.rewrites = false;
        }
    }

    // ---- entry

    void step() {
        if (interface_.has_news()) {
            interface_.take();
            attention_ = true;
        }
        if (attention_) {
            update_interrupts();
        }
        if (moved_) {
            choose_roots();
        }
        if (at_el0() && privileged_) {
            Guard guard(guest_.lock, platform_, v_.index);
            guest_.tables.forget(v_.index, roots_.lower);
            privileged_ = false;
        }
        page_.shadow.flags = (roots_.upper != 0 && guest_.rewrites ? abi::kShadowSwapped : 0) | (privileged_ ? abi::kShadowSlowReturn : 0);
        const RunResult result = platform_.run(v_.index);
        if (result.error != abi::Error::none) [[unlikely]] {
            machine_.fail(v_.index, "a virtual processor cannot run");
            stop_ = true;
        } else if (result.exit == abi::Exit::trap) [[likely]] {
            trap(Syndrome(page_.esr));
        } else {
            ++v_.counters->kicked;
            attention_ = true;
        }
    }

    bool timer_fired(std::uint64_t now) const { return (page_.cntv_ctl & 1) != 0 && now >= page_.cntv_cval; }

    void update_interrupts() {
        attention_ = false;
        page_.shadow.deadline = abi::kForever;
        if ((page_.cntv_ctl & 3) == 1 && bit(page_.vtimer, 8)) {
            const bool fired = timer_fired(platform_.now());
            interface_.set_timer_line(fired);
            if (!fired) {
                page_.shadow.deadline = page_.cntv_cval;
            }
        } else {
            interface_.set_timer_line(false);
        }
        page_.shadow.irq = interface_.signals() ? 1 : 0;
    }

    void choose_roots() {
        moved_ = false;
        fetch_page_ = kNoPage;
        Guard guard(guest_.lock, platform_, v_.index);
        roots_ = guest_.tables.choose(v_.index, page_.el1);
        privileged_ = roots_.upper != 0 && guest_.tables.privileged(roots_.lower);
        page_.shadow.view[0] = ShadowTables<P>::view(roots_.lower, false);
        page_.shadow.view[1] = ShadowTables<P>::view(roots_.lower, true);
    }

    // ---- traps

    void trap(Syndrome s) {
        switch (s.ec()) {
            case 0x00: undefined(); break;
            case 0x18: trapped_register(s); break;
            case 0x20: abort(s, true); break;
            case 0x24: abort(s, false); break;
            case 0x15:  // SVC of virtual EL1
                if (!at_el0() && (page_.esr & 0xffff) == abi::kShadowReturn) {
                    exception_return();
                } else {
                    inject_synchronous(page_, page_.esr);
                }
                break;
            case 0x01:  // WFE
                ++v_.counters->other;
                advance();
                break;
            case 0x22: case 0x26:
                page_.el1.far_el1 = page_.far;
                inject_synchronous(page_, page_.esr);
                break;
            default: inject_synchronous(page_, page_.esr); break;
        }
    }

    void advance() { page_.pc += 4; }

    void undefined() {
        if (at_el0()) {
            ++v_.counters->undefined;
            inject_undefined(page_);
            return;
        }
        std::uint32_t word = 0;
        if (!fetch(word)) {
            return;  // it has just been unmapped: the guest will fault by itself
        }
        if ((word & 0xffc0'0000) == 0xd500'0000) {
            system_instruction(sysreg(bits(word, 20, 19), bits(word, 18, 16), bits(word, 15, 12), bits(word, 11, 8), bits(word, 7, 5)),
                               bit(word, 21), bits(word, 4, 0));
        } else if (word == 0xd69f'03e0) {
            exception_return();
        } else if ((word & 0xffe0'001f) == 0xd400'0002 || (word & 0xffe0'001f) == 0xd400'0003) {  // HVC, SMC
            ++v_.counters->hypercall;
            advance();
            firmware_call();
        } else {
            ++v_.counters->undefined;
            inject_undefined(page_);
        }
    }

    void trapped_register(Syndrome s) {
        if (at_el0()) {
            inject_synchronous(page_, page_.esr);
            return;
        }
        system_instruction(sysreg_of(page_.esr), s.is_read(), s.sysreg_rt());
    }

    bool fetch(std::uint32_t& word) {
        const std::uint64_t page = page_.pc & ~std::uint64_t{4095};
        if (page != fetch_page_ || fetch_generation_ != guest_.tables.generation()) {
            fetch_generation_ = guest_.tables.generation();
            const Translation t = translate(page_.el1, machine_.memory(), {page});
            fetch_from_ = t.fault == 0 ? machine_.memory().pointer(t.at, 4096) : nullptr;
            fetch_page_ = fetch_from_ != nullptr ? page : kNoPage;
            if (fetch_from_ == nullptr) {
                return false;
            }
        }
        word = __atomic_load_n(reinterpret_cast<const std::uint32_t*>(fetch_from_ + (page_.pc & 4092)), __ATOMIC_RELAXED);
        return true;
    }

    void exception_return() {
        const std::uint64_t to = page_.el1.spsr_el1;
        const std::uint64_t mode = to & kModeBits;
        page_.pc = page_.el1.elr_el1;
        const bool known = mode == kModeEl0 || mode == kModeEl1t || mode == kModeEl1h;
        page_.pstate = (to & (kFlags | kMasks)) | (known ? mode : kModeEl1h);
    }

    void firmware_call() {
        const Firmware::Outcome outcome = machine_.firmware().call(page_, v_.random);
        switch (outcome.action) {
            case Firmware::Action::none: break;
            case Firmware::Action::start_vcpu: machine_.wake(outcome.target); break;
            case Firmware::Action::stop_vcpu: stop_ = true; break;
            case Firmware::Action::suspend: machine_.suspend(v_); break;
            case Firmware::Action::power_off: machine_.round_up(MachineState::stopping); break;
            case Firmware::Action::reset: machine_.round_up(MachineState::resetting); break;
        }
    }

    // ---- system registers and instructions

    // A register that is only kept. Writes to those that translation depends on make the roots be chosen again.
    std::uint64_t* kept(Sysreg r, bool& moves) {
        abi::El1State& el1 = page_.el1;
        moves = false;
        switch (r.key) {
            case sysreg(3, 0, 4, 1, 0).key: return (page_.pstate & kModeBits) == kModeEl1h ? &page_.sp_el0 : nullptr;
            case sysreg(3, 0, 13, 0, 4).key: return &el1.tpidr_el1;
            case sysreg(3, 0, 4, 0, 0).key: return &el1.spsr_el1;
            case sysreg(3, 0, 4, 0, 1).key: return &el1.elr_el1;
            case sysreg(3, 0, 5, 2, 0).key: return &el1.esr_el1;
            case sysreg(3, 0, 6, 0, 0).key: return &el1.far_el1;
            case sysreg(3, 0, 2, 0, 0).key: moves = true; return &el1.ttbr0_el1;
            case sysreg(3, 0, 2, 0, 1).key: moves = true; return &el1.ttbr1_el1;
            case sysreg(3, 0, 2, 0, 2).key: moves = true; return &el1.tcr_el1;
            case sysreg(3, 0, 1, 0, 0).key: moves = true; return &el1.sctlr_el1;
            case sysreg(3, 0, 13, 0, 1).key: return &el1.contextidr_el1;
            case sysreg(3, 3, 13, 0, 3).key:
            case sysreg(3, 4, 13, 0, 3).key: return &el1.tpidrro_el0;  // as text.cpp writes it
            case sysreg(3, 3, 13, 0, 2).key:
            case sysreg(3, 4, 13, 0, 2).key: return &el1.tpidr_el0;
            case sysreg(3, 0, 12, 0, 0).key: return &el1.vbar_el1;
            case sysreg(3, 0, 10, 2, 0).key: return &el1.mair_el1;
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

    void system_instruction(Sysreg r, bool read, unsigned rt) {
        ++v_.counters->sysreg;
        const std::uint64_t in = rt == 31 ? 0 : page_.x[rt];
        if (r.op0() == 0) {
            state_field(r);
            return;
        }
        if (r.op0() == 1) {
            maintenance(r, in);
            return;
        }
        bool moves = false;
        if (std::uint64_t* place = kept(r, moves)) [[likely]] {
            if (read) {
                set_register(rt, *place);
            } else {
                moved_ = moved_ || (moves && *place != in);
                *place = in;
            }
            advance();
            return;
        }
        std::uint64_t value = in;
        if (!own_register(r, read, value)) {
            SysregAccess access{r, read, in};
            const SysregResult result = machine_.access_sysreg(v_, access);
            if (result == SysregResult::undefined) {
                ++v_.counters->undefined;
                inject_undefined(page_);
                return;
            }
            if (result == SysregResult::send_sgi) {
                ++v_.counters->sgi;
                machine_.send_sgi(v_, access.value);
            }
            value = access.value;
        }
        if (read) {
            set_register(rt, value);
        }
        advance();
    }

    void set_register(unsigned rt, std::uint64_t value) {
        if (rt != 31) {
            page_.x[rt] = value;
        }
    }

    // MSR (immediate)
    void state_field(Sysreg r) {
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
            page_.pstate = (page_.pstate & ~kModeBits) | kModeEl1t | (r.crm() & 1);
        } else if (r.crn() != 2 && r.crn() != 3) {  // hints and barriers that trap do nothing
            ++v_.counters->undefined;
            inject_undefined(page_);
            return;
        }
        advance();
    }

    // Registers with a meaning. False: none of them.
    bool own_register(Sysreg r, bool read, std::uint64_t& value) {
        const auto gives = [&](std::uint64_t what) {
            value = read ? what : value;
            return true;
        };
        switch (r.key) {
            case sysreg(3, 3, 4, 2, 1).key:  // DAIF
                if (!read) {
                    page_.pstate = (page_.pstate & ~kMasks) | (value & kMasks);
                }
                return gives(page_.pstate & kMasks);
            case sysreg(3, 0, 4, 2, 2).key: return gives(4);  // CurrentEL
            case sysreg(3, 0, 4, 2, 0).key:                   // SPSel
                if (!read) {
                    page_.pstate = (page_.pstate & ~kModeBits) | kModeEl1t | (value & 1);
                }
                return gives(page_.pstate & 1);
            case sysreg(3, 0, 0, 0, 0).key: return gives(page_.vpidr != 0 ? page_.vpidr : page_.shadow.midr);
            case sysreg(3, 0, 0, 0, 5).key: return gives(page_.vmpidr);
            case sysreg(3, 0, 0, 4, 0).key: return identify(r, value, kIsolatedSpeculation);  // ID_AA64PFR0_EL1
            case sysreg(3, 0, 0, 7, 2).key: return identify(r, value, kIsolatedSpeculation);  // ID_AA64MMFR2_EL1
            case sysreg(3, 0, 12, 1, 0).key: return gives(interface_.signals() ? 0x80 : 0);   // ISR_EL1
            case sysreg(3, 3, 14, 3, 0).key:                                                  // CNTV_TVAL_EL0
                attention_ = true;
                if (!read) {
                    page_.cntv_cval = platform_.now() + sign_extend(value, 32);
                }
                return gives(truncate(page_.cntv_cval - platform_.now(), 4));
            case sysreg(3, 3, 14, 3, 1).key:  // CNTV_CTL_EL0
                if (!read) {
                    attention_ = true;
                    page_.cntv_ctl = value & 3;
                }
                return gives(page_.cntv_ctl | (read && timer_fired(platform_.now()) ? 4 : 0));
            case sysreg(3, 3, 14, 3, 2).key:  // CNTV_CVAL_EL0
                if (!read) {
                    attention_ = true;
                    page_.cntv_cval = value;
                }
                return gives(page_.cntv_cval);
            default: return r.op1() == 0 && (r.crn() == 12 || (r.crn() == 4 && r.crm() == 6)) && interface_register(r, read, value);
        }
    }

    // E0PD and CSV3: the guest's kernel need not hide itself from its users by tables of its own.
    static constexpr std::uint64_t kIsolatedSpeculation = std::uint64_t{1} << 60;
    bool identify(Sysreg r, std::uint64_t& value, std::uint64_t more) {
        SysregAccess access{r, true, 0};
        (void)machine_.access_sysreg(v_, access);
        value = access.value | more;
        return true;
    }

    bool interface_register(Sysreg r, bool read, std::uint64_t& value) {
        const auto gives = [&](std::uint64_t what) {
            value = read ? what : value;
            return true;
        };
        switch (r.key) {
            case sysreg(3, 0, 12, 12, 0).key:  // ICC_IAR1_EL1
                attention_ = true;
                return gives(read ? interface_.acknowledge() : 0);
            case sysreg(3, 0, 12, 12, 1).key:  // ICC_EOIR1_EL1
                attention_ = true;
                interface_.end(value & 0xff'ffff);
                return true;
            case sysreg(3, 0, 12, 11, 1).key:  // ICC_DIR_EL1
                attention_ = true;
                interface_.deactivate(value & 0xff'ffff);
                return true;
            case sysreg(3, 0, 4, 6, 0).key:  // ICC_PMR_EL1
                if (!read) {
                    attention_ = true;
                    interface_.set_mask(value);
                }
                return gives(interface_.mask());
            case sysreg(3, 0, 12, 12, 2).key: return gives(interface_.highest_pending());
            case sysreg(3, 0, 12, 11, 3).key: return gives(interface_.running_priority());
            case sysreg(3, 0, 12, 12, 3).key:  // ICC_BPR1_EL1
                if (!read) {
                    interface_.set_binary_point(value);
                }
                return gives(interface_.binary_point());
            case sysreg(3, 0, 12, 12, 4).key:  // ICC_CTLR_EL1
                if (!read) {
                    interface_.set_control(value);
                }
                return gives(interface_.control());
            case sysreg(3, 0, 12, 12, 7).key:  // ICC_IGRPEN1_EL1
                if (!read) {
                    attention_ = true;
                    interface_.set_enabled(bit(value, 0));
                }
                return gives(interface_.enabled() ? 1 : 0);
            case sysreg(3, 0, 12, 12, 6).key:  // ICC_IGRPEN0_EL1
            case sysreg(3, 0, 12, 8, 3).key:   // ICC_BPR0_EL1
            case sysreg(3, 0, 12, 8, 4).key: case sysreg(3, 0, 12, 8, 5).key:  // ICC_AP0R<n>_EL1
            case sysreg(3, 0, 12, 8, 6).key: case sysreg(3, 0, 12, 8, 7).key:
            case sysreg(3, 0, 12, 9, 0).key: case sysreg(3, 0, 12, 9, 1).key:  // ICC_AP1R<n>_EL1
            case sysreg(3, 0, 12, 9, 2).key: case sysreg(3, 0, 12, 9, 3).key: return gives(0);
            default: return false;
        }
    }

    void maintenance(Sysreg r, std::uint64_t value) {
        if (r.crn() == 8 && r.op1() == 0) {
            flush_translations(r.op2(), value);
        } else if (r.crn() == 7 && r.crm() == 8) {
            translate_address(r, value);
        } else if (r.crn() == 7 && r.op1() == 0 && (r.crm() == 1 || r.crm() == 5)) {
            page_.shadow.icache = 1;
            Guard guard(guest_.lock, platform_, v_.index);
            guest_.text.update_all();
        } else if (r.crn() == 7 && r.op1() >= 3 && r.crm() == 5) {  // IC IVAU
            page_.shadow.icache = 1;
            const Translation t = translate(page_.el1, machine_.memory(), {value});
            if (t.fault == 0) {
                Guard guard(guest_.lock, platform_, v_.index);
                guest_.text.update_line(t.at);
            }
        } else if (r.crn() != 7) {
            ++v_.counters->undefined;
            inject_undefined(page_);
            return;
        }
        advance();
    }

    void flush_translations(unsigned op2, std::uint64_t value) {
        fetch_page_ = kNoPage;
        const std::uint64_t page = sign_extend((value & 0xfff'ffff'ffff) << 12, 56);
        Guard guard(guest_.lock, platform_, v_.index);
        switch (op2) {
            case 0: case 4: case 6: guest_.tables.forget_all(v_.index); break;
            case 2: guest_.tables.forget_asid(v_.index, value >> 48); break;
            case 1: case 5: guest_.tables.forget_page(v_.index, {page}, value >> 48, false); break;
            default: guest_.tables.forget_page(v_.index, {page}, 0, true); break;
        }
    }

    // AT S1E1R, S1E1W, S1E0R, S1E0W
    void translate_address(Sysreg r, std::uint64_t at) {
        const Translation t = translate(page_.el1, machine_.memory(), {at});
        unsigned fault = t.fault;
        const bool user = r.op2() >= 2, write = bit(r.op2(), 0);
        if (fault == 0 && ((user && !t.user) || (write && t.read_only))) {
            fault = kFaultPermission + t.level;
        }
        page_.el1.par_el1 = fault != 0 ? 0x801u | std::uint64_t{fault} << 1
                                       : (t.at.value & ~std::uint64_t{4095}) | std::uint64_t{0xff} << 56 | 1u << 11 | 3u << 7;
    }

    // ---- aborts

    void abort(Syndrome s, bool execute) {
        const unsigned status = s.fault_status();
        const bool maintains = !execute && s.cache_maintenance();
        const bool write = !execute && s.write() && !maintains;
        const Gva at = untagged(page_.el1, {page_.far});
        if (status >= 0x10) {  // not about translation: alignment, external
            reflect(execute, s, status);
            return;
        }
        unsigned fault = 0;
        bool device = false;
        {
            Guard guard(guest_.lock, platform_, v_.index);
            const Translation t = translate(page_.el1, machine_.memory(), at);
            fault = t.fault;
            if (fault == 0 && forbidden(t, write, execute)) {
                fault = kFaultPermission + t.level;
            }
            if (fault == 0) {
                device = !machine_.memory().contains({t.at.value & ~std::uint64_t{4095}}, 4096);
                if (!device) {
                    fault = fill(t, at, execute);
                }
            }
        }
        if (fault != 0) {
            reflect(execute, s, fault);
        } else if (device) {
            access_device(s, execute, write, maintains);
        }
    }

    void reflect(bool execute, Syndrome s, unsigned status) {
        ++v_.counters->aborted;
        const bool lower = at_el0();
        const ExceptionClass c = execute ? (lower ? ExceptionClass::instruction_abort_lower : ExceptionClass::instruction_abort_same)
                                         : (lower ? ExceptionClass::data_abort_lower : ExceptionClass::data_abort_same);
        page_.el1.far_el1 = page_.far;
        inject_synchronous(page_, make_syndrome(c, (execute ? 0 : page_.esr & 0x1c0) | status));
        (void)s;
    }

    bool forbidden(const Translation& t, bool write, bool execute) const {
        if (!bit(page_.el1.sctlr_el1, 0)) {
            return false;
        }
        if (at_el0()) {
            return !t.user || (write && t.read_only) || (execute && t.uxn);
        }
        return (write && t.read_only) || (execute && (t.pxn || (t.user && !t.read_only)));
    }

    // What virtual EL1 alone executes, it executes from a copy.
    bool is_text(const Translation& t) const { return guest_.rewrites && roots_.upper != 0 && !t.user && !t.pxn; }

    std::uint64_t rights_of(const Translation& t) const {
        if (roots_.upper == 0) {
            return abi::kFillRead | abi::kFillWrite | abi::kFillExecute;
        }
        const bool executable = t.user ? !t.uxn : !t.pxn && !guest_.rewrites;
        return abi::kFillRead | (t.read_only ? 0 : abi::kFillWrite) | (executable ? abi::kFillExecute : 0);
    }

    // The translation that is missing, and its neighbours. A fault status if it cannot be had.
    unsigned fill(const Translation& t, Gva at, bool execute) {
        const bool on = roots_.upper != 0;
        const bool upper = bit(at.value, 55) && on;
        const unsigned root = upper ? roots_.upper : roots_.lower;
        if (!upper && on && !t.user) {
            guest_.tables.set_privileged(root);
            privileged_ = true;
        }
        if (t.shift > 21) {
            guest_.tables.set_giant(root);
        }
        // An early kernel writes to the text that it executes, and reads what it wrote: no copy could follow that.
        if (execute && upper && !guest_.rewrites && !t.user && t.read_only) {
            guest_.rewrites = true;
            guest_.tables.forget_all(v_.index);
        }
        const std::uint64_t page = at.value & ~std::uint64_t{4095};
        Ipa to{t.at.value & ~std::uint64_t{4095}};
        std::uint64_t flags = rights_of(t);
        const bool text = is_text(t);
        if (text && execute) {
            if (!guest_.text.get(to, !t.read_only, to)) {
                guest_.tables.forget_all(v_.index);
                guest_.text.forget();
                (void)guest_.text.get(to, true, to);
            }
            flags = abi::kFillRead | abi::kFillExecute;
        }
        if (t.shift >= 21) {
            flags |= abi::kFillFragment | (text ? 0 : abi::kFillBlock);
        } else if (!on) {
            flags |= abi::kFillBlock;
        }
        unsigned n = 0;
        page_.shadow.fill[n++] = {page | root, to.value | flags};
        if (on && t.shift == 12 && !(text && execute)) {
            n = around(t, page, root, n);
        }
        for (unsigned attempt = 0; attempt < 2; ++attempt) {
            unsigned done = 0;
            const abi::Error error = platform_.fill(v_.index, n, done);
            if (error == abi::Error::none || done != 0) {
                return 0;
            }
            if (error != abi::Error::no_memory) {
                return kFaultExternal;
            }
            guest_.tables.forget_all(v_.index);
        }
        machine_.fail(v_.index, "no memory for translations");
        stop_ = true;
        return 0;
    }

    // The pages next to it, as far as the same table has them.
    unsigned around(const Translation& t, std::uint64_t page, unsigned root, unsigned n) {
        const unsigned index = static_cast<unsigned>(page >> 12) & 511;
        const unsigned first = index & ~(kFillAround - 1);
        const Ipa table{t.descriptor.value - 8 * index};
        for (unsigned i = first; i < first + kFillAround; ++i) {
            std::uint64_t d = 0;
            if (i == index || !machine_.memory().load_once(table + 8 * i, d) || (d & 0x403) != 0x403) {
                continue;
            }
            const Ipa to{d & 0x0000'ffff'ffff'f000};
            const bool user = bit(d, 6);
            if (!machine_.memory().contains(to, 4096) || user != t.user) {
                continue;
            }
            Translation other = t;
            other.read_only = bit(d, 7);
            other.uxn = bit(d, 54);
            other.pxn = bit(d, 53);
            if (is_text(other)) {
                continue;  // perhaps there as a copy
            }
            page_.shadow.fill[n++] = {((page & ~std::uint64_t{0x1f'ffff}) | std::uint64_t{i} << 12) | root,
                                      to.value | rights_of(other)};
        }
        return n;
    }

    // ---- devices

    struct Port {
        ShadowLoop& loop;
        bool load(Gva at, unsigned bytes, std::uint64_t& value) {
            const Translation t = translate(loop.page_.el1, loop.machine_.memory(), at);
            return t.fault == 0 && (loop.machine_.memory().load(t.at, bytes, value) ||
                                    loop.machine_.bus().read(loop.v_.cursor, t.at, bytes, loop.v_.index, value));
        }
        bool store(Gva at, unsigned bytes, std::uint64_t value) {
            const Translation t = translate(loop.page_.el1, loop.machine_.memory(), at);
            return t.fault == 0 && (loop.machine_.memory().store(t.at, bytes, value) ||
                                    loop.machine_.bus().write(loop.v_.cursor, t.at, bytes, loop.v_.index, value));
        }
    };

    void access_device(Syndrome s, bool execute, bool write, bool maintains) {
        if (execute) {
            reflect(true, s, kFaultExternal);
            return;
        }
        if (maintains) {
            advance();
            return;
        }
        ++v_.counters->mmio;
        ++v_.counters->mmio_decoded;
        std::uint32_t word = 0;
        if (!fetch(word)) {
            return;
        }
        const Instruction instruction = decode(word);
        if (instruction.simd) {
            platform_.sync(v_.index, abi::kGroupFp);
        }
        Port port{*this};
        const Executed executed = Executor<Port>(page_, port).run(instruction);
        if (executed.result == Executed::Result::done) {
            advance();
        } else {
            (void)write;
            reflect(false, s, kFaultExternal);
        }
    }

    static constexpr std::uint64_t kNoPage = ~std::uint64_t{0};

    Machine<P>& machine_;
    P& platform_;
    ShadowGuest<P>& guest_;
    Vcpu& v_;
    abi::VcpuPage& page_;
    CpuInterface interface_;
    typename ShadowTables<P>::Choice roots_{};
    bool stop_ = false;
    bool attention_ = true;   // the interrupt line or the timer's deadline may have changed
    bool moved_ = true;       // a register that translation depends on has changed
    bool privileged_ = false; // the lower root holds what virtual EL0 must not reach
    std::uint64_t fetch_page_ = kNoPage;
    std::uint64_t fetch_generation_ = 0;
    const char* fetch_from_ = nullptr;
};

}  // namespace twain::vmm
