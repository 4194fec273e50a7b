// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the probes share: printing on the PL011, expected faults, interrupts, firmware calls, the device tree.
#pragma once

#include <cstdint>

namespace probe {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr u64 kUart = 0x0900'0000, kGicd = 0x0800'0000, kGicr = 0x080a'0000, kSgiFrame = 0x1'0000;
inline constexpr u64 kRedistributor = 0x2'0000, kGicc = 0x0801'0000;
inline constexpr u64 kRam = 0x4000'0000;

// ---- output
void print(const char* text);
void print_hex(u64 value);
// One line per probe; a failed one is counted.
void result(const char* name, bool ok, u64 got = 0);
extern u32 failures;

// ---- what the machine is
struct Machine {
    bool twain = false;  // under our own VMM; else some probes make no sense
    u64 ram_bytes = 0;
    u32 cpus = 0;
    u32 gic = 3;  // version
};
extern Machine machine;
void read_device_tree(const void* tree);

// ---- exceptions
struct Fault {
    u64 esr = 0, far = 0;
    u32 count = 0;
    u32 ec() const { return static_cast<u32>(esr >> 26); }
    u32 status() const { return static_cast<u32>(esr & 0x3f); }
};
// Runs `action`; a synchronous exception in it is noted and the instruction skipped (a bad jump: returns).
template <typename Action>
Fault faults_of(Action action);
void expect_faults(bool expect);
Fault last_fault();

template <typename Action>
Fault faults_of(Action action) {
    expect_faults(true);
    action();
    asm volatile("isb" ::: "memory");
    expect_faults(false);
    return last_fault();
}

// ---- interrupts, per processor
inline constexpr u32 kNone = 1023;
struct Interrupts {
    volatile u32 count;
    volatile u32 last;
    volatile u64 seen;     // bit n: INTID n < 64 has come
    volatile u32 senders;  // bit n: an SGI has come from processor n (GICv2)
};
extern Interrupts interrupts[8];
u32 self();
void enable_interrupts(bool on);
void gic_start_processor();  // redistributor awake, CPU interface on, all priorities
void gic_start();            // the distributor
u32 gic_version();           // what the distributor says
u64 own_interrupts();        // where the registers of this processor's SGIs and PPIs are
void send_sgi(u32 cpu, u32 intid);
inline constexpr u64 kPatience = 2'000'000'000;  // ticks: only what never comes takes so long
bool wait_for(u32 intid, u64 ticks = kPatience);

// ---- registers
inline u32 read32(u64 at) {
    u32 value = 0;
    asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(at) : "memory");
    return value;
}
inline void write32(u64 at, u32 value) { asm volatile("str %w0, [%1]" ::"r"(value), "r"(at) : "memory"); }

inline u64 counter() {
    u64 value = 0;
    asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value)::"memory");
    return value;
}

// ---- firmware
struct Answer {
    u64 x0, x1, x2, x3;
};
Answer hvc(u64 id, u64 a1 = 0, u64 a2 = 0, u64 a3 = 0);
Answer smc(u64 id, u64 a1 = 0, u64 a2 = 0, u64 a3 = 0);
inline constexpr u64 kNotSupported = ~u64{0};

// ---- the probes
void probe_memory();
void probe_firmware();
void probe_instructions();
void probe_registers();
void probe_gic();
void probe_timers();
void probe_smp();

}  // namespace probe
