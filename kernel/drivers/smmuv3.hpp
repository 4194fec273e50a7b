// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System MMU, version 3 (Arm IHI 0070): what devices reach by DMA. Stage 1 translates, with one context, and so one ASID,
// for each DMA space that has streams. A stream (on a PCI bus: the requester id) that belongs to no space reaches nothing.
//
// One SMMU, the first kStreams streams. All under the structure lock. Commands are given in the order in which they come,
// and waited for in steps: an SMMU that does not answer makes a call fail, and what it may still use is not used for
// anything else.
#pragma once

#include "kernel/core/space.hpp"

namespace twain::kernel::smmu {

inline constexpr u32 kStreams = 256;
static_assert(kStreams <= 256, "as many contexts, and 8 bits of ASID is what every SMMU has");

// Queues of the SMMU: a position is an index and, above it, a bit that changes each time that the index wraps (3.5.1).
template <unsigned kBits>
struct Ring {
    static constexpr u32 kEntries = u32{1} << kBits;
    static constexpr u32 index(u64 count) { return static_cast<u32>(count) & (kEntries - 1); }
    static constexpr u32 position(u64 count) { return static_cast<u32>(count) & (2 * kEntries - 1); }
    // Of `count` entries that were written in all, how many have been read, if the reader says that it is at a position.
    static constexpr u64 read(u64 count, u32 reader) { return count - position(count - reader); }
};

// False: not there, or not one that the kernel can use. Then there are no DMA spaces.
bool present();

// From then on no device reaches anything. Once, before anybody has memory.
void init(const abi::BootInfo& boot);

// present() is true for all that follows. The stream belongs to the space; nullptr: to none. kAgain: interrupted; timeout: the
// SMMU does not answer: in both cases what was asked has begun, and the same call goes on.
Status attach(Space* space, u64 stream);

// No device uses a translation any more that is not in the space's tables. False: not yet; `progress` as in
// machine::flush_space().
bool flush(const Space& space, u64& progress);

// Takes all streams from the space. False: not yet.
bool forget(Space& space);

// Has something ended with false because the SMMU did not answer, since this was asked last?
bool gave_up();

// What a device was refused, the oldest first; kind (7.3) 0: nothing.
DmaFault next_fault();

}  // namespace twain::kernel::smmu
