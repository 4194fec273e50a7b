// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// VMIDs: fewer than spaces. A space has a VMID of some generation; when they run out, a new generation begins, all
// translations are dropped, and only what is active on a core keeps its number.
#include "kernel/core/space.hpp"
#include "kernel/arch/aarch64/boot.hpp"
#include "regime.hpp"

namespace twain::kernel::machine {

namespace {

constexpr u64 kVmids = 256;  // VTCR_EL2.VS = 0
constexpr unsigned kVmidShift = 48;

u32 lock;
u64 next = 1;
u64 tag_generation = 1;  // as every Cpu::generation
u64 reserved[abi::kMaxCores];  // VMIDs that were active when the generation began

u64 vmid(u64 base) { return base >> kVmidShift; }

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
        reserved[core] = vmid(__atomic_load_n(&cpu(core).translation, __ATOMIC_RELAXED));
    }
    asm volatile("tlbi alle1is" ::: "memory");
    dsb_ish();
}

// Runs `flush` while the space's VMID is the current one.
template <typename Flush>
void under(const Space& space, Flush flush) {
    const u64 before = reg::VTTBR_EL2::read();
    reg::VTTBR_EL2::write(space.tag.base);
    isb();
    flush();
    dsb_ish();
    reg::VTTBR_EL2::write(before);
    isb();
}

}  // namespace

void renew_tag(Space& space) {
    while (__atomic_exchange_n(&lock, 1u, __ATOMIC_ACQUIRE)) relax();
    if (space.tag.generation != tag_generation || vmid(space.tag.base) == 0) {
        u64 number = vmid(space.tag.base);
        const bool keeps = number && space.tag.generation + 1 == tag_generation && is_reserved(number);
        while (!keeps) {
            if (next == kVmids) begin_generation();
            number = next++;
            if (!is_reserved(number)) break;
        }
        space.tag.base = number << kVmidShift | space.tables.root().value;
        __atomic_store_n(&space.tag.generation, tag_generation, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&lock, 0u, __ATOMIC_RELEASE);
}

void flush_space(Space& space) {
    dsb_ish();
    if (space.tag.generation != tag_generation && space.tag.generation + 1 != tag_generation) return;
    under(space, [] { asm volatile("tlbi vmalls12e1is" ::: "memory"); });
}

void flush_walks() {
    dsb_ish();
    asm volatile("tlbi alle1is" ::: "memory");
    dsb_ish();
}

void forget_space(Space& space) {
    flush_space(space);
    for (CpuId core = 0; core < cores(); ++core) {
        if (cpu(core).translation == space.tag.base) cpu(core).translation = 0;
    }
    if (reg::VTTBR_EL2::read() == space.tag.base) reg::VTTBR_EL2::write(0);
}

}  // namespace twain::kernel::machine
