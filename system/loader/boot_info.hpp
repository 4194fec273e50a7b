// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the kernel is told (abi::BootInfo), from the tree and the packed header.
#pragma once

#include "kernel/api/abi.hpp"
#include "loader/packed.hpp"
#include "loader/tree.hpp"

namespace twain::loader {

// `base`: where the image lies. The packed header comes with the image and is trusted.
// Null: done; else why the image cannot run at that place.
const char* fill_boot_info(const Packed& packed, const PackedKernel& kernel, const Machine& machine, std::uint64_t base,
                           abi::BootInfo& info);

}  // namespace twain::loader
