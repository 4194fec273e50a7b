// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Random operations on the kernel and on a simple model of it, side by side: what is drawn from a seed, and what is left of
// a list of operations that fails when every one is dropped without which it still fails for the same reason.
//
// A Twin is both of them. Twin(trace) makes them; step(operation) does the same to both and throws Broken when they differ.
// What the numbers of an operation mean is the twin's business, so that any list of operations is one that it can do.
#pragma once

#include <array>
#include <random>
#include <string>
#include <vector>

#include "invariants.hpp"

namespace twain::kernel::test {

// The numbers that one operation is made of, taken one after the other; when all are used, zeroes.
class Operation {
public:
    Operation() = default;
    explicit Operation(std::mt19937& random) {
        for (u32& number : numbers_) number = static_cast<u32>(random());
    }
    void rewind() { used_ = 0; }
    u32 below(u32 limit) { return (used_ < numbers_.size() ? numbers_[used_++] : 0) % limit; }
    bool one_in(u32 limit) { return below(limit) == 0; }

private:
    std::array<u32, 20> numbers_{};
    unsigned used_ = 0;
};

// Drops pieces of `unit` items, larger ones first, as long as `fails(list)`; tries it so many times at most.
template <typename T, typename Fails>
void shrink(std::vector<T>& list, std::size_t unit, Fails fails, unsigned tries = 1000) {
    for (std::size_t drop = list.size() / unit / 2; drop; drop /= 2) {
        for (std::size_t at = 0; at + drop <= list.size() / unit;) {
            if (tries-- == 0) return;
            std::vector<T> less = list;
            const auto first = less.begin() + static_cast<std::ptrdiff_t>(at * unit);
            less.erase(first, first + static_cast<std::ptrdiff_t>(drop * unit));
            if (fails(less)) {
                list = std::move(less);
            } else {
                at += drop;
            }
        }
    }
}

// What a twin has done, in words. Off, it costs nothing.
class Trace {
public:
    bool on = false;
    std::string text;
    template <typename... Words>
    void line(const Words&... words) {
        if (!on) return;
        ((text += word(words), text += ' '), ...);
        text += '\n';
    }

private:
    static std::string word(const char* text) { return text; }
    static std::string word(u64 number) { return std::to_string(number); }
};

// The difference that `count` operations drawn from `seed` lead to, with the shortest way there; empty: there is none.
template <typename Twin>
std::string difference(unsigned seed, std::size_t count) {
    std::mt19937 random(seed);
    std::vector<Operation> operations;
    for (std::size_t i = 0; i < count; ++i) operations.emplace_back(random);
    std::size_t done = 0;
    const auto run = [&](std::vector<Operation>& list, Trace& trace) -> std::string {
        done = 0;
        try {
            Twin twin(trace);
            for (Operation& operation : list) {
                ++done;
                operation.rewind();
                twin.step(operation);
            }
            return {};
        } catch (const Broken& broken) {
            return broken.what();
        }
    };
    Trace silent;
    const std::string what = run(operations, silent);
    if (what.empty()) return {};
    operations.resize(done);
    shrink(operations, 1, [&](std::vector<Operation>& less) { return run(less, silent) == what; });
    Trace told{.on = true, .text = {}};
    (void)run(operations, told);
    return what + ", seed " + std::to_string(seed) + ":\n" + told.text;
}

}  // namespace twain::kernel::test
