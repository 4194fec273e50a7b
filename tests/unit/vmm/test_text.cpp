// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Copies of text: they follow the guest's memory, their branches lead to stubs and back, and they stay out of the way.
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "vmm/shadow/flushed.hpp"
#include "vmm/shadow/stub.hpp"
#include "vmm/shadow/text.hpp"
#include "vmm/shadow/unexecuted.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kRam = 0x4000'0000, kRamBytes = 64 << 20, kCopies = 0x8000'0000;
constexpr std::uint64_t kText = 0xffff'8000'0800'0000;  // where page 0x4100'0000 is mapped, with those behind it
constexpr std::uint64_t kTextPage = 0x4100'0000, kTables = 0x4000'0000;

// A guest whose tables map some pages of text in the upper half.
struct Guest {
    std::vector<std::uint64_t> ram = std::vector<std::uint64_t>(kRamBytes / 8);
    GuestMemory memory{Ipa{kRam}, ram.data(), kRamBytes};
    std::vector<std::uint32_t> copies = std::vector<std::uint32_t>(TextCopies::kBytes / 4);
    std::unique_ptr<TextCopies> text = std::make_unique<TextCopies>(memory, copies.data(), Ipa{kCopies});
    abi::El1State el1{};
    std::uint64_t next_table = kTables + 4096;

    Guest() {
        el1.sctlr_el1 = 1;
        el1.tcr_el1 = std::uint64_t{2} << 30 | 16 << 16 | 16;
        el1.ttbr1_el1 = kTables;
        el1.vbar_el1 = kText + 0x10'0000;
        for (unsigned i = 0; i < 16; ++i) {
            map(kText + i * 4096, kTextPage + i * 4096);
        }
    }
    std::uint64_t& word(std::uint64_t at) { return ram[(at - kRam) / 8]; }
    void map(std::uint64_t at, std::uint64_t to) {
        std::uint64_t table = kTables;
        for (unsigned level = 0; level < 3; ++level) {
            std::uint64_t& entry = word(table + 8 * (at >> (39 - 9 * level) & 511));
            if (entry == 0) {
                entry = next_table | 3;
                next_table += 4096;
            }
            table = entry & 0xffff'ffff'f000;
        }
        word(table + 8 * (at >> 12 & 511)) = to | 0x783;
    }
    void put(unsigned page, unsigned index, std::uint32_t value) {
        reinterpret_cast<std::uint32_t*>(ram.data())[(kTextPage - kRam) / 4 + page * 1024 + index] = value;
    }
    std::uint32_t* copy(unsigned page, bool refresh = true, std::uint64_t at = kText) {
        Ipa to;
        REQUIRE(text->get(el1, {kTextPage + page * 4096}, {at + page * 4096}, refresh, to));
        REQUIRE((to.value >= kCopies && to.value < kCopies + TextCopies::kPages * 4096));
        return copies.data() + (to.value - kCopies) / 4;
    }
    // Where a branch at an address leads.
    static std::uint64_t target(std::uint32_t w, std::uint64_t at) {
        REQUIRE((w & 0xfc00'0000) == 0x1400'0000);
        return at + sign_extend(w & 0x3ff'ffff, 26) * 4;
    }
    std::uint32_t at_stub(std::uint64_t at) {
        Ipa page;
        REQUIRE(text->stubs({at}, page));
        return copies[(page.value - kCopies + (at & 4095)) / 4];
    }
};

constexpr std::uint32_t kReadElr = 0xd538'4023, kNop = 0xd503'201f;

}  // namespace

TEST_CASE("text: what is not privileged is copied as it is, what is becomes a branch to its stub and back") {
    Guest g;
    std::mt19937 random(1);
    std::vector<std::uint32_t> original(1024);
    for (unsigned i = 0; i < 1024; ++i) {
        original[i] = i % 7 == 0 ? 0xd538'4020 | i % 31 : i % 11 == 0 ? 0xd503'43df : random() & 0x7fff'ffff;
        g.put(0, i, original[i]);
    }
    const std::uint32_t* copy = g.copy(0);
    std::set<std::uint64_t> stubs;
    for (unsigned i = 0; i < 1024; ++i) {
        if (!has_stub(original[i], true)) {
            CHECK(copy[i] == exchanged(original[i]));
            continue;
        }
        const std::uint64_t site = kText + 4 * i, stub = Guest::target(copy[i], site);
        CHECK(stubs.insert(stub).second);
        std::array<std::uint32_t, kStubWords> code{};
        const unsigned words = make_stub(original[i], stub, site, code);
        for (unsigned w = 0; w < words; ++w) {
            CHECK(g.at_stub(stub + 4 * w) == code[w]);
        }
        CHECK(Guest::target(code[words - 1], stub + 4 * (words - 1)) == site + 4);
        CHECK(translate(g.el1, g.memory, {stub}).fault != 0);  // where the guest has nothing
    }
}

TEST_CASE("text: rewriting again changes nothing, and uses up no stubs") {
    Guest g;
    for (unsigned i = 0; i < 1024; ++i) {
        g.put(0, i, i % 3 == 0 ? kReadElr : kNop);
    }
    const std::uint32_t* copy = g.copy(0);
    const std::vector<std::uint32_t> once(copy, copy + 1024);
    const unsigned sites = g.text->sites();
    (void)g.text->take_written();
    for (unsigned round = 0; round < 100; ++round) {
        g.put(0, 3, round % 2 == 0 ? kNop : kReadElr);  // as a tracer does
        g.text->update_line(g.el1, {kTextPage});
        CHECK(copy[3] == (round % 2 == 0 ? kNop : once[3]));
    }
    g.text->update_all(g.el1);
    CHECK(std::vector<std::uint32_t>(copy, copy + 1024) == once);
    CHECK(g.text->sites() == sites);
}

TEST_CASE("text: a line is brought up to date, and no other; all are by update_all") {
    Guest g;
    const std::uint32_t* copy = g.copy(2);
    g.put(2, 15, 0xd538'4100);
    g.put(2, 16, 0xd538'4100);
    g.text->update_line(g.el1, {kTextPage + 2 * 4096 + 64});
    CHECK(copy[15] == 0);
    CHECK(copy[16] == 0xd53b'd040);
    CHECK_FALSE(g.text->update_line(g.el1, {kTextPage + 7 * 4096}));  // no copy of that
    g.text->update_all(g.el1);
    CHECK(copy[15] == 0xd53b'd040);
    g.put(2, 15, kNop);
    CHECK(g.text->update_line(g.el1, {kTextPage + 2 * 4096}));
    CHECK(copy[15] == kNop);
    g.put(2, 15, 0xd538'4100);  // as it was when all were updated
    g.text->update_all(g.el1);
    CHECK(copy[15] == 0xd53b'd040);
    (void)g.text->take_written();
    g.put(2, 15, kNop);
    g.text->update_all(g.el1);
    const auto written = g.text->take_written();
    CHECK((written[0].first == copy + 15 && written[0].bytes == 4));
    CHECK(written[1].bytes == 0);
    CHECK(g.text->take_written()[0].bytes == 0);
}

TEST_CASE("text: what lies between a copy and its stubs was not written") {
    Guest g;
    g.put(0, 5, kReadElr);
    g.put(0, 9, kNop);
    const std::uint32_t* copy = g.copy(0);
    const auto written = g.text->take_written();
    CHECK((written[0].first == copy + 5 && written[0].bytes == 20));
    const std::uint64_t stub = Guest::target(copy[5], kText + 20);
    Ipa page;
    REQUIRE(g.text->stubs({stub}, page));
    CHECK(written[1].first == g.copies.data() + (page.value - kCopies + (stub & 4095)) / 4);
    CHECK((written[1].bytes >= 8 && written[1].bytes <= 4 * kStubWords));
}

TEST_CASE("text: the same page at another address has branches of its own; in the lower half it has none") {
    Guest g;
    g.put(0, 5, kReadElr);
    const std::uint32_t* here = g.copy(0);
    const std::uint32_t* there = g.copy(0, true, kText + (std::uint64_t{1} << 20));
    CHECK(here != there);
    CHECK(Guest::target(here[5], kText + 20) != Guest::target(there[5], kText + (1 << 20) + 20));
    CHECK(g.copy(0, true, 0x4100'0000)[5] == kReadElr);
    g.put(0, 5, kNop);
    g.text->update_line(g.el1, {kTextPage + 20});
    CHECK(here[5] == kNop);
    CHECK(there[5] == kNop);
}

TEST_CASE("text: nothing in the vector table pushes") {
    Guest g;
    g.put(0, 0, 0xd51b'd040);  // MSR TPIDR_EL0, X0
    g.put(0, 512, 0xd51b'd040);
    g.el1.vbar_el1 = kText;
    const std::uint32_t* copy = g.copy(0);
    CHECK(copy[0] == 0xd51c'd040);
    CHECK((copy[512] & 0xfc00'0000) == 0x1400'0000);
}

TEST_CASE("text: code out of an island's reach has one of its own, and at last none") {
    Guest g;
    std::set<std::uint64_t> islands;
    for (unsigned i = 0; i < TextCopies::kIslands + 1; ++i) {
        const std::uint64_t at = kText + (std::uint64_t{i} << 30);
        g.map(at, kTextPage + i * 4096);
        g.put(i, 1, kReadElr);
        Ipa to;
        REQUIRE(g.text->get(g.el1, {kTextPage + i * 4096}, {at}, true, to));
        const std::uint32_t word = g.copies[(to.value - kCopies) / 4 + 1];
        if (i < TextCopies::kIslands) {
            const std::uint64_t stub = Guest::target(word, at + 4);
            CHECK(islands.insert(stub >> 21).second);
            CHECK((stub - at < kBranchReach || at - stub < kBranchReach));
        } else {
            CHECK(word == kReadElr);  // it traps
        }
    }
}

TEST_CASE("text: an island is where the guest has nothing, and not where it once had something") {
    Guest g;
    g.put(0, 1, kReadElr);
    const std::uint64_t first = Guest::target(g.copy(0)[1], kText + 4) & ~std::uint64_t{0x1f'ffff};
    g.map(first + 0x5000, kTextPage);
    g.text->forget();
    const std::uint64_t second = Guest::target(g.copy(0)[1], kText + 4) & ~std::uint64_t{0x1f'ffff};
    CHECK(second != first);
    g.text->forget();
    g.text->avoid({second + 0x1234});
    CHECK((Guest::target(g.copy(0)[1], kText + 4) & ~std::uint64_t{0x1f'ffff}) != second);
}

TEST_CASE("text: who is interrupted with a pointer in hand takes it again") {
    Guest g;
    g.put(0, 1, kReadElr);
    const std::uint64_t stub = Guest::target(g.copy(0)[1], kText + 4);
    CHECK(is_pointer(g.at_stub(stub)));
    CHECK(g.text->resume(stub) == stub);
    CHECK(g.text->resume(stub + 4) == stub);
    CHECK(g.text->resume(stub + 8) == stub + 8);
    CHECK(g.text->resume(kText + 8) == kText + 8);
}

namespace {

// Two vCPUs' state pages, each with its page of shared registers: what stubs find there.
struct Words {
    struct alignas(4096) Pages {
        std::array<std::byte, 8192> bytes{};
    };
    std::vector<Pages> storage = std::vector<Pages>(2);
    std::array<abi::VcpuPage*, 2> pages{reinterpret_cast<abi::VcpuPage*>(&storage[0]),
                                        reinterpret_cast<abi::VcpuPage*>(&storage[1])};
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};

    std::array<std::uint64_t, 2> at(std::uint64_t offset) const {
        std::array<std::uint64_t, 2> words{};
        for (unsigned v = 0; v < 2; ++v) {
            std::memcpy(&words[v], storage[v].bytes.data() + 4096 + abi::kSharedOffset + offset, 8);
        }
        return words;
    }
};
using Both = std::array<std::uint64_t, 2>;

struct Marks : Words {
    Unexecuted unexecuted{pages};
    static constexpr std::uint64_t kAt = kText + 0x3000, kOther = kText + 0x5000, kPage = kTextPage + 0x7000;

    Marks() {
        unexecuted.forget(0);
        unexecuted.forget(1);
        unexecuted.mark(0, {kAt + 64}, {kPage + 64});
        unexecuted.mark(1, {kOther + 128}, {kPage + 0x1000});
    }
    Both both() const { return at(kUnexecutedOffset); }
};

}  // namespace

TEST_CASE("text: a vCPU need not tell of a page without a copy, until there is one") {
    Marks m;
    CHECK(m.both() == Both{Marks::kAt, Marks::kOther});
    m.unexecuted.executed({Marks::kPage + 0x2000});
    CHECK(m.both() == Both{Marks::kAt, Marks::kOther});
    m.unexecuted.executed({Marks::kPage});
    CHECK(m.both() == Both{Marks::kNone, Marks::kOther});
    m.unexecuted.mark(0, {Marks::kOther}, {Marks::kPage + 0x1000});
    m.unexecuted.executed({Marks::kPage + 0x1fff});
    CHECK(m.both() == Both{Marks::kNone, Marks::kNone});
}

TEST_CASE("text: what a vCPU need not tell of is forgotten with the translation") {
    Marks m;
    m.unexecuted.translated({kText + (2 << 20)});
    m.unexecuted.translated({kText - 1});
    CHECK(m.both() == Both{Marks::kAt, Marks::kOther});
    m.unexecuted.forget(1);
    CHECK(m.both() == Both{Marks::kAt, Marks::kNone});
    m.unexecuted.translated({kText + (2 << 20) - 4096});
    CHECK(m.both() == Both{Marks::kNone, Marks::kNone});
    m.unexecuted.mark(1, {kText}, {kTextPage});
    m.unexecuted.forget_all();
    CHECK(m.both() == Both{Marks::kNone, Marks::kNone});
}

TEST_CASE(
    "text: a translation that was forgotten before it was asked for is not asked for, until there may be another") {
    Words w;
    Flushed flushed{w.pages};
    flushed.forget_all();
    CHECK(w.at(kFlushedOffset) == Both{Words::kNone, Words::kNone});
    flushed.add(1, {0x7f12'3456'7abc}, 0x8001);
    CHECK(w.at(kFlushedOffset) == Both{Words::kNone, 0x8001'0007'f123'4567});
    flushed.add(0, {0x5000}, 2);
    CHECK(w.at(kFlushedOffset) == Both{0x0002'0000'0000'0005, 0x8001'0007'f123'4567});
    flushed.filling();
    CHECK(w.at(kFlushedOffset) == Both{Words::kNone, Words::kNone});
}

TEST_CASE("text: when there is no more room it says so, and begins anew") {
    Guest g;
    Ipa to;
    for (unsigned i = 0; i < TextCopies::kPages; ++i) {
        REQUIRE(g.text->get(g.el1, {kRam + (1024 + i) * 4096}, {kText + i * 4096}, true, to));
    }
    CHECK_FALSE(g.text->get(g.el1, {kTextPage}, {kText}, true, to));
    CHECK(g.text->get(g.el1, {kRam + 1024 * 4096}, {kText}, false, to));
    g.text->forget();
    CHECK(g.text->pages() == 0);
    CHECK(g.text->get(g.el1, {kTextPage}, {kText}, true, to));
}

TEST_CASE("text: a guest that makes up privileged code without end gets traps instead of stubs") {
    Guest g;
    std::mt19937 random(9);
    Ipa to;
    for (unsigned round = 0; round < 40; ++round) {
        for (unsigned i = 0; i < 1024; ++i) {
            g.put(0, i, static_cast<std::uint32_t>(0xd538'4000 | random() % 31 | (random() % 2) << 5));
        }
        REQUIRE(g.text->get(g.el1, {kTextPage}, {kText}, true, to));
    }
    const std::uint32_t* copy = g.copy(0, false);
    for (unsigned i = 0; i < 1024; ++i) {
        const bool branches = (copy[i] & 0xfc00'0000) == 0x1400'0000;
        CHECK((branches || (copy[i] & 0xffff'ffc0) == 0xd538'4000));
    }
}

}  // namespace twain::vmm
