// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Tags of address spaces: what no core may ever see is one number for two spaces.
#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "kernel/core/tags.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

unsigned flushes = 0;
void flush() { ++flushes; }

constexpr unsigned kTags = 8, kSpaces = 20;

struct Spaces {
    Tags tags{kTags, flush};
    std::array<Tag, kSpaces> tag{};

    static u64 table(unsigned space) { return u64{space + 1} * kPage; }

    // What a core does to use a space, from the comparison to the note.
    void use(CpuId core, unsigned space) {
        fake::on(core, [&] {
            Cpu& cpu = machine::cpu();
            u64 base = tag[space].word();
            if (base & Tag::kStale) base = tags.renew(tag[space], table(space));
            cpu.translation = base;
        });
    }
};

}  // namespace

TEST_CASE("a core that uses a space keeps its number, and shares it with no other") {
    constexpr CpuId kCores = 4;
    fake::reset(kCores, 1 << 20);
    Spaces spaces;
    std::mt19937 random(7);
    std::array<unsigned, kCores> used{};
    for (CpuId core = 0; core < kCores; ++core) spaces.use(core, 0);
    for (int step = 0; step < 20'000; ++step) {
        // The last core rarely changes: its space gets through many generations.
        const CpuId core = random() % 64 == 0 ? kCores - 1 : static_cast<CpuId>(random() % (kCores - 1));
        used[core] = static_cast<unsigned>(random() % kSpaces);
        spaces.use(core, used[core]);
        for (CpuId each = 0; each < kCores; ++each) {
            const u64 base = machine::cpu(each).translation;
            REQUIRE((base & 0xffff'ffff'ffff) == Spaces::table(used[each]));
            REQUIRE(base >> Tag::kShift > 0);
            REQUIRE(base >> Tag::kShift < kTags);
            REQUIRE(base == spaces.tag[used[each]].word());  // so invalidating that reaches it
            for (CpuId other = 0; other < each; ++other) {
                if (used[other] == used[each]) continue;
                REQUIRE(base >> Tag::kShift != machine::cpu(other).translation >> Tag::kShift);
            }
        }
    }
    REQUIRE(flushes > 1000);
}

TEST_CASE("a number is given away only after translations under it have gone") {
    fake::reset(1, 1 << 20);
    Spaces spaces;
    std::array<unsigned, kTags> generation{};  // in which each number was last given to somebody
    flushes = 1;
    for (unsigned step = 0; step < 1000; ++step) {
        const auto space = static_cast<unsigned>(step % kSpaces);
        const u64 before = spaces.tag[space].word();
        spaces.use(0, space);
        const u64 number = spaces.tag[space].number();
        if (spaces.tag[space].word() != before) {
            REQUIRE(generation[number] != flushes);
            generation[number] = flushes;
        }
    }
}

TEST_CASE("a core that was about to use a space when the numbers ran out counts as using it") {
    fake::reset(2, 1 << 20);
    Spaces spaces;
    spaces.use(1, 0);  // read, and found current
    const u64 late = machine::cpu(1).translation;
    machine::cpu(1).translation = 0;
    fake::state().while_waiting = [&] {  // noted after the other core has begun a generation
        machine::cpu(1).translation = late;
    };
    for (unsigned space = 1; space < kSpaces; ++space) {
        spaces.use(0, space);
        REQUIRE(spaces.tag[space].number() != late >> Tag::kShift);
    }
}

TEST_CASE("a tag that has been forgotten leaves its number to nobody before translations under it have gone") {
    fake::reset(2, 1 << 20);
    Spaces spaces;
    for (unsigned round = 0; round < 100; ++round) {
        spaces.use(1, 0);
        for (unsigned use = 0; use < round; ++use) spaces.use(0, 1 + use % (kSpaces - 1));
        const bool stays = round % 2 != 0;  // the core, with the number of what is no longer there
        const u64 number = spaces.tag[0].number();
        const unsigned before = flushes;
        spaces.tags.forget(spaces.tag[0]);
        REQUIRE((spaces.tag[0].word() & Tag::kStale) != 0);
        if (!stays) machine::cpu(1).translation = 0;
        for (unsigned use = 0; use < 3 * kTags; ++use) {
            const unsigned space = 1 + use % (kSpaces - 1);
            spaces.use(0, space);
            if (stays || flushes == before) REQUIRE(spaces.tag[space].number() != number);
            if (use % 2) spaces.tags.forget(spaces.tag[space]);
        }
    }
}

TEST_CASE("the numbers of what came and went are given out again") {
    fake::reset(1, 1 << 20);
    flushes = 0;
    Spaces spaces;
    for (unsigned round = 0; round < 1000; ++round) {
        spaces.use(0, round % kSpaces);
        spaces.tags.forget(spaces.tag[round % kSpaces]);
    }
    REQUIRE(flushes >= 1000 / kTags);
    REQUIRE(flushes <= 1000 / (kTags - 3));
}

TEST_CASE("a tag that has no number of its own takes none from others, and one that is current stays") {
    fake::reset(1, 1 << 20);
    Spaces spaces;
    spaces.tags.forget(spaces.tag[0]);  // has never had one
    spaces.use(0, 1);
    const u64 word = spaces.tag[1].word();
    REQUIRE(spaces.tags.renew(spaces.tag[1], Spaces::table(1)) == word);  // another core has been faster
    const u64 number = spaces.tag[1].number();
    unsigned heir = 2;  // in another generation
    while (spaces.use(0, heir), spaces.tag[heir].number() != number) ++heir;
    REQUIRE((spaces.tag[1].word() & Tag::kStale) != 0);
    spaces.tags.forget(spaces.tag[1]);
    for (unsigned step = 0; step < 3 * kTags; ++step) {
        const unsigned other = heir + 1 + step % (kSpaces - heir - 1);
        spaces.use(0, other);
        if ((spaces.tag[heir].word() & Tag::kStale) == 0) REQUIRE(spaces.tag[other].number() != number);
    }
}

}  // namespace twain::kernel
