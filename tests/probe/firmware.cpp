// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// HVC and SMC: what is known answers, what is unknown says so, and nothing else changes.
#include "probe.hpp"

namespace probe {
namespace {

constexpr u64 error(int code) { return static_cast<u64>(static_cast<std::int64_t>(code)); }

u64 low(u64 x) { return static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(x))); }

}  // namespace

void probe_firmware() {
    result("PSCI version", hvc(0x8400'0000).x0 >= 2, hvc(0x8400'0000).x0);
    result("PSCI: bad target", low(hvc(0xc400'0003, 0xff'0000, kRam).x0) == error(-2),
           hvc(0xc400'0003, 0xff'0000, kRam).x0);
    result("PSCI: oneself", low(hvc(0xc400'0003, 0, kRam).x0) == error(-4), 0);
    result("PSCI: affinity info of oneself", hvc(0xc400'0004, 0, 0).x0 == 0, 0);
    if (!machine.twain) {
        return;
    }
    result("PSCI 1.1", hvc(0x8400'0000).x0 == 0x1'0001, hvc(0x8400'0000).x0);
    result("PSCI by SMC", smc(0x8400'0000).x0 == 0x1'0001, smc(0x8400'0000).x0);
    result("SMCCC 1.1", hvc(0x8000'0000).x0 == 0x1'0001, hvc(0x8000'0000).x0);
    result("PSCI: bad entry point", low(hvc(0xc400'0003, 1, 0x1000).x0) == error(machine.cpus > 1 ? -9 : -2), 0);
    result("PSCI: unknown feature", low(hvc(0x8400'000a, 0x8400'00ff).x0) == error(-1), 0);
    u64 bad = 0;
    u32 seed = 1;
    for (u32 n = 0; n < 2000; ++n) {
        seed = seed * 1664525 + 1013904223;
        u64 id = seed;
        const u64 plain = id & ~u64{0x4000'0000};
        if (plain == 0x8000'0000 || plain == 0x8000'0001 || (plain >= 0x8400'0000 && plain <= 0x8400'00ff)) {
            continue;
        }
        const Answer a = n % 2 != 0 ? hvc(id, 11, 12, 13) : smc(id, 11, 12, 13);
        if (a.x0 != kNotSupported || a.x1 != 11 || a.x2 != 12 || a.x3 != 13) {
            bad = id | u64{1} << 63;
        }
    }
    result("2000 unknown HVC and SMC", bad == 0, bad);
    result(
        "HVC with another immediate",
        [] {
            register u64 x0 asm("x0") = 0x8400'0000;
            asm volatile("hvc #0xffff" : "+r"(x0)::"x1", "x2", "x3", "memory");
            return x0;
        }() == 0x1'0001,
        0);
    const u64 trng = hvc(0x8400'0050).x0;
    const Answer one = hvc(0xc400'0053, 192), two = hvc(0xc400'0053, 192);
    result("TRNG", trng == 0x1'0000 && one.x0 == 0 && one.x3 != two.x3, trng);
}

}  // namespace probe
