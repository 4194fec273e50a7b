// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Device accesses by instructions for which the processor gives no syndrome: the VMM decodes them itself.
#include "probe.hpp"

namespace probe {

void probe_instructions() {
    u64 a = 0, b = 0, at = kGicd;
    asm volatile("ldp %w0, %w1, [%2], #8" : "=r"(a), "=r"(b), "+r"(at)::"memory");
    result("LDP, post-indexed", a == read32(kGicd) && b == read32(kGicd + 4) && at == kGicd + 8, b);
    at = kGicd;
    asm volatile("ldr %w0, [%1, #4]!" : "=r"(a), "+r"(at)::"memory");
    result("LDR, pre-indexed", a == read32(kGicd + 4) && at == kGicd + 4, a);
    asm volatile("ldr s7, [%1]\n\tfmov %w0, s7" : "=r"(a) : "r"(kGicd + 4) : "v7", "memory");
    result("LDR to a vector register", a == read32(kGicd + 4), a);
    at = kUart + 0x28;
    asm volatile("fmov s8, %w0\n\tstr s8, [%1], #-4" : "+r"(a), "+r"(at)::"v8", "memory");
    result("STR from a vector register", (read32(kUart + 0x28) & 0x3f) == (a & 0x3f) && at == kUart + 0x24,
           read32(kUart + 0x28));
    at = kUart + 0x24;
    asm volatile("stp %w1, %w2, [%0], #8" : "+r"(at) : "r"(0x12), "r"(0x34) : "memory");
    result("STP", read32(kUart + 0x24) == 0x12 && read32(kUart + 0x28) == 0x34, read32(kUart + 0x24));
    if (!machine.twain) {
        return;
    }
    asm volatile("ldr q7, [%1]\n\tumov %0, v7.d[0]" : "=r"(a) : "r"(kUart + 0x24) : "v7", "memory");
    result("LDR of 16 bytes, a width that the UART does not answer", a == 0, a);
    asm volatile("ldxr %w0, [%1]" : "=r"(a) : "r"(kUart + 0x24) : "memory");
    result("LDXR", a == 0x12, a);
    asm volatile("ldar %w0, [%1]" : "=r"(a) : "r"(kUart + 0x24) : "memory");
    asm volatile("stlr %w0, [%1]" ::"r"(0x77), "r"(kUart + 0x24) : "memory");
    result("LDAR and STLR", a == 0x12 && read32(kUart + 0x24) == 0x77, a);
    asm volatile("ld1 {v7.4s}, [%1]\n\tumov %w0, v7.s[1]" : "=r"(a) : "r"(kGicd) : "v7", "memory");
    result("LD1", a == read32(kGicd + 4), a);
    asm volatile("ld2 {v7.2s, v8.2s}, [%1]\n\tumov %w0, v8.s[0]" : "=r"(a) : "r"(kGicd) : "v7", "v8", "memory");
    result("LD2", a == read32(kGicd + 4), a);
    asm volatile("prfm pldl1keep, [%0]" ::"r"(kUart) : "memory");
    asm volatile("dc civac, %0" ::"r"(kUart) : "memory");
    const Fault f = faults_of([] {  // the processor may refuse it on Device memory before we see it
        asm volatile("dc zva, %0" ::"r"(kGicd + 0xd00) : "memory");
    });
    result("PRFM, DC CIVAC, DC ZVA", f.count == 0 || f.ec() == 0x25, f.esr);
}

}  // namespace probe
