// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the parts of the architecture layer know of each other at start.
#pragma once

#include "kernel/core/cpu.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/scheduler.hpp"
#include "kernel_tables.hpp"

namespace twain::kernel {

const abi::BootInfo& boot_info();
inline u64 physical(const void* in_image) {
    return reinterpret_cast<u64>(in_image) - layout::kImage + boot_info().kernel.base;
}

// The root task: its pool, spaces and first capabilities.
void start_root(Cpu& cpu, Phys boot_page);

// Guests, beyond what the core knows.
void guest_timer_interrupt(Cpu& cpu);
void guest_maintenance(Cpu& cpu);
// Sleeps until the core has an interrupt, whatever waits for a guest.
void sleep_beside_guest(Cpu& cpu);
void guest_refresh(Cpu& cpu);
void guest_trap(Cpu& cpu, u64 syndrome);

// Never returns: says what happened on the UART, with a backtrace and, if it is given them, x0 to x30 and SP.
[[noreturn]] void panic(const char* what, const u64* registers = nullptr);

namespace machine {
void uart_start();
void uart_seize();
}  // namespace machine

}  // namespace twain::kernel
