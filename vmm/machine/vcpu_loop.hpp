// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A vCPU's thread: enters the guest, and does what each exit asks for. Exits are dispatched by a table over the
// exception class.
#pragma once

#include <array>
#include <optional>

#include "vmm/emul/execute.hpp"
#include "vmm/esr.hpp"
#include "vmm/inject.hpp"
#include "vmm/machine/machine.hpp"
#include "vmm/mmu/walk.hpp"

namespace twain::vmm {

template <Platform P>
class VcpuLoop {
public:
    VcpuLoop(Machine<P>& machine, VcpuIndex index)
        : machine_(machine), platform_(machine.platform()), v_(machine.vcpu(index)), page_(*v_.page) {}

    // Never returns.
    [[noreturn]] void run() {
        for (;;) {
            machine_.wait_for_power(v_);
            run_guest();
            machine_.leave(v_);
        }
    }

    // Until the vCPU is switched off or the machine stops.
    void run_guest() {
        stop_ = !machine_.running();
        while (!stop_) {
            machine_.settle_interrupts(v_);
            step();
        }
    }

    // One entry and what its exit asks for.
    void step() {
        const RunResult result = platform_.run(v_.index);
        if (result.error != abi::Error::none) [[unlikely]] {
            machine_.fail(v_.index, "a virtual processor cannot run");
            stop_ = true;
            return;
        }
        v_.meter.over(page_.away);
        if (result.exit == abi::Exit::trap) [[likely]] {
            const Syndrome syndrome(page_.esr);
            kTraps[syndrome.ec()](*this, syndrome);
        } else {  // settle_interrupts() does the work, unless the machine stops
            stop_ = !machine_.running();
            v_.meter.because(result.exit == abi::Exit::eoi ? Cause::eoi : Cause::kicked);
        }
    }

private:
    using Trap = void (*)(VcpuLoop&, Syndrome);

    static void undefined(VcpuLoop& l, Syndrome) {
        l.v_.meter.because(Cause::undefined);
        l.platform_.sync(l.v_.index, abi::kGroupEl1);
        inject_undefined(l.page_);
    }

    // WFI is the kernel's; a WFE or WFI that gets here is a hint.
    static void wait_hint(VcpuLoop& l, Syndrome) {
        l.v_.meter.because(Cause::hint);
        l.advance();
    }

    static void hypercall(VcpuLoop& l, Syndrome) {
        l.v_.meter.because(Cause::call);
        l.firmware_call();
    }
    static void secure_call(VcpuLoop& l, Syndrome) {  // trapped before it was done, unlike HVC
        l.v_.meter.because(Cause::call);
        l.advance();
        l.firmware_call();
    }

    static void system_register(VcpuLoop& l, Syndrome s) {
        l.v_.meter.because(Cause::sysreg);
        const unsigned rt = s.sysreg_rt();
        SysregAccess access{sysreg_of(l.page_.esr), s.is_read(), rt != 31 ? l.page_.x[rt] : 0};
        const SysregResult result = l.machine_.access_sysreg(l.v_, access);
        if (result == SysregResult::undefined) {
            undefined(l, s);
            return;
        }
        if (result == SysregResult::send_sgi) {
            l.v_.meter.count(Event::sgi);
            l.machine_.send_sgi(l.v_, access.value);
        }
        if (s.is_read() && rt != 31) {
            l.page_.x[rt] = access.value;
        }
        l.advance();
    }

    static void data_abort(VcpuLoop& l, Syndrome s) {
        l.v_.meter.because(Cause::mmio);
        if (!s.valid()) [[unlikely]] {
            l.abort_without_syndrome(s);
            return;
        }
        abi::VcpuPage& page = l.page_;
        const unsigned rt = s.transfer_register();
        const unsigned bytes = s.access_bytes();
        bool answered = false;
        if (s.write()) {
            answered = l.machine_.bus().write(l.v_.cursor, {page.ipa}, bytes, l.v_.index, rt == 31 ? 0 : page.x[rt]);
        } else {
            std::uint64_t value = 0;
            answered = l.machine_.bus().read(l.v_.cursor, {page.ipa}, bytes, l.v_.index, value);
            if (answered && rt != 31) {
                if (s.sign_extends()) {
                    value = sign_extend(value, 8 * bytes);
                    value = s.sixty_four() ? value : truncate(value, 4);
                }
                page.x[rt] = value;
            }
        }
        if (answered) [[likely]] {
            l.advance();
        } else {
            l.abort_data({page.far}, s.write(), kFaultExternal);
        }
    }

    static void instruction_abort(VcpuLoop& l, Syndrome s) {
        l.v_.meter.because(Cause::aborted);
        l.platform_.sync(l.v_.index, abi::kGroupEl1);
        inject_instruction_abort(l.page_, {l.page_.far}, s.on_table_walk() ? kFaultExternalOnWalk : kFaultExternal);
    }

    static constexpr std::array<Trap, kExceptionClasses> kTraps = [] {
        std::array<Trap, kExceptionClasses> t{};
        t.fill(undefined);
        const auto set = [&t](ExceptionClass c, Trap trap) { t[static_cast<unsigned>(c)] = trap; };
        set(ExceptionClass::wfx, wait_hint);
        set(ExceptionClass::hvc64, hypercall);
        set(ExceptionClass::smc64, secure_call);
        set(ExceptionClass::sysreg, system_register);
        set(ExceptionClass::instruction_abort_lower, instruction_abort);
        set(ExceptionClass::data_abort_lower, data_abort);
        return t;
    }();

    void advance() { vmm::advance(page_); }

    void firmware_call() {
        const Firmware::Outcome outcome = machine_.firmware().call(page_, v_.random);
        if (outcome.action != Firmware::Action::none) {
            stop_ = machine_.obey(v_, outcome);
        }
    }

    void abort_data(Gva at, bool write, unsigned status) {
        v_.meter.because(Cause::aborted);
        platform_.sync(v_.index, abi::kGroupEl1);
        inject_data_abort(page_, at, write, status);
    }

    // Memory as the trapped instruction sees it: through the guest's stage 1, then RAM or a device.
    struct Port {
        VcpuLoop& loop;
        bool load(Gva at, unsigned bytes, std::uint64_t& value) {
            const std::optional<Ipa> ipa = walk_stage1(loop.page_.el1, loop.machine_.memory(), at);
            return ipa && (loop.machine_.memory().load(*ipa, bytes, value) ||
                           loop.machine_.bus().read(loop.v_.cursor, *ipa, bytes, loop.v_.index, value));
        }
        bool store(Gva at, unsigned bytes, std::uint64_t value) {
            const std::optional<Ipa> ipa = walk_stage1(loop.page_.el1, loop.machine_.memory(), at);
            return ipa && (loop.machine_.memory().store(*ipa, bytes, value) ||
                           loop.machine_.bus().write(loop.v_.cursor, *ipa, bytes, loop.v_.index, value));
        }
    };

    void abort_without_syndrome(Syndrome s) {
        const Gva far{page_.far};
        if (s.on_table_walk()) {
            abort_data(far, s.write(), kFaultExternalOnWalk);
            return;
        }
        if (s.cache_maintenance()) {  // a device has no cache lines
            advance();
            return;
        }
        v_.meter.count(Event::decoded);
        platform_.sync(v_.index, abi::kGroupEl1);
        const std::optional<Ipa> at = walk_stage1(page_.el1, machine_.memory(), {page_.pc});
        std::uint32_t word = 0;
        if (!at || !machine_.memory().load_once(*at, word)) {
            // Another vCPU has just unmapped the code; the guest will take that fault itself. Unless it never does.
            constexpr unsigned kRetries = 16;
            if (++v_.fetch_retries > kRetries) {
                v_.fetch_retries = 0;
                abort_data(far, s.write(), kFaultExternal);
            }
            return;
        }
        v_.fetch_retries = 0;
        const Instruction instruction = decode(word);
        if (instruction.simd) {
            platform_.sync(v_.index, abi::kGroupFp);
        }
        Port port{*this};
        const Executed executed = Executor<Port>(page_, port).run(instruction);
        switch (executed.result) {
            case Executed::Result::done: advance(); break;
            case Executed::Result::aborted: abort_data(executed.at, executed.write, kFaultExternal); break;
            case Executed::Result::unsupported: abort_data(far, s.write(), kFaultExternal); break;
        }
    }

    Machine<P>& machine_;
    P& platform_;
    Vcpu& v_;
    abi::VcpuPage& page_;
    bool stop_ = false;
};

}  // namespace twain::vmm
