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
u64 generation = 1;
u64 next = 1;
u64 active[abi::kMaxCores];    // VTTBR_EL2 as last written
u64 reserved[abi::kMaxCores];  // VMIDs that were active when the generation began

u64 vmid(u64 base) { return base >> kVmidShift; }

bool is_reserved(u64 number) {
    for (u64 each : reserved) {
        if (each == number && number) return true;
    }
    return false;
}

void begin_generation() {
    ++generation;
    next = 1;
    for (unsigned core = 0; core < abi::kMaxCores; ++core) {
        reserved[core] = vmid(__atomic_load_n(&active[core], __ATOMIC_RELAXED));
    }
    asm volatile("tlbi alle1is" ::: "memory");
    dsb_ish();
}

void renew(Space& space) {
    while (__atomic_exchange_n(&lock, 1u, __ATOMIC_ACQUIRE)) relax();
    if (space.tag.generation != generation) {
        u64 number = vmid(space.tag.base);
        const bool keeps = number && space.tag.generation + 1 == generation && is_reserved(number);
        while (!keeps) {
            if (next == kVmids) begin_generation();
            number = next++;
            if (!is_reserved(number)) break;
        }
        space.tag.base = number << kVmidShift | space.tables.root().value;
        __atomic_store_n(&space.tag.generation, generation, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&lock, 0u, __ATOMIC_RELEASE);
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

void activate(Space& space) {
    if (space.tag.generation != __atomic_load_n(&generation, __ATOMIC_RELAXED)) [[unlikely]] renew(space);
    __atomic_store_n(&active[cpu().id], space.tag.base, __ATOMIC_RELAXED);
    reg::VTTBR_EL2::write(space.tag.base);
}

void flush_space(Space& space) {
    dsb_ish();
    if (space.tag.generation != generation && space.tag.generation + 1 != generation) return;
    under(space, [] { asm volatile("tlbi vmalls12e1is" ::: "memory"); });
}

void flush_walks() {
    dsb_ish();
    asm volatile("tlbi alle1is" ::: "memory");
    dsb_ish();
}

void forget_space(Space& space) {
    flush_space(space);
    for (u64& each : active) {
        if (each == space.tag.base) each = 0;
    }
    if (reg::VTTBR_EL2::read() == space.tag.base) reg::VTTBR_EL2::write(0);
}

}  // namespace twain::kernel::machine
