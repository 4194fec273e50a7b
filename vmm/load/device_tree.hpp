// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The guest's device tree (Devicetree Specification 0.4; bindings of Linux 6.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/gic/gic.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

// The guest's physical address map; the generated tree and the bus are made from it.
struct BoardMap {
    Ipa distributor{0x0800'0000};
    Ipa redistributors{0x080a'0000};  // GICv3
    Ipa cpu_interface{0x0801'0000};   // GICv2
    Ipa uart{0x0900'0000};
    Ipa ram{0x4000'0000};
    unsigned uart_spi = 1;  // INTID 33
};

struct TreeInput {
    BoardMap board;
    unsigned vcpus = 1;
    GicVersion gic = GicVersion::v3;
    std::uint64_t ram_bytes = 0;
    std::string_view command_line;
    Ipa initrd;
    std::uint64_t initrd_bytes = 0;  // 0: none
    // Empty: neither is in the tree. Linux counts both as true randomness.
    std::span<const std::uint8_t> rng_seed;
    std::uint64_t kaslr_seed = 0;
};

// The tree's size in bytes; 0: it does not fit into `out`.
std::size_t make_device_tree(const TreeInput& in, std::span<std::byte> out);

}  // namespace twain::vmm
