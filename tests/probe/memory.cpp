// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Outside the RAM there is nothing but aborts; so are devices where no device is, and tables that lie there.
#include "probe.hpp"

extern "C" probe::u64 page_table[];

namespace probe {
namespace {

bool external(const Fault& f) {
    return f.count != 0 && f.ec() == 0x25 && (f.status() == 0x10 || (f.status() & 0x3c) == 0x14);
}

void every_width(const char* name, u64 at) {
    u64 bad = 0;
    u64 scratch = 0;
    const auto check = [&](const Fault& f, unsigned n) {
        if (!external(f) || f.far != at) {
            bad = bad | f.esr | u64{1} << (40 + n);
        }
    };
    check(faults_of([&] { asm volatile("ldrb %w0, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 0);
    check(faults_of([&] { asm volatile("ldrh %w0, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 1);
    check(faults_of([&] { asm volatile("ldr %w0, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 2);
    check(faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 3);
    check(faults_of([&] { asm volatile("str %0, [%1]" ::"r"(scratch), "r"(at) : "memory"); }), 4);
    check(faults_of([&] { asm volatile("strb %w0, [%1]" ::"r"(scratch), "r"(at) : "memory"); }), 5);
    check(faults_of([&] { asm volatile("ldp %0, xzr, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 6);
    check(faults_of([&] { asm volatile("stp xzr, xzr, [%0]" ::"r"(at) : "memory"); }), 7);
    check(faults_of([&] { asm volatile("ldxr %0, [%1]" : "=r"(scratch) : "r"(at) : "memory"); }), 8);
    result(name, bad == 0, bad);
}

void jump(u64 to) { asm volatile("blr %0" ::"r"(to) : "x30", "memory"); }

}  // namespace

void probe_memory() {
    result("the device tree states the memory", machine.ram_bytes >= 0x20'0000, machine.ram_bytes);
    if (!machine.twain) {
        return;
    }
    every_width("below the RAM", kRam - 64);
    every_width("above the RAM", kRam + machine.ram_bytes);
    every_width("4 GiB above", kRam + 0x1'0000'0000);
    every_width("at address 0", 0x10);
    every_width("the host's flash", 0x0400'0000);
    every_width("the host's real-time clock", 0x0901'0000);
    every_width("virtio", 0x0a00'0000);
    every_width("far above 40 bits of RAM", 0x7f'0000'0000);
    u64 value = 0;
    const u64 last = kRam + machine.ram_bytes - 8;
    const Fault at_end = faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(last) : "memory"); });
    result("the last word is there, and zero", at_end.count == 0 && value == 0, value);

    Fault f = faults_of([] { jump(kUart); });
    result("fetching instructions from a device", f.count == 1 && f.ec() == 0x21 && f.status() == 0x10, f.esr);
    f = faults_of([] { jump(kRam + machine.ram_bytes); });
    result("fetching instructions from nowhere", f.count == 1 && f.ec() == 0x21 && f.status() == 0x10, f.esr);

    // Tables of the upper half in device space, outside the RAM, and cyclic.
    u64 tcr = 0;
    asm volatile("mrs %0, tcr_el1" : "=r"(tcr));
    asm volatile("msr tcr_el1, %0\n\tisb" ::"r"(tcr & ~(u64{1} << 23)));
    const u64 high = ~u64{0} << 39;
    const u64 wrong[] = {kUart, kRam + machine.ram_bytes, 0x30'0000'0000};
    for (const u64 table : wrong) {
        asm volatile("msr ttbr1_el1, %0\n\tisb\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::"r"(table) : "memory");
        f = faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(high) : "memory"); });
        result("page tables in the wrong place", external(f) && (f.status() & 0x3c) == 0x14, f.esr);
    }
    alignas(4096) static u64 cycle[512];
    for (u64& entry : cycle) {
        entry = reinterpret_cast<u64>(cycle) | 0x703;
    }
    asm volatile("dsb ish\n\tmsr ttbr1_el1, %0\n\tisb\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::"r"(cycle) : "memory");
    f = faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(high) : "memory"); });
    result("cyclic page tables", f.count == 0 && value == cycle[0], value);
    asm volatile("msr tcr_el1, %0\n\tmsr ttbr1_el1, %1\n\tisb\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::"r"(tcr),
                 "r"(page_table)
                 : "memory");
}

}  // namespace probe
