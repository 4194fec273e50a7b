// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests with EL2: stage-2 translation, list registers, the virtual timer.
//
// What of a vCPU is where: general registers, PC and PSTATE go to the state page at every exit. Six EL1 registers that
// act on processes too are exchanged at every switch between guest and process. All other EL1 registers, the list
// registers and the timer stay in the core until another vCPU needs it (`cpu.loaded`), or somebody asks (sync).
#include "kernel/core/guest.hpp"

#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/arch/aarch64/fpu.hpp"
#include "kernel/core/destroy.hpp"
#include "kernel/core/switch_to.hpp"
#include "kernel/core/virq_page.hpp"
#include "kernel/drivers/gic_lists.hpp"
#include "regime.hpp"
#include "switch.hpp"

namespace twain::kernel {

namespace {

using abi::El1State;
using abi::VcpuPage;

constexpr u64 kTimerEnable = 1, kTimerMask = 2, kTimerStatus = 4;
constexpr u64 kPstateMode = 0x1f;
constexpr u64 kPstateGuest = 0xf000'0000 | 0x03e0'0000 | 0x1fc0;  // NZCV, TCO, DIT, UAO, PAN, SS, SSBS, BTYPE, DAIF

using gic::HardwareLists;

u32 guest_timer_intid() { return gic::setup.guest_timer; }
bool timer_enabled(const VcpuPage& page) { return page.vtimer & 0x100; }

// ---- EL1 registers

constexpr auto kSave = [](auto first, u64& one, auto second, u64& other) {
    const u64 values[] = {first.read(), second.read()};
    one = values[0];
    other = values[1];
};
constexpr auto kLoad = [](auto first, u64 one, auto second, u64 other) {
    first.write(one);
    second.write(other);
};

// Those that stay in the core: `use` gets each with its place in the page, two at a time, which lie side by side if possible.
template <typename State, typename Use>
void each_el1(State& state, Use use) {
    use(reg::SP_EL1{}, state.sp_el1, reg::ELR_EL1{}, state.elr_el1);
    use(reg::SPSR_EL1{}, state.spsr_el1, reg::CONTEXTIDR_EL1{}, state.contextidr_el1);
    use(reg::TTBR0_EL1{}, state.ttbr0_el1, reg::TTBR1_EL1{}, state.ttbr1_el1);
    use(reg::TCR_EL1{}, state.tcr_el1, reg::MAIR_EL1{}, state.mair_el1);
    use(reg::AMAIR_EL1{}, state.amair_el1, reg::VBAR_EL1{}, state.vbar_el1);
    use(reg::TPIDR_EL1{}, state.tpidr_el1, reg::ESR_EL1{}, state.esr_el1);
    use(reg::FAR_EL1{}, state.far_el1, reg::AFSR0_EL1{}, state.afsr0_el1);
    use(reg::AFSR1_EL1{}, state.afsr1_el1, reg::PAR_EL1{}, state.par_el1);
}

[[gnu::noinline]] void save_el1(El1State& to) {  // by itself the offsets are small enough for pairs
    each_el1(to, kSave);
    kSave(reg::CSSELR_EL1{}, to.csselr_el1, reg::ACTLR_EL1{}, to.actlr_el1);
}

void load_el1(const El1State& from) {
    each_el1(from, kLoad);
    reg::CSSELR_EL1::write(from.csselr_el1);
}

// Those that would act on a process.
template <typename State, typename Use>
void each_acting(State& state, Use use) {
    use(reg::SCTLR_EL1{}, state.sctlr_el1, reg::CPACR_EL1{}, state.cpacr_el1);
    use(reg::TPIDR_EL0{}, state.tpidr_el0, reg::TPIDRRO_EL0{}, state.tpidrro_el0);
}

void save_acting(El1State& to) {
    each_acting(to, kSave);
    to.cntkctl_el1 = reg::CNTKCTL_EL1::read();
}

void load_acting(const El1State& from) {
    each_acting(from, kLoad);
    reg::CNTKCTL_EL1::write(from.cntkctl_el1);
    reg::MDSCR_EL1::write(from.mdscr_el1 & (abi::kMdscrStep | abi::kMdscrKernel));
    reg::CNTHCTL_EL2::write(kCnthctlGuest);
}

void act_on_process(const Thread& thread) {
    reg::SCTLR_EL1::write(kSctlrEl1Host);
    reg::CPACR_EL1::write(kCpacrHost);
    reg::CNTKCTL_EL1::write(kCntkctlHost);
    reg::TPIDRRO_EL0::write(0);
    reg::MDSCR_EL1::write(0);
    reg::CNTHCTL_EL2::write(kCnthctlHost);
    reg::HCR_EL2::write(kHcrHost);
    reg::TPIDR_EL0::write(thread.thread_pointer);
}

// ---- loading and unloading

void save_lists(Vcpu& vcpu) {
    const HardwareLists hardware;
    for (u64 each = vcpu.virqs.used(); each; each &= each - 1) {
        const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
        vcpu.lists[list] = hardware.read(list);
        hardware.write(list, 0);
    }
    hardware.save(vcpu.vmcr, vcpu.active_priorities);
    hardware.set_control(0);
}

// Registers of the core that nobody uses are zero: from the start, and since the one who used them was unloaded.
void load_lists(const Vcpu& vcpu) {
    const HardwareLists hardware;
    for (u64 each = vcpu.virqs.used(); each; each &= each - 1) {
        const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
        hardware.write(list, vcpu.lists[list]);
    }
    hardware.load(vcpu.vmcr, vcpu.active_priorities);
}

// When the guest's timer will fire, by the physical counter; kForever: it will not.
Ticks timer_deadline(const VcpuPage& page) {
    if (!timer_enabled(page) || (page.cntv_ctl & (kTimerEnable | kTimerMask)) != kTimerEnable) return abi::kForever;
    return page.cntv_cval + page.cntvoff;
}

}  // namespace

void guest_unload(Cpu& cpu) {
    Vcpu& vcpu = *cpu.loaded;
    VcpuPage& page = *vcpu.page;
    save_el1(page.el1);
    page.cntv_ctl = reg::CNTV_CTL_EL0::read() & (kTimerEnable | kTimerMask);
    page.cntv_cval = reg::CNTV_CVAL_EL0::read();
    reg::CNTV_CTL_EL0::write(0);
    const HardwareLists hardware;
    if (vcpu.virqs.any_listed()) collect(vcpu.virqs, page, hardware);
    save_lists(vcpu);
    // The physical interrupt's active state is this vCPU's, not the core's.
    vcpu.timer_active = vcpu.virqs.timer_in_flight();
    if (vcpu.timer_active) gic::set_private_active(guest_timer_intid(), false);
    if (cpu.fpu_owner == &page.fpcr) fpu_flush(cpu, reinterpret_cast<FpuState*>(&page.fpcr));
    cpu.loaded = nullptr;
    vcpu.live = Vcpu::kNowhere;
    if (vcpu.sleeping && vcpu.runner) {
        const Ticks deadline = timer_deadline(page);
        if (deadline != abi::kForever) arm(cpu, *vcpu.runner, deadline);
    }
}

namespace {

void load(Cpu& cpu, Vcpu& vcpu) {
    if (cpu.loaded) guest_unload(cpu);
    VcpuPage& page = *vcpu.page;
    load_el1(page.el1);
    load_lists(vcpu);
    if (vcpu.timer_active) gic::set_private_active(guest_timer_intid(), true);
    HardwareLists().set_control(HardwareLists::kEnable);
    reg::CNTVOFF_EL2::write(page.cntvoff);
    reg::CNTV_CVAL_EL0::write(page.cntv_cval);
    reg::CNTV_CTL_EL0::write(page.cntv_ctl & (kTimerEnable | kTimerMask));
    // What guests are not shown and could write nevertheless: nothing of one's is left for the next.
    if (reg::has<reg::ID_AA64PFR0_EL1>(28)) reg::VDISR_EL2::write(0);
    if (reg::has<reg::ID_AA64PFR1_EL1>(24)) reg::TPIDR2_EL0::write(0);
    const u64 own = page.vpidr;
    reg::VPIDR_EL2::write(own ? own : reg::MIDR_EL1::read());
    reg::VMPIDR_EL2::write(u64{1} << 31 | vcpu.affinity);
    cpu.loaded = &vcpu;
    vcpu.live = cpu.id;
}

// The virtual CPU interface as after a reset: nothing pending, nothing active. The vCPU is loaded.
void reset_interrupts(Vcpu& vcpu) {
    if (vcpu.virqs.timer_in_flight()) gic::set_private_active(guest_timer_intid(), false);
    save_lists(vcpu);
    HardwareLists().set_control(HardwareLists::kEnable);
    vcpu.virqs = {};
    vcpu.vmcr = 0;
    for (u64& priorities : vcpu.active_priorities) priorities = 0;
    load_lists(vcpu);
}

// What the VMM has changed in the page while the registers were in the core.
void take_changes(Cpu& cpu, VcpuPage& page) {
    const u64 groups = __atomic_exchange_n(&page.loaded, u64{0}, __ATOMIC_ACQ_REL);
    if (groups & abi::kGroupEl1) load_el1(page.el1);
    if (groups & abi::kGroupTimer) {
        reg::CNTV_CVAL_EL0::write(page.cntv_cval);
        reg::CNTV_CTL_EL0::write(page.cntv_ctl & (kTimerEnable | kTimerMask));
    }
    if (groups & abi::kGroupFp) fpu_forget(cpu, reinterpret_cast<FpuState*>(&page.fpcr));
    if (groups & abi::kGroupInterrupts) reset_interrupts(*cpu.loaded);
    reg::CNTVOFF_EL2::write(page.cntvoff);
}

// ---- virtual interrupts

u64 control_of(const Vcpu& vcpu) {
    return HardwareLists::kEnable | (vcpu.virqs.any_waiting() ? HardwareLists::kUnderflow : 0);
}

// The vCPU is loaded.
void plan_interrupts(Vcpu& vcpu) {
    const HardwareLists hardware;
    take_posted(vcpu.virqs, *vcpu.page, hardware);
    hardware.set_control(control_of(vcpu));
}

bool interrupts_changed(const Vcpu& vcpu) { return posted_or_recalled(*vcpu.page) || vcpu.virqs.any_waiting(); }

// ---- leaving

// The core goes from guest to process. PC, PSTATE and general registers are in the page already.
void to_host(Cpu& cpu, Thread& thread, VcpuPage& page) {
    save_acting(page.el1);
    act_on_process(thread);
    cpu.guest_mode = 0;
    cpu.frame = &thread.frame;
}

// It is loaded.
[[gnu::noinline]] void show_interrupts(Vcpu& vcpu) {
    const HardwareLists hardware;
    show(vcpu.virqs, *vcpu.page, hardware);
}

void exit_to_vmm(Cpu& cpu, abi::Exit reason, Ticks left = machine::counter()) {
    Thread& thread = *cpu.current;
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    page.left = left;
    page.exit_reason = static_cast<u32>(reason);
    ++page.exits_vmm;
    if (anything_to_show(vcpu.virqs, page)) show_interrupts(vcpu);
    to_host(cpu, thread, page);
    guest_finish(cpu, thread, static_cast<u64>(reason));
    machine::activate(cpu, *thread.space);
    fpu_offer(cpu, thread.fpu);
}

// The guest waits for an interrupt.
[[gnu::noinline]] void wait_for_interrupt(Cpu& cpu, Thread& thread, VcpuPage& page) {
    Vcpu& vcpu = *thread.vcpu;
    page.pc += 4;
    page.pstate &= ~abi::kPstateStep;  // this was the step
    ++page.exits_wfi;
    const HardwareLists hardware;
    if (vcpu.virqs.any_listed()) {
        collect(vcpu.virqs, page, hardware);
        if (vcpu.virqs.take_notify()) return exit_to_vmm(cpu, abi::Exit::eoi);  // a sleeper would not be told
    }
    const u64 control = reg::CNTV_CTL_EL0::read();
    const bool fires =
        cpu.timer_routed && (control & (kTimerEnable | kTimerMask | kTimerStatus)) == (kTimerEnable | kTimerStatus);
    vcpu.sleeping = true;
    thread.state = State::waiting;
    machine::barrier();  // asleep before it looks: whoever posts looks the other way round
    if (!vcpu.kicks && !interrupts_changed(vcpu) && !vcpu.virqs.wakes(hardware) &&
        !(fires && !vcpu.virqs.timer_in_flight())) {
        if (cpu.hazard || !cpu.ready_levels) return leave_current(cpu);
        Thread& next = take_first(cpu);
        save_acting(page.el1);
        if (!next.vcpu) act_on_process(thread);
        cpu.guest_mode = 0;
        return give_processor(cpu, next);
    }
    vcpu.sleeping = false;
    thread.state = State::guest;
    Regime::Elr::write(page.pc);
    Regime::Spsr::write(Regime::Spsr::read() & ~abi::kPstateStep);
}

}  // namespace

void guest_enter(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    if (cpu.loaded != &vcpu) load(cpu, vcpu);
    if (__atomic_load_n(&page.loaded, __ATOMIC_ACQUIRE)) take_changes(cpu, page);
    if (timer_enabled(page) != cpu.timer_routed) [[unlikely]] {
        cpu.timer_routed = !cpu.timer_routed;
        gic::enable_private(guest_timer_intid(), cpu.timer_routed);
    }
    const bool kicked = vcpu.kicks && vcpu.take_kicks();
    if (interrupts_changed(vcpu)) plan_interrupts(vcpu);
    if (kicked || vcpu.virqs.must_notify()) [[unlikely]] {
        show_interrupts(vcpu);
        act_on_process(thread);
        return guest_refuse(cpu, thread, kicked ? abi::Exit::kicked : abi::Exit::eoi);
    }
    load_acting(page.el1);
    reg::HCR_EL2::write(kHcrGuest);
    machine::activate(cpu, *vcpu.space);
    fpu_offer(cpu, reinterpret_cast<FpuState*>(&page.fpcr));
    // EL1t, EL1h or EL0t in AArch64; whatever else the page says becomes EL1h.
    const u64 pstate = page.pstate;
    const u64 mode = pstate & kPstateMode;
    const bool known = mode == 0 || mode == 4 || mode == 5;
    Regime::Spsr::write((pstate & kPstateGuest) | (known ? mode : 5));
    Regime::Elr::write(page.pc);
    cpu.guest_mode = 1;
    cpu.frame = reinterpret_cast<Frame*>(&page);
    note_entry(cpu, page);
}

void guest_leave(Cpu& cpu) { to_host(cpu, *cpu.current, *cpu.current->vcpu->page); }

void guest_trap(Cpu& cpu, u64 syndrome) {
    const Ticks left = machine::counter();
    Thread& thread = *cpu.current;
    VcpuPage& page = *thread.vcpu->page;
    ++page.exits;
    const u64 ec = syndrome >> 26 & 0x3f;
    if (ec == 0x01 && !(syndrome & 1)) {  // WFI
        wait_for_interrupt(cpu, thread, page);
        return;
    }
    page.esr = syndrome;
    if (ec == 0x20 || ec == 0x24) {  // aborts: the page by HPFAR_EL2, the offset by FAR_EL2
        const u64 far = reg::FAR_EL2::read();
        page.far = far;
        page.ipa = (reg::HPFAR_EL2::read() & 0xfff'ffff'fff0) << 8 | (far & 0xfff);
    }
    exit_to_vmm(cpu, abi::Exit::trap, left);
}

void guest_timer_interrupt(Cpu& cpu) {
    Vcpu* vcpu = cpu.loaded;
    if (!vcpu || !cpu.timer_routed) {
        cpu.timer_routed = false;
        if (!vcpu) reg::CNTV_CTL_EL0::write(0);
        gic::enable_private(guest_timer_intid(), false);
        gic::deactivate(guest_timer_intid());
        return;
    }
    // It stays active until the guest ends the virtual interrupt. The one before has been ended, or this one would
    // not have come; its list register may still count as taken.
    const HardwareLists hardware;
    collect(vcpu->virqs, *vcpu->page, hardware);
    vcpu->virqs.raise_timer();
    if (vcpu->sleeping && vcpu->runner) guest_wake(cpu, *vcpu->runner);
}

void guest_maintenance(Cpu& cpu) {
    if (!cpu.loaded) {
        HardwareLists().set_control(0);
        return;
    }
    plan_interrupts(*cpu.loaded);
}

// What is pending in list registers ends WFI here too: a core with a guest that does not take it would never sleep.
void sleep_beside_guest(Cpu& cpu) {
    Vcpu* vcpu = cpu.loaded;
    if (!vcpu || !vcpu->virqs.any_listed()) return wfi();
    const HardwareLists hardware;
    hardware.set_control(0);
    isb();
    wfi();
    hardware.set_control(control_of(*vcpu));
}

// After interrupts that came while the guest ran: what do they mean for it?
void guest_refresh(Cpu& cpu) {
    Vcpu& vcpu = *cpu.current->vcpu;
    ++vcpu.page->exits;
    ++vcpu.page->exits_irq;
    const bool kicked = vcpu.kicks && vcpu.take_kicks();
    if (interrupts_changed(vcpu)) plan_interrupts(vcpu);
    if (kicked) {
        exit_to_vmm(cpu, abi::Exit::kicked);
    } else if (vcpu.virqs.take_notify()) {
        exit_to_vmm(cpu, abi::Exit::eoi);
    }
}

void guest_bind_page(VcpuPage& page) { page.gic = gic::setup.version; }

bool guest_stocked(const Vcpu&) { return true; }
bool guest_stock(Vcpu&) { return true; }
Status guest_translate(Vcpu&, u32, u64*) { return Error::unsupported; }

}  // namespace twain::kernel
