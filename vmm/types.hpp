// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Quantities of a virtual machine. Addresses of different kinds do not mix.
#pragma once

#include <compare>
#include <cstdint>

namespace twain::vmm {

inline constexpr unsigned kMaxVcpus = 8;

using VcpuIndex = unsigned;                // 0 .. kMaxVcpus - 1; also affinity level 0 of the guest's MPIDR_EL1
inline constexpr VcpuIndex kNoVcpu = ~0u;  // the event loop

struct Ipa {  // intermediate physical: what the guest takes for a physical address
    std::uint64_t value = 0;
    constexpr auto operator<=>(const Ipa&) const = default;
    constexpr Ipa operator+(std::uint64_t bytes) const { return {value + bytes}; }
};

struct Gva {  // virtual address of the guest's EL1&0 regime
    std::uint64_t value = 0;
    constexpr auto operator<=>(const Gva&) const = default;
    constexpr Gva operator+(std::uint64_t bytes) const { return {value + bytes}; }
};

// Bits [high:low] of a word.
template <typename Word>
constexpr Word bits(Word word, unsigned high, unsigned low) {
    return static_cast<Word>((word >> low) & ((Word{2} << (high - low)) - 1));
}

template <typename Word>
constexpr bool bit(Word word, unsigned n) {
    return ((word >> n) & 1) != 0;
}

// The low `bytes` (1, 2, 4, 8) of a value.
constexpr std::uint64_t truncate(std::uint64_t value, unsigned bytes) {
    return bytes >= 8 ? value : value & ((std::uint64_t{1} << (8 * bytes)) - 1);
}

constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned width_bits) {
    const std::uint64_t sign = std::uint64_t{1} << (width_bits - 1);
    const std::uint64_t low = width_bits >= 64 ? value : value & ((std::uint64_t{1} << width_bits) - 1);
    return (low ^ sign) - sign;
}

}  // namespace twain::vmm
