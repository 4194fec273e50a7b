// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests without EL2: both of a guest's exception levels run at EL0, on translations that shadow.cpp keeps. What a
// guest must not do traps; what the VMM need not see is done here: a system call or an interrupt goes to virtual EL1.
//
// The state page holds the whole of the vCPU's architectural state at every exit, as if there were an EL1: PSTATE with
// its virtual mode and masks, both stack pointers, all of El1State. Only TPIDR_EL0 and TPIDRRO_EL0 stay in the core while
// the guest runs, and FP registers longer.
#include "kernel/core/guest.hpp"

#include "asid.hpp"
#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/arch/aarch64/fpu.hpp"
#include "kernel/core/destroy.hpp"
#include "regime.hpp"
#include "shadow.hpp"
#include "switch.hpp"

namespace twain::kernel {

extern "C" {
Shadow::Entry guest_entries[abi::kMaxCores];
extern char guest_vectors[], vectors[];
void guest_absorb(Cpu& cpu);
u64 guest_quick(Cpu& cpu, abi::VcpuPage& page, u64 syndrome);
}
static_assert(sizeof(Shadow::Entry) == 64);

namespace {

using abi::VcpuPage;
using SP_EL0 = SysReg<3, 0, 4, 1, 0>;

constexpr u64 kFlags = 0xf000'0000;  // NZCV
constexpr u64 kMode = 0x1f, kEl1h = 5, kMaskI = 0x80, kMaskAll = 0x3c0;
constexpr u64 kIrqVector = 0x80, kFromEl1h = 0x200, kFromEl0 = 0x400;

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

// What the core holds of a guest that runs, to its page and back.
void absorb(VcpuPage& page, Shadow::Entry& entry) {
    entry.stack = SP_EL0::read();
    stack(page) = entry.stack;
    const u64 pointer = reg::TPIDR_EL0::read();
    if (at_el0(page) || !(entry.flags & abi::kShadowSwapped)) {
        page.el1.tpidr_el0 = pointer;
    } else if ((page.pstate & kMode) == kEl1h) {
        page.sp_el0 = pointer;
    }
    page.pc = Regime::Elr::read();
    page.pstate = (page.pstate & ~kFlags) | (Regime::Spsr::read() & kFlags);
}
void apply(const VcpuPage& page, Shadow::Entry& entry) {
    const bool swapped = !at_el0(page) && (entry.flags & abi::kShadowSwapped);
    entry.stack = (page.pstate & kMode) == kEl1h ? page.el1.sp_el1 : page.sp_el0;
    reg::TPIDR_EL0::write(swapped ? page.sp_el0 : page.el1.tpidr_el0);
    reg::TPIDRRO_EL0::write(swapped ? page.el1.tpidr_el1 : page.el1.tpidrro_el0);
    Regime::Spsr::write(page.pstate & kFlags);
    Regime::Elr::write(page.pc);
}

// What the next entry uses. False: the VMM has named a view that there is not.
bool prepare(Cpu& cpu, Vcpu& vcpu) {
    VcpuPage& page = *vcpu.page;
    Shadow::Entry& entry = guest_entries[cpu.id];
    take_interrupt(page);
    entry.flags = page.shadow.flags;
    apply(page, entry);
    return vcpu.space->shadow && vcpu.space->shadow->activate(cpu, page.shadow.view, at_el0(page) ? 0 : 1, entry);
}

// ERET of virtual EL1. False: the VMM has to do something first.
bool return_from_exception(VcpuPage& page, const Shadow::Entry& entry) {
    const u64 to = page.el1.spsr_el1, mode = to & kMode;
    if (mode == 0 ? (entry.flags & abi::kShadowSlowReturn) != 0 : mode != kEl1h) return false;
    page.pc = page.el1.elr_el1;
    page.pstate = to & (kFlags | kMaskAll | kMode);
    return true;
}

// MSR and MRS of DAIF at virtual EL1, by the syndrome (EC 0x18). QEMU 7.2 exchanges op1 and op2 of the MSR (immediate).
bool access_masks(VcpuPage& page, u64 syndrome) {
    constexpr u64 kImmediate = 0x62001000 | 0x1f << 5, kRegister = 0x6232d004;
    constexpr u64 kSet = kImmediate | 6 << 17 | 3 << 14, kSetExchanged = kImmediate | 3 << 17 | 6 << 14;
    constexpr u64 kClear = kImmediate | 7 << 17 | 3 << 14, kClearExchanged = kImmediate | 3 << 17 | 7 << 14;
    const u64 what = syndrome & ~u64{0x1e}, masks = (syndrome >> 1 & 0xf) << 6;
    if (what == kSet || what == kSetExchanged) {
        page.pstate |= masks;
    } else if (what == kClear || what == kClearExchanged) {
        page.pstate &= ~masks;
    } else if ((syndrome & ~u64{0x3e1}) == kRegister) {
        const unsigned rt = syndrome >> 5 & 0x1f;
        if (syndrome & 1) {
            if (rt < 31) page.x[rt] = page.pstate & kMaskAll;
        } else {
            page.pstate = (page.pstate & ~kMaskAll) | (rt < 31 ? page.x[rt] & kMaskAll : 0);
        }
    } else {
        return false;
    }
    page.pc += 4;
    return true;
}

void to_host(Cpu& cpu) {
    reg::TPIDRRO_EL0::write(0);
    reg::TPIDR_EL0::write(cpu.current->thread_pointer);
    Regime::Vbar::write(reinterpret_cast<u64>(vectors));
    cpu.guest_mode = 0;
    cpu.frame = &cpu.current->frame;
}

void exit_to_vmm(Cpu& cpu, u64 tag) {
    Thread& thread = *cpu.current;
    VcpuPage& page = *thread.vcpu->page;
    page.exit_reason = static_cast<u32>(tag);
    ++page.exits_vmm;
    to_host(cpu);
    disarm(cpu, thread);
    guest_finish(cpu, thread, tag);
    machine::activate(cpu, *thread.space);
    fpu_offer(cpu, thread.fpu);
}
void exit_to_vmm(Cpu& cpu, abi::Exit reason) { exit_to_vmm(cpu, static_cast<u64>(reason)); }

bool posted(const VcpuPage& page) {
    return (__atomic_load_n(&page.posted, __ATOMIC_RELAXED) | __atomic_load_n(&page.recalled, __ATOMIC_RELAXED)) != 0;
}

void wait_for_interrupt(Cpu& cpu) {
    Thread& thread = *cpu.current;
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    page.pc += 4;
    ++page.exits_wfi;
    if (vcpu.kick) {
        vcpu.kick = 0;
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
    if (posted(page) || __atomic_load_n(&vcpu.kick, __ATOMIC_ACQUIRE)) guest_wake(cpu, thread);
}

}  // namespace

// Right after a guest was left: what the core holds of it goes to its page.
void guest_absorb(Cpu& cpu) { absorb(*cpu.current->vcpu->page, guest_entries[cpu.id]); }

// What needs nothing but the state page is done while the guest's translations are still in place, so this must not
// touch anything but that and the kernel's image. Zero: it is something else, and nothing has changed.
u64 guest_quick(Cpu& cpu, VcpuPage& page, u64 syndrome) {
    Shadow::Entry& entry = guest_entries[cpu.id];
    if (!entry.quick || entry.generation != cpu.generation) return 0;
    const u64 ec = syndrome >> 26 & 0x3f;
    const bool user = at_el0(page);
    if (ec == 0x15 && user) {
        absorb(page, entry);
        page.el1.esr_el1 = syndrome;
        vector(page, 0);
    } else if (ec == 0x15 && (syndrome & 0xffff) == abi::kShadowReturn) {
        absorb(page, entry);
        if (!return_from_exception(page, entry)) return 0;
        take_interrupt(page);
    } else if (ec == 0x18 && !user) {
        absorb(page, entry);
        if (!access_masks(page, syndrome)) return 0;
        take_interrupt(page);
    } else {
        return 0;
    }
    apply(page, entry);
    SP_EL0::write(entry.stack);
    const u64 upper = entry.uppers[at_el0(page) ? 0 : 1];
    if (upper != entry.upper) {
        entry.upper = upper;
        __atomic_store_n(&cpu.translation, entry.lower | (upper & ~Regime::UserTable::kTable), __ATOMIC_RELAXED);
        reg::TTBR1_EL1::write(upper);
    }
    ++page.shadow.vectored;
    return 1;
}

void guest_unload(Cpu& cpu) {
    Vcpu& vcpu = *cpu.loaded;
    fpu_flush(cpu, reinterpret_cast<FpuState*>(&vcpu.page->fpcr));
    cpu.loaded = nullptr;
    vcpu.live = Vcpu::kNowhere;
}

void guest_enter(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    VcpuPage& page = *vcpu.page;
    if (vcpu.kick) [[unlikely]] {
        vcpu.kick = 0;
        page.exit_reason = static_cast<u32>(abi::Exit::kicked);
        disarm(cpu, thread);
        guest_finish(cpu, thread, static_cast<u64>(abi::Exit::kicked));
        machine::activate(cpu, *thread.space);
        return;
    }
    if (cpu.loaded != &vcpu) {
        if (cpu.loaded) guest_unload(cpu);
        map_window(cpu.id, machine::to_phys(&page));
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
    cpu.frame = reinterpret_cast<Frame*>(layout::kWindows + cpu.id * kPage);
    if (!prepare(cpu, vcpu)) exit_to_vmm(cpu, Status(Error::bad_arg).tag());
}

void guest_leave(Cpu& cpu) { to_host(cpu); }

void guest_trap(Cpu& cpu, u64 syndrome) {
    Vcpu& vcpu = *cpu.current->vcpu;
    VcpuPage& page = *vcpu.page;
    ++page.exits;
    const u64 ec = syndrome >> 26 & 0x3f;
    if (ec == 0x15 && at_el0(page)) {  // a system call of the guest's user
        page.el1.esr_el1 = syndrome;
        vector(page, 0);
        if (!prepare(cpu, vcpu)) exit_to_vmm(cpu, Status(Error::bad_arg).tag());
        return;
    }
    if (ec == 0x15 && (syndrome & 0xffff) == abi::kShadowReturn && return_from_exception(page, guest_entries[cpu.id])) {
        if (!prepare(cpu, vcpu)) exit_to_vmm(cpu, Status(Error::bad_arg).tag());
        return;
    }
    if (ec == 0x01 && !(syndrome & 1)) {  // WFI
        wait_for_interrupt(cpu);
        return;
    }
    page.esr = syndrome;
    page.far = Regime::Far::read();
    exit_to_vmm(cpu, abi::Exit::trap);
}

void guest_timer_interrupt(Cpu&) { reg::CNTV_CTL_EL0::write(0); }
void guest_maintenance(Cpu&) {}

// After interrupts that came while the guest ran: what do they mean for it?
void guest_refresh(Cpu& cpu) {
    Vcpu& vcpu = *cpu.current->vcpu;
    ++vcpu.page->exits;
    ++vcpu.page->exits_irq;
    if (vcpu.kick) {
        vcpu.kick = 0;
        exit_to_vmm(cpu, abi::Exit::kicked);
    }
}

void guest_bind_page(Vcpu& vcpu, Phys at) {
    auto* page = static_cast<VcpuPage*>(machine::to_virt(at));
    page->version = abi::kVersion;
    page->gic = 0;
    page->shadow.level = Regime::kExceptionLevel;
    page->shadow.midr = reg::MIDR_EL1::read();
    vcpu.page = page;
}

bool guest_stocked(const Vcpu& vcpu) {
    const Space* space = vcpu.space;
    return space && space->shadow && space->shadow->stocked();
}

void guest_stock(Vcpu& vcpu) {
    if (vcpu.space) Shadow::stock(*vcpu.space);
}

Status guest_translate(Vcpu& vcpu, u32 method, u64 a, u64 b, u64 c, u64& result) {
    Space* space = vcpu.space;
    VcpuPage* page = vcpu.page;
    if (!space || !page) return {Error::busy, 0};
    Shadow* shadow = space->shadow;
    if (!shadow) return {Error::no_memory, 0};
    switch (method) {
        case abi::vcpu::fill:
            if (a > abi::kShadowFills) return {Error::bad_arg, 2};
            for (; result < a; ++result) {
                const abi::ShadowFill* from = &page->shadow.fill[result];
                const abi::ShadowFill once{__atomic_load_n(&from->at, __ATOMIC_RELAXED),
                                           __atomic_load_n(&from->to, __ATOMIC_RELAXED)};
                if (const Status status = shadow->fill(*space, once); !status.ok()) return status;
            }
            return {};
        case abi::vcpu::view: return shadow->view(a, b, c);
        default: return shadow->drop(a, b, c);
    }
}

}  // namespace twain::kernel
