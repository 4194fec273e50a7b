// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// DMA spaces, as far as they are the portable core's, and the arithmetic of an SMMU's queues.
#include <catch2/catch.hpp>
#include <random>

#include "kernel/drivers/smmuv3.hpp"
#include "world.hpp"

namespace twain::kernel::test {

namespace {

constexpr u64 kC = abi::kRootCSpace, kP = abi::kRootPool, kRamSlot = abi::kRootRam, kSystem = abi::kRootSystem;
constexpr u64 kSpace = 40, kMemory = 41, kMapping = 42, kOther = 43, kAt = 0x12'3000;
constexpr u64 kDma = static_cast<u64>(abi::SpaceKind::dma);
constexpr u64 kReadWrite = abi::rights::mem_read | abi::rights::mem_write;

u64 free_bytes(World& world) { return world.invoke(kP, abi::pool::stat).x[3]; }

struct DmaWorld : World {
    DmaWorld() {
        fake::state().smmu = true;
        REQUIRE(create(Type::space, kSpace, kDma).ok());
        REQUIRE(invoke(kRamSlot, abi::memory::derive, 0, 4 * kPage, kMemory, rights::all).ok());
    }
    Answer map(u64 want = kReadWrite) {
        return invoke(kSpace, abi::space::map, kMemory, 0, kAt, 4 * kPage, want, kMapping);
    }
};

}  // namespace

TEST_CASE("an SMMU that does not answer makes a removal fail, and what it may use stays where it is") {
    DmaWorld world;
    auto& smmu = fake::state();
    REQUIRE(world.invoke(kSystem, abi::system::attach, kSpace, 1).ok());
    REQUIRE(world.map().ok());
    const u64 before = free_bytes(world);
    smmu.smmu_answers = false;
    for (int turn = 0; turn < 3; ++turn) {
        REQUIRE(world.invoke(kC, abi::cspace::remove, kMapping).error() == Error::timeout);
        REQUIRE(world.at(kMapping).type() == Type::mapping);
        REQUIRE(world.invoke(kC, abi::cspace::revoke, kMemory).error() == Error::timeout);
        REQUIRE(world.invoke(kC, abi::cspace::remove, kMemory).error() == Error::timeout);
        REQUIRE(world.invoke(kC, abi::cspace::remove, kSpace).error() == Error::timeout);
        REQUIRE(free_bytes(world) == before);
        REQUIRE(world.create(Type::notification, kOther).ok());  // everybody else goes on
        REQUIRE(world.invoke(kC, abi::cspace::remove, kOther).ok());
        world.check();
    }
    smmu.smmu_answers = true;
    REQUIRE(world.invoke(kC, abi::cspace::remove, kSpace).ok());
    REQUIRE(world.at(kMapping).empty());
    REQUIRE(smmu.streams[1] == nullptr);
    REQUIRE(free_bytes(world) > before);
    world.check();
}

TEST_CASE("a change of rights that an SMMU does not answer to is made again") {
    DmaWorld world;
    REQUIRE(world.map().ok());
    fake::state().smmu_answers = false;
    REQUIRE(world.invoke(kMapping, abi::mapping::protect, rights::mem_read).error() == Error::timeout);
    fake::state().smmu_answers = true;
    REQUIRE(world.invoke(kMapping, abi::mapping::protect, rights::mem_read).ok());
}

TEST_CASE("a device executes nothing and drives no other device") {
    DmaWorld world;
    REQUIRE(world.map(rights::mem_read | rights::mem_exec).error() == Error::bad_arg);
    REQUIRE(world.invoke(kSystem, abi::system::make_memory, kOther, fake::kDeviceBase, kPage).ok());
    const Answer answer = world.invoke(kSpace, abi::space::map, kOther, 0, kAt, kPage, kReadWrite, kMapping);
    REQUIRE(answer.error() == Error::bad_type);
    REQUIRE(answer.argument() == 2);
    REQUIRE(world.map().ok());
    REQUIRE(world.invoke(kMapping, abi::mapping::protect, rights::mem_read | rights::mem_exec).error() ==
            Error::bad_arg);
}

TEST_CASE("a DMA space keeps its tables, and its descriptors are the SMMU's") {
    DmaWorld world;
    REQUIRE(world.map().ok());
    u64 size = 0;
    const u64 entry = world.object<Space>(kSpace).tables.find({kAt}, size);
    REQUIRE((entry & ~u64{0x0000'ffff'ffff'f000}) == (u64{3} << 53 | 0xf43));
    REQUIRE(world.invoke(kMapping, abi::mapping::protect, rights::mem_read).ok());
    REQUIRE((world.object<Space>(kSpace).tables.find({kAt}, size) & 0xc0) == 0xc0);
    REQUIRE(world.invoke(kC, abi::cspace::remove, kMapping).ok());
    const u64 walks = fake::state().flushed_walks, free = free_bytes(world);
    REQUIRE(world.invoke(kSpace, abi::space::map, kRamSlot, 0, 0, u64{2} << 20, kReadWrite, kMapping).ok());
    REQUIRE(fake::state().flushed_walks == walks);
    REQUIRE(free_bytes(world) < free);
}

TEST_CASE("a machine without an SMMU has no DMA spaces") {
    World world;
    const Answer answer = world.create(Type::space, kSpace, kDma);
    REQUIRE(answer.error() == Error::unsupported);
    REQUIRE(answer.argument() == 4);
    REQUIRE(world.invoke(kSystem, abi::system::attach, 0, 1).error() == Error::unsupported);
    REQUIRE(world.invoke(kSystem, abi::system::dma_fault).error() == Error::unsupported);
}

TEST_CASE("a position in a ring says how many entries have been read, however often it has wrapped") {
    using Small = smmu::Ring<3>;
    std::mt19937_64 random(1);
    for (u64 read = 0, written = 0, step = 0; step < 100'000; ++step) {
        if (random() % 2 && written - read < Small::kEntries) {
            REQUIRE(Small::index(written) == written % 8);
            ++written;
        } else if (read < written) {
            ++read;
        }
        REQUIRE(Small::read(written, Small::position(read)) == read);
        // The register has other bits above.
        REQUIRE(Small::read(written, Small::position(read) | u32{0x7f} << 24) == read);
    }
}

}  // namespace twain::kernel::test
