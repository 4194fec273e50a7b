// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The guest's tables as the VMM walks them, and the roots that stand for them.
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "vmm/shadow/tables.hpp"
#include "vmm/shadow/translation.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kRam = 0x4000'0000, kRamBytes = 1 << 20, kRoot = kRam;
constexpr std::uint64_t kPage = 0x703, kTable = 3, kAp1 = 0x40, kAp2 = 0x80, kAf = 0x400;
constexpr std::uint64_t kPxn = std::uint64_t{1} << 53, kUxn = std::uint64_t{1} << 54;

struct Guest {
    std::vector<std::uint64_t> ram = std::vector<std::uint64_t>(kRamBytes / 8);
    GuestMemory memory{Ipa{kRam}, ram.data(), kRamBytes};
    abi::El1State el1{};
    std::uint64_t next = kRoot + 0x1000;

    Guest() {
        el1.sctlr_el1 = 1;
        el1.tcr_el1 = std::uint64_t{2} << 30 | 16 << 16 | 16;
        el1.ttbr0_el1 = el1.ttbr1_el1 = kRoot;
    }
    std::uint64_t& word(std::uint64_t at) { return ram[(at - kRam) / 8]; }
    std::uint64_t& entry(std::uint64_t at, unsigned level) {
        std::uint64_t table = kRoot;
        for (unsigned l = 0;; ++l) {
            std::uint64_t& e = word(table + 8 * (at >> (39 - 9 * l) & 511));
            if (l == level) return e;
            if (e == 0) {
                e = next | kTable;
                next += 0x1000;
            }
            table = e & 0xffff'ffff'f000;
        }
    }
    Translation walk(std::uint64_t at) const { return translate(el1, memory, {at}); }
};

}  // namespace

TEST_CASE("shadow translation: pages, blocks and what is missing, by level") {
    Guest g;
    g.entry(0x1234'5000, 3) = 0x4005'6000 | kPage;
    Translation t = g.walk(0x1234'5678);
    CHECK(t.fault == 0);
    CHECK(t.at.value == 0x4005'6678);
    CHECK(t.shift == 12);
    CHECK(g.word(t.descriptor.value) == (0x4005'6000 | kPage));
    g.entry(0x4000'0000, 2) = 0x4020'0000 | (kPage & ~2);
    t = g.walk(0x4012'3456);
    CHECK(t.at.value == 0x4032'3456);
    CHECK(t.shift == 21);
    g.entry(0x8000'0000, 1) = 0x1'0000'0000 | (kPage & ~2);
    t = g.walk(0x8fff'ffff);
    CHECK(t.at.value == 0x1'0fff'ffff);
    CHECK(t.shift == 30);
    CHECK(g.walk(0x1234'6000).fault == kFaultTranslation + 3);
    CHECK(g.walk(0x4020'0000).fault == kFaultTranslation + 2);
    CHECK(g.walk(0xc000'0000).fault == kFaultTranslation + 1);
    CHECK(g.walk(std::uint64_t{1} << 39).fault == kFaultTranslation);
    CHECK(g.walk(std::uint64_t{1} << 48).fault == kFaultTranslation);
    g.entry(0x1234'5000, 3) &= ~kAf;
    CHECK(g.walk(0x1234'5000).fault == kFaultAccess + 3);
    g.entry(0x1234'5000, 3) = 0x4005'6000 | (kPage & ~2);  // a block at level 3
    CHECK(g.walk(0x1234'5000).fault == kFaultTranslation + 3);
    g.entry(std::uint64_t{2} << 39, 0) = 0x4000'0000 | (kPage & ~2);  // one at level 0
    CHECK(g.walk(std::uint64_t{2} << 39).fault == kFaultTranslation);
    g.entry(std::uint64_t{3} << 39, 0) = 0x9000'0000 | kTable;  // a table outside RAM
    CHECK(g.walk(std::uint64_t{3} << 39).fault == kFaultWalk + 1);
    g.entry(std::uint64_t{4} << 39, 0) = kRoot | kTable;  // a table that leads to itself
    CHECK(g.walk(std::uint64_t{4} << 39 | std::uint64_t{4} << 30 | 4 << 21 | 4 << 12).fault == kFaultAccess + 3);
}

TEST_CASE("shadow translation: rights of the descriptor, and of the tables above it") {
    Guest g;
    for (unsigned bits = 0; bits < 256; ++bits) {
        const std::uint64_t leaf =
            (bits & 1 ? kAp1 : 0) | (bits & 2 ? kAp2 : 0) | (bits & 4 ? kUxn : 0) | (bits & 8 ? kPxn : 0);
        g.entry(0x1000, 3) = 0x4005'6000 | kPage | leaf;
        std::uint64_t& above = g.entry(0x1000, 2);
        above = (above & 0xffff'ffff'ffff) | std::uint64_t{bits >> 4}
                                                 << 59;  // PXNTable, UXNTable, APTable[0], APTable[1]
        const Translation t = g.walk(0x1000);
        CHECK(t.user == ((bits & 1) != 0 && (bits & 0x40) == 0));
        CHECK(t.read_only == ((bits & 0x82) != 0));
        CHECK(t.uxn == ((bits & 0x24) != 0));
        CHECK(t.pxn == ((bits & 0x18) != 0));
        Translation other = t;  // a neighbour
        other.take(0x4007'7000 | kPage | kAp1);
        CHECK(other.at.value == 0x4007'7000);
        CHECK(other.user == ((bits & 0x40) == 0));
        CHECK(other.read_only == ((bits & 0x80) != 0));
        CHECK(other.uxn == ((bits & 0x20) != 0));
        CHECK(other.pxn == ((bits & 0x10) != 0));
    }
}

TEST_CASE("shadow translation: tags, sizes and regimes that there are not") {
    Guest g;
    g.entry(0x1000, 3) = 0x4005'6000 | kPage;
    CHECK(g.walk(0xab00'0000'0000'1000).fault == kFaultTranslation);
    g.el1.tcr_el1 |= std::uint64_t{1} << 37;          // TBI0
    CHECK(g.walk(0xab80'0000'0000'1000).fault != 0);  // bit 55: the upper half
    CHECK(g.walk(0x5500'0000'0000'1000).at.value == 0x4005'6000);
    CHECK(supported(g.el1));
    Guest other;
    other.el1.tcr_el1 |= 1 << 14;  // TG0: 64K
    CHECK_FALSE(supported(other.el1));
    other.el1.sctlr_el1 = 0;
    CHECK(supported(other.el1));
    other = {};
    other.el1.tcr_el1 = (other.el1.tcr_el1 & ~std::uint64_t{0x3f}) | 12;  // 52 bits
    CHECK_FALSE(supported(other.el1));
    other.el1.tcr_el1 |= 1 << 7;  // EPD0
    CHECK(supported(other.el1));
    other = {};
    other.el1.tcr_el1 |= std::uint64_t{1} << 59;
    CHECK_FALSE(supported(other.el1));
    other = {};
    other.el1.sctlr_el1 = 0;
    CHECK(other.walk(0x4567'8000).at.value == 0x4567'8000);
}

TEST_CASE("shadow translation: a table of anything at all is read four words deep, in RAM only") {
    Guest g;
    std::mt19937_64 random(7);
    for (std::uint64_t& w : g.ram) {
        w = random() & 1 ? (kRam + (random() % kRamBytes & ~std::uint64_t{0xfff})) | (random() & 0xfff) | 3 : random();
    }
    for (unsigned i = 0; i < 100'000; ++i) {
        const Translation t = g.walk(random() & 0xffff'ffff'ffff);
        CHECK((t.fault < 0x18 && t.level <= 3));
        if (t.fault == 0) CHECK((t.shift == 12 || t.shift == 21 || t.shift == 30));
    }
}

namespace {

struct Kernel {  // remembers
    std::map<unsigned, std::pair<unsigned, unsigned>> views;
    std::vector<std::pair<unsigned, std::uint64_t>> drops;  // root, address; all: ~0
    void view(VcpuIndex, unsigned view, unsigned lower, unsigned upper) { views[view] = {lower, upper}; }
    void drop(VcpuIndex, unsigned root, std::uint64_t at, std::uint64_t bytes) {
        drops.push_back({root, bytes == 0 ? ~std::uint64_t{0} : at});
    }
};

struct Roots {
    Kernel kernel;
    std::vector<abi::VcpuPage> storage = std::vector<abi::VcpuPage>(3);
    std::vector<abi::VcpuPage*> pages{&storage[0], &storage[1], &storage[2]};
    ShadowTables<Kernel> tables{kernel, pages};

    Roots() {
        for (VcpuIndex v = 0; v < 3; ++v) tables.begin(v);
    }
    static abi::El1State registers(std::uint64_t table, std::uint64_t asid, std::uint64_t upper = 0x4000'0000) {
        abi::El1State el1{};
        el1.sctlr_el1 = 1;
        el1.tcr_el1 = std::uint64_t{1} << 36 | 1 << 22;
        el1.ttbr0_el1 = table;
        el1.ttbr1_el1 = upper | asid << 48;
        return el1;
    }
    unsigned choose(VcpuIndex v, std::uint64_t table, std::uint64_t asid, std::uint64_t upper = 0x4000'0000) {
        tables.choose(v, registers(table, asid, upper));
        tables.set_filled(tables.lower(v, true));
        return tables.lower(v, true);
    }
    bool listed(VcpuIndex v, std::uint64_t table, std::uint64_t asid) const {
        const abi::El1State el1 = registers(table, asid);
        const abi::ShadowSpace* set = &pages[v]->shadow.space[abi::shadow_space(el1.ttbr0_el1, el1.ttbr1_el1)];
        for (unsigned w = 0; w < abi::kShadowWays; ++w) {
            if (set[w].ttbr0 == el1.ttbr0_el1 && set[w].ttbr1 == el1.ttbr1_el1) return true;
        }
        return false;
    }
};

}  // namespace

TEST_CASE("shadow roots: one for each address space, shared by vCPUs, with a view for each level") {
    Roots r;
    const unsigned a = r.choose(0, 0x5000, 1), b = r.choose(0, 0x6000, 2);
    CHECK(a != b);
    CHECK(r.choose(1, 0x5000, 1) == a);
    CHECK(r.choose(1, 0x5000, 3) != a);
    CHECK(r.kernel.views[2 * a] == std::pair{a, 0u});
    CHECK(r.kernel.views[2 * a + 1] == std::pair{a, r.tables.upper(0)});
    CHECK(r.listed(0, 0x5000, 1));
    CHECK(r.listed(0, 0x6000, 2));
    CHECK_FALSE(r.listed(2, 0x5000, 1));
    r.tables.begin(0);
    CHECK_FALSE(r.listed(0, 0x5000, 1));
}

TEST_CASE("shadow roots: TLBI by address, by ASID and of all reaches what it must, and no more") {
    Roots r;
    const unsigned a = r.choose(0, 0x5000, 1), b = r.choose(0, 0x6000, 2);
    const unsigned upper = r.tables.upper(0);
    r.tables.set_filled(upper);
    const auto dropped = [&](auto operation) {
        r.kernel.drops.clear();
        const std::uint64_t before = r.tables.generation();
        operation();
        CHECK(r.tables.generation() != before);
        return std::set<std::pair<unsigned, std::uint64_t>>(r.kernel.drops.begin(), r.kernel.drops.end());
    };
    using Set = std::set<std::pair<unsigned, std::uint64_t>>;
    CHECK(dropped([&] { r.tables.forget_page(0, {0x7123}, 1, false); }) == Set{{a, 0x7000}});
    CHECK(dropped([&] { r.tables.forget_page(0, {0x7123}, 9, true); }) == Set{{a, 0x7000}, {b, 0x7000}});
    CHECK(dropped([&] { r.tables.forget_page(0, {0xffff'8000'0000'0000}, 7, false); }) ==
          Set{{upper, 0xffff'8000'0000'0000}});
    r.tables.set_giant(b);
    CHECK(dropped([&] { r.tables.forget_page(0, {0x7000}, 2, false); }) == Set{{b, ~std::uint64_t{0}}});
    r.tables.set_filled(b);
    CHECK(dropped([&] { r.tables.forget_asid(0, 2); }) == Set{{b, ~std::uint64_t{0}}});
    r.tables.set_filled(b);
    CHECK(dropped([&] { r.tables.forget_all(0); }) ==
          Set{{a, ~std::uint64_t{0}}, {b, ~std::uint64_t{0}}, {upper, ~std::uint64_t{0}}});
}

TEST_CASE("shadow roots: what only virtual EL1 may use is in a root of its own") {
    Roots r;
    const unsigned shared = r.choose(0, 0x5000, 1);
    CHECK(r.tables.lower(0, false) == shared);
    const unsigned own = r.tables.separate(0);
    CHECK(own != shared);
    CHECK(r.tables.separate(0) == own);
    CHECK(r.tables.lower(0, false) == own);
    CHECK(r.tables.lower(0, true) == shared);
    CHECK(r.kernel.views[2 * shared] == std::pair{shared, 0u});
    CHECK(r.kernel.views[2 * shared + 1] == std::pair{own, r.tables.upper(0)});
    r.tables.set_filled(own);
    r.kernel.drops.clear();
    r.tables.forget_page(0, {0x7000}, 1, false);
    CHECK(r.kernel.drops.size() == 2);
}

TEST_CASE("shadow roots: the oldest goes, never one that a vCPU is in, and never unlisted") {
    Roots r;
    const unsigned held = r.choose(1, 0x5000, 1);
    r.choose(1, 0x7000, 4);
    r.choose(1, 0x5000, 1);
    CHECK(r.listed(1, 0x7000, 4));
    r.choose(0, 0x6000, 2);
    for (std::uint64_t i = 0; i < 200; ++i) {
        const unsigned root = r.choose(0, 0x10'0000 + i * 0x1000, 3);
        CHECK(root != held);
        if (i == 20) {  // the kernel of vCPU 2 has gone by itself where vCPU 0 is now
            r.pages[2]->shadow.view[0] = 2 * root;
            r.pages[2]->shadow.view[1] = 2 * root + 1;
        }
        CHECK((i <= 20 || root != r.pages[2]->shadow.view[0] / 2));
    }
    CHECK(r.tables.lower(1, true) == held);
    CHECK(r.listed(1, 0x5000, 1));
    CHECK_FALSE(r.listed(1, 0x7000, 4));
    CHECK_FALSE(r.listed(0, 0x6000, 2));
    CHECK(r.listed(0, 0x10'0000 + 199 * 0x1000, 3));
}

TEST_CASE("shadow roots: many vCPUs with tables of their own, and two upper halves in turn") {
    Roots r;
    std::mt19937 random(5);
    for (unsigned i = 0; i < 5000; ++i) {
        const VcpuIndex v = static_cast<VcpuIndex>(random() % 3);
        r.choose(v, 0x1000 * (1 + random() % 40), random() % 4, 0x4000'0000 + 0x1000 * (random() % 20));
        if (random() % 8 == 0) r.tables.separate(v);
        std::set<unsigned> lower;
        for (VcpuIndex w = 0; w < 3; ++w) {
            const auto own = r.kernel.views[r.pages[w]->shadow.view[1]];
            CHECK((w != v || own.first == r.tables.lower(w, false)));
            CHECK((r.pages[w]->shadow.view[1] == 0 || own.second != own.first));
        }
    }
}

}  // namespace twain::vmm
