// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Games against the kernel: those that once broke it (tests/fuzz/corpus/kernel), and random ones.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "play.hpp"

namespace twain::kernel::test {

TEST_CASE("games that the fuzzer has found end well") {
    Player player;
    unsigned games = 0;
    for (const auto& file : std::filesystem::directory_iterator(TWAIN_SOURCE "/tests/fuzz/corpus/kernel")) {
        std::ifstream in(file.path(), std::ios::binary);
        const std::vector<u8> bytes{std::istreambuf_iterator<char>(in), {}};
        Game game;
        INFO(file.path());
        REQUIRE(player.broken_by(bytes, game) == "");
        ++games;
    }
    REQUIRE(games > 0);
}

TEST_CASE("random games against the kernel end well") {
    Player player;
    Game all;
    for (unsigned seed = 1; seed <= 60; ++seed) {
        const std::vector<u8> bytes = random_game(seed, 400);
        INFO("seed " << seed);
        REQUIRE(player.broken_by(bytes, all) == "");
    }
    INFO(all.calls << " calls, " << all.refused << " refused, " << all.entries);
    REQUIRE(all.refused > 1000);
    REQUIRE(all.calls - all.refused > 1000);
}

}  // namespace twain::kernel::test
