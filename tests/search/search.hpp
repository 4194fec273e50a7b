// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A search through all states that the kernel can get into by some moves, to the fixpoint: until no move leads from any
// state to one that has not been seen. The kernel is the product's own code on the machine of the unit tests; a state is
// its memory and its cores; two states are the same if their pictures are (tests/unit/kernel/invariants.hpp).
#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "invariants.hpp"
#include "world.hpp"

namespace twain::kernel::test {

class Search {
public:
    // Makes the move in the present state; false: it cannot be made here, and nothing has changed. Throws Broken if it does what it must not.
    using Move = std::function<bool()>;

    explicit Search(World& world) : world_(world) {}

    void add(std::string name, Move move) { moves_.push_back({std::move(name), std::move(move)}); }
    // What must hold in every state besides the invariants of every kernel; and what else tells states apart.
    void always(std::function<void(const Census&)> check) { check_ = std::move(check); }
    void also_paint(std::function<void(std::vector<u64>&)> paint) { paint_ = std::move(paint); }

    // From the present state on. Prints what it has seen, or the shortest way to what broke; returns an exit code.
    int run(const char* title);

private:
    struct Named {
        std::string name;
        Move move;
    };
    struct Line {  // 64 bytes that differ from the first state
        u32 at;
        u64 words[8];
    };
    struct State {
        u32 from;  // which state, and by which move
        u32 move;
        std::vector<Line> memory;
        std::vector<u64> cores;
        fake::Machine machine;
    };
    struct Key {
        u64 a, b;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& key) const { return key.a; }
    };

    void save(State& state) const;
    void load(const State& state) const;
    Key key(const Census& census) const;
    void tell(u32 state, const std::string& move, const char* what) const;

    World& world_;
    std::vector<Named> moves_;
    std::function<void(const Census&)> check_;
    std::function<void(std::vector<u64>&)> paint_;
    std::vector<u64> first_;  // memory of the first state
    std::vector<State> states_;
    std::unordered_set<Key, Hash> seen_;
};

}  // namespace twain::kernel::test
