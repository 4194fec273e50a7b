// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the guest's stage-1 tables say of an address, with permissions (Arm ARM D8.2, D8.4; 4K granule, up to 48 bits),
// for guests whose tables no processor walks. The tables are the guest's and may be anything: at most four
// descriptors are read, each once, and only from its RAM.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

struct Translation {
    unsigned fault = 0;      // DFSC/IFSC; 0: none
    Ipa at;                  // of the address itself
    unsigned shift = 12;     // log2 of what the descriptor maps: 12, 21, 30
    bool user = false;       // AP[1]
    bool read_only = false;  // AP[2]
    bool uxn = false;
    bool pxn = false;
    Ipa descriptor;  // where it lies
    unsigned level = 0;
    std::uint64_t tables = 0;  // all descriptors above it at once: what their APTable, UXNTable, PXNTable take away

    // Another descriptor of the same table, instead: `at` is its base.
    void take(std::uint64_t descriptor);
};

inline constexpr unsigned kFaultTranslation = 0x4, kFaultAccess = 0x8, kFaultPermission = 0xc,
                          kFaultWalk = 0x14;  // + level

// The address as the guest's processor compares it: without a tag where TCR_EL1.TBI says so.
Gva untagged(const abi::El1State& el1, Gva at);

// Is it a regime that translate() knows? Else it faults everywhere.
bool supported(const abi::El1State& el1);

Translation translate(const abi::El1State& el1, const GuestMemory& memory, Gva at);

}  // namespace twain::vmm
