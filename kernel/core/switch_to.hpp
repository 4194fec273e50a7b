// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The switch itself, inline: it is most of what a message costs.
#pragma once

#include "kernel/core/guest.hpp"
#include "kernel/core/scheduler.hpp"
#include "switch.hpp"

namespace twain::kernel {

// Gives `thread` the processor now; the current thread must already have been put where it belongs.
inline void switch_to(Cpu& cpu, Thread& thread) {
    if (cpu.guest_mode) [[unlikely]] guest_leave(cpu);
    Thread* before = cpu.current;
    cpu.current = &thread;
    if (cpu.sched != thread.active) [[unlikely]] switch_budget(cpu, thread);
    if (before != &thread) [[likely]] machine::switch_thread(cpu, before, thread);
    cpu.frame = &thread.frame;
    if (thread.vcpu) [[unlikely]] guest_enter(cpu, thread);
}

}  // namespace twain::kernel
