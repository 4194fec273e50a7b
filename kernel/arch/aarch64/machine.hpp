// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The machine as the portable core sees it. Host tests bring their own file of this name.
#pragma once

#include "kernel/core/smccc.hpp"
#include "kernel/core/types.hpp"
#include "layout.hpp"

namespace twain::kernel {

struct Cpu;
class Space;
class Thread;
struct DmaFault;
struct FpuState;

namespace machine {

inline constexpr u64 kPointerUpper = Regime::kPointerUpper;
inline constexpr unsigned kExceptionLevel = Regime::kExceptionLevel;
inline constexpr u64 kUserPstate = 0xf000'0000;  // a process owns NZCV; everything else is EL0t, unmasked

// Memory
inline void* to_virt(Phys at) { return reinterpret_cast<void*>(at.value + layout::kLinear); }
inline Phys to_phys(const void* at) { return {reinterpret_cast<u64>(at) - layout::kLinear}; }
// 64-byte multiples
inline void zero(void* at, u64 bytes) {
    auto* word = static_cast<char*>(at);
    for (const char* const end = word + bytes; word < end; word += 64) {
        asm volatile(
            "stp xzr, xzr, [%0]\n stp xzr, xzr, [%0, #16]\n stp xzr, xzr, [%0, #32]\n stp xzr, xzr, [%0, #48]" ::"r"(
                word)
            : "memory");
    }
}
[[gnu::cold]] bool is_device(Phys base, u64 bytes);  // neither RAM nor a device of the kernel

// Cores
inline Cpu& cpu() { return *reinterpret_cast<Cpu*>(Regime::Cpu::read()); }
Cpu& cpu(CpuId id);
CpuId cores();
void interrupt(CpuId core);
inline void relax() { asm volatile("yield" ::: "memory"); }
[[noreturn]] inline void halt() {
    for (;;) asm volatile("wfi");
}
inline void barrier() { asm volatile("dmb ish" ::: "memory"); }
inline bool preemption_pending() { return reg::ISR_EL1::read() & 0x1c0; }
void idle(Cpu& cpu);  // returns after at least one interrupt was handled

// Time
inline Ticks counter() { return reg::CNTPCT_EL0::read(); }  // perhaps that of some instructions before
inline Ticks now() {
    isb();
    return counter();
}
inline void set_timer(Ticks deadline) {  // kForever: none
    if (deadline == abi::kForever) return Regime::TimerControl::write(0);
    Regime::TimerCompare::write(deadline);
    Regime::TimerControl::write(1);
}
Ticks ticks_per_second();
Ticks ns_to_ticks(u64 ns);

// Translation
using SpaceTag = Tag;
using TableFormat = kernel::TableFormat;
inline void write_descriptor(u64& entry, u64 value) {
    __atomic_store_n(&entry, value, __ATOMIC_RELEASE);
    dsb_ishst();
}
void flush_walks();  // cached table entries of all spaces
// All translations of one, on all cores. False: interrupted; the next call with the same `progress` goes on, from 0 begins.
bool flush_space(Space& space, u64& progress);
bool forget_space(Space& space);  // false: interrupted
u64 renew_tag(Space& space);      // its tag is stale; what it is then

// DMA (kernel/drivers/smmuv3.hpp)
[[gnu::cold]] bool confines_dma();
[[gnu::cold]] Status attach_stream(Space* space, u64 stream);
[[gnu::cold]] bool flush_dma(const Space& space, u64& progress);
[[gnu::cold]] bool forget_dma(Space& space);
[[gnu::cold]] bool dma_gave_up();
[[gnu::cold]] DmaFault next_dma_fault();

// Threads
using FpuState = kernel::FpuState;
// switch.hpp: leave_thread(cpu, thread), enter_thread(cpu, thread): thread pointer, space, FPU access
[[gnu::cold]] void settle_thread(Thread& thread);  // no core holds registers of it; structure lock
[[gnu::cold]] void forget_thread(Thread& thread);  // it has no FP registers any more; structure lock

// Guests
inline constexpr bool kVmmInjects = Regime::kVmmInjects;     // there are no list registers: to be woken is to exit
inline constexpr u64 kGroupsInCore = Regime::kGroupsInCore;  // registers of a vCPU that may stay behind when it is left

// Interrupts
u32 irq_end();
[[gnu::cold]] void configure_irq(u32 intid, bool edge, CpuId core);
void enable_irq(u32 intid);
void disable_irq(u32 intid);
void deactivate_irq(u32 intid);
Phys virtual_interface();  // GICV, which guests map; 0: they have it in system registers, or not at all

// The rest
[[gnu::cold]] void uart_write(const char* text, u64 bytes);  // nothing while the kernel does not own the UART
[[gnu::cold]] void uart_enable(bool own);
[[gnu::cold]] bool power(u64 what);
[[gnu::cold]] smccc::Conduit firmware();
[[gnu::cold]] void call_firmware(u64 (&x)[6]);  // in: function and arguments; out: the first four are results
u64 boot_flags();

}  // namespace machine
}  // namespace twain::kernel
