// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Numbers that only the seed decides (SplitMix64).
#pragma once

#include <cstdint>

namespace twain::fuzz {

using u64 = std::uint64_t;

constexpr u64 mix(u64 value) {
    value = (value ^ value >> 30) * 0xbf58'476d'1ce4'e5b9;
    value = (value ^ value >> 27) * 0x94d0'49bb'1331'11eb;
    return value ^ value >> 31;
}

class Random {
public:
    constexpr explicit Random(u64 seed = 0) : state_(seed) {}
    constexpr u64 next() { return mix(state_ += 0x9e37'79b9'7f4a'7c15); }
    constexpr u64 below(u64 end) { return end ? next() % end : 0; }
    constexpr bool chance(unsigned percent) { return below(100) < percent; }
    template <typename T, unsigned kCount>
    constexpr T pick(const T (&from)[kCount]) {
        return from[below(kCount)];
    }

private:
    u64 state_;
};

}  // namespace twain::fuzz
