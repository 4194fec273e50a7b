// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The end: what, where, registers, backtrace, on the UART and in the log.
#include "boot.hpp"
#include "kernel/core/log.hpp"
#include "machine.hpp"

namespace twain::kernel {

extern "C" [[noreturn]] void kernel_exception(const u64* registers);

namespace {

constexpr unsigned kMaxFrames = 16;
constexpr const char* kRows[] = {"x0-x3", "x4-x7", "x8-x11", "x12-x15", "x16-x19", "x20-x23", "x24-x27", "x28-SP"};

bool in_stacks(u64 at) { return (at & 15) == 0 && at >= layout::kImage && at < layout::kImage + 0x20'0000; }

}  // namespace

void panic(const char* what, const u64* registers) {
    asm volatile("msr daifset, #15" ::: "memory");
    static u32 entered = 0;
    if (__atomic_exchange_n(&entered, 1u, __ATOMIC_ACQ_REL)) machine::halt();
    halt_other_cores();
    log_seize();
    machine::uart_seize();
    log("\nkernel panic: {}\n  build {} core {}\n", what, &boot_info().build_id[0], reg::MPIDR_EL1::read() & 0xff'ffff);
    log("  ESR {} FAR {} ELR {} SPSR {}\n", Regime::Esr::read(), Regime::Far::read(), Regime::Elr::read(),
        Regime::Spsr::read());
    u64 frame_pointer = reinterpret_cast<u64>(__builtin_frame_address(0));
    if (registers) {
        frame_pointer = registers[29];
        for (const char* row : kRows) {
            log("  {} {} {} {} {}\n", row, registers[0], registers[1], registers[2], registers[3]);
            registers += 4;
        }
    }
    for (unsigned i = 0; i < kMaxFrames && in_stacks(frame_pointer); ++i) {
        const auto* record = reinterpret_cast<const u64*>(frame_pointer);
        log("  #{} {}\n", i, record[1]);
        if (record[0] <= frame_pointer) break;
        frame_pointer = record[0];
    }
    log("  end of panic\n");
    machine::halt();
}

void kernel_exception(const u64* registers) { panic("exception in the kernel", registers); }

}  // namespace twain::kernel
