// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Kernel images, device trees, stage-1 tables: all of them a stranger's.
#include <catch2/catch.hpp>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <libfdt.h>

#include "vmm/load/device_tree.hpp"
#include "vmm/load/image.hpp"
#include "vmm/mmu/walk.hpp"

using namespace twain;
using namespace twain::vmm;

namespace {

struct File {
    std::vector<std::byte> bytes;
    explicit File(std::size_t size, std::uint64_t image_size = 0x1'0000) : bytes(size) {
        put(8, std::uint64_t{0});
        put(16, image_size);
        put(24, std::uint64_t{0xa});
        put(56, std::uint32_t{0x644d5241});
    }
    template <typename T>
    void put(std::size_t at, T value) {
        if (at + sizeof value <= bytes.size()) {
            std::memcpy(&bytes[at], &value, sizeof value);
        }
    }
    // A PE header with one section of `raw` bytes at `from`.
    void pe(std::uint32_t at, std::uint32_t from, std::uint32_t raw) {
        put(60, at);
        put(at, std::uint32_t{0x4550});
        put(at + 6, std::uint16_t{1});
        put(at + 20, std::uint16_t{16});
        put(at + 24 + 16 + 16, raw);
        put(at + 24 + 16 + 20, from);
    }
};

LoadError parse(const File& f) {
    Image image;
    return parse_image(f.bytes, image);
}

}  // namespace

TEST_CASE("kernels that are not", "[load][hostile]") {
    CHECK(parse(File(0x1000)) == LoadError::none);
    CHECK(parse(File(0)) == LoadError::truncated);
    CHECK(parse(File(63)) == LoadError::truncated);
    CHECK(parse(File(64)) == LoadError::none);
    File f(0x1000);
    f.put(56, std::uint32_t{0});
    CHECK(parse(f) == LoadError::not_an_image);
    f = File(0x1000);
    f.put(0, std::uint16_t{0x8b1f});
    CHECK(parse(f) == LoadError::compressed);
    f = File(0x1000);
    f.put(24, std::uint64_t{1});
    CHECK(parse(f) == LoadError::big_endian);
    CHECK(parse(File(0x1000, 0)) == LoadError::no_size);
    CHECK(parse(File(0x1000, ~std::uint64_t{0})) == LoadError::kernel_too_big);
    f = File(0x1000);
    f.put(8, ~std::uint64_t{0});
    CHECK(parse(f) == LoadError::kernel_too_big);
    f = File(0x1000);
    f.pe(0x40, 0x200, 0xe00);
    CHECK(parse(f) == LoadError::none);
    f.bytes.resize(0xfff);
    CHECK(parse(f) == LoadError::truncated);
    f.pe(0x40, 0xffff'ffff, 0xffff'ffff);
    CHECK(parse(f) == LoadError::truncated);
    f.put(60, std::uint32_t{0xffff'fff0});
    CHECK(parse(f) == LoadError::truncated);
    std::mt19937 random(5);
    for (unsigned n = 0; n < 20'000; ++n) {  // any prefix, any flipped bytes
        File g(1 + random() % 512);
        g.pe(0x40, 0x100, 0x100);
        for (unsigned i = 0; i < 8; ++i) {
            g.bytes[random() % g.bytes.size()] = static_cast<std::byte>(random());
        }
        (void)parse(g);
    }
    for (unsigned e = 0; e <= static_cast<unsigned>(LoadError::tree_too_big); ++e) {
        CHECK(std::string(message_of(static_cast<LoadError>(e))) != "unknown");
    }
}

TEST_CASE("where things go", "[load][hostile]") {
    constexpr std::uint64_t kRam = 0x1000'0000;
    Layout at;
    CHECK(plan({0, 0x210'0000, 1}, 0x50'0000, kRam, at) == LoadError::none);
    CHECK(at.kernel == 0);
    CHECK(at.tree == 0x220'0000);
    CHECK(at.initrd == at.tree + kTreeBytes);
    CHECK(plan({0x8'0000, 0x20'0000, 1}, 0, kRam, at) == LoadError::none);
    CHECK(at.kernel == 0x8'0000);
    CHECK(at.tree == 0x40'0000);
    CHECK(plan({0, kRam, 1}, 0, kRam, at) == LoadError::kernel_too_big);
    CHECK(plan({0, kRam - 0x20'0000, 1}, 0, kRam, at) == LoadError::none);
    CHECK(plan({kRam, 1, 1}, 0, kRam, at) == LoadError::kernel_too_big);
    CHECK(plan({kRam + 1, 1, 1}, 0, kRam, at) == LoadError::kernel_too_big);
    CHECK(plan({0, 0x10'0000, 1}, kRam, kRam, at) == LoadError::initrd_too_big);
    CHECK(plan({0, 0x10'0000, 1}, ~std::uint64_t{0}, kRam, at) == LoadError::initrd_too_big);
}

TEST_CASE("the device tree says what Linux asks", "[load]") {
    std::vector<std::byte> out(kTreeBytes);
    TreeInput in;
    in.vcpus = 2;
    in.ram_bytes = 0x1000'0000;
    in.command_line = "console=ttyAMA0 quiet";
    in.initrd = {0x4220'0000};
    in.initrd_bytes = 0x1234;
    in.kaslr_seed = 42;
    const std::uint8_t seed[64] = {1};
    in.rng_seed = seed;
    const std::size_t size = make_device_tree(in, out);
    REQUIRE(size != 0);
    const void* t = out.data();
    REQUIRE(fdt_check_full(t, size) == 0);
    const auto text = [&](const char* node, const char* name) {
        const void* p = fdt_getprop(t, fdt_path_offset(t, node), name, nullptr);
        return p != nullptr ? std::string(static_cast<const char*>(p)) : std::string("(none)");
    };
    const auto cells = [&](const char* node, const char* name) {
        int bytes = 0;
        const auto* p = static_cast<const fdt32_t*>(fdt_getprop(t, fdt_path_offset(t, node), name, &bytes));
        std::vector<std::uint32_t> list;
        for (int i = 0; p != nullptr && i < bytes / 4; ++i) {
            list.push_back(fdt32_to_cpu(p[i]));
        }
        return list;
    };
    using Cells = std::vector<std::uint32_t>;
    CHECK(text("/chosen", "bootargs") == "console=ttyAMA0 quiet");
    CHECK(text("/chosen", "stdout-path") == "/pl011@9000000");
    CHECK(cells("/chosen", "linux,initrd-end") == Cells{0, 0x4220'1234});
    CHECK(cells("/chosen", "kaslr-seed") == Cells{0, 42});
    CHECK(cells("/chosen", "rng-seed").size() == 16);
    TreeInput unseeded = in;  // nobody vouches for random numbers: the guest must not count on them
    unseeded.rng_seed = {};
    std::vector<std::byte> plain(kTreeBytes);
    REQUIRE(make_device_tree(unseeded, plain) != 0);
    const int bare = fdt_path_offset(plain.data(), "/chosen");
    CHECK(fdt_getprop(plain.data(), bare, "rng-seed", nullptr) == nullptr);
    CHECK(fdt_getprop(plain.data(), bare, "kaslr-seed", nullptr) == nullptr);
    CHECK(cells("/memory@40000000", "reg") == Cells{0, 0x4000'0000, 0, 0x1000'0000});
    CHECK(cells("/cpus/cpu@1", "reg") == Cells{1});
    CHECK(text("/cpus/cpu@1", "enable-method") == "psci");
    CHECK(fdt_path_offset(t, "/cpus/cpu@2") < 0);
    CHECK(text("/psci", "method") == "hvc");
    CHECK(cells("/timer", "interrupts") == Cells{1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4});
    CHECK(cells("/interrupt-controller@8000000", "reg") ==
          Cells{0, 0x0800'0000, 0, 0x1'0000, 0, 0x080a'0000, 0, 0x4'0000});
    CHECK(text("/interrupt-controller@8000000", "compatible") == "arm,gic-v3");
    CHECK(cells("/pl011@9000000", "interrupts") == Cells{0, 1, 4});
    in.gic = GicVersion::v2;
    REQUIRE(make_device_tree(in, out) != 0);
    CHECK(text("/interrupt-controller@8000000", "compatible") == "arm,gic-400");
    CHECK(cells("/interrupt-controller@8000000", "reg") == Cells{0, 0x0800'0000, 0, 0x1000, 0, 0x0801'0000, 0, 0x2000});
    CHECK(cells("/timer", "interrupts") == Cells{1, 13, 0x304, 1, 14, 0x304, 1, 11, 0x304, 1, 10, 0x304});
    in.gic = GicVersion::v3;
    CHECK(fdt_stringlist_contains("arm,pl011\0arm,primecell", 24, "arm,primecell") == 1);

    const std::string absurd(70'000, 'x');
    in.command_line = absurd;
    CHECK(make_device_tree(in, out) == 0);
    for (std::size_t room = 0; room < size; room += 7) {  // any smaller buffer: refused, nothing written behind it
        std::vector<std::byte> small(room);
        in.command_line = "console=ttyAMA0 quiet";
        CHECK(make_device_tree(in, small) == 0);
    }
}

namespace {

constexpr std::uint64_t kBase = 0x4000'0000;

struct Tables {
    std::vector<std::uint64_t> words = std::vector<std::uint64_t>(0x1'0000 / 8);
    GuestMemory memory{{kBase}, words.data(), 0x1'0000};
    abi::El1State el1{};
    Tables() {
        el1.sctlr_el1 = 1;
        el1.tcr_el1 = 16 | (16u << 16) | (2u << 30);  // 48 bits each, 4K
        el1.ttbr0_el1 = kBase;
        el1.ttbr1_el1 = kBase + 0x8000;
    }
    void put(std::uint64_t at, std::uint64_t value) { words[(at - kBase) / 8] = value; }
    std::optional<Ipa> walk(std::uint64_t at) { return walk_stage1(el1, memory, {at}); }
};

}  // namespace

TEST_CASE("stage-1 walks", "[walk]") {
    Tables t;
    t.el1.sctlr_el1 = 0;
    CHECK(t.walk(0x1234)->value == 0x1234);
    t.el1.sctlr_el1 = 1;
    CHECK_FALSE(t.walk(0x1234));
    t.put(kBase, (kBase + 0x1000) | 3);
    t.put(kBase + 0x1008, 0x8000'0000 | 1);  // 1 GiB block
    CHECK(t.walk(0x4000'0000 + 0x123'4567)->value == 0x8123'4567);
    t.put(kBase + 0x1000, (kBase + 0x2000) | 3);
    t.put(kBase + 0x2000, (kBase + 0x3000) | 3);
    t.put(kBase + 0x2008, 0x0900'0000'0020'0001 & 0x0000'ffff'ffff'ffff);  // 2 MiB block
    CHECK(t.walk(0x20'0000 + 0x1'2345)->value == (0x0000'0000'0020'0000 | 0x1'2345));
    t.put(kBase + 0x3000 + 8 * 5, 0x0060'0000'0900'0f03);
    CHECK(t.walk(0x5678)->value == 0x0900'0678);
    CHECK_FALSE(t.walk(0x6678));
    t.put(kBase + 0x3000 + 8 * 6, 0x0060'0000'0900'0f01);  // at the last level there are no blocks
    CHECK_FALSE(t.walk(0x6678));
    t.put(kBase + 0x8000 + 8 * 511, (kBase + 0x9000) | 3);
    t.put(kBase + 0x9000 + 8 * 511, 0x4000'0000 | 1);
    CHECK(t.walk(0xffff'ffff'ffff'fff0)->value == 0x7fff'fff0);
    CHECK_FALSE(t.walk(0xfffe'ffff'ffff'fff0));
    CHECK_FALSE(t.walk(0x0001'0000'0000'0000));
    t.el1.tcr_el1 |= std::uint64_t{1} << 37;  // TBI0
    CHECK(t.walk(0x5500'0000'0000'5678)->value == 0x0900'0678);
    t.el1.tcr_el1 |= 1u << 7;  // EPD0
    CHECK_FALSE(t.walk(0x5678));
}

TEST_CASE("tables that are cyclic, elsewhere, or noise", "[walk][hostile]") {
    Tables t;
    for (unsigned i = 0; i < 512; ++i) {
        t.put(kBase + 8 * i, kBase | 3);  // every entry points at the table itself
    }
    CHECK(t.walk(0x1234)->value == (kBase | 0x234));  // ends after four levels
    for (const std::uint64_t table :
         {std::uint64_t{0x0900'0000}, std::uint64_t{0}, kBase + 0x1'0000, ~std::uint64_t{0xfff}}) {
        t.el1.ttbr0_el1 = table;
        CHECK_FALSE(t.walk(0x1234));
    }
    std::mt19937_64 random(11);
    for (unsigned n = 0; n < 50'000; ++n) {
        for (unsigned i = 0; i < 16; ++i) {
            t.words[random() % t.words.size()] =
                (random() & ~std::uint64_t{0xfffff'ffff}) | kBase | (random() & 0xffff);
        }
        t.el1.ttbr0_el1 = n % 2 != 0 ? random() : kBase | (random() & 0xffff);
        t.el1.ttbr1_el1 = kBase | (random() & 0xffff);
        t.el1.tcr_el1 = random();
        t.el1.sctlr_el1 = 1;
        (void)t.walk(random());
        (void)t.walk(random() | 0xffff'0000'0000'0000);
    }
}
