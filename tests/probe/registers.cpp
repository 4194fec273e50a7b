// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System registers: what is hidden is undefined, and EL1 registers that a guest sets to hostile values stay its own
// affair: the device model behind the next access must not notice.
#include "probe.hpp"

namespace probe {
namespace {

template <typename Action>
void undefined(const char* name, Action action) {
    const Fault f = faults_of(action);
    result(name, f.count == 1 && f.ec() == 0, f.esr | u64{f.count} << 60);
}

// Calls, device registers, an interrupt's wait: everything that leaves the guest.
bool still_works() {
    bool ok = hvc(0x8400'0000).x0 == 0x1'0001;
    ok = ok && read32(kUart + 0xfe0) == 0x11;
    ok = ok && gic_version() == machine.gic;
    write32(kUart + 0x24, 0x1234);
    ok = ok && read32(kUart + 0x24) == 0x1234;
    return ok;
}

}  // namespace

void probe_registers() {
    u64 value = 0;
    asm volatile("mrs %0, id_aa64pfr0_el1" : "=r"(value));
    result("ID_AA64PFR0: EL0 and EL1", (value & 0xf) != 0 && (value >> 4 & 0xf) != 0, value);
    if (!machine.twain) {
        return;
    }
    result("ID_AA64PFR0: no EL2, EL3, SVE, RAS", (value & 0x0000'ffff'f000'ff00) == 0, value);
    asm volatile("mrs %0, id_aa64dfr0_el1" : "=r"(value));
    result("ID_AA64DFR0: no PMU", (value >> 8 & 0xf) == 0, value);
    asm volatile("mrs %0, s3_0_c0_c7_7" : "=r"(value));
    result("reserved ID register reads zero", value == 0, value);
    undefined("PMU", [&] { asm volatile("mrs %0, pmcr_el0" : "=r"(value)); });
    value = 0;
    const Fault own = faults_of([&] { asm volatile("mrs %0, s3_1_c15_c2_0" : "=r"(value)); });
    result("implementation defined", own.count == 1 ? own.ec() == 0 : value == 0,
           value);  // QEMU 7.2 has no HCR_EL2.TIDCP
    undefined("unallocated", [&] { asm volatile("msr s3_0_c1_c7_7, %0" ::"r"(value)); });
    undefined("EL2 register", [&] { asm volatile("mrs %0, hcr_el2" : "=r"(value)); });
    undefined("writing an ID register", [&] { asm volatile("msr s3_0_c0_c4_0, %0" ::"r"(value)); });
    const Fault way = faults_of([&] { asm volatile("dc cisw, %0" ::"r"(u64{0})); });
    result("cache maintenance by set and way", way.count == 0, way.esr);

    u64 sctlr = 0, cpacr = 0, cntkctl = 0, back = 0;
    asm volatile("mrs %0, sctlr_el1" : "=r"(sctlr));
    asm volatile("mrs %0, cpacr_el1" : "=r"(cpacr));
    asm volatile("mrs %0, cntkctl_el1" : "=r"(cntkctl));
    const u64 hostile =
        (sctlr | u64{1} << 24 | 2) & ~(u64{1} << 26 | u64{1} << 15 | u64{1} << 14 | u64{1} << 16 | u64{1} << 18);
    asm volatile("msr sctlr_el1, %0\n\tisb" ::"r"(hostile) : "memory");  // E0E, A; no UCI, UCT, DZE, nTWI, nTWE
    bool ok = still_works();
    asm volatile("mrs %0, sctlr_el1" : "=r"(back));
    asm volatile("msr sctlr_el1, %0\n\tisb" ::"r"(sctlr) : "memory");
    result("SCTLR_EL1 with E0E and A", ok && back == hostile, back);

    asm volatile("msr cpacr_el1, xzr\n\tisb");
    ok = still_works();
    asm volatile("mrs %0, cpacr_el1" : "=r"(back));
    asm volatile("msr cpacr_el1, %0\n\tisb" ::"r"(cpacr));
    result("CPACR_EL1 without FP", ok && back == 0, back);

    asm volatile("msr cntkctl_el1, xzr\n\tisb");
    ok = still_works();
    asm volatile("mrs %0, cntkctl_el1" : "=r"(back));
    asm volatile("msr cntkctl_el1, %0\n\tisb" ::"r"(cntkctl));
    result("CNTKCTL_EL1 without counters", ok && back == 0, back);

    const Fault debug = faults_of([&] {
        asm volatile("msr oslar_el1, xzr\n\tisb");
        asm volatile("msr s2_0_c0_c0_4, %0" ::"r"(u64{0x40'0000}));   // DBGBVR0: where processes lie
        asm volatile("msr s2_0_c0_c0_5, %0" ::"r"(u64{0x1e7}));       // DBGBCR0: any exception level
        asm volatile("msr mdscr_el1, %0\n\tisb" ::"r"(u64{0xa001}));  // MDE, KDE, SS
    });
    ok = still_works();
    asm volatile("msr mdscr_el1, xzr\n\tmsr s2_0_c0_c0_5, xzr\n\tisb");
    result("MDSCR_EL1 and breakpoints", ok && debug.count == 0, debug.esr);

    const Fault breakpoint = faults_of([] { asm volatile("brk #7"); });
    result("a breakpoint instruction is one's own", breakpoint.count == 1 && breakpoint.esr == 0xf200'0007,
           breakpoint.esr);

    asm volatile("msr tpidr_el0, %0\n\tmsr tpidrro_el0, %0" ::"r"(~u64{0}));
    ok = still_works();
    asm volatile("mrs %0, tpidr_el0" : "=r"(back));
    result("thread pointers", ok && back == ~u64{0}, back);

    asm volatile("msr contextidr_el1, %0\n\tmsr amair_el1, %0\n\tmsr afsr0_el1, %0\n\tmsr par_el1, %0" ::"r"(~u64{0}));
    result("other EL1 registers", still_works(), 0);
}

}  // namespace probe
