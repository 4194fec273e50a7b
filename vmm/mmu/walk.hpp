// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Walks the guest's stage-1 tables (Arm ARM D8.2, D8.3; VMSAv8-64, 4K, 16K and 64K granules, up to 48 bits), to
// find the instruction behind an abort and the bytes that it means. Permissions are not looked at: the processor has
// done that for the access that trapped. The tables are the guest's and may be anything: at most four descriptors
// are read, each once, and only from its RAM.
#pragma once

#include <cstdint>
#include <optional>

#include "kernel/api/abi.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

// Empty: no translation, or tables that lie outside the guest's RAM.
std::optional<Ipa> walk_stage1(const abi::El1State& el1, const GuestMemory& memory, Gva at);

}  // namespace twain::vmm
