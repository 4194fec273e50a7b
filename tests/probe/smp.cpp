// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The other processors: switched on, off and on again; SGIs between them; one rewrites the code that another runs.
#include "probe.hpp"

extern "C" {
extern char __stack_top[];
void secondary_start();
void secondary_main();
}

namespace probe {
namespace {

constexpr u64 kCpuOn = 0xc400'0003, kCpuOff = 0x8400'0002, kAffinityInfo = 0xc400'0004;
constexpr u64 kStackBytes = 0x8000;

volatile u32 started[8];
volatile u32 order;  // what the processor that starts next shall do
enum : u32 { kAnswer = 1, kRewrite = 2 };
volatile bool stop_rewriting;
alignas(64) u32 patch[16];

u64 low(u64 x) { return static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(x))); }

bool wait_until(const volatile u32& word, u32 value, u64 ticks = kPatience) {
    const u64 until = counter() + ticks;
    while (word != value) {
        if (counter() > until) {
            return false;
        }
    }
    return true;
}

u64 start(u32 cpu, u32 what) {
    order = what;
    asm volatile("dsb sy" ::: "memory");
    return hvc(kCpuOn, cpu, reinterpret_cast<u64>(&secondary_start),
               reinterpret_cast<u64>(__stack_top) + cpu * kStackBytes)
        .x0;
}

bool wait_off(u32 cpu) {
    const u64 until = counter() + kPatience;
    while (hvc(kAffinityInfo, cpu, 0).x0 != 1) {
        if (counter() > until) {
            return false;
        }
    }
    return true;
}

void rewritten_code() {
    constexpr u32 kLdp = 0x29400001, kLdr = 0xf9400001, kStr = 0xb9000001, kNop = 0xd503201f, kRet = 0xd65f03c0;
    patch[0] = kLdp;
    patch[1] = kRet;
    stop_rewriting = false;
    if (start(1, kRewrite) != 0 || !wait_until(started[1], 3)) {
        result("rewritten code: start", false, 0);
        return;
    }
    const Fault f = faults_of([&] {
        for (u32 n = 0; n < 3000; ++n) {
            register u64 x0 asm("x0") = kUart + 0x24;
            asm volatile("ic iallu\n\tdsb nsh\n\tisb\n\tblr %1" : "+r"(x0) : "r"(patch) : "x1", "x2", "x30", "memory");
        }
    });
    stop_rewriting = true;
    result("an instruction rewritten while it is decoded", hvc(0x8400'0000).x0 == 0x1'0001, f.esr);
    (void)wait_off(1);
    (void)kLdr, (void)kStr, (void)kNop;
}

}  // namespace

void probe_smp() {
    if (machine.cpus < 2) {
        return;
    }
    interrupts[self()].seen = 0;
    write32(own_interrupts() + 0x100, 0xffff);
    enable_interrupts(true);
    for (u32 cpu = 1; cpu < machine.cpus; ++cpu) {
        result("CPU_ON", start(cpu, kAnswer) == 0, cpu);
        const u64 again = low(hvc(kCpuOn, cpu, kRam, 0).x0);
        result("CPU_ON again: on or pending", again == low(~u64{3}) || again == low(~u64{4}), again);
        result("it runs", wait_until(started[cpu], 1), cpu);
        result("affinity info: on", hvc(kAffinityInfo, cpu, 0).x0 == 0, cpu);
        interrupts[self()].seen = 0;
        send_sgi(cpu, 8);
        result("SGI there and back", wait_for(9), interrupts[self()].seen);
        result("it switches itself off", wait_off(cpu), cpu);
        started[cpu] = 0;
        result("CPU_ON once more", start(cpu, kAnswer) == 0 && wait_until(started[cpu], 1), cpu);
        interrupts[self()].seen = 0;
        for (u32 n = 0; n < 50; ++n) {  // woken from WFI each time
            interrupts[self()].seen = 0;
            send_sgi(cpu, 10);
            if (!wait_for(9)) {
                break;
            }
        }
        result("50 SGI round trips", (interrupts[self()].seen & u64{1} << 9) != 0, interrupts[self()].seen);
        send_sgi(cpu, 8);
        result("off again", wait_off(cpu), cpu);
    }
    if (machine.twain) {
        rewritten_code();
    }
    enable_interrupts(false);
}

}  // namespace probe

using namespace probe;

void secondary_main() {
    const u32 cpu = self();
    if (order == kRewrite) {
        started[cpu] = 3;
        constexpr u32 kWords[] = {0x29400001, 0xf9400001, 0xb9000001, 0xd503201f, 0x0d00'8000, 0x88df'fc01};
        for (u32 n = 0; !stop_rewriting; ++n) {
            *const_cast<volatile u32*>(&patch[0]) = kWords[n % 6];
            asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish" ::"r"(patch) : "memory");
        }
        (void)hvc(kCpuOff);
    }
    gic_start_processor();
    write32(own_interrupts() + 0x100, 0xffff);
    interrupts[cpu] = {};
    enable_interrupts(true);
    started[cpu] = 1;
    for (;;) {
        enable_interrupts(false);
        while ((interrupts[cpu].seen & (u64{1} << 8 | u64{1} << 10)) == 0) {
            asm volatile("dsb sy\n\twfi" ::: "memory");
            enable_interrupts(true);
            asm volatile("isb");
            enable_interrupts(false);
        }
        const bool last = (interrupts[cpu].seen & u64{1} << 8) != 0;
        interrupts[cpu].seen = 0;
        send_sgi(0, 9);
        if (last) {
            break;
        }
    }
    (void)hvc(kCpuOff);
}
