// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Slots, derivation, capability spaces, and taking back: by the calls that users make.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace twain::kernel::test {

namespace cs = abi::cspace;
namespace mem = abi::memory;

namespace {
constexpr u64 kC = abi::kRootCSpace, kP = abi::kRootPool, kRam = abi::kRootRam, kS = abi::kRootSpace;

u64 free_bytes(World& world, u64 pool = kP) { return world.invoke(pool, abi::pool::stat).x[3]; }
}  // namespace

TEST_CASE("a slot is filled, found and emptied; the list keeps its order") {
    alignas(32) static Slot slots[4];
    slots[0].fill(nullptr, Slot::object_head(Type::pool, 0xff, &slots), 0, true);
    slots[1].fill(&slots[0], Slot::object_head(Type::endpoint, 3, &slots), 7, false);
    slots[2].fill(&slots[0], Slot::object_head(Type::endpoint, 1, &slots), 0, false);
    slots[3].fill(&slots[1], Slot::object_head(Type::endpoint, 1, &slots), 7, false);
    REQUIRE(slots[0].next() == &slots[2]);
    REQUIRE(slots[2].next() == &slots[1]);
    REQUIRE(slots[1].next() == &slots[3]);
    REQUIRE_FALSE(slots[2].has_children());
    REQUIRE(slots[1].has_children());
    REQUIRE(slots[3].depth() == 2);
    REQUIRE(slots[1].load().badge == 7);
    REQUIRE(slots[1].load().has(Type::endpoint, 3));
    REQUIRE_FALSE(slots[1].load().has(Type::endpoint, 4));
    REQUIRE_FALSE(slots[1].load().has(Type::notification, 1));
    slots[3].set_home(Home::thread);
    slots[3].clear();
    REQUIRE(slots[3].empty());
    REQUIRE(slots[3].home() == Home::thread);
    REQUIRE_FALSE(slots[1].has_children());
    for (Slot& slot : slots) slot.clear();
}

TEST_CASE("copy: rights only shrink, a badge is given once") {
    World world;
    REQUIRE(world.create(Type::endpoint, 40).ok());
    REQUIRE(world.invoke(kC, cs::copy, 41, 40, rights::ep_call | rights::ep_pass, 0).ok());
    REQUIRE(world.invoke(kC, cs::copy, 42, 41, rights::all, 9).ok());
    REQUIRE(world.at(42).rights() == (rights::ep_call | rights::ep_pass));
    REQUIRE(world.at(42).badge() == 9);
    const Answer again = world.invoke(kC, cs::copy, 43, 42, rights::all, 10);
    REQUIRE(again.error() == Error::bad_arg);
    REQUIRE(again.argument() == 5);
    REQUIRE(world.invoke(kC, cs::copy, 43, 42, rights::all, 0).ok());
    REQUIRE(world.at(43).badge() == 9);
    REQUIRE(world.invoke(kC, cs::copy, 44, kP, rights::all, 5).error() == Error::bad_arg);
    REQUIRE(world.invoke(kC, cs::copy, 44, kRam, rights::all, 5).error() == Error::bad_arg);
}

TEST_CASE("copy: errors name the argument and change nothing") {
    World world;
    REQUIRE(world.create(Type::endpoint, 40).ok());
    const struct {
        u64 to, from;
        Error error;
        unsigned argument;
    } cases[] = {
        {40, 40, Error::occupied, 2},      {0, 40, Error::bad_slot, 2},  {8192, 40, Error::bad_slot, 2},
        {~u64{0}, 40, Error::bad_slot, 2}, {41, 42, Error::bad_slot, 3}, {41, 8192, Error::bad_slot, 3},
        {41, 0, Error::bad_slot, 3},
    };
    for (const auto& each : cases) {
        const Answer answer = world.invoke(kC, cs::copy, each.to, each.from, rights::all);
        REQUIRE(answer.error() == each.error);
        REQUIRE(answer.argument() == each.argument);
    }
    REQUIRE(world.invoke(kC, cs::copy, 50, kC, 0).ok());  // without any right
    REQUIRE(world.invoke(50, cs::copy, 41, 40, rights::all).error() == Error::rights);
    REQUIRE(world.invoke(50, cs::remove, 40).error() == Error::rights);
    REQUIRE(world.invoke(50, cs::inspect, 40).error() == Error::rights);
    REQUIRE(world.invoke(kC, 9).error() == Error::bad_method);
    REQUIRE(world.invoke(51, cs::copy).error() == Error::bad_slot);
    REQUIRE(world.at(41).empty());
}

TEST_CASE("the derivation tree has a deepest level") {
    World world;
    REQUIRE(world.create(Type::notification, 40).ok());
    u64 slot = 40;
    for (;; ++slot) {
        const Answer answer = world.invoke(kC, cs::copy, slot + 1, slot, rights::all);
        if (answer.error() == Error::depth) break;
        REQUIRE(answer.ok());
    }
    REQUIRE(world.at(slot).depth() == Slot::kMaxDepth);
    REQUIRE(world.invoke(kC, cs::remove, 40).ok());
    for (u64 each = 40; each <= slot; ++each) REQUIRE(world.at(each).empty());
}

TEST_CASE("remove of a root capability is refused, revoke of it is not") {
    World world;
    REQUIRE(world.invoke(kC, cs::remove, kRam).error() == Error::busy);
    REQUIRE(world.invoke(kRam, mem::derive, 0, kPage, 40, rights::all).ok());
    REQUIRE(world.invoke(kC, cs::revoke, kRam).ok());
    REQUIRE(world.at(40).empty());
    REQUIRE_FALSE(world.at(kRam).empty());
}

TEST_CASE("memory: split keeps both parts exclusive, derive and make_pool exclude each other") {
    World world;
    const u64 bytes = world.at(kRam).badge();
    REQUIRE(world.invoke(kRam, mem::split, bytes, 40).error() == Error::bad_arg);
    REQUIRE(world.invoke(kRam, mem::split, 0, 40).error() == Error::bad_arg);
    REQUIRE(world.invoke(kRam, mem::split, 4097, 40).error() == Error::bad_arg);
    REQUIRE(world.invoke(kRam, mem::split, bytes - u64{1} * (1 << 20), 40).ok());
    REQUIRE(world.at(kRam).badge() == bytes - (1 << 20));
    REQUIRE(world.at(40).badge() == 1 << 20);
    REQUIRE((world.invoke(kC, cs::inspect, 40).x[2] & cs::kInspectExclusive) != 0);
    REQUIRE(world.invoke(40, mem::derive, kPage, 2 * kPage, 41, rights::mem_read).ok());
    REQUIRE((world.invoke(kC, cs::inspect, 41).x[2] & cs::kInspectExclusive) == 0);
    REQUIRE(world.invoke(40, mem::split, kPage, 42).error() == Error::busy);
    REQUIRE(world.invoke(40, mem::make_pool, 42).error() == Error::busy);
    REQUIRE(world.invoke(41, mem::split, kPage, 42).error() == Error::rights);
    REQUIRE(world.invoke(kC, cs::remove, 41).ok());
    REQUIRE(world.invoke(40, mem::make_pool, 42).ok());
    REQUIRE(world.invoke(40, mem::derive, 0, kPage, 43, rights::all).error() == Error::busy);
    REQUIRE(world.invoke(kC, cs::copy, 43, 40, rights::all).error() == Error::busy);
    REQUIRE(world.invoke(kS, abi::space::map, 40, 0, 0x100000, kPage, 1, 43).error() == Error::busy);
    REQUIRE(world.invoke(40, mem::split, kPage, 43).error() == Error::busy);
    REQUIRE(world.create(Type::endpoint, 43, 0, 0, 42).ok());
    REQUIRE(world.invoke(kC, cs::revoke, 40).ok());
    REQUIRE(world.at(42).empty());
    REQUIRE(world.at(43).empty());
    REQUIRE(world.invoke(40, mem::derive, 0, kPage, 43, rights::all).ok());
}

TEST_CASE("what a pool's memory held is gone after the pool") {
    World world;
    REQUIRE(world.invoke(kRam, mem::split, u64{1} << 20, 40).ok());
    REQUIRE(world.invoke(kRam, mem::make_pool, 41).ok());
    for (u64 slot = 50; slot < 80; ++slot) REQUIRE(world.create(Type::cspace, slot, 0, 0, 41).ok());
    REQUIRE(world.invoke(50, cs::copy, 5, kP, rights::all).ok());
    REQUIRE(world.invoke(kC, cs::remove, 41).ok());
    const Capability cap = world.at(kRam).load();
    const auto* words = static_cast<const u64*>(machine::to_virt(cap.base()));
    for (u64 i = 0; i < cap.bytes() / 8; ++i) {
        if (words[i]) FAIL("word " << i << " is " << words[i]);
    }
}

TEST_CASE("pool.create: errors, and the type is the whole argument") {
    World world;
    REQUIRE(world.create(Type::pool, 40).error() == Error::bad_arg);
    REQUIRE(world.create(static_cast<Type>(14), 40).error() == Error::bad_arg);
    REQUIRE(world.invoke(kP, abi::pool::create, 0x100 + static_cast<u64>(Type::cspace), 40).error() == Error::bad_arg);
    REQUIRE(world.create(Type::endpoint, 40, 1).error() == Error::bad_arg);
    REQUIRE(world.create(Type::space, 40, 2).error() == Error::unsupported);
    REQUIRE(world.create(Type::space, 40, 3).error() == Error::bad_arg);
    REQUIRE(world.create(Type::vcpu, 40, kS).error() == Error::bad_arg);  // not a guest space
    REQUIRE(world.create(Type::vcpu, 40, kP).error() == Error::bad_type);
    REQUIRE(world.create(Type::endpoint, kP).error() == Error::occupied);
    REQUIRE(world.invoke(kC, cs::copy, 41, kP, 0).ok());
    REQUIRE(world.create(Type::endpoint, 40, 0, 0, 41).error() == Error::rights);
    REQUIRE(world.at(40).empty());
}

TEST_CASE("every kind of object comes and goes, 1000 times, without a trace") {
    World world;
    REQUIRE(world.create(Type::space, 50, static_cast<u64>(abi::SpaceKind::guest)).ok());
    REQUIRE(world.create(Type::endpoint, 40).ok());  // makes the leaf of the table
    const u64 free = free_bytes(world);
    const Type types[] = {Type::cspace, Type::space,        Type::thread, Type::endpoint,
                          Type::reply,  Type::notification, Type::vcpu};
    for (int round = 0; round < 1000; ++round) {
        for (Type type : types) {
            REQUIRE(world.create(type, 41, type == Type::vcpu ? 50 : 0).ok());
            REQUIRE(free_bytes(world) < free);
            REQUIRE(world.invoke(kC, cs::remove, 41).ok());
            REQUIRE(free_bytes(world) == free);
        }
        REQUIRE(world.invoke(abi::kRootSystem, abi::system::make_sched, kP, 41, 0, 0, 3).ok());
        REQUIRE(world.invoke(kC, cs::remove, 41).ok());
        REQUIRE(world.invoke(abi::kRootSystem, abi::system::make_irq, kP, 41, 40, 0, 0).ok());
        REQUIRE(world.invoke(kC, cs::remove, 41).ok());
        REQUIRE(free_bytes(world) == free);
    }
}

TEST_CASE("capability spaces: what lies in one goes with it, and loops end") {
    World world;
    REQUIRE(world.create(Type::endpoint, 40).ok());
    const u64 free = free_bytes(world);
    REQUIRE(world.create(Type::cspace, 41).ok());
    REQUIRE(world.create(Type::cspace, 42).ok());
    REQUIRE(world.invoke(41, cs::copy, 1, 42, rights::all).ok());
    REQUIRE(world.invoke(42, cs::copy, 1, 41, rights::all).ok());
    REQUIRE(world.invoke(41, cs::copy, 8191, 41, rights::all).ok());  // itself in itself
    REQUIRE(world.invoke(42, cs::copy, 300, 40, rights::all).ok());
    REQUIRE(world.invoke(kC, cs::remove, 41).ok());
    REQUIRE(world.object<CSpace>(42).find(1)->empty());
    REQUIRE(world.invoke(kC, cs::remove, 42).ok());
    REQUIRE_FALSE(world.at(40).empty());
    REQUIRE_FALSE(world.at(40).has_children());
    REQUIRE(free_bytes(world) == free);
}

TEST_CASE("map: errors, rights, and the way back") {
    World world;
    REQUIRE(world.invoke(kRam, mem::derive, 0, 16 * kPage, 40, rights::mem_read | rights::mem_write).ok());
    REQUIRE(world.create(Type::space, 41).ok());
    const u64 free = free_bytes(world);
    const auto map = [&](u64 memory, u64 offset, u64 at, u64 bytes, u64 want, u64 slot) {
        return world.invoke(41, abi::space::map, memory, offset, at, bytes, want, slot);
    };
    REQUIRE(map(40, 0, 0, kPage + 1, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 1, 0, kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, 1, kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, 0, 0, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, kPage, 0, 16 * kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, ~u64{0} - kPage + 1, 0, 2 * kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, abi::space::kEnd, kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, abi::space::kEnd - kPage, 2 * kPage, 1, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, 0, kPage, 0, 50).error() == Error::bad_arg);
    REQUIRE(map(40, 0, 0, kPage, 8, 50).error() == Error::bad_arg);
    REQUIRE(map(kRam, 0, 0, kPage, 6, 50).error() == Error::bad_arg);  // write and execute
    REQUIRE(map(40, 0, 0, kPage, 4, 50).error() == Error::rights);
    REQUIRE(map(kP, 0, 0, kPage, 1, 50).error() == Error::bad_type);
    REQUIRE(map(51, 0, 0, kPage, 1, 50).error() == Error::bad_slot);
    REQUIRE(map(40, 0, 0, kPage, 1, 40).error() == Error::occupied);
    REQUIRE(free_bytes(world) == free);
    REQUIRE(map(40, 0, kPage, 4 * kPage, 3, 50).ok());
    REQUIRE(map(40, 0, 0, 8 * kPage, 3, 51).error() == Error::occupied);
    REQUIRE(world.at(51).empty());
    REQUIRE(world.invoke(50, abi::mapping::protect, 4).error() == Error::rights);
    REQUIRE(world.invoke(50, abi::mapping::protect, 0).error() == Error::bad_arg);
    REQUIRE(world.invoke(50, abi::mapping::protect, 1).ok());
    REQUIRE(world.invoke(kC, cs::copy, 52, 50, rights::all).error() == Error::bad_type);
    const Answer seen = world.invoke(kC, cs::inspect, 50);
    REQUIRE(seen.x[6] == 4 * kPage);
    REQUIRE(seen.x[7] == kPage);
    const u64 flushes = world.object<Space>(41).tag.flushes;
    REQUIRE(world.invoke(kC, cs::remove, 40).ok());
    REQUIRE(world.at(50).empty());
    REQUIRE(world.object<Space>(41).tag.flushes > flushes);
    REQUIRE(map(kRam, 0, kPage, 4 * kPage, 3, 50).ok());
    REQUIRE(world.invoke(kC, cs::remove, 41).ok());
    REQUIRE(world.at(50).empty());
    REQUIRE_FALSE(world.at(kRam).has_children());
}

TEST_CASE("long calls are interrupted and come to the same end") {
    World world;
    int every = 0;
    fake::state().preempt = [&] { return ++every % 3 == 0; };
    REQUIRE(world.create(Type::space, 41).ok());
    const Answer mapped = world.invoke(41, abi::space::map, kRam, 0, kPage, 1000 * kPage, 1, 50);
    REQUIRE(mapped.ok());
    REQUIRE(mapped.restarts > 0);
    const Answer locked = world.invoke(50, abi::mapping::protect, 3);
    REQUIRE(locked.ok());
    REQUIRE(locked.restarts > 0);
    const Answer removed = world.invoke(kC, cs::remove, 50);
    REQUIRE(removed.ok());
    REQUIRE(removed.restarts > 0);
    REQUIRE(world.at(50).empty());
    REQUIRE(world.create(Type::endpoint, 60).ok());
    for (u64 slot = 61; slot < 200; ++slot) REQUIRE(world.invoke(kC, cs::copy, slot, 60, rights::all).ok());
    const Answer revoked = world.invoke(kC, cs::revoke, 60);
    REQUIRE(revoked.ok());
    REQUIRE(revoked.restarts > 0);
    for (u64 slot = 61; slot < 200; ++slot) REQUIRE(world.at(slot).empty());
    REQUIRE_FALSE(world.at(60).dying());
    REQUIRE(world.invoke(kC, cs::copy, 61, 60, rights::all).ok());
    REQUIRE(world.invoke(kRam, mem::split, u64{1} << 20, 70).ok());
    REQUIRE(world.invoke(kRam, mem::make_pool, 71).ok());
    for (u64 slot = 300; slot < 330; ++slot) REQUIRE(world.create(Type::space, slot, 0, 0, 71).ok());
    REQUIRE(world.invoke(kC, cs::remove, 71).ok());
    REQUIRE(world.at(300).empty());
}

TEST_CASE("what is being revoked refuses to derive") {
    World world;
    REQUIRE(world.create(Type::endpoint, 60).ok());
    for (u64 slot = 61; slot < 70; ++slot) REQUIRE(world.invoke(kC, cs::copy, slot, slot - 1, rights::all).ok());
    fake::state().preempt = [] { return true; };
    world.call(*world.root, abi::Sys::invoke, {kC, cs::revoke, 60});  // interrupted in the midst
    REQUIRE(world.at(61).dying());
    REQUIRE(world.at(69).empty());
    fake::state().preempt = nullptr;
    REQUIRE(world.invoke(kC, cs::copy, 80, 61, rights::all).error() == Error::dying);
    REQUIRE(world.invoke(kC, cs::revoke, 60).ok());
    REQUIRE(world.invoke(kC, cs::copy, 61, 60, rights::all).ok());
}

TEST_CASE("nothing is mapped in a space that is being removed") {
    World world;
    REQUIRE(world.create(Type::space, 60).ok());
    for (u64 slot = 61; slot < 65; ++slot) {
        REQUIRE(world.invoke(60, abi::space::map, kRam, 0, slot * kPage, kPage, 1, slot).ok());
    }
    fake::state().preempt = [] { return true; };
    while (!world.at(61).empty()) {  // interrupted in the midst
        world.call(*world.root, abi::Sys::invoke, {kC, cs::remove, 60});
    }
    REQUIRE_FALSE(world.at(60).empty());
    fake::state().preempt = nullptr;
    REQUIRE(world.invoke(60, abi::space::map, kRam, 0, 61 * kPage, kPage, 1, 61).error() == Error::dying);
    REQUIRE(world.at(61).empty());
    REQUIRE(world.invoke(kC, cs::remove, 60).ok());
    REQUIRE(world.at(64).empty());
}

TEST_CASE("tables, waiting threads and a map that fails go in steps") {
    World world;
    for (const u64 slot : {127, 255, 301}) {  // so that the leaves are there
        REQUIRE(world.create(Type::endpoint, slot).ok());
        REQUIRE(world.invoke(kC, cs::remove, slot).ok());
    }
    const u64 before = world.object<Pool>(kP).free_bytes();
    fake::state().preempt = [] { return true; };
    REQUIRE(world.create(Type::space, 41).ok());
    for (u64 i = 0; i < 100; ++i) {  // each has a table of its own
        REQUIRE(world.invoke(41, abi::space::map, kRam, 0, i << 21, kPage, 1, 100 + i).ok());
    }
    // All of it is taken back, step by step, when the last page is in the way.
    REQUIRE(world.invoke(41, abi::space::map, kRam, kPage, u64{1} << 30, kPage, 1, 300).ok());
    const Answer failed = world.invoke(41, abi::space::map, kRam, 0, (u64{1} << 30) - 300 * kPage, 301 * kPage, 1, 301);
    REQUIRE(failed.error() == Error::occupied);
    REQUIRE(failed.restarts > 300);
    REQUIRE(world.at(301).empty());
    for (u64 i = 0; i < 100; ++i) REQUIRE(world.invoke(kC, cs::remove, 100 + i).ok());
    REQUIRE(world.invoke(kC, cs::remove, 300).ok());
    const Answer removed = world.invoke(kC, cs::remove, 41);
    REQUIRE(removed.ok());
    REQUIRE(removed.restarts >= 100);
    fake::state().preempt = nullptr;
    REQUIRE(world.object<Pool>(kP).free_bytes() == before);

    world.endpoint(42);
    for (int i = 0; i < 50; ++i) world.call(world.thread(), abi::Sys::call, {42, 1});
    fake::state().preempt = [] { return true; };
    const Answer drained = world.invoke(kC, cs::remove, 42);
    REQUIRE(drained.ok());
    REQUIRE(drained.restarts >= 3);
    fake::state().preempt = nullptr;
    for (const Thread* thread : world.threads) {
        if (thread != world.root) REQUIRE(world.answer(*thread).error() == Error::cancelled);
    }
    world.check();
}

TEST_CASE("nobody can use what is being removed, not even by the capability that is left") {
    World world;
    world.endpoint(42);
    Thread& caller = world.thread();
    for (int i = 0; i < 50; ++i) world.call(world.thread(), abi::Sys::call, {42, 1});
    fake::state().preempt = [] { return true; };
    world.call(*world.root, abi::Sys::invoke, {kC, cs::remove, 42});
    fake::state().preempt = nullptr;
    REQUIRE_FALSE(world.at(42).empty());
    world.call(caller, abi::Sys::call, {42, 1});
    REQUIRE(world.answer(caller).error() == Error::rights);
    REQUIRE(world.invoke(kC, cs::remove, 42).ok());
    world.check();
}

TEST_CASE("making a pool costs the same for any size, whatever was in the memory") {
    World world(1, u64{64} << 20);
    auto* memory = static_cast<std::byte*>(machine::to_virt({fake::kRamBase + World::kPoolBytes}));
    std::fill(memory, memory + (u64{32} << 20), std::byte{0xff});
    const u64 before = fake::state().zeroed;
    REQUIRE(world.invoke(kRam, mem::make_pool, 71).ok());
    REQUIRE(fake::state().zeroed - before <= kPage);
    const u64 free = world.object<Pool>(71).free_bytes();
    for (u64 slot = 300; slot < 700; ++slot)
        REQUIRE(world.create(slot % 2 ? Type::thread : Type::endpoint, slot, 0, 0, 71).ok());
    for (u64 slot = 300; slot < 700; ++slot) REQUIRE(world.invoke(kC, cs::remove, slot).ok());
    REQUIRE(world.object<Pool>(71).free_bytes() == free);
    REQUIRE(world.invoke(kC, cs::remove, 71).ok());
}

TEST_CASE("the root task's capability space, where the roots lie, stays; revoking pool or space ends the task") {
    World world;
    REQUIRE(world.invoke(kC, cs::remove, kC).error() == Error::busy);
    REQUIRE(world.invoke(kC, cs::remove, kP).error() == Error::busy);
    world.call(*world.root, abi::Sys::invoke, {kC, cs::revoke, kP});
    REQUIRE(world.cpu().current == nullptr);
}

TEST_CASE("a task may remove its own space, thread, and time") {
    for (const u64 what : {abi::kRootSpace, abi::kRootThread, abi::kRootSched}) {
        World world;
        world.thread();  // somebody else to run
        world.call(*world.root, abi::Sys::invoke, {kC, cs::remove, what});
        REQUIRE(world.cpu().current != world.root);
    }
}

TEST_CASE("irq objects: one for each line, bound once") {
    World world;
    const auto make = [&](u64 slot, u64 intid, u64 flags = 0, u64 core = 0) {
        return world.invoke(abi::kRootSystem, abi::system::make_irq, kP, slot, intid, flags, core);
    };
    REQUIRE(make(40, 31).error() == Error::bad_arg);
    REQUIRE(make(40, 256).error() == Error::bad_arg);
    REQUIRE(make(40, 40, 2).error() == Error::bad_arg);
    REQUIRE(make(40, 40, 0, 1).error() == Error::bad_arg);
    REQUIRE(make(40, 40).ok());
    REQUIRE(make(41, 40).error() == Error::occupied);
    REQUIRE(world.create(Type::notification, 42).ok());
    REQUIRE(world.invoke(kC, cs::copy, 43, 42, rights::note_signal, 4).ok());
    REQUIRE(world.invoke(40, abi::irq::bind, 43).ok());
    REQUIRE(fake::state().enabled[40]);
    REQUIRE(world.invoke(40, abi::irq::bind, 42).error() == Error::occupied);
    REQUIRE(world.object<Irq>(40).badge == 4);
    REQUIRE(world.invoke(kC, cs::remove, 42).ok());  // the notification goes: the line is off
    REQUIRE_FALSE(fake::state().enabled[40]);
    REQUIRE(world.object<Irq>(40).note == nullptr);
    REQUIRE(world.create(Type::notification, 42).ok());
    REQUIRE(world.invoke(40, abi::irq::bind, 42).ok());
    REQUIRE(world.invoke(40, abi::irq::bind, 0).ok());
    REQUIRE_FALSE(fake::state().enabled[40]);
    REQUIRE(world.invoke(kC, cs::remove, 40).ok());
    REQUIRE(Irq::of(40) == nullptr);
    REQUIRE(make(41, 40).ok());
}

TEST_CASE("device memory: nothing that is RAM") {
    World world;
    const auto make = [&](u64 slot, u64 base, u64 bytes) {
        return world.invoke(abi::kRootSystem, abi::system::make_memory, slot, base, bytes);
    };
    REQUIRE(make(40, fake::kRamBase, kPage).error() == Error::bad_arg);
    REQUIRE(make(40, fake::kDeviceBase, 1).error() == Error::bad_arg);
    REQUIRE(make(40, fake::kDeviceBase, 0).error() == Error::bad_arg);
    REQUIRE(make(40, ~u64{0} - kPage + 1, kPage).error() == Error::bad_arg);
    REQUIRE(make(40, fake::kDeviceBase, kPage).ok());
    REQUIRE(world.invoke(40, mem::make_pool, 41).error() != Error::none);
    REQUIRE(
        world.invoke(kS, abi::space::map, 40, 0, 0x100000, kPage, rights::mem_read | rights::mem_exec, 41).error() !=
        Error::none);
    REQUIRE(world.invoke(40, mem::derive, 0, kPage, 41, rights::all).ok());
    REQUIRE((world.invoke(kC, cs::inspect, 41).x[2] & cs::kInspectDevice) != 0);
    REQUIRE(world.invoke(kC, cs::remove, 40).ok());
    REQUIRE(world.at(41).empty());
}

TEST_CASE("nothing is put into a capability space that is being removed") {
    World w;
    REQUIRE(w.create(Type::cspace, 50).ok());
    REQUIRE(w.create(Type::endpoint, 51).ok());
    REQUIRE(w.invoke(50, cs::copy, 2, 51, rights::all).ok());
    fake::state().preempt = [] { return true; };
    w.call(*w.root, abi::Sys::invoke, {abi::kRootCSpace, cs::remove, 50});  // one step of it
    REQUIRE(w.at(50).dying());
    const Answer answer = w.invoke(50, cs::copy, 1, 51, rights::all);
    REQUIRE(answer.error() == Error::dying);
    REQUIRE(answer.argument() == 0);
    REQUIRE(w.invoke(abi::kRootCSpace, cs::remove, 50).ok());
    w.check();
}

TEST_CASE("a capability space whose removal was interrupted by a revocation is removed with all that is in it") {
    World w;
    REQUIRE(w.create(Type::cspace, 50).ok());
    REQUIRE(w.create(Type::endpoint, 51).ok());
    REQUIRE(w.invoke(50, cs::copy, 2, 51, rights::all).ok());
    fake::state().preempt = [] { return true; };
    w.call(*w.root, abi::Sys::invoke, {abi::kRootCSpace, cs::remove, 50});  // one step of it
    REQUIRE(w.invoke(abi::kRootCSpace, cs::revoke, 50).ok());
    REQUIRE_FALSE(w.at(50).dying());
    REQUIRE(w.invoke(50, cs::copy, 1, 51, rights::all).ok());
    REQUIRE(w.invoke(abi::kRootCSpace, cs::remove, 50).ok());
    w.check();
    REQUIRE_FALSE(w.at(51).has_children());
}

TEST_CASE("a pool that is used up refuses, whatever is made, and has lost nothing") {
    World world;
    REQUIRE(world.invoke(kRam, mem::split, world.at(kRam).badge() - 8 * kPage, 40).ok());
    REQUIRE(world.invoke(40, mem::make_pool, 41).ok());
    REQUIRE(world.create(Type::cspace, 42, 0, 0, 41).ok());
    Pool& pool = world.object<Pool>(41);
    u64 slot = 50;
    for (const Type type : {Type::endpoint, Type::thread, Type::cspace, Type::reply, Type::notification}) {
        Answer answer;
        while ((answer = world.create(type, slot, 0, 0, 41)).ok()) ++slot;
        REQUIRE(answer.error() == Error::no_memory);
        REQUIRE((world.root->cspace->find(slot) == nullptr || world.at(slot).empty()));
    }
    while (world.create(Type::notification, slot, 0, 0, 41).ok()) ++slot;
    const u64 free = pool.free_bytes();
    // A slot of the capability space lies in the pool, too.
    REQUIRE(world.invoke(42, cs::copy, 5, kP, rights::all).error() == Error::no_memory);
    REQUIRE(world.invoke(kC, abi::cspace::copy, slot, 41, rights::all).ok());
    REQUIRE(world.invoke(abi::kRootSystem, abi::system::make_sched, 41, slot + 1, 1, 2, 5).error() == Error::no_memory);
    REQUIRE(pool.free_bytes() == free);
    world.check();
    REQUIRE(world.invoke(kC, cs::remove, 50).ok());
    REQUIRE(world.create(Type::endpoint, 50, 0, 0, 41).ok());
    world.check();
}

}  // namespace twain::kernel::test
