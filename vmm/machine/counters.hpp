// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Counters of a machine, in the region `stats` if the process has one: written by the VMM, read by whoever holds
// the region. Each vCPU's are written by its own thread only.
#pragma once

#include <cstdint>

#include "vmm/types.hpp"

namespace twain::vmm {

enum class MachineState : std::uint32_t { starting, running, resetting, stopping, off, failed };

struct VcpuCounters {
    std::uint64_t hypercall;     // HVC and SMC
    std::uint64_t mmio;          // with a syndrome
    std::uint64_t mmio_decoded;  // of which the VMM had to decode the instruction
    std::uint64_t sysreg;
    std::uint64_t sgi;        // of which sent SGIs
    std::uint64_t aborted;    // accesses to nothing: the guest got an external abort
    std::uint64_t undefined;  // the guest got an undefined-instruction exception
    std::uint64_t eoi;
    std::uint64_t kicked;
    std::uint64_t other;
    // Only without EL2:
    std::uint64_t reflected;  // the guest's own translation faults
    std::uint64_t filled;     // shadow translations for a fault,
    std::uint64_t prefilled;  // and beside it
    std::uint64_t tlbi;
};

struct Stats {
    static constexpr std::uint64_t kMagic = 0x3154'4154'534d'4d56;  // "VMMSTAT1"
    std::uint64_t magic;
    MachineState state;
    std::uint32_t vcpus;
    std::uint64_t boots;
    std::uint64_t console_dropped;
    VcpuCounters vcpu[kMaxVcpus];
};
static_assert(sizeof(Stats) <= 4096);

}  // namespace twain::vmm
