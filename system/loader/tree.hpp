// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the loader wants to know of a machine, read from its device tree (Devicetree Specification 0.4; bindings
// of Linux Documentation/devicetree/bindings). The tree is checked whole before it is read: any bytes are safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"
#include "loader/range_set.hpp"

namespace twain::loader {

enum class Conduit : std::uint32_t { none = 0, smc = 1, hvc = 2 };  // BootInfo::psci_conduit

struct Gic {
    std::uint32_t version = 0;  // 2, 3; 0: none that is known
    std::uint32_t maintenance_intid = 0;
    abi::Range distributor{};
    abi::Range redistributors{};   // version 2: the CPU interface
    abi::Range virtual_control{};  // version 2: GICH
    abi::Range virtual_cpu{};      // version 2: GICV
};

struct Machine {
    const char* compatible = "";  // of the root node, first string; points into the tree
    RangeSet ram;                 // without reserved memory, whole pages
    std::uint32_t core_count = 0;
    std::uint64_t mpidr[abi::kMaxCores] = {};  // [0]: the boot core
    Gic gic;
    std::uint32_t timer_phys_intid = 0, timer_virt_intid = 0, timer_hyp_intid = 0;
    abi::Range smmu{};  // an SMMUv3; bytes 0: none
    abi::Range uart{};  // a PL011 that is the console; bytes 0: none
    std::uint32_t uart_intid = 0;
    Conduit psci = Conduit::none;
    std::uint32_t flags = 0;             // BootInfo::flags that the bootargs ask for
    std::span<const std::uint8_t> seed;  // /chosen/rng-seed; points into the tree
};

inline constexpr std::size_t kMaxTree = 2 << 20;  // booting.rst: a device tree has at most 2 MB

// Is there a device tree, whole and well-formed? `limit`: bytes that may be read. Null: yes; else why not.
const char* check_tree(const void* tree, std::size_t limit);

// Reads a checked tree. Null: done; else what is missing or wrong in it.
// boot_mpidr: the affinity fields of the core that runs.
const char* read_tree(const void* tree, std::uint64_t boot_mpidr, Machine& machine);

// Has the interrupt controller what a kernel at exception level `level` needs? Null: yes; else what is missing.
const char* check_gic(const Gic& gic, unsigned level);

// Is `name` one of the root node's compatible strings?
bool is_compatible(const void* tree, const char* name);

}  // namespace twain::loader
