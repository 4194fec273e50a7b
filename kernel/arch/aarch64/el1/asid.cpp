// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// ASIDs: fewer than spaces. A space has an ASID of some generation; when they run out, a new generation begins, all
// translations are dropped, and only what is active on a core keeps its number.
#include "asid.hpp"

#include "kernel/arch/aarch64/boot.hpp"
#include "regime.hpp"

namespace twain::kernel::machine {

namespace {

constexpr u64 kAsids = 256;  // TCR_EL1.AS = 0; number 0 is the kernel's own
constexpr unsigned kAsidShift = 48;

u32 lock;
u64 next = 1;
u64 tag_generation = 1;        // as every Cpu::generation
u64 reserved[abi::kMaxCores];  // ASIDs that were active when the generation began

u64 asid(u64 base) { return base >> kAsidShift; }

bool is_reserved(u64 number) {
    for (u64 each : reserved) {
        if (each == number && number) return true;
    }
    return false;
}

void begin_generation() {
    ++tag_generation;
    next = 1;
    for (CpuId core = 0; core < cores(); ++core) {
        __atomic_store_n(&cpu(core).generation, tag_generation, __ATOMIC_RELAXED);
        reserved[core] = asid(__atomic_load_n(&cpu(core).translation, __ATOMIC_RELAXED));
    }
    flush_all();
}

}  // namespace

void flush_all() {
    dsb_ish();
    asm volatile("tlbi vmalle1is" ::: "memory");
    dsb_ish();
    isb();
}

void renew_asid(u64& base, u64& generation, u64 root) {
    while (__atomic_exchange_n(&lock, 1u, __ATOMIC_ACQUIRE)) relax();
    if (generation != tag_generation || asid(base) == 0) {
        u64 number = asid(base);
        const bool keeps = number && generation + 1 == tag_generation && is_reserved(number);
        while (!keeps) {
            if (next == kAsids) begin_generation();
            number = next++;
            if (!is_reserved(number)) break;
        }
        base = number << kAsidShift | root;
        __atomic_store_n(&generation, tag_generation, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&lock, 0u, __ATOMIC_RELEASE);
}

void renew_tag(Space& space) { renew_asid(space.tag.base, space.tag.generation, space.tables.root().value); }

// Also of those who read a guest space's tables by hand.
void flush_walks() {
    flush_all();
    synchronize();
}

void flush_space(Space& space) {
    dsb_ish();
    if (space.kind == abi::SpaceKind::guest) {
        drop_shadows(space);
        return;
    }
    if (space.tag.generation != tag_generation && space.tag.generation + 1 != tag_generation) return;
    asm volatile("tlbi aside1is, %0" ::"r"(asid(space.tag.base) << kAsidShift) : "memory");
    dsb_ish();
}

void forget_space(Space& space) {
    flush_space(space);
    if (space.kind == abi::SpaceKind::guest) {
        free_shadows(space);
        return;
    }
    for (CpuId core = 0; core < cores(); ++core) {
        if (cpu(core).translation == space.tag.base) cpu(core).translation = 0;
    }
    if (reg::TTBR0_EL1::read() == (space.tag.base & Regime::UserTable::kTable)) Regime::UserTable::write(Regime::roots().empty);
}

}  // namespace twain::kernel::machine
