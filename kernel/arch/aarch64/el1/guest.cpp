// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests without EL2: both of a guest's exception levels run at EL0, on translations that shadow.cpp keeps. What a
// guest must not do traps; what the VMM need not see is done here: a system call or an interrupt goes to virtual EL1.
//
// The state page holds the whole of the vCPU's architectural state at every exit, as if there were an EL1: PSTATE with
// its virtual mode and masks, both stack pointers, all of El1State. While the guest runs, the core has TPIDR_EL0 and
// TPIDRRO_EL0 of it, the shared registers (abi::SharedRegisters) are in use if it is swapped, and FP registers stay
// longer. guest_entry.S takes the commonest ways between virtual EL0 and EL1 without coming here.
#include "kernel/core/guest.hpp"

#include "asid.hpp"
#include "guest_offsets.inc"
#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/arch/aarch64/fpu.hpp"
#include "kernel/core/destroy.hpp"
#include "regime.hpp"
#include "shadow.hpp"
#include "switch.hpp"

namespace twain::kernel {

static_assert(abi::kShadowReturn == SHADOW_RETURN &&
              offsetof(abi::VcpuPage, shadow) + offsetof(abi::ShadowState, irq) == VCPU_IRQ);
static_assert(offsetof(abi::VcpuPage, shadow) + offsetof(abi::ShadowState, vectored) == VCPU_VECTORED);
static_assert(offsetof(abi::VcpuPage, pstate) == VCPU_PSTATE);
static_assert(offsetof(abi::VcpuPage, el1) + offsetof(abi::El1State, sp_el1) == VCPU_SP_EL1);
static_assert(offsetof(Shadow::Entry, running) == ENTRY_RUNNING && offsetof(Shadow::Entry, stack) == ENTRY_STACK);
static_assert(offsetof(Shadow::Entry, uppers) == ENTRY_UPPERS && offsetof(Shadow::Entry, vector) == ENTRY_VECTOR);
static_assert(offsetof(Shadow::Entry, shared) == ENTRY_SHARED);
static_assert(kPage + abi::kSharedOffset == SHARED && offsetof(abi::SharedRegisters, daif) == SHARED_DAIF);
static_assert(offsetof(abi::SharedRegisters, elr_el1) == SHARED_ELR &&
              offsetof(abi::SharedRegisters, spsr_el1) == SHARED_SPSR);
static_assert(offsetof(abi::SharedRegisters, esr_el1) == SHARED_ESR);
static_assert(offsetof(abi::SharedRegisters, tpidr_el0) == SHARED_TPIDR &&
              offsetof(abi::SharedRegisters, tpidrro_el0) == SHARED_TPIDRRO);

extern "C" {
extern char guest_vectors[], vectors[];
void guest_absorb(Cpu& cpu);
}

namespace {

using abi::VcpuPage;
using SP_EL0 = SysReg<3, 0, 4, 1, 0>;

constexpr u64 kFlags = 0xf000'0000, kStep = abi::kPstateStep;  // NZCV, SS
constexpr u64 kMode = 0x1f, kEl1h = 5, kMaskI = 0x80, kMaskD = 0x200, kMaskAll = 0x3c0;
constexpr u64 kSvc = 0x15, kStepped = 0x32;  // ESR_EL1.EC
constexpr u64 kIrqVector = 0x80, kFromEl1h = 0x200, kFromEl0 = 0x400;

u64 class_of(u64 syndrome) { return syndrome >> 26 & 0x3f; }
bool at_el0(const VcpuPage& page) { return (page.pstate & 0xc) == 0; }
u64& stack(VcpuPage& page) { return (page.pstate & kMode) == kEl1h ? page.el1.sp_el1 : page.sp_el0; }

// Takes an exception to virtual EL1 (Arm ARM D1.4).
void vector(VcpuPage& page, u64 offset) {
    const u64 mode = page.pstate & kMode;
    page.el1.elr_el1 = page.pc;
    page.el1.spsr_el1 = page.pstate;
    page.pc = (page.el1.vbar_el1 & ~u64{0x7ff}) + (mode == kEl1h ? kFromEl1h : at_el0(page) ? kFromEl0 : 0) + offset;
    page.pstate = (page.pstate & kFlags) | kMaskAll | kEl1h;
}

// An interrupt that waits is taken when it may be.
void take_interrupt(VcpuPage& page) {
    if (__atomic_load_n(&page.shadow.irq, __ATOMIC_RELAXED) && !(page.pstate & kMaskI)) vector(page, kIrqVector);
}

// Single steps that the guest's kernel makes of virtual EL0, or of itself (Arm ARM D2.12): all of it is EL0, and the processor
// steps it for the kernel, which hands the exception on.
bool steps(const VcpuPage& page) {
    const u64 control = page.el1.mdscr_el1;
    return (control & abi::kMdscrStep) && (at_el0(page) || ((control & abi::kMdscrKernel) && !(page.pstate & kMaskD)));
}

bool swapped(const Shadow::Entry& entry) { return entry.flags & abi::kShadowSwapped; }

// Behind the state page, wherever that is seen. What the guest left there is taken as its registers and as nothing else.
abi::SharedRegisters& shared(VcpuPage& page) {
    return *reinterpret_cast<abi::SharedRegisters*>(reinterpret_cast<u64>(&page) + kPage + abi::kSharedOffset);
}

// What the core holds of a guest that runs, to its page and back.
void absorb(VcpuPage& page, Shadow::Entry& entry) {
    entry.stack = SP_EL0::read();
    stack(page) = entry.stack;
    if (entry.running) entry.upper = entry.uppers[entry.running - 1];  // guest_entry.S has gone to and fro
    const u64 pointer = reg::TPIDR_EL0::read();
    page.pc = Regime::Elr::read();
    page.pstate = (page.pstate & ~(kFlags | kStep)) | (Regime::Spsr::read() & (kFlags | kStep));
    if (!swapped(entry)) {
        page.el1.tpidr_el0 = pointer;
        return;
    }
    const abi::SharedRegisters& from = shared(page);
    page.el1.elr_el1 = from.elr_el1;
    page.el1.spsr_el1 = from.spsr_el1;
    page.el1.esr_el1 = from.esr_el1;
    page.el1.far_el1 = from.far_el1;
    page.el1.contextidr_el1 = from.contextidr_el1;
    if (at_el0(page)) {
        page.el1.tpidr_el0 = pointer;
        return;
    }
    if ((page.pstate & kMode) == kEl1h) page.sp_el0 = pointer;
    page.el1.tpidr_el0 = from.tpidr_el0;
    page.el1.tpidrro_el0 = from.tpidrro_el0;
    page.pstate = (page.pstate & ~kMaskAll) | (from.daif & kMaskAll);
}
void apply(VcpuPage& page, Shadow::Entry& entry) {
    const bool swaps = !at_el0(page) && swapped(entry);
    entry.stack = (page.pstate & kMode) == kEl1h ? page.el1.sp_el1 : page.sp_el0;
    entry.shared = page.shadow.shared;
    entry.vector = (page.el1.vbar_el1 & ~u64{0x7ff}) + kFromEl0;
    reg::TPIDR_EL0::write(swaps && (page.pstate & kMode) == kEl1h ? page.sp_el0 : page.el1.tpidr_el0);
    reg::TPIDRRO_EL0::write(swaps ? entry.shared : page.el1.tpidrro_el0);
    const bool step = steps(page);
    Regime::Spsr::write(page.pstate & (step ? kFlags | kStep : kFlags));
    Regime::Elr::write(page.pc);
    reg::MDSCR_EL1::write(Regime::kMdscr | (step ? abi::kMdscrStep : 0));
    if (!swapped(entry)) return;
    abi::SharedRegisters& to = shared(page);
    to.daif = page.pstate & kMaskAll;
    to.elr_el1 = page.el1.elr_el1;
    to.spsr_el1 = page.el1.spsr_el1;
    to.esr_el1 = page.el1.esr_el1;
    to.far_el1 = page.el1.far_el1;
    to.tpidr_el1 = page.el1.tpidr_el1;
    to.tpidr_el0 = page.el1.tpidr_el0;
    to.tpidrro_el0 = page.el1.tpidrro_el0;
    to.contextidr_el1 = page.el1.contextidr_el1;
    to.ttbr1_el1 = page.el1.ttbr1_el1;
    to.midr_el1 = page.vpidr ? page.vpidr : page.shadow.midr;
    to.pending = page.shadow.irq;
}

// What the next entry uses. False: the VMM has named a view that there is not, or shared registers that there are not.
bool prepare(Cpu& cpu, Vcpu& vcpu) {
    VcpuPage& page = *vcpu.page;
    Shadow::Entry& entry = Shadow::entry(cpu);
    take_interrupt(page);
    entry.flags = page.shadow.flags;
    if (swapped(entry) && !vcpu.shares) return false;
    apply(page, entry);
    const unsigned level = at_el0(page) ? 0 : 1;
    if (!vcpu.space->shadow || !vcpu.space->shadow->activate(cpu, page.shadow.view, level, entry)) return false;
    const bool slow =
        level == 1 ? (entry.flags & abi::kShadowSlowReturn) || page.shadow.moved : (page.pstate & kMaskAll) != 0;
    if (!swapped(entry) || slow || (page.el1.mdscr_el1 & abi::kMdscrStep)) entry.running = 0;
    return true;
}

// ERET of virtual EL1. False: the VMM has to do something first.
bool return_from_exception(VcpuPage& page, const Shadow::Entry& entry) {
    const u64 to = page.el1.spsr_el1, mode = to & kMode;
    const bool slow = (entry.flags & abi::kShadowSlowReturn) || page.shadow.moved;
    if (mode == 0 ? slow : mode != kEl1h) return false;
    page.pc = page.el1.elr_el1;
    page.pstate = to & (kFlags | kStep | kMaskAll | kMode);
    return true;
}

// MSR TTBR1_EL1 with another ASID: nothing comes of it until TTBR0_EL1 is written or virtual EL0 entered, as with
// hardware nothing need come of it before an ISB. MSR TTBR0_EL1 to what the VMM has foreseen. False: the VMM's to do.
bool write_table(VcpuPage& page, u32 what) {
    const u32 number = what & 31;
    const u64 value = number < 31 ? page.x[number] : 0;
    abi::ShadowState& shadow = page.shadow;
    if ((what & ~u32{31}) == abi::kShadowTable1) {
        if ((value ^ page.el1.ttbr1_el1) & Regime::UserTable::kTable) return false;
        page.el1.ttbr1_el1 = value;
        shadow.moved = 1;
        return true;
    }
    if ((what & ~u32{31}) != abi::kShadowTable0) return false;
    const abi::ShadowSpace* space = &shadow.space[abi::shadow_space(value, page.el1.ttbr1_el1)];
    const abi::ShadowSpace* const end = space + abi::kShadowWays;
    const auto matches = [&] {
        return __atomic_load_n(&space->ttbr0, __ATOMIC_RELAXED) == value && space->ttbr1 == page.el1.ttbr1_el1;
    };
    for (; !matches(); ++space) {
        if (space + 1 == end) return false;
    }
    __atomic_store_n(&shadow.view[0], space->view[0], __ATOMIC_RELAXED);
    __atomic_store_n(&shadow.view[1], space->view[1], __ATOMIC_RELAXED);
    machine::barrier();  // who takes a root away looks the other way round
    if (!matches()) return false;
    page.el1.ttbr0_el1 = value;
    shadow.moved = 0;
    return true;
}

// SVC, or the end of a single step. False: the VMM's to do.
bool service_call(VcpuPage& page, u64 syndrome, const Shadow::Entry& entry) {
    const u32 what = syndrome & 0xffff;
    if (at_el0(page)) {  // of the guest's user: its kernel's
        page.el1.esr_el1 = syndrome;
        vector(page, 0);
        return true;
    }
    if (class_of(syndrome) == kStepped) return false;
    if (what == abi::kShadowReturn) return return_from_exception(page, entry);
    return swapped(entry) && (what == abi::kShadowUnmasked || write_table(page, what));
}

void to_host(Cpu& cpu) {
    reg::MDSCR_EL1::write(Regime::kMdscr);
    reg::TPIDRRO_EL0::write(0);
    reg::TPIDR_EL0::write(cpu.current->thread_pointer);
    Regime::Vbar::write(reinterpret_cast<u64>(vectors));
    cpu.guest_mode = 0;
    cpu.frame = &cpu.current->frame;
}

void exit_to_vmm(Cpu& cpu, u64 tag, Ticks left = machine::counter()) {
    Thread& thread = *cpu.current;
    VcpuPage& page = *thread.vcpu->page;
    page.left = left;
    page.exit_reason = static_cast<u32>(tag);
    ++page.exits_vmm;
    to_host(cpu);
    disarm(cpu, thread);
    guest_finish(cpu, thread, tag);
    machine::activate(cpu, *thread.space);
    fpu_offer(cpu, thread.fpu);
}
void exit_to_vmm(Cpu& cpu, abi::Exit reason, Ticks left = machine::counter()) {
    exit_to_vmm(cpu, static_cast<u64>(reason), left);
}

bool posted(const VcpuPage& page) {
    return (__atomic_load_n(&page.posted, __ATOMIC_RELAXED) | __atomic_load_n(&page.recalled, __ATOMIC_RELAXED)) != 0;
}

void wait_for_interrupt(Cpu& cpu) {
    Thread& thread = *cpu.current;
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    page.pc += 4;
    page.pstate &= ~kStep;  // this was the step
    ++page.exits_wfi;
    if (vcpu.kicks && vcpu.take_kicks()) {
        exit_to_vmm(cpu, abi::Exit::kicked);
        return;
    }
    if (page.shadow.irq) {
        (void)prepare(cpu, vcpu);
        return;
    }
    vcpu.sleeping = true;
    thread.state = State::waiting;
    leave_current(cpu);
    machine::barrier();  // asleep before the last look: whoever posts looks the other way round
    if (posted(page) || vcpu.kicks.acquire()) guest_wake(cpu, thread);
}

}  // namespace

// Right after a guest was left: what the core holds of it goes to its page.
void guest_absorb(Cpu& cpu) { absorb(*cpu.current->vcpu->page, Shadow::entry(cpu)); }

void guest_unload(Cpu& cpu) {
    Vcpu& vcpu = *cpu.loaded;
    fpu_flush(cpu, reinterpret_cast<FpuState*>(&vcpu.page->fpcr));
    cpu.loaded = nullptr;
    vcpu.live = Vcpu::kNowhere;
}

void guest_enter(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    if (vcpu.kicks && vcpu.take_kicks()) [[unlikely]] {
        disarm(cpu, thread);
        return guest_refuse(cpu, thread, abi::Exit::kicked);
    }
    if (cpu.loaded != &vcpu) {
        if (cpu.loaded) guest_unload(cpu);
        const Phys state = machine::to_phys(&page);
        map_window(cpu.id, state, vcpu.shares ? state + kPage : state);
        cpu.loaded = &vcpu;
        vcpu.live = cpu.id;
    }
    if (const u64 groups = __atomic_load_n(&page.loaded, __ATOMIC_ACQUIRE)) [[unlikely]] {
        page.loaded = 0;
        if (groups & abi::kGroupFp) fpu_forget(cpu, reinterpret_cast<FpuState*>(&page.fpcr));
    }
    if (page.shadow.icache) [[unlikely]] {
        page.shadow.icache = 0;
        asm volatile("dsb ish\n ic ialluis\n dsb ish\n isb" ::: "memory");
    }
    if (page.shadow.deadline != abi::kForever) arm(cpu, thread, page.shadow.deadline);
    Regime::Vbar::write(reinterpret_cast<u64>(guest_vectors));
    fpu_offer(cpu, reinterpret_cast<FpuState*>(&page.fpcr));
    cpu.guest_mode = 1;
    cpu.frame = reinterpret_cast<Frame*>(layout::kWindows + cpu.id * layout::kWindowBytes);
    if (!prepare(cpu, vcpu)) return exit_to_vmm(cpu, Status(Error::bad_arg).tag());
    note_entry(cpu, page);
}

void guest_leave(Cpu& cpu) { to_host(cpu); }

void guest_trap(Cpu& cpu, u64 syndrome) {
    const Ticks left = machine::counter();
    Vcpu& vcpu = *cpu.current->vcpu;
    VcpuPage& page = *vcpu.page;
    ++page.exits;
    const u64 ec = class_of(syndrome);
    if ((ec == kSvc || ec == kStepped) && service_call(page, syndrome, Shadow::entry(cpu))) {
        if (!prepare(cpu, vcpu)) exit_to_vmm(cpu, Status(Error::bad_arg).tag());
        return;
    }
    if (ec == 0x01 && !(syndrome & 1)) {  // WFI
        wait_for_interrupt(cpu);
        return;
    }
    page.esr = syndrome;
    page.far = Regime::Far::read();
    exit_to_vmm(cpu, abi::Exit::trap, left);
}

void guest_timer_interrupt(Cpu&) { reg::CNTV_CTL_EL0::write(0); }
void guest_maintenance(Cpu&) {}
void sleep_beside_guest(Cpu&) { wfi(); }

// After interrupts that came while the guest ran: what do they mean for it?
void guest_refresh(Cpu& cpu) {
    Vcpu& vcpu = *cpu.current->vcpu;
    ++vcpu.page->exits;
    ++vcpu.page->exits_irq;
    if (vcpu.kicks && vcpu.take_kicks()) {
        exit_to_vmm(cpu, abi::Exit::kicked);
    }
}

void guest_bind_page(VcpuPage& page) {
    page.gic = 0;
    page.shadow.level = Regime::kExceptionLevel;
    page.shadow.midr = reg::MIDR_EL1::read();
    page.shadow.boot = machine::boot_flags();
}

bool guest_stocked(const Vcpu& vcpu) {
    const Space* space = vcpu.space;
    return space && space->shadow && space->shadow->stocked();
}

bool guest_stock(Vcpu& vcpu) { return !vcpu.space || Shadow::stock(*vcpu.space); }

Status guest_translate(Vcpu& vcpu, u32 method, u64* x) {
    Space* space = vcpu.space;
    VcpuPage* page = vcpu.page;
    u64 first = x[2];
    if (method == abi::vcpu::fill) x[2] = 0;  // none yet, should there be an error
    if (!space || !page) return {Error::busy, 0};
    Shadow* shadow = space->shadow;
    if (!shadow) return {Error::no_memory, 0};
    if (method == abi::vcpu::view) return shadow->view(first, x[3], x[4]);
    if (method == abi::vcpu::drop) return shadow->drop(first, x[3], x[4]);
    if (first > abi::kShadowFills) return {Error::bad_arg, 2};
    const Status status = shadow->fill(*space, page->shadow.fill, first);
    x[2] = first;
    return status;
}

}  // namespace twain::kernel
