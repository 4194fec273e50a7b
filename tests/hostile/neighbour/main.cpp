// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The well-behaved neighbour: all memory that it does not need holds a pattern, a part of which it checks each time that
// its timer wakes it. It says how often that was, and whatever it finds.
#include "probe.hpp"

extern "C" {
extern char __secondary_stacks[];
void probe_main(const void* tree);
void secondary_main();
}

using namespace probe;

namespace {

constexpr u64 kSecret = 0xb517'0dd5'a900'0000;  // the hostile guest looks for it
constexpr u64 kPeriod = 20;                     // milliseconds
constexpr u64 kParts = 64;

u64 pattern(u64 at) { return kSecret | (at >> 3 & 0xff'ffff); }

void print_decimal(u64 value) {
    char text[21] = {};
    unsigned at = 20;
    do {
        text[--at] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    print(text + at);
}

void sleep_until(u64 when) {
    Interrupts& mine = interrupts[self()];
    mine.seen = 0;
    asm volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"(when), "r"(u64{1}));
    for (;;) {
        enable_interrupts(false);
        if ((mine.seen & u64{1} << 27) != 0) {
            break;
        }
        asm volatile("dsb sy\n\twfi" ::: "memory");
        enable_interrupts(true);
        asm volatile("isb");
    }
    enable_interrupts(true);
}

}  // namespace

void secondary_main() {}

void probe_main(const void* tree) {
    read_device_tree(tree);
    gic_start();
    gic_start_processor();
    write32(own_interrupts() + 0x100, 1u << 27);
    u64 frequency = 0;
    asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
    const u64 first = (reinterpret_cast<u64>(__secondary_stacks) + 4095) & ~u64{4095};
    const u64 end = kRam + machine.ram_bytes, bytes = (end - first) / kParts & ~u64{7};
    // The device tree lies in it and is not needed any more.
    for (u64 at = first; at < end; at += 8) {
        *reinterpret_cast<volatile u64*>(at) = pattern(at);
    }
    print("neighbour READY\n");
    u64 when = counter();
    for (u64 n = 1;; ++n) {
        when += frequency / 1000 * kPeriod;
        const u64 now = counter();
        sleep_until(when > now ? when : now);
        const u64 from = first + n % kParts * bytes;
        for (u64 at = from; at < from + bytes; at += 8) {
            const u64 value = *reinterpret_cast<volatile u64*>(at);
            if (value != pattern(at)) {
                print("TOUCHED ");
                print_hex(at);
                print(" ");
                print_hex(value);
                print("\n");
                *reinterpret_cast<volatile u64*>(at) = pattern(at);
            }
        }
        print("count ");
        print_decimal(n);
        print("\n");
    }
}
