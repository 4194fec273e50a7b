// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System MMU, version 3 (Arm IHI 0070): what devices reach by DMA. Stage 1 translates, with one context for each DMA
// space. A stream (on a PCI bus: the requester id) that belongs to no DMA space reaches nothing.
//
// One SMMU, the first 256 streams. All under the structure lock; commands are given one at a time and waited for.
#pragma once

#include "kernel/core/space.hpp"

namespace twain::kernel::smmu {

inline constexpr u32 kStreams = 256;

// Not there, or without stage 1: DMA is as free as the machine lets it be, and there are no DMA spaces.
bool present();
void init(const abi::BootInfo& boot);

// The stream belongs to the space until that goes.
Status attach(Space& space, u64 stream);

void flush(const Space& space);  // translations of a space
void flush_all();
void forget(Space& space);  // its streams reach nothing; its context goes

// What a device was refused, the oldest first; kind (IHI 0070 7.3) 0: nothing.
DmaFault next_fault();

}  // namespace twain::kernel::smmu
