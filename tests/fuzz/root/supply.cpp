// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The arena as the supervisor sees it: what it is made of, and that all of it comes back.
#include <cstring>

#include "arena.hpp"
#include "supervisor.hpp"

extern "C" const std::byte victim_programs[], victim_end[], guest_programs[], guest_programs_end[];

namespace twain::fuzz {

namespace {

constexpr Slot kSharedMemory = 41, kPoolMemory = 50, kPool = 60, kExclusive = 70, kRest = 71, kWindowMapping = 72,
               kPlay = 80, kPlaySlots = 6, kHalves = 90;
constexpr sys::CSpace kOutside{73};  // the arena's capability space
constexpr u64 kPoolBytes = 0x8'0000, kExclusiveBytes = 0x1'0000;
constexpr sys::Rights kAll = abi::rights::all;
constexpr sys::Rights kSystemRights = abi::rights::sys_mint | abi::rights::sys_log | abi::rights::sys_info;

sys::Thread lent_threads[kLent];
sys::Sched lent_scheds[kLent];
u64 pool_free[kPools], objects_free, root_free;

sys::Pool pool(unsigned n) { return sys::Pool{kPool + n}; }

u64 free_of(sys::Pool which) { return which.stat()->free; }

// The fixed slot holds what was lent; whatever else has got there goes.
void give(Slot to, Type type, Slot from, sys::Rights mask = kAll) {
    const Type found = kOutside.inspect(to)->type;
    hint[to - kFirst] = type;
    if (found == type || !from) return;
    if (found != Type::null) (void)kOutside.remove(to);
    (void)kOutside.copy(to, from, mask);
}

}  // namespace

void prepare_memory() {
    // From the beginning of the RAM: what is kept stays where it is, the rest goes on to the next slot.
    Slot at = abi::kRootRam;
    const auto cut = [&](u64 bytes, Slot rest) {
        need(sys::Memory{at}.split(bytes, rest));
        at = rest;
    };
    cut(0x40'0000, kSharedMemory);
    cut(kSharedBytes, kPoolMemory);
    cut(kPoolBytes, kPoolMemory + 1);
    cut(kPoolBytes, kPoolMemory + 2);
    cut(kPoolBytes, kExclusive);
    cut(kExclusiveBytes, kRest);
    need(sys::Memory{abi::kRootRam}.make_pool(kObjects.slot));
    for (unsigned n = 0; n < kPools; ++n) {
        need(sys::Memory{kPoolMemory + n}.make_pool(kPool + n));
        pool_free[n] = free_of(pool(n));
    }
}

void open_arena() {
    objects_free = free_of(kObjects);
    root_free = free_of(sys::Pool{abi::kRootPool});
    need(kSpace.map(sys::Memory{kSharedMemory}, 0, kWindow, kSharedBytes,
                    abi::rights::mem_read | abi::rights::mem_write, kWindowMapping));
    std::memcpy(reinterpret_cast<void*>(kWindow), guest_programs,
                static_cast<u64>(guest_programs_end - guest_programs));
    std::memcpy(reinterpret_cast<void*>(kWindow + kPage), victim_programs,
                static_cast<u64>(victim_end - victim_programs));
    for (u64 at = kWindow; at < kWindow + 2 * kPage; at += 64)
        asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0" ::"r"(at) : "memory");
    asm volatile("dsb ish\n isb" ::: "memory");
    need(kObjects.create_cspace(kOutside.slot));
    need(kOutside.copy(kEye, kOutside.slot));
    need(sys::Memory{kSharedMemory}.derive(0, kHalf * kPage, kHalves, kAll & ~abi::rights::mem_write));
    need(sys::Memory{kSharedMemory}.derive(kHalf * kPage, kHalf * kPage, kHalves + 1, kAll));
    for (Type& each : hint) each = Type::null;
}

bool close_arena(bool strict) {
    bool good = true;
    const auto expect = [&](std::string_view what, u64 want, u64 got) {
        if (!strict) return;
        if (want != got) Line() << "FUZZ leak: " << what << ": " << want << " before, " << got << " after";
        good = good && want == got;
    };
    expect("remove the arena", 0, kSelf.remove(kOutside.slot).tag());
    expect("revoke shared memory", 0, kSelf.revoke(kSharedMemory).tag());
    for (unsigned n = 0; n < kPools; ++n) {
        expect("revoke a pool", 0, kSelf.revoke(kPool + n).tag());
        expect("a pool", pool_free[n], free_of(pool(n)));
    }
    expect("the workers' pool", objects_free, free_of(kObjects));
    expect("the root task's pool", root_free, free_of(sys::Pool{abi::kRootPool}));
    for (sys::Thread& each : lent_threads) each = {};
    for (sys::Sched& each : lent_scheds) each = {};
    return good;
}

void lend(unsigned n, sys::Thread thread, sys::Sched sched) {
    if (n >= kLent) return;
    lent_threads[n] = thread;
    lent_scheds[n] = sched;
}

void tend(Random& random) {
    static unsigned next = 0;
    for (unsigned i = 0; i < 16; ++i, ++next) hint[next % kSlots] = kOutside.inspect(kFirst + next % kSlots)->type;
    give(kArenaSpace, Type::space, abi::kRootSpace, abi::rights::space_use);
    give(kArena, Type::cspace, kOutside.slot);
    give(kArenaSystem, Type::system, abi::kRootSystem, kSystemRights);
    for (unsigned n = 0; n < kPools; ++n) give(kArenaPool + n, Type::pool, kPool + n);
    for (unsigned n = 0; n < kShared; ++n) give(kArenaShared + n, Type::memory, kHalves + n);
    // Not their registers: a worker must not run with others' arguments.
    for (unsigned n = 0; n < kLent; ++n) {
        give(kArenaThread + n, Type::thread, lent_threads[n].slot, abi::rights::thread_control);
        give(kArenaSched + n, Type::sched, lent_scheds[n].slot);
    }
    if (random.chance(20)) (void)kOutside.remove(kFirst + kFixed + static_cast<Slot>(random.below(kSlots - kFixed)));
}

bool empty_pool(Random& random) {
    const auto n = static_cast<unsigned>(random.below(kPools));
    if (random.chance(70)) return kSelf.revoke(kPool + n).ok() && free_of(pool(n)) == pool_free[n];
    return kSelf.revoke(kPoolMemory + n).ok() && sys::Memory{kPoolMemory + n}.make_pool(kPool + n).ok() &&
           free_of(pool(n)) == pool_free[n];
}

bool play_exclusive(Random& random) {
    const sys::Memory memory{kExclusive};
    bool children = false, is_pool = false;
    for (unsigned i = 0; i < kPlaySlots; ++i) {
        const Slot to = kPlay + i;
        if (random.chance(50)) {
            const bool made = memory
                                  .derive(random.below(20) * kPage, random.below(20) * kPage, to,
                                          static_cast<sys::Rights>(random.below(256)))
                                  .ok();
            if (made && is_pool) return false;
            children |= made;
        } else if (random.chance(50)) {
            const bool made = memory.make_pool(to).ok();
            if (made && children) return false;
            children |= made;
            is_pool |= made;
        } else if (children && memory.split(kPage, to).ok()) {
            return false;
        }
    }
    const auto info = kSelf.inspect(kExclusive);
    return kSelf.revoke(kExclusive).ok() && info->bytes == kExclusiveBytes &&
           (info->flags & abi::cspace::kInspectExclusive) != 0;
}

}  // namespace twain::fuzz
