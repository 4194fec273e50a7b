// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The interrupt controller: every register at every width, then that it still works.
#include "probe.hpp"

namespace probe {
namespace {

u64 access(u64 at, unsigned bytes, bool write, u64 value) {
    switch (bytes * 2 + (write ? 1 : 0)) {
        case 2: asm volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(at) : "memory"); break;
        case 3: asm volatile("strb %w0, [%1]" ::"r"(value), "r"(at) : "memory"); break;
        case 4: asm volatile("ldrh %w0, [%1]" : "=r"(value) : "r"(at) : "memory"); break;
        case 5: asm volatile("strh %w0, [%1]" ::"r"(value), "r"(at) : "memory"); break;
        case 8: asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(at) : "memory"); break;
        case 9: asm volatile("str %w0, [%1]" ::"r"(value), "r"(at) : "memory"); break;
        case 16: asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(at) : "memory"); break;
        default: asm volatile("str %0, [%1]" ::"r"(value), "r"(at) : "memory"); break;
    }
    return value;
}

// Every aligned offset at every width where a frame has registers; samples of what is reserved between.
bool has_registers(u64 at) {
    const u64 in_frame = at & 0xffff;
    return in_frame < 0x1000 || (in_frame >= 0x6000 && in_frame < 0x6300) || in_frame >= 0xff80;
}

u32 sweep(u64 base, u64 bytes, bool write) {
    const Fault f = faults_of([&] {
        for (unsigned width = 1; width <= 8; width *= 2) {
            for (u64 at = 0; at + width <= bytes; at += has_registers(at) ? width : 0x80) {
                (void)access(base + at, width, write, ~u64{0});
            }
        }
    });
    return f.count;
}

// Every SPI to this processor.
void route_here() {
    for (u32 n = 0; n < 32; ++n) {
        if (machine.gic == 2) {
            write32(kGicd + 0x820 + n / 4 * 4, 0x0101'0101u << self());
        } else {
            write32(kGicd + 0x6100 + 8 * n, self());
            write32(kGicd + 0x6104 + 8 * n, 0);
        }
    }
}

void reset_gic() {
    write32(kGicd, 0);
    write32(kGicd + 0x84, machine.gic == 2 ? 0 : ~0u);
    write32(kGicd + 0x184, ~0u);
    write32(kGicd + 0x284, ~0u);
    write32(kGicd + 0x384, ~0u);
    write32(kGicd + 0xc08, 0);
    write32(kGicd + 0xc0c, 0);
    route_here();
    const u64 own = own_interrupts();
    for (u32 n = 0; n < 32; n += 4) {
        write32(kGicd + 0x420 + n, 0xa0a0'a0a0);
        write32(own + 0x400 + n, 0xa0a0'a0a0);
    }
    write32(own + 0x180, ~0u);
    write32(own + 0x280, ~0u);
    write32(own + 0x380, ~0u);
    write32(own + 0xc04, 0);
    if (machine.gic == 2) {
        for (u32 n = 0; n < 16; n += 4) {
            write32(kGicd + 0xf10 + n, ~0u);
        }
    }
}

void registers_of_version3() {
    const u64 last = kGicr + (machine.cpus - 1) * kRedistributor;
    result("last redistributor", (read32(last + 8) & 0x10) != 0, read32(last + 8));
    result("reading every redistributor register", sweep(kGicr, machine.cpus * kRedistributor, false) == 0, 0);
    if (machine.twain) {
        result("writing every redistributor register", sweep(kGicr, machine.cpus * kRedistributor, true) == 0, 0);
    }
}

// The CPU interface is the processor's own: what it does with odd widths is not the VMM's affair, what comes of it is.
void registers_of_version2() {
    const u32 targets = read32(kGicd + 0x800);
    result("GICD_ITARGETSR0", targets == (machine.cpus == 1 ? 0 : 0x0101'0101u << self()), targets);
    result("CPUNumber", (read32(kGicd + 4) >> 5 & 7) == machine.cpus - 1, read32(kGicd + 4));
    result("GICC", read32(kGicc + 0xfc) >> 16 == 2, read32(kGicc + 0xfc));  // GICC_IIDR: architecture version
    (void)sweep(kGicc, 0x2000, false);
    (void)sweep(kGicc, 0x2000, true);
    write32(kGicc, 0);
    write32(kGicc + 8, 0);  // GICC_BPR
    for (u32 n = 0; n < 0x20; n += 4) {
        write32(kGicc + 0xd0 + n, 0);  // GICC_APR, GICC_NSAPR: nothing is active
    }
    result("after every CPU interface register", gic_version() == 2, read32(kGicc));
    const Fault beyond = faults_of([] { (void)read32(kGicc + 0x2000); });
    result("nothing behind the CPU interface", beyond.count == 1 && beyond.ec() == 0x25, beyond.esr);
    const Fault distributor = faults_of([] { (void)read32(kGicd + 0x1000); });
    result("nothing behind the distributor", distributor.count == 1 && distributor.ec() == 0x25, distributor.esr);
}

void sgis_of_version3() {
    asm volatile("msr s3_0_c12_c11_5, %0\n\tisb" ::"r"(u64{6} << 24 | u64{0xff} << 16 | 0xffff));
    asm volatile("msr s3_0_c12_c11_5, %0\n\tisb" ::"r"(u64{6} << 24 | u64{1} << 40));
}

void sgis_of_version2() {
    write32(kGicd + 0xf00, (0xff & ~((1u << machine.cpus) - 1)) << 16 | 6);
    write32(kGicd + 0xf00, 1u << 24 | 6);
    write32(kGicd + 0xf00, 3u << 24 | 6);
}

// One SGI for each sender, however many were sent.
void senders_of_version2() {
    enable_interrupts(false);
    Interrupts& i = interrupts[self()];
    i.senders = 0;
    const u32 before = i.count;
    write32(kGicd + 0xf20, 0xff);
    write32(kGicd + 0xf20, 0xff);
    const u32 all = (1u << machine.cpus) - 1;
    result("GICD_SPENDSGIR", (read32(kGicd + 0xf10) & 0xff) == all, read32(kGicd + 0xf10));
    enable_interrupts(true);
    const u64 until = counter() + kPatience;
    while (i.senders != all && counter() < until) {
    }
    for (u32 n = 0; n < 100; ++n) {
        (void)read32(kGicd);
    }
    result("an SGI from each sender", i.senders == all && i.count - before == machine.cpus, i.senders);
    result("none is left", read32(kGicd + 0xf20) == 0, read32(kGicd + 0xf20));
}

}  // namespace

void probe_gic() {
    result("version of the GIC", gic_version() == machine.gic, gic_version());
    const u64 bytes = machine.gic == 2 ? 0x1000 : 0x1'0000;
    result("reading every distributor register", sweep(kGicd, bytes, false) == 0, 0);
    machine.gic == 2 ? registers_of_version2() : registers_of_version3();
    if (machine.twain) {
        result("writing every distributor register", sweep(kGicd, bytes, true) == 0, 0);
    }
    reset_gic();
    gic_start();
    gic_start_processor();
    interrupts[self()] = {};
    write32(own_interrupts() + 0x100, 0xffff);
    enable_interrupts(true);
    send_sgi(self(), 5);
    result("SGI to oneself", wait_for(5), interrupts[self()].last);
    machine.gic == 2 ? sgis_of_version2() : sgis_of_version3();
    result("SGI to nobody, and to all others", (interrupts[self()].seen & u64{1} << 6) == 0, interrupts[self()].seen);
    u32 before = interrupts[self()].count;
    for (u32 n = 0; n < 100; ++n) {
        send_sgi(self(), 7);
        while (interrupts[self()].count == before + n) {
        }
    }
    result("100 SGIs, one after the other", interrupts[self()].count == before + 100,
           interrupts[self()].count - before);
    if (machine.gic == 2) {
        senders_of_version2();
    }

    enable_interrupts(false);
    before = interrupts[self()].count;
    write32(kGicd + 0xc08, 0xaaaa'aaaa);  // edge
    write32(kGicd + 0xc0c, 0xaaaa'aaaa);
    write32(kGicd + 0x104, ~0u);
    write32(kGicd + 0x204, ~0u);  // all 32 SPIs at once: more than there are list registers
    result("32 SPIs pending", read32(kGicd + 0x204) == ~0u, read32(kGicd + 0x204));
    enable_interrupts(true);
    const u64 until = counter() + kPatience;
    while (interrupts[self()].seen >> 32 != 0xffff'ffff && counter() < until) {
    }
    result("32 SPIs taken, each once",
           interrupts[self()].count - before == 32 && interrupts[self()].seen >> 32 == 0xffff'ffff,
           interrupts[self()].seen);
    write32(kGicd + 0x184, ~0u);
    write32(kGicd + 0xc08, 0);
    write32(kGicd + 0xc0c, 0);

    interrupts[self()].seen = 0;
    write32(kGicd + 0x104, 2);
    write32(kUart + 0x30, 0x301);
    write32(kUart + 0x2c, 0x70);
    write32(kUart, ' ');
    write32(kUart, '\r');
    write32(kUart + 0x38, 0x20);  // transmit interrupt: its handler masks it
    result("UART interrupt", wait_for(33), interrupts[self()].seen);
    before = interrupts[self()].count;
    write32(kUart + 0x44, 0x7ff);
    result("and no more when masked", interrupts[self()].count == before, interrupts[self()].count);
    write32(kGicd + 0x184, ~0u);
    enable_interrupts(false);
}

}  // namespace probe
