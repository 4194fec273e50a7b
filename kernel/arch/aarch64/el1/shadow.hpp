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

    // Makes the space's on first use, and takes tables from its pool as far as there are any. Structure lock.
    static void stock(Space& space);
    bool stocked() const { return __atomic_load_n(&stocked_, __ATOMIC_RELAXED) >= kStockLow; }

    // The first `count` of these, each read once; `done` says how many.
    Status fill(Space& space, const abi::ShadowFill* from, u64 count, u64& done);
    Status view(u64 number, u64 lower, u64 upper);
    Status drop(u64 root, u64 at, u64 bytes);
    void drop_all();
    void free_all(Pool& pool);  // nobody uses it any more; structure lock

    // Views by virtual exception level, of which `level` is entered. False: no such view.
    bool activate(Cpu& cpu, const u32 (&numbers)[2], unsigned level, Entry& entry);

private:
    struct View {
        Tag tag;    // with the lower root
        u64 upper;  // physical; 0: undefined
        u64 lower;
    };
    enum class Half : u8 { none, lower, upper };

    struct Near {     // where the fill before went: most are next to it
        u64 to, bytes;  // intermediate physical addresses that
        u64 memory;     // this descriptor maps
        u64 at;         // address and root in
        u64* leaf;      // the reach of this table; nullptr: none
    };
    Status fill(Space& space, const abi::ShadowFill& fill, Near& near);
    void install(u64& entry, u64 at, u64 value) const;
    bool only_here() const;
    void flush_page(u64 at) const;
    void flush_all() const;
    class Lock;
    static constexpr u32 kStockLow = 16, kStock = 64;  // tables
    static constexpr u64 kReserve = 64 * kPage;        // of the pool, left for other things

    static Shadow* make(Space& space);
    void restock(Pool& pool);
    u64* allocate();
    void release(u64* table);
    u64* make_root(u64 number, Half half);
    void clear_root(u64 number);
    void free_from(u64 entry, unsigned level);

    u32 lock_;
    u32 stocked_;
    u64* stock_;  // linked by their first words
    u32 cores_;   // bit n: core n has run the guest
    u64* roots_[abi::kShadowRoots];
    Half halves_[abi::kShadowRoots];
    u8 groups_[abi::kShadowRoots];  // see shadow.cpp
    View* views_;  // kShadowViews of them, one page
};
static_assert(sizeof(Shadow) <= 1024);

}  // namespace twain::kernel
