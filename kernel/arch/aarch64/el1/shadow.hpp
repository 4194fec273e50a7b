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
// What is dropped stays hanging where it was, *stale*: the entries of the root's own tables lose their valid bit, so no walk
// gets there, and the next fill that comes by takes the tables over one by one. So dropping is brief whatever there is to drop.
// Tables go back only when they are wanted elsewhere.
//
// A guest faults and flushes all the time, and its neighbours must not wait for that: there is a lock for each guest's
// shadow, and it has tables in stock. Who holds the structure lock may take it, never the other way round.
#pragma once

#include "kernel/core/pool.hpp"
#include "kernel/core/space.hpp"

namespace twain::kernel {

class Shadow {
public:
    // What a core enters a guest with, behind its Cpu, so that guest_entry.S finds it at any time.
    struct Entry {
        u64 lower;      // TTBR0_EL1
        u64 upper;      // TTBR1_EL1: of the view that is entered
        u64 stack;      // SP_EL0
        u64 flags;      // of the state page when it was entered
        u64 uppers[2];  // TTBR1_EL1 by virtual exception level
        u64 running;    // virtual exception level plus 1, if it may be changed without leaving the guest; else 0
        u64 shared;     // TPIDRRO_EL0 at virtual EL1, and
        u64 vector;     // PC when virtual EL0 calls it, if it may be
    };
    static Entry& entry(Cpu& cpu);

    // Makes the space's on first use, and takes tables from its pool, and stale ones, as far as there are any. False:
    // interrupted. Structure lock.
    static bool stock(Space& space);
    bool stocked() const { return __atomic_load_n(&stocked_, __ATOMIC_RELAXED) >= kStockLow; }

    // These may return kAgain.
    // The first `count` of these, each read once; `count` says how many, fewer if an interrupt waits.
    Status fill(Space& space, const abi::ShadowFill* from, u64& count);
    Status view(u64 number, u64 lower, u64 upper);
    Status drop(u64 root, u64 at, u64 bytes);

    // All of all roots, as machine::flush_space; structure lock.
    bool drop_all(u64& progress);
    // Nobody uses it any more, and nothing is mapped in its space. False: interrupted. Structure lock.
    bool free_all(Pool& pool);

    // Views by virtual exception level, of which `level` is entered. False: no such view.
    bool activate(Cpu& cpu, const u32 (&numbers)[2], unsigned level, Entry& entry);

private:
    struct View {
        Tag tag;    // with the lower root
        u64 upper;  // physical; 0: undefined
        u64 lower;
    };

    struct Near {       // where the fill before went: most are next to it
        u64 to, bytes;  // intermediate physical addresses that
        u64 memory;     // this descriptor maps
        u64 at;         // address and root in the reach of the table that
        u64* leads;     // this leads to; nullptr: none
    };
    Status fill(Space& space, const abi::ShadowFill& fill, Near& near);
    void install(u64& entry, u64 at, u64 value) const;
    bool only_here() const;
    void flush_page(u64 at) const;
    void flush_all() const;
    static constexpr u32 kStockLow = 16, kStock = 64;  // tables
    static constexpr u64 kReserve = 64 * kPage;        // of the pool, left for other things
    static constexpr u64 kRoots = abi::kShadowRoots;
    static constexpr u64 kPlaces = 3 * kRoots;  // of roots' own tables: number and, above it, level

    static Shadow* make(Space& space);
    bool restock(Pool& pool);
    u64* allocate();
    void release(u64* table);
    Status make_root(u64 number, bool high, unsigned argument);
    bool seek(u64& place) const;
    u64* own(u64 place, unsigned& end);
    bool forget(u64 place);
    template <unsigned kLevel>
    bool sweep(u64& leads, unsigned end, bool all);
    bool sweep(u64 place, bool all);

    u32 lock_;
    u32 stocked_;
    u64* stock_;         // linked by their first words
    u64 unsearched_;     // places where there may be stale tables
    u32 cores_;          // bit n: core n has run the guest
    u64 made_, uppers_;  // bit n: root n exists; is one of the upper half
    u64 roots_[kRoots];  // descriptors as those in tables, of level 0
    View* views_;        // kShadowViews of them, one page
};
static_assert(sizeof(Shadow) <= 1024);

}  // namespace twain::kernel
