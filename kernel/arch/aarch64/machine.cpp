// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The machine behind machine.hpp: cores, time, threads' registers.
#include "machine.hpp"

#include "boot.hpp"
#include "fpu.hpp"
#include "kernel/core/guest.hpp"
#include "kernel/core/irq.hpp"
#include "kernel/core/log.hpp"
#include "kernel/drivers/gic.hpp"
#include "kernel/drivers/pl011.hpp"
#include "kernel/drivers/smmuv3.hpp"
#include "psci.hpp"
#include "switch.hpp"

namespace twain::kernel {

extern "C" char core_memory[];
extern "C" void handle_interrupts(Cpu& cpu);

namespace machine {

namespace {
constexpr u64 kCoreBytes = 4 * kPage, kCpuOffset = 3 * kPage;
EarlyUart early_uart;
bool uart_ours;
constexpr u64 kUartWindow = layout::kDeviceBytes - kPage;
}  // namespace

bool is_device(Phys base, u64 bytes) {
    const abi::BootInfo& boot = boot_info();
    const auto meets = [&](const abi::Range& range) {
        return range.bytes && base.value < range.base + range.bytes && range.base < base.value + bytes;
    };
    for (u32 i = 0; i < boot.ram_count; ++i) {
        if (meets(boot.ram[i])) return false;
    }
    return !meets(boot.gicd) && !meets(boot.gicr) && !meets(boot.gich) && !meets(boot.gicv) && !meets(boot.smmu) &&
           !meets(boot.image);
}

Cpu& cpu(CpuId id) { return *reinterpret_cast<Cpu*>(core_memory + id * kCoreBytes + kCpuOffset); }
CpuId cores() { return boot_info().core_count; }
void interrupt(CpuId core) { gic::send_ipi(core); }

void idle(Cpu& cpu) {
    sleep_beside_guest(cpu);
    handle_interrupts(cpu);
}

Ticks ticks_per_second() { return reg::CNTFRQ_EL0::read(); }
Ticks ns_to_ticks(u64 ns) {
    const Ticks frequency = ticks_per_second();
    return ns / 1'000'000'000 * frequency + ns % 1'000'000'000 * frequency / 1'000'000'000;
}

void enter_slowly(Cpu& cpu, Thread& thread) {
    activate(cpu, *thread.space);
    fpu_offer(cpu, thread.fpu);
}

void settle_thread(Thread& thread) {
    if (!thread.fpu) return;
    run_on(thread.core, [state = thread.fpu] { fpu_flush(cpu(), state); });
}

void forget_thread(Thread& thread) {
    if (!thread.fpu) return;
    run_on(thread.core, [state = thread.fpu] { fpu_forget(cpu(), state); });
    thread.pool->free(thread.fpu, Pool::order_of<FpuState>());
    thread.fpu = nullptr;
}

bool confines_dma() { return smmu::present(); }
Status attach_stream(Space* space, u64 stream) { return smmu::attach(space, stream); }
bool flush_dma(const Space& space, u64& progress) { return smmu::flush(space, progress); }
bool forget_dma(Space& space) { return smmu::forget(space); }
bool dma_gave_up() { return smmu::gave_up(); }
DmaFault next_dma_fault() { return smmu::next_fault(); }

u32 irq_end() { return gic::spi_end(); }
void configure_irq(u32 intid, bool edge, CpuId core) { gic::configure_spi(intid, edge, core); }
void enable_irq(u32 intid) { gic::enable_spi(intid, true); }
void disable_irq(u32 intid) { gic::enable_spi(intid, false); }
void deactivate_irq(u32 intid) { gic::deactivate(intid); }
Phys virtual_interface() { return {kExceptionLevel == 2 && gic::is_v2() ? boot_info().gicv.base : 0}; }

void uart_start() {
    const abi::BootInfo& boot = boot_info();
    if (!boot.uart.bytes) return;
    map_device(kUartWindow, {boot.uart.base}, kPage);
    early_uart.init(Mmio(layout::kDevices + kUartWindow));
    uart_ours = true;
}

void uart_write(const char* text, u64 bytes) {
    if (!uart_ours || !early_uart.present()) return;
    for (u64 i = 0; i < bytes; ++i) {
        if (text[i] == '\n') early_uart.put('\r');
        early_uart.put(text[i]);
    }
}

void uart_enable(bool own) { uart_ours = own; }

void uart_seize() {
    uart_ours = true;
    if (early_uart.present()) early_uart.reset();
}

bool power(u64 what) {
    if (what > abi::system::kPowerReset) return false;
    psci::call(boot_info().psci_conduit, what == abi::system::kPowerOff ? psci::kSystemOff : psci::kSystemReset);
    return false;
}

smccc::Conduit firmware() { return static_cast<smccc::Conduit>(boot_info().psci_conduit); }
void call_firmware(u64 (&x)[6]) { psci::call(boot_info().psci_conduit, x); }

u64 boot_flags() { return boot_info().flags; }

}  // namespace machine

namespace {

template <typename Gic>
void serve_interrupt(Cpu& cpu, Gic gic) {
    const u32 token = gic.acknowledge();
    const u32 intid = gic.intid(token);
    if (intid >= gic::kSpurious) return;
    gic.drop_priority(token);
    if (intid == gic::setup.guest_timer) return guest_timer_interrupt(cpu);  // the guest deactivates it
    if (intid >= Irq::kFirst) {
        Irq* irq = Irq::of(intid);
        if (Notification* const note = irq ? irq->note.acquire() : nullptr) {
            irq->unacknowledged.release(true);
            return signal(cpu, *note, irq->badge);
        }  // else it came just before it was disabled
    } else if (intid == gic::kIpi) {
        gic.deactivate(token);  // before it is known why: what comes from now on comes again
        return serve_other_cores(cpu);
    } else if (intid == gic::setup.timer) {
        on_timer(cpu);
    } else if (intid == gic::setup.maintenance) {
        guest_maintenance(cpu);
    }
    gic.deactivate(token);
}

}  // namespace

// One of the interrupts that wait: what comes for the next is a path of its own, however many there are, and however fast
// somebody makes new ones. Entered from user mode and from idle.
void handle_interrupts(Cpu& cpu) {
    gic::with_interface([&](auto gic) { serve_interrupt(cpu, gic); });
    if (cpu.guest_mode) guest_refresh(cpu);
}

}  // namespace twain::kernel
