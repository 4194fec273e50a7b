// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the processor walks while a guest runs without EL2: translations from the guest's virtual addresses straight to
// memory. The guest space's own tables (intermediate physical to memory) say what may be in them; the VMM says
// what should be. They are a cache: whenever a mapping of the space goes, all of them go.
//
// A root translates one half of the addresses; a view is what a core can be given: a root for each half, and an ASID.
// An upper root shares the kernel's image, so that exceptions find it.
//
// All calls but activate: structure lock.
#pragma once

#include "kernel/core/pool.hpp"
#include "kernel/core/space.hpp"

namespace twain::kernel {

class Shadow {
public:
    // What return_to_guest loads.
    struct Entry {
        u64 lower;        // TTBR0_EL1
        u64 upper;        // TTBR1_EL1
        u64 stack;        // SP_EL0
        u64 reserved;
    };

    // The space's, made on first use; nullptr: no memory.
    static Shadow* of(Space& space);

    Status fill(Space& space, const abi::ShadowFill& fill);
    Status view(Space& space, u64 number, u64 lower, u64 upper);
    Status drop(Space& space, u64 root, u64 at, u64 bytes);
    void drop_all(Pool& pool);
    void free_all(Pool& pool);

    // False: no such view.
    bool activate(Cpu& cpu, u32 number, Entry& entry);

private:
    struct View {
        u64 base;        // ASID, lower root
        u64 generation;
        u64 upper;       // physical; 0: undefined
        u64 lower;
    };
    enum class Half : u8 { none, lower, upper };

    u64* make_root(Pool& pool, u64 number, Half half);
    void clear_root(Pool& pool, u64 number);

    u64* roots_[abi::kShadowRoots];
    Half halves_[abi::kShadowRoots];
    View* views_;  // kShadowViews of them, one page
};
static_assert(sizeof(Shadow) <= 1024);

}  // namespace twain::kernel
