// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The end of a program that cannot go on, and the kernel log for programs that hold it.
#pragma once

#include <string_view>

namespace twain::rt {

// Writes "NAME: panic: why" into the kernel log if the process holds the capability `klog` (the root task:
// always), then faults on purpose: the supervisor reports the process, and only it stops. The fault's registers
// say where the text is: x0 address and x1 bytes of `why`, x2 and x3 of `detail`.
[[noreturn]] void panic(std::string_view why, std::string_view detail = {});

// Writes text into the kernel log; without the capability nothing happens. Lines of several threads may mix.
void log(std::string_view text);

// The immediate of the UDF instruction that a panic ends in (ESR of the fault says nothing; the instruction does).
inline constexpr unsigned kPanicUdf = 0x7077;

}  // namespace twain::rt
