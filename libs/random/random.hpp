// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Expands a seed into as many random bytes as wanted: ChaCha20 (RFC 8439, 2.3) whose key is replaced after each
// block, so that what was given out cannot be found from the state. It adds no entropy: the output is as unpredictable
// as the seed was. `trusted()` says whether the seed came from somebody who vouched for it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace twain {

class Random {
public:
    Random() = default;
    Random(std::span<const std::uint8_t> seed, bool trusted) : trusted_(trusted) { mix(seed); }

    // Folds more input in; may be called at any time.
    void mix(std::span<const std::uint8_t> input);
    std::uint64_t next();
    void fill(std::span<std::uint8_t> out);
    bool trusted() const { return trusted_; }

private:
    void refill();

    std::array<std::uint32_t, 8> key_{};
    std::array<std::uint32_t, 8> pool_{};
    unsigned left_ = 0;  // 64-bit words in pool_
    bool trusted_ = false;
};

}  // namespace twain
