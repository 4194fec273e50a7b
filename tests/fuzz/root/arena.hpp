// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the random calls may touch: one capability space, in which all workers live. The supervisor is outside, in the
// root task's own: whatever happens in the arena, it goes on, and can take everything away.
//
//   kFirst ..           lent by the supervisor, and given again when it is gone: the root task's space (to run in), the
//                       arena itself, the system object without `power`, pools, shared memory, the workers' threads
//   kFirst + kFixed ..  whatever the calls make of them
//
// All objects come from the pools here, so at the end of a round all can be destroyed, and the pools counted.
#pragma once

#include "random.hpp"
#include "sys/sys.hpp"

namespace twain::fuzz {

using abi::Error;
using abi::Slot;
using abi::Type;

inline constexpr u64 kPage = 4096;

// Slots of the arena.
inline constexpr Slot kFirst = 1024, kSlots = 128;
inline constexpr unsigned kPools = 3, kShared = 2, kLent = 4;  // kLent: threads and scheduling contexts of workers
inline constexpr Slot kArenaSpace = kFirst, kArena = kFirst + 1, kArenaSystem = kFirst + 2, kArenaPool = kFirst + 3,
                      kArenaShared = kArenaPool + kPools, kArenaThread = kArenaShared + kShared,
                      kArenaSched = kArenaThread + kLent;
inline constexpr unsigned kFixed = 3 + kPools + kShared + 2 * kLent;
// Slots that hostile values of arguments name (kHostile and bad_slot() of call.cpp).
inline constexpr Slot kFarSlots[] = {1, 0xfff, 0x1000, abi::cspace::kSlots - 1};
// The arena once more, where no random call reaches: the lent one may be gone, or another.
inline constexpr Slot kEye = kFirst + kSlots + 8;
inline constexpr sys::CSpace kInside{kEye};

// Shared memory, and where everybody sees it: programs of guests, programs of threads, which nobody writes; then pages
// that can be state pages of vCPUs. Two capabilities are lent, one for each half.
//
// A vCPU's VBAR_EL1 is always zero, where guests have nothing: its exceptions leave it. A guest that cannot even fetch from
// its vectors would make exceptions for ever without executing anything, and QEMU, which counts instructions to know
// the time, would never get to the next interrupt.
inline constexpr u64 kSharedBytes = 0x2'0000, kWindow = 0x10'0000'0000;
inline constexpr unsigned kHalf = kSharedBytes / kPage / 2;  // pages

// What each slot held when somebody looked, for the generator.
extern Type hint[kSlots];

unsigned cores();
bool at_el2();

// ---- by workers

// An object, a process or a virtual machine from scratch, whatever of it works.
void make_something(Random& random);
// A page of the shared memory gets contents that mean something to a vCPU.
void scribble(Random& random);
// Everything that can be learned of the arena from inside, but for threads that nobody has stopped.
struct Picture {
    u64 slot[kSlots];  // what it holds, and the state of that, as a hash
};
Picture take_picture();

// ---- by the supervisor

void prepare_memory();          // once
void open_arena();              // empty
bool close_arena(bool strict);  // everything is destroyed; false: not all of its memory came back (strict)
void lend(unsigned n, sys::Thread thread, sys::Sched sched);
void tend(Random& random);            // gives again what is gone, looks at some slots
bool empty_pool(Random& random);      // takes back all of a pool, or destroys it, while it may be in use; false: a leak
bool play_exclusive(Random& random);  // splits no memory that must stay whole; false: the kernel took what it must not

}  // namespace twain::fuzz
