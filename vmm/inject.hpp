// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the processor would do when it takes an exception to the guest's EL1 (Arm ARM D1.3, AArch64.TakeException), or has
// done an instruction. For an exception the page's EL1 group must be valid; it is marked as changed.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"
#include "vmm/esr.hpp"

namespace twain::vmm {

// The instruction at the page's pc has been done in the guest's place. If it was the one to be stepped (D2.12), that is over.
inline void advance(abi::VcpuPage& page) {
    page.pc += 4;
    page.pstate &= ~abi::kPstateStep;
}

// Synchronous exception with syndrome `esr`; the preferred return address is the page's pc.
void inject_synchronous(abi::VcpuPage& page, std::uint64_t esr);

// What an undefined instruction raises.
void inject_undefined(abi::VcpuPage& page);

// Synchronous external abort at `far`. `fault_status`: kFaultExternal or kFaultExternalOnWalk.
void inject_data_abort(abi::VcpuPage& page, Gva far, bool write, unsigned fault_status);
void inject_instruction_abort(abi::VcpuPage& page, Gva far, unsigned fault_status);

}  // namespace twain::vmm
