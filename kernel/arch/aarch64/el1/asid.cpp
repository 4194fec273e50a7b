// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Translations of address spaces in the TLBs: stage 1, by ASID. A guest's views have ASIDs, its space has none.
#include "asid.hpp"

#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/core/tags.hpp"
#include "regime.hpp"
#include "shadow.hpp"

namespace twain::kernel::machine {

namespace {

constexpr u64 kAsids = 256;  // TCR_EL1.AS = 0; number 0 is the kernel's own

constinit Tags asids(kAsids, flush_all);

}  // namespace

void flush_all() {
    dsb_ish();
    asm volatile("tlbi vmalle1is" ::: "memory");
    dsb_ish();
    isb();
}

u64 renew_asid(Tag& tag, const u64& table) { return asids.renew(tag, table); }
void forget_asid(Tag& tag) { asids.forget(tag); }

u64 renew_tag(Space& space) { return renew_asid(space.tag, space.tables.root().value); }

// Also of those who read a guest space's tables by hand.
void flush_walks() {
    flush_all();
    synchronize();
}

// By the ASID that it has, stale or not: a core may still be using it.
bool flush_space(Space& space, u64& progress) {
    dsb_ish();
    if (space.kind == abi::SpaceKind::guest) return !space.shadow || space.shadow->drop_all(progress);
    asm volatile("tlbi aside1is, %0" ::"r"(space.tag.number() << Tag::kShift) : "memory");
    dsb_ish();
    return true;
}

// Tables are about to go, a process's or a guest's: a core that runs neither now may still have them in its registers.
// Structure lock.
bool forget_space(Space& space) {
    const auto leave = [] {
        Cpu& self = cpu();
        if (self.current) return;
        Regime::UserTable::write(Regime::roots().empty);
        isb();
        self.translation = 0;
    };
    for (CpuId core = 0; core < cores(); ++core) run_on(core, leave);
    if (space.kind == abi::SpaceKind::guest) {
        flush_all();
        if (space.shadow && !space.shadow->free_all(*space.pool)) return false;
        space.shadow = nullptr;
        return true;
    }
    u64 progress = 0;
    const bool done = flush_space(space, progress);
    forget_asid(space.tag);
    return done;
}

}  // namespace twain::kernel::machine
