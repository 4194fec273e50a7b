// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Pool: making objects and giving their memory back.
#include "test.hpp"

namespace twain::test {

namespace {

sys::Status create(Slot pool, u64 type, u64 to, u64 a4 = 0, u64 a5 = 0) {
    return status(pool, abi::pool::create, type, to, a4, a5);
}

constexpr u64 number(abi::Type type) { return static_cast<u64>(type); }

void arguments() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const Slot weak = scratch.copy(kPool, 0);
    expect("pool.create/rights", Error::rights, create(weak, number(abi::Type::reply), to));
    expect("pool.create/bad_slot", Error::bad_slot, create(kPool, number(abi::Type::reply), 0));
    expect("pool.create/bad_slot", Error::bad_slot, create(kPool, number(abi::Type::reply), abi::cspace::kSlots));
    expect("pool.create/bad_slot", Error::bad_slot, create(kPool, number(abi::Type::reply), ~u64{0}));
    expect("pool.create/occupied", Error::occupied, create(kPool, number(abi::Type::reply), kPool));
    for (const abi::Type type : {abi::Type::null, abi::Type::pool, abi::Type::memory, abi::Type::mapping,
                                 abi::Type::sched, abi::Type::irq, abi::Type::system}) {
        expect("pool.create/bad_arg", Error::bad_arg, create(kPool, number(type), to));
    }
    expect("pool.create/bad_arg", Error::bad_arg, create(kPool, 256 + number(abi::Type::reply), to));
    expect("pool.create/bad_arg", Error::bad_arg, create(kPool, number(abi::Type::space), to, 3));
    expect("pool.create/bad_arg", Error::bad_arg, create(kPool, number(abi::Type::endpoint), to, cores()));
    const sys::Space guest = scratch.space(abi::SpaceKind::guest);
    const sys::Space host = scratch.space();
    constexpr u64 kVcpu = number(abi::Type::vcpu);
    expect("pool.create/bad_slot", Error::bad_slot, create(kPool, kVcpu, to, to, 0));
    expect("pool.create/bad_type", Error::bad_type, create(kPool, kVcpu, to, kPool, 0));
    expect("pool.create/bad_arg", Error::bad_arg, create(kPool, kVcpu, to, host.slot, 0));
    expect("pool.create/bad_arg", Error::bad_arg, create(kPool, kVcpu, to, guest.slot, u64{1} << 24));
    expect("pool.create/rights", Error::rights,
           create(kPool, kVcpu, to, scratch.copy(guest.slot, rights::space_map), 0));
    expect("pool.create/depth", Error::depth, create(scratch.deepest(kPool), number(abi::Type::reply), to));
    expect("pool.create/nothing_left_behind", Error::bad_slot, kSelf.remove(to));
    expect("pool.method/bad_method", Error::bad_method, status(kPool, kNoMethod));
}

// Everything that fails for want of memory leaves the pool as it was.
void exhaust() {
    Scratch scratch;
    const sys::Pool pool = scratch.small_pool();
    const u64 before = pool.stat()->free;
    expect_equal("pool.stat/all_bytes", kSpareBytes, pool.stat()->bytes);
    sys::Status last;
    unsigned made = 0;
    Slot first = 0;
    do {
        const Slot to = scratch.slot();
        if (!first) first = to;
        last = pool.create_space(to, abi::SpaceKind::host);
        if (last) ++made;
    } while (last && made < 200);
    expect("pool.create/no_memory", Error::no_memory, last);
    check("pool.create/many", made > 20);
    unsigned small = 0;
    do {
        last = pool.create_notification(scratch.slot());
        if (last) ++small;
    } while (last && small < 1000);
    expect("pool.create/no_memory", Error::no_memory, last);
    expect("pool.create/no_memory", Error::no_memory, pool.create_thread(scratch.slot()));
    expect("pool.create/no_memory", Error::no_memory, pool.create_cspace(scratch.slot()));
    expect("system.make_sched/no_memory", Error::no_memory,
           kSystem.make_sched(pool, scratch.slot(), 0, 0, {1, 0, false}));
    expect("system.make_irq/no_memory", Error::no_memory, kSystem.make_irq(pool, scratch.slot(), 40, false, 0));
    expect_ok("pool.create/revoke_gives_back", kSelf.revoke(pool.slot));
    expect_equal("pool.create/revoke_gives_back", before, pool.stat()->free);
    expect("pool.create/revoke_gives_back", Error::bad_slot, kSelf.remove(first));
    expect_ok("pool.create/again_after_revoke", pool.create_space(first, abi::SpaceKind::host));
}

// Ten thousand times on one core, which is where the brief machines of a run are; elsewhere other cores take part in each
// removal, a hundred times.
constexpr unsigned kManyCycles = 10'000, kFewCycles = 100;

template <typename Make>
bool comes_and_goes(unsigned times, Make make) {
    Scratch scratch;
    const Slot to = scratch.slot();
    (void)make(to);  // tables that stay
    (void)kSelf.remove(to);
    const u64 before = free_bytes();
    bool good = true;
    for (unsigned i = 0; i < times; ++i) good = good && make(to).ok() && kSelf.remove(to).ok();
    return good && free_bytes() == before && kSelf.inspect(to)->type == abi::Type::null;
}

void cycles(std::string_view id, unsigned times) {
    Scratch scratch;
    const sys::Space guest = scratch.space(abi::SpaceKind::guest);
    const sys::Memory page = scratch.memory();
    const auto expect_nothing_left = [&](auto make, Where where = Where::here()) {
        check(id, comes_and_goes(times, make), where);
    };
    expect_nothing_left([](Slot to) { return kObjects.create_cspace(to); });
    expect_nothing_left([](Slot to) { return kObjects.create_space(to, abi::SpaceKind::host); });
    expect_nothing_left([](Slot to) { return kObjects.create_space(to, abi::SpaceKind::guest); });
    expect_nothing_left([](Slot to) { return kObjects.create_thread(to); });
    expect_nothing_left([](Slot to) { return kObjects.create_endpoint(to, cores() - 1); });
    expect_nothing_left([](Slot to) { return kObjects.create_reply(to); });
    expect_nothing_left([](Slot to) { return kObjects.create_notification(to); });
    expect_nothing_left([&](Slot to) { return kObjects.create_vcpu(to, guest, 0); });
    expect_nothing_left([](Slot to) { return kSystem.make_sched(kObjects, to, 0, 0, {1, 0, false}); });
    expect_nothing_left([](Slot to) { return kSystem.make_irq(kObjects, to, 40, false, 0); });
    expect_nothing_left([](Slot to) { return kSystem.make_memory(to, 0x0901'0000, kPage); });
    expect_nothing_left([](Slot to) { return sys::Memory{kSpare}.make_pool(to); });
    expect_nothing_left([](Slot to) { return kObjects.split(4 * kPage, to); });
    expect_nothing_left([&](Slot to) { return kSpace.map(page, 0, 0x20'0000'0000, kPage, kRead, to); });
    expect_nothing_left([&](Slot to) { return page.derive(0, kPage, to, rights::all); });
}

void give_back() {
    cycles("pool.create/cycles", kFewCycles);
    if (cores() == 1) {
        cycles("pool.create/ten_thousand_cycles", kManyCycles);
    } else {
        skip("pool.create/ten_thousand_cycles", "each takes longer with more cores: a hundred");
    }
}

// A part of a pool bounds what somebody takes, and comes back as it was.
void parts() {
    const u64 before = free_bytes();
    {
        Scratch scratch;
        const sys::Pool pool = scratch.small_pool();
        const Slot to = scratch.slot();
        const u64 free = pool.stat()->free;
        constexpr u64 kPart = 4 * kPage;
        expect("pool.split/rights", Error::rights, sys::Pool{scratch.copy(pool.slot, 0)}.split(kPart, to));
        for (const u64 bad : {u64{0}, kPage, 3 * kPage, kPart + 1, kPart + 64, ~u64{0}}) {
            expect("pool.split/bad_arg", Error::bad_arg, pool.split(bad, to));
        }
        expect("pool.split/bad_slot", Error::bad_slot, pool.split(kPart, 0));
        expect("pool.split/bad_slot", Error::bad_slot, pool.split(kPart, abi::cspace::kSlots));
        expect("pool.split/occupied", Error::occupied, pool.split(kPart, kPool));
        expect("pool.split/depth", Error::depth, sys::Pool{scratch.deepest(pool.slot)}.split(kPart, to));
        expect("pool.split/no_memory", Error::no_memory, pool.split(free + kPage, to));
        expect("pool.split/no_memory", Error::no_memory, pool.split(0 - kPage, to));
        expect_equal("pool.split/failure_takes_nothing", free, pool.stat()->free);

        const sys::Pool part{to}, inner{scratch.slot()};
        expect_ok("pool.split/bounds", pool.split(2 * kPart, to));
        expect_equal("pool.split/bounds", free - 2 * kPart, pool.stat()->free);
        expect_equal("pool.split/bounds", 2 * kPart, part.stat()->bytes);
        expect_ok("pool.split/of_a_part", part.split(kPart, inner.slot));
        expect_equal("pool.split/of_a_part", kPart, part.stat()->bytes);
        sys::Status last;
        unsigned made = 0;
        for (; last && made < 10; ++made) last = inner.create_space(scratch.slot(), abi::SpaceKind::host);
        expect("pool.split/bounds", Error::no_memory, last);
        expect("pool.split/no_memory", Error::no_memory, inner.split(kPart, scratch.slot()));
        expect_equal("pool.split/bounds", free - 2 * kPart, pool.stat()->free);
        expect_ok("pool.split/comes_back", kSelf.remove(inner.slot));
        expect_equal("pool.split/comes_back", 2 * kPart, part.stat()->bytes);
        // Not the last one first.
        const sys::Pool second{scratch.slot()};
        need(pool.split(kPart, second.slot));
        need(part.create_notification(scratch.slot()));
        expect_ok("pool.split/comes_back", kSelf.remove(part.slot));
        expect_equal("pool.split/comes_back", free - kPart, pool.stat()->free);
        need(second.create_notification(scratch.slot()));
        expect_ok("pool.split/goes_with_the_whole", kSelf.revoke(pool.slot));
        expect("pool.split/goes_with_the_whole", Error::bad_slot, kSelf.remove(second.slot));
        expect_equal("pool.split/goes_with_the_whole", free, pool.stat()->free);
    }
    expect_equal("pool.split/comes_back", before, free_bytes());
}

// The memory comes back from the kernel without what the kernel wrote there.
void wiped() {
    Scratch scratch;
    {
        Scratch inner;
        const sys::Pool pool = inner.small_pool();
        for (unsigned i = 0; i < 8; ++i) need(pool.create_space(inner.slot(), abi::SpaceKind::host));
    }
    const Slot mapping = scratch.slot();
    constexpr u64 kAt = 0x20'0000'0000;
    need(kSpace.map(sys::Memory{kSpare}, 0, kAt, kSpareBytes, kRead, mapping));
    u64 all = 0;
    for (u64 at = kAt; at < kAt + 12 * kPage; at += 8) all |= *reinterpret_cast<const volatile u64*>(at);
    expect_equal("memory.make_pool/wiped_after", 0, all);
}

}  // namespace

void test_pool() {
    arguments();
    exhaust();
    give_back();
    parts();
    wiped();
}

}  // namespace twain::test
