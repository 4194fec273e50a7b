// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Entry from user mode, after the registers have been saved: entry.S calls these.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

// SVC from a process. `number` is the immediate.
extern "C" void handle_syscall(Cpu& cpu, u64 number);

// The invoke call, for which entry.S has a way of its own. Interrupted long operations rewind the PC to the SVC and are
// made again.
extern "C" void sys_invoke(Cpu& cpu);

}  // namespace twain::kernel
