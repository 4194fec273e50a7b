// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A machine whose cores are threads.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel::parallel {

// The thread that calls this is that core from now on.
void become(CpuId core);
// What waits: the mailbox, requests, the timer.
void take_interrupts(Cpu& cpu);
// No core makes another system call; an idle core may throw fake::Idle. By the test.
bool finished();

}  // namespace twain::kernel::parallel
