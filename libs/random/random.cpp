// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "random/random.hpp"

#include <bit>

namespace twain {
namespace {

using Block = std::array<std::uint32_t, 16>;

constexpr void quarter_round(Block& b, unsigned i, unsigned j, unsigned k, unsigned l) {
    b[i] += b[j], b[l] = std::rotl(b[l] ^ b[i], 16);
    b[k] += b[l], b[j] = std::rotl(b[j] ^ b[k], 12);
    b[i] += b[j], b[l] = std::rotl(b[l] ^ b[i], 8);
    b[k] += b[l], b[j] = std::rotl(b[j] ^ b[k], 7);
}

constexpr Block chacha20(const Block& in) {
    Block b = in;
    for (unsigned round = 0; round < 10; ++round) {
        quarter_round(b, 0, 4, 8, 12);
        quarter_round(b, 1, 5, 9, 13);
        quarter_round(b, 2, 6, 10, 14);
        quarter_round(b, 3, 7, 11, 15);
        quarter_round(b, 0, 5, 10, 15);
        quarter_round(b, 1, 6, 11, 12);
        quarter_round(b, 2, 7, 8, 13);
        quarter_round(b, 3, 4, 9, 14);
    }
    for (unsigned i = 0; i < 16; ++i) {
        b[i] += in[i];
    }
    return b;
}

// RFC 8439, 2.3.2
static_assert([] {
    Block in{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c,
             0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c, 1,          0x09000000, 0x4a000000, 0};
    const Block out = chacha20(in);
    return out[0] == 0xe4e7f110 && out[15] == 0x4e3c50a2;
}());

constexpr Block block_of(const std::array<std::uint32_t, 8>& key) {
    Block b{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (unsigned i = 0; i < 8; ++i) {
        b[4 + i] = key[i];
    }
    return b;
}

}  // namespace

void Random::refill() {
    const Block out = chacha20(block_of(key_));
    for (unsigned i = 0; i < 8; ++i) {
        key_[i] = out[i];
        pool_[i] = out[8 + i];
    }
    left_ = 4;
}

void Random::mix(std::span<const std::uint8_t> input) {
    for (std::size_t i = 0; i < input.size(); ++i) {
        key_[(i / 4) % 8] ^= std::uint32_t{input[i]} << (8 * (i % 4));
        if (i % 32 == 31 || i + 1 == input.size()) {
            refill();
        }
    }
    left_ = 0;
}

std::uint64_t Random::next() {
    if (left_ == 0) {
        refill();
    }
    --left_;
    const std::uint64_t value = pool_[2 * left_] | (std::uint64_t{pool_[2 * left_ + 1]} << 32);
    pool_[2 * left_] = pool_[2 * left_ + 1] = 0;
    return value;
}

void Random::fill(std::span<std::uint8_t> out) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        word = i % 8 == 0 ? next() : word >> 8;
        out[i] = static_cast<std::uint8_t>(word);
    }
}

}  // namespace twain
