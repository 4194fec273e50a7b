// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel's own translation regime: built once, at start.
#pragma once

#include "machine.hpp"

namespace twain::kernel {

inline void write_kernel_descriptor(u64& entry, u64 value) { __atomic_store_n(&entry, value, __ATOMIC_RELEASE); }
void flush_kernel_translations();
void flush_kernel_page(u64 at);  // on this core

// Turns translation on for this core: root table (physical), vectors (virtual).
void enable_kernel_regime(u64 root, u64 vectors);

// Maps device registers at layout::kDevices + offset.
void map_device(u64 offset, Phys at, u64 bytes);

// Maps two pages of RAM at layout::kWindows + core * kWindowBytes, for the core that calls: where a vCPU's state page and
// its shared registers are while a guest has the linear map's addresses.
void map_window(CpuId core, Phys state, Phys shared);

// Removes the identity map that start.S needed. Once, when all cores are up.
void drop_identity();

}  // namespace twain::kernel
