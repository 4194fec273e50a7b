// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/boot_info.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using namespace twain;
using namespace twain::loader;

TEST_CASE("a set of ranges behaves like a set of bytes") {
    std::mt19937 random{1};
    constexpr std::uint64_t kSpace = 64;
    for (int round = 0; round < 500; ++round) {
        RangeSet set;
        std::vector<bool> model(kSpace, false);
        for (int step = 0; step < 30; ++step) {
            const std::uint64_t base = random() % kSpace;
            const std::uint64_t bytes = random() % (kSpace - base + 1);
            const bool add = random() % 2 == 0;
            REQUIRE((add ? set.add(base, bytes) : set.remove(base, bytes)));
            for (std::uint64_t i = base; i < base + bytes; ++i) {
                model[i] = add;
            }
            std::uint64_t total = 0;
            for (std::uint64_t i = 0; i < kSpace; ++i) {
                REQUIRE(set.contains(i, 1) == model[i]);
                total += model[i] ? 1 : 0;
            }
            REQUIRE(set.total() == total);
            std::uint64_t last = 0;
            for (const abi::Range& range : set.ranges()) {  // ascending, not touching
                REQUIRE((range.bytes != 0 && (last == 0 || range.base > last)));
                last = range.base + range.bytes;
            }
        }
    }
}

TEST_CASE("ranges that wrap or do not fit are refused") {
    RangeSet set;
    CHECK_FALSE(set.add(~std::uint64_t{0}, 2));
    CHECK_FALSE(set.remove(~std::uint64_t{0}, 2));
    for (std::uint64_t i = 0; i < RangeSet::kCapacity; ++i) {
        CHECK(set.add(i * 0x4000, 0x3000));
    }
    CHECK_FALSE(set.add(0x100'0000, 1));
    CHECK_FALSE(set.remove(0x1000, 0x1000));
}

TEST_CASE("ranges shrink to whole pages") {
    RangeSet set;
    CHECK(set.add(0x800, 0x800));
    CHECK(set.add(0x2001, 0x2000));
    CHECK(set.add(~std::uint64_t{0} - 0x10, 0x10));
    set.trim_to_pages();
    REQUIRE(set.ranges().size() == 1);
    CHECK(set.ranges()[0].base == 0x3000);
    CHECK(set.ranges()[0].bytes == 0x1000);
}

namespace {

Packed packed() {
    Packed image{};
    image.image_bytes = 0x80'0000;
    image.flags = 3;
    std::strcpy(image.build_id, "0123456789abcdef");
    image.kernels[1] = {0x20'0000, 0x8000, 0x10'0000};
    image.root_entry = 0x40'0000;
    image.root_count = 2;
    image.root[0] = {0x40'0000, 0x1'0000, 0x1000, 5};
    image.root[1] = {0x40'1000, 0x1'1000, 0x2000, 3};
    image.archive_offset = 0x30'0000;
    image.archive_bytes = 0x3000;
    image.module_count = 2;
    std::strcpy(image.modules[0].name, "vmm");
    image.modules[0].offset = 0x30'0000;
    image.modules[0].bytes = 0x1234;
    std::strcpy(image.modules[1].name, "a name of forty-seven bytes, with no room left.");
    image.modules[1].offset = 0x30'2000;
    image.modules[1].bytes = 1;
    return image;
}

}  // namespace

TEST_CASE("boot information: offsets become addresses") {
    const Packed image = packed();
    Machine machine;
    machine.ram.add(0x4000'0000, 0x4000'0000);
    machine.core_count = 2;
    machine.mpidr[1] = 0x100;
    machine.psci = Conduit::hvc;
    machine.gic.version = 2;
    machine.gic.virtual_cpu = {0x804'0000, 0x2000};
    std::uint8_t seed[abi::kMaxSeed + 8] = {};
    seed[abi::kMaxSeed - 1] = 7;
    machine.seed = seed;
    abi::BootInfo info;
    std::memset(&info, 0xa5, sizeof info);
    REQUIRE(fill_boot_info(image, image.kernels[1], machine, 0x4020'0000, info) == nullptr);
    CHECK(info.magic == abi::kBootMagic);
    CHECK(info.bytes == sizeof info);
    CHECK(std::string{info.build_id} == "0123456789abcdef");
    CHECK(info.ram_count == 1);
    CHECK(info.ram[1].bytes == 0);
    CHECK(info.kernel.base == 0x4040'0000);
    CHECK(info.kernel.bytes == 0x10'0000);
    CHECK(info.image.base == 0x4020'0000);
    CHECK(info.root_count == 2);
    CHECK(info.root[1].phys == 0x4021'1000);
    CHECK(info.root[1].address == 0x40'1000);
    CHECK(info.root[1].rights == 3);
    CHECK(info.archive.base == 0x4050'0000);
    CHECK(info.module_count == 2);
    CHECK(std::string{info.modules[1].name}.size() == 47);
    CHECK(info.modules[1].phys == 0x4050'2000);
    CHECK(info.modules[0].bytes == 0x1234);
    CHECK(info.mpidr[1] == 0x100);
    CHECK(info.psci_conduit == 2);
    CHECK(info.gicv.base == 0x804'0000);
    CHECK(info.flags == 3);
    CHECK(info.seed_bytes == abi::kMaxSeed);
    CHECK(info.seed[abi::kMaxSeed - 1] == 7);
}

TEST_CASE("boot information: an image outside RAM, or across a hole, is refused") {
    const Packed image = packed();
    abi::BootInfo info;
    Machine machine;
    machine.ram.add(0x4000'0000, 0x4000'0000);
    CHECK(fill_boot_info(image, image.kernels[1], machine, 0x8000'0000, info) != nullptr);
    CHECK(fill_boot_info(image, image.kernels[1], machine, 0x7fa0'0000, info) != nullptr);
    machine.ram.remove(0x4030'0000, 0x1000);
    CHECK(fill_boot_info(image, image.kernels[1], machine, 0x4020'0000, info) != nullptr);
    CHECK(fill_boot_info(image, image.kernels[1], machine, 0x4040'0000, info) == nullptr);
}

TEST_CASE("boot information: of many RAM ranges the one with the image and the largest") {
    const Packed image = packed();
    Machine machine;
    for (std::uint64_t i = 1; i <= 7; ++i) {
        machine.ram.add(i << 32, i << 24);
    }
    abi::BootInfo info;
    REQUIRE(fill_boot_info(image, image.kernels[1], machine, std::uint64_t{1} << 32, info) == nullptr);
    REQUIRE(info.ram_count == 4);
    CHECK(info.ram[0].base == std::uint64_t{1} << 32);
    CHECK(info.ram[1].base == std::uint64_t{5} << 32);
    CHECK(info.ram[3].base == std::uint64_t{7} << 32);
}
