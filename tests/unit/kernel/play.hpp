// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A game against the kernel, written down as bytes: entries of ten bytes, each a system call of some thread, an interrupt,
// a fault or time that passes. Any bytes are a game, so that a fuzzer may make them up, and a prefix of a game is a game.
//
//   entry   0: [2:0] thread, [7:3] what   1: system call   2: x0   3: x1   4..9: x2..x7
//
// After each entry all invariants are looked at. A call that is refused must leave all of the kernel's state as it was, but
// for the caller's result registers (and for tables of its own that are still empty).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel/core/types.hpp"

namespace twain::kernel::test {

inline constexpr std::size_t kEntryBytes = 10;

struct Game {
    u64 calls = 0;    // system calls
    u64 refused = 0;  // of them
    u64 entries = 0;  // played
};

// Where games are played: the table is laid once, and is as it was then before every game. One at a time, and no other world.
class Player {
public:
    Player();
    ~Player();
    // Plays all of it. Throws Broken at the first entry after which something does not hold; `game` says how far it got.
    void play(std::span<const u8> bytes, Game& game);

    // The message of what breaks in a game, with what is left of it when every entry is dropped without which it still breaks
    // for the same reason; empty if nothing breaks.
    std::string broken_by(std::vector<u8> bytes, Game& game);

private:
    std::string message(std::span<const u8> bytes, Game& game);
    class Table;
    std::unique_ptr<Table> table_;
};

// A game of so many entries, most of whose calls make sense.
std::vector<u8> random_game(unsigned seed, std::size_t entries);

// As text, one entry a line.
std::string notation(std::span<const u8> bytes);

}  // namespace twain::kernel::test
