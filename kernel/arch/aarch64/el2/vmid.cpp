// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Translations of address spaces in the TLBs: stage 2, by VMID.
#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/core/space.hpp"
#include "kernel/core/tags.hpp"
#include "regime.hpp"

namespace twain::kernel::machine {

namespace {

constexpr u64 kVmids = 256;  // VTCR_EL2.VS = 0; number 0 belongs to no space

void flush_all() {
    asm volatile("tlbi alle1is" ::: "memory");
    dsb_ish();
}

constinit Tags vmids(kVmids, flush_all);

}  // namespace

u64 renew_tag(Space& space) { return vmids.renew(space.tag, space.tables.root().value); }

// By the VMID that it has, stale or not: a core may still be using it.
bool flush_space(Space& space, u64&) {
    dsb_ish();
    const u64 before = reg::VTTBR_EL2::read();
    reg::VTTBR_EL2::write(space.tag.base());
    isb();
    asm volatile("tlbi vmalls12e1is" ::: "memory");
    dsb_ish();
    reg::VTTBR_EL2::write(before);
    isb();
    return true;
}

void flush_walks() {
    dsb_ish();
    flush_all();
}

// The tables are about to go: no core keeps them in its register. Structure lock.
bool forget_space(Space& space) {
    const auto leave = [&] {
        if (reg::VTTBR_EL2::read() != space.tag.base()) return;
        reg::VTTBR_EL2::write(0);
        isb();
        cpu().translation = 0;
    };
    for (CpuId core = 0; core < cores(); ++core) run_on(core, leave);
    u64 progress = 0;
    const bool done = flush_space(space, progress);
    vmids.forget(space.tag);
    return done;
}

}  // namespace twain::kernel::machine
