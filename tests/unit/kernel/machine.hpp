// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The machine as the portable core sees it, played on the host: all cores live in one thread of the test program,
// which switches between them where the kernel waits for another core (relax) or where the test says so. Objects lie at
// host addresses; "physical" memory is one arena that starts at fake::kRamBase.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernel/core/smccc.hpp"
#include "kernel/core/types.hpp"

namespace twain::kernel {

struct Cpu;
class Space;
class Thread;
struct DmaFault;

struct alignas(16) FpuState {
    u64 fpcr, fpsr;
    u64 v[64];
};

namespace machine {

inline constexpr u64 kPointerUpper = 0;
inline constexpr unsigned kExceptionLevel = 2;
inline constexpr u64 kUserPstate = 0xf000'0000;

// Memory
void* to_virt(Phys at);
Phys to_phys(const void* at);
void zero(void* at, u64 bytes);
bool is_device(Phys base, u64 bytes);

// Cores
Cpu& cpu();
Cpu& cpu(CpuId id);
CpuId cores();
void interrupt(CpuId core);
void relax();
[[noreturn]] void halt();
void barrier();
bool preemption_pending();
void idle(Cpu& cpu);

// Time
Ticks now();
Ticks counter();
void set_timer(Ticks deadline);
Ticks ticks_per_second();
Ticks ns_to_ticks(u64 ns);

// Translation
struct SpaceTag {
    u64 flushes = 0;
    bool gone = false;
};
struct TableFormat {  // as kernel/arch/aarch64/el2/regime.hpp
    static constexpr u64 leaf(u8 rights, bool device) {
        u64 entry = 0x400;
        entry |= device ? 0x1 << 2 : 0xf << 2 | 0x300;
        if (rights & abi::rights::mem_read) entry |= 0x40;
        if (rights & abi::rights::mem_write) entry |= 0x80;
        if (!(rights & abi::rights::mem_exec)) entry |= u64{1} << 54;
        return entry;
    }
};
void write_descriptor(u64& entry, u64 value);
void flush_walks();
bool flush_space(Space& space, u64& progress);
bool forget_space(Space& space);
void activate(Space& space);

// DMA
bool confines_dma();
Status attach_stream(Space* space, u64 stream);
bool flush_dma(const Space& space, u64& progress);
bool forget_dma(Space& space);
bool dma_gave_up();
DmaFault next_dma_fault();

// Threads
using FpuState = kernel::FpuState;
void enter_thread(Cpu& cpu, Thread& thread);
void leave_thread(Cpu& cpu, Thread& thread);
void settle_thread(Thread& thread);
void forget_thread(Thread& thread);

// Guests
inline constexpr bool kVmmInjects = false;
inline constexpr u64 kGroupsInCore = abi::kGroupAll;

// Interrupts
u32 irq_end();
void configure_irq(u32 intid, bool edge, CpuId core);
void enable_irq(u32 intid);
void disable_irq(u32 intid);
void deactivate_irq(u32 intid);
Phys virtual_interface();

// The rest
void uart_write(const char* text, u64 bytes);
void uart_enable(bool own);
bool power(u64 what);
smccc::Conduit firmware();
void call_firmware(u64 (&x)[6]);
u64 boot_flags();

}  // namespace machine

// What tests look at and set.
namespace fake {

inline constexpr u64 kRamBase = 0x4000'0000;
inline constexpr u64 kDeviceBase = 0x0900'0000;

struct Idle {};  // thrown by machine::idle(): nothing to run on that core, and no interrupt waits

struct Halted {};  // thrown by machine::halt()

struct Machine {
    CpuId core = 0;  // on which the test runs now
    CpuId cores = 1;
    Ticks clock = 1000;
    Ticks timer[abi::kMaxCores] = {};
    bool interrupted[abi::kMaxCores] = {};
    u64 interrupts = 0;
    u64 flushed_spaces = 0;
    u64 flush_steps = 3;  // of each: it may be interrupted in between
    u64 flushed_walks = 0;
    u64 forgotten_spaces = 0;
    u64 zeroed = 0;  // bytes
    static constexpr u64 kStreams = 4;
    bool smmu = false;         // is there one?
    bool smmu_answers = true;  // if not, it makes the kernel give up
    bool smmu_gave_up = false;
    Space* streams[kStreams] = {};
    bool enabled[1020] = {};
    u64 deactivated = 0;
    std::string uart;
    bool uart_owned = true;
    std::vector<u64> powered;
    smccc::Conduit conduit = smccc::Conduit::smc;
    std::vector<u64> firmware_calls;
    std::function<bool()> preempt;        // empty: never
    std::function<void()> while_waiting;  // called once, the next time that the kernel waits
    std::function<void()> while_writing;  // called once, by the next text that goes out of the UART
    std::function<void()> at_barrier;     // called once, at the next barrier
    bool mail_while_waiting = false;      // a core whose request is served takes its mail as well
};
Machine& state();

// All of the machine's memory, for who saves and restores it.
std::span<u64> memory();

// Keeps the machine as it is now; revert() goes back to that, any number of times, until reset(). What it costs is what has
// changed since.
void keep();
void revert();

// Starts anew with `ram` bytes of memory and `cores` cores.
void reset(CpuId cores, u64 ram);
// What of that every kind of machine does.
void begin(CpuId cores, u64 ram);

// Runs `work` as core `core`.
template <typename Work>
void on(CpuId core, Work work) {
    const CpuId before = state().core;
    state().core = core;
    work();
    state().core = before;
}

}  // namespace fake
}  // namespace twain::kernel
