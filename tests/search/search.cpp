// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "search.hpp"

#include <chrono>
#include <cstdio>
#include <cstring>

namespace twain::kernel::test {

namespace {

constexpr std::size_t kLineWords = 8;
constexpr u32 kMost = 400'000;  // states: some minutes

u64 mix(u64 hash, u64 word) {  // of splitmix64
    hash = (hash ^ word) + 0x9e37'79b9'7f4a'7c15;
    hash = (hash ^ hash >> 30) * 0xbf58'476d'1ce4'e5b9;
    hash = (hash ^ hash >> 27) * 0x94d0'49bb'1331'11eb;
    return hash ^ hash >> 31;
}

}  // namespace

void Search::save(State& state) const {
    const auto memory = fake::memory();
    for (std::size_t line = 0; line < memory.size() / kLineWords; ++line) {
        const u64* now = &memory[line * kLineWords];
        if (std::memcmp(now, &first_[line * kLineWords], sizeof(Line::words)) == 0) continue;
        Line& kept = state.memory.emplace_back();
        kept.at = static_cast<u32>(line);
        std::memcpy(kept.words, now, sizeof kept.words);
    }
    for (CpuId id = 0; id < machine::cores(); ++id) {
        u64 words[sizeof(Cpu) / 8];
        std::memcpy(words, &machine::cpu(id), sizeof words);
        state.cores.insert(state.cores.end(), std::begin(words), std::end(words));
    }
    state.machine = fake::state();
}

void Search::load(const State& state) const {
    const auto memory = fake::memory();
    std::memcpy(memory.data(), first_.data(), memory.size_bytes());
    for (const Line& line : state.memory) std::memcpy(&memory[line.at * kLineWords], line.words, sizeof line.words);
    for (CpuId id = 0; id < machine::cores(); ++id) {
        std::memcpy(static_cast<void*>(&machine::cpu(id)), &state.cores[id * (sizeof(Cpu) / 8)], sizeof(Cpu));
    }
    fake::state() = state.machine;
}

Search::Key Search::key(const Census& census) const {
    auto words = picture(census, {.registers = true, .time = true});
    if (paint_) paint_(words);
    Key key{words.size(), ~u64{0}};
    for (const u64 word : words) {
        key.a = mix(key.a, word);
        key.b = mix(key.b + 1, word);
    }
    return key;
}

void Search::tell(u32 state, const std::string& move, const char* what) const {
    std::printf("broken: %s\n", what);
    std::vector<u32> way;
    for (u32 at = state; at; at = states_[at].from) way.push_back(states_[at].move);
    std::size_t step = 0;
    for (auto each = way.rbegin(); each != way.rend(); ++each)
        std::printf("%4zu  %s\n", ++step, moves_[*each].name.c_str());
    std::printf("%4zu  %s\n", ++step, move.c_str());
}

int Search::run(const char* title) {
    const auto start = std::chrono::steady_clock::now();
    const auto memory = fake::memory();
    first_.assign(memory.begin(), memory.end());
    check_all(*world_.root->cspace);
    CSpace& root = *world_.root->cspace;
    states_.push_back({});
    save(states_[0]);
    seen_.insert(key(Census(root)));
    u64 steps = 0;
    std::size_t depth = 0, end_of_depth = 1;
    for (u32 at = 0; at < states_.size(); ++at) {
        if (states_.size() > kMost) {
            std::printf("%s: no fixpoint within %u states: the bound is too wide\n", title, kMost);
            return 3;
        }
        // Breadth first: the way to what breaks is the shortest.
        if (at == end_of_depth) {
            ++depth;
            end_of_depth = states_.size();
        }
        State state = std::move(states_[at]);
        states_[at] = {state.from, state.move, {}, {}, {}};
        load(state);
        for (u32 which = 0; which < moves_.size(); ++which) {
            try {
                if (!moves_[which].move()) continue;
                ++steps;
                const Census census(root);
                if (!seen_.insert(key(census)).second) {
                    load(state);
                    continue;
                }
                check_capabilities(census);
                check_memory(census);
                check_threads(census);
                if (check_) check_(census);
            } catch (const Broken& broken) {
                tell(at, moves_[which].name, broken.what());
                return 1;
            }
            State& fresh = states_.emplace_back();
            fresh.from = at;
            fresh.move = which;
            save(fresh);
            load(state);
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%s: %zu states, %llu steps, depth %zu, nothing broken, %.1f s\n", title, states_.size(),
                static_cast<unsigned long long>(steps), depth, took.count());
    return 0;
}

}  // namespace twain::kernel::test
