// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "probe.hpp"

namespace probe {

u32 failures = 0;
Machine machine;
Interrupts interrupts[8];

namespace {

volatile bool expecting[8];
volatile u64 fault_esr[8], fault_far[8];
volatile u32 fault_count[8];

u32 big_endian(const unsigned char* p) {
    return static_cast<u32>(p[0]) << 24 | static_cast<u32>(p[1]) << 16 | static_cast<u32>(p[2]) << 8 | p[3];
}

bool begins(const char* text, const char* with) {
    for (; *with != 0; ++text, ++with) {
        if (*text != *with) {
            return false;
        }
    }
    return true;
}

bool equal(const char* a, const char* b) {
    for (; *a != 0 && *a == *b; ++a, ++b) {
    }
    return *a == *b;
}

}  // namespace

void print(const char* text) {
    for (; *text != 0; ++text) {
        while ((read32(kUart + 0x18) & 0x20) != 0) {
        }
        write32(kUart, static_cast<unsigned char>(*text));
        if (*text == '\n') {
            write32(kUart, '\r');
        }
    }
}

void print_hex(u64 value) {
    char text[19] = "0x";
    for (unsigned i = 0; i < 16; ++i) {
        text[2 + i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 15];
    }
    print(text);
}

void result(const char* name, bool ok, u64 got) {
    print(ok ? "ok   " : "FAIL ");
    print(name);
    if (!ok) {
        ++failures;
        print(": ");
        print_hex(got);
    }
    print("\n");
}

void read_device_tree(const void* tree) {
    const auto* base = static_cast<const unsigned char*>(tree);
    const unsigned char* p = base + big_endian(base + 8);
    const char* strings = static_cast<const char*>(tree) + big_endian(base + 12);
    const char* node = "";
    for (;;) {
        const u32 token = big_endian(p);
        p += 4;
        if (token == 1) {  // a node begins
            node = reinterpret_cast<const char*>(p);
            machine.cpus += begins(node, "cpu@") ? 1u : 0u;
            while (*p++ != 0) {
            }
            p = base + (static_cast<u64>(p - base) + 3) / 4 * 4;
        } else if (token == 3) {  // a property
            const u32 bytes = big_endian(p);
            const char* name = strings + big_endian(p + 4);
            p += 8;
            if (begins(node, "memory@") && equal(name, "reg")) {
                machine.ram_bytes = static_cast<u64>(big_endian(p + 8)) << 32 | big_endian(p + 12);
            }
            if (equal(name, "model") && begins(reinterpret_cast<const char*>(p), "Twain")) {
                machine.twain = true;
            }
            const char* value = reinterpret_cast<const char*>(p);
            if (equal(name, "compatible") && (begins(value, "arm,gic-400") || begins(value, "arm,cortex-a15-gic"))) {
                machine.gic = 2;
            }
            p += (bytes + 3) / 4 * 4;
        } else if (token == 9) {
            return;
        }
    }
}

u32 self() {
    u64 mpidr = 0;
    asm("mrs %0, mpidr_el1" : "=r"(mpidr));
    return static_cast<u32>(mpidr & 7);
}

void expect_faults(bool expect) {
    const u32 cpu = self();
    if (expect) {
        fault_esr[cpu] = 0;
        fault_far[cpu] = 0;
        fault_count[cpu] = 0;
    }
    expecting[cpu] = expect;
}

Fault last_fault() {
    const u32 cpu = self();
    return {fault_esr[cpu], fault_far[cpu], fault_count[cpu]};
}

void enable_interrupts(bool on) {
    if (on) {
        asm volatile("msr daifclr, #2" ::: "memory");
    } else {
        asm volatile("msr daifset, #2" ::: "memory");
    }
}

void gic_start() { write32(kGicd, machine.gic == 2 ? 1 : 0x12); }

u32 gic_version() { return read32(kGicd + (machine.gic == 2 ? 0xfe8 : 0xffe8)) >> 4 & 0xf; }

u64 own_interrupts() { return machine.gic == 2 ? kGicd : kGicr + self() * kRedistributor + kSgiFrame; }

void send_sgi(u32 cpu, u32 intid) {
    asm volatile("dsb ish" ::: "memory");
    if (machine.gic == 2) {
        write32(kGicd + 0xf00, 1u << (16 + cpu) | intid);
    } else {
        asm volatile("msr s3_0_c12_c11_5, %0\n\tisb" ::"r"(u64{intid} << 24 | u64{1} << cpu));  // ICC_SGI1R_EL1
    }
}

void gic_start_processor() {
    if (machine.gic == 3) {
        const u64 frame = kGicr + self() * kRedistributor;
        write32(frame + 0x14, 0);
        while ((read32(frame + 0x14) & 4) != 0) {
        }
    }
    const u64 own = own_interrupts();
    write32(own + 0x80, machine.gic == 2 ? 0 : ~0u);
    write32(own + 0x180, ~0u);
    write32(own + 0x280, ~0u);
    for (u32 n = 0; n < 32; n += 4) {
        write32(own + 0x400 + n, 0xa0a0'a0a0);
    }
    if (machine.gic == 2) {
        write32(kGicc + 4, 0xff);
        write32(kGicc, 1);
        return;
    }
    asm volatile("msr s3_0_c12_c12_5, %0\n\tisb" ::"r"(u64{7}));  // ICC_SRE_EL1
    asm volatile("msr s3_0_c4_c6_0, %0" ::"r"(u64{0xff}));        // ICC_PMR_EL1
    asm volatile("msr s3_0_c12_c12_7, %0\n\tisb" ::"r"(u64{1}));  // ICC_IGRPEN1_EL1
}

bool wait_for(u32 intid, u64 ticks) {
    const u64 until = counter() + ticks;
    while ((interrupts[self()].seen >> intid & 1) == 0) {
        if (counter() > until) {
            return false;
        }
    }
    return true;
}

Answer hvc(u64 id, u64 a1, u64 a2, u64 a3) {
    register u64 x0 asm("x0") = id;
    register u64 x1 asm("x1") = a1;
    register u64 x2 asm("x2") = a2;
    register u64 x3 asm("x3") = a3;
    asm volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
    return {x0, x1, x2, x3};
}

Answer smc(u64 id, u64 a1, u64 a2, u64 a3) {
    register u64 x0 asm("x0") = id;
    register u64 x1 asm("x1") = a1;
    register u64 x2 asm("x2") = a2;
    register u64 x3 asm("x3") = a3;
    asm volatile("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
    return {x0, x1, x2, x3};
}

}  // namespace probe

using namespace probe;

extern "C" {

u64 take_fault(u64 esr, u64 far, u64 elr, u64 link);
void take_interrupt();
[[noreturn]] void take_bad(u64 esr, u64 far, u64 elr);

[[noreturn]] void take_bad(u64 esr, u64 far, u64 elr) {
    print("PROBE FAIL: unexpected exception ");
    print_hex(esr);
    print(" ");
    print_hex(far);
    print(" ");
    print_hex(elr);
    print("\n");
    (void)hvc(0x8400'0008);
    for (;;) {
    }
}

u64 take_fault(u64 esr, u64 far, u64 elr, u64 link) {
    const u32 cpu = self();
    if (!expecting[cpu]) {
        take_bad(esr, far, elr);
    }
    fault_esr[cpu] = esr;
    fault_far[cpu] = far;
    fault_count[cpu] = fault_count[cpu] + 1;
    return esr >> 26 == 0x21 ? link : elr + 4;
}

void take_interrupt() {
    u64 token = 0;
    if (machine.gic == 2) {
        token = read32(kGicc + 0xc);  // GICC_IAR
    } else {
        asm volatile("mrs %0, s3_0_c12_c12_0\n\tdsb sy" : "=r"(token)::"memory");  // ICC_IAR1_EL1
    }
    const u64 intid = token & 0x3ff;
    Interrupts& i = interrupts[self()];
    if (intid < 16) {
        i.senders = i.senders | 1u << (token >> 10 & 7);
    }
    if (intid < 64) {
        i.seen = i.seen | u64{1} << intid;
        if (intid == 27) {
            asm volatile("msr cntv_ctl_el0, %0\n\tisb" ::"r"(u64{2}));
        } else if (intid == 30) {
            asm volatile("msr cntp_ctl_el0, %0\n\tisb" ::"r"(u64{2}));
        } else if (intid == 33) {
            write32(kUart + 0x38, 0);
        }
    }
    i.last = static_cast<u32>(intid);
    i.count = i.count + 1;
    if (machine.gic == 2) {
        write32(kGicc + 0x10, static_cast<u32>(token));  // GICC_EOIR
    } else {
        asm volatile("msr s3_0_c12_c12_1, %0\n\tisb" ::"r"(token) : "memory");  // ICC_EOIR1_EL1
    }
}

}  // extern "C"
