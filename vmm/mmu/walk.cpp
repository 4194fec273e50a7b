// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/mmu/walk.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kOutputMask = 0x0000'ffff'ffff'ffff;

struct Regime {
    std::uint64_t table;  // TTBRn_EL1
    unsigned granule;     // log2 of the page size
    unsigned input;       // log2 of the size of the address range
};

std::optional<Regime> regime_for(const abi::El1State& el1, Gva at) {
    const std::uint64_t tcr = el1.tcr_el1;
    const bool upper = bit(at.value, 55);
    const unsigned tnsz = static_cast<unsigned>(upper ? bits(tcr, 21, 16) : bits(tcr, 5, 0));
    const bool disabled = upper ? bit(tcr, 23) : bit(tcr, 7);
    const bool ignore_top = upper ? bit(tcr, 38) : bit(tcr, 37);
    if (disabled || tnsz < 16 || tnsz > 48) {
        return std::nullopt;
    }
    Regime r{upper ? el1.ttbr1_el1 : el1.ttbr0_el1, 0, 64 - tnsz};
    // TG0 and TG1 name the same sizes by different numbers.
    const unsigned tg = static_cast<unsigned>(upper ? bits(tcr, 31, 30) : bits(tcr, 15, 14));
    constexpr unsigned kTg0[4] = {12, 16, 14, 0};
    constexpr unsigned kTg1[4] = {0, 14, 12, 16};
    r.granule = upper ? kTg1[tg] : kTg0[tg];
    if (r.granule == 0) {
        return std::nullopt;
    }
    const unsigned top = ignore_top ? 55 : 63;
    const std::uint64_t above = bits(at.value, top, r.input);
    const std::uint64_t ones = bits(~std::uint64_t{0}, top, r.input);
    if (above != (upper ? ones : 0)) {
        return std::nullopt;
    }
    return r;
}

}  // namespace

std::optional<Ipa> walk_stage1(const abi::El1State& el1, const GuestMemory& memory, Gva at) {
    if (!bit(el1.sctlr_el1, 0)) {
        return Ipa{at.value & kOutputMask};
    }
    const std::optional<Regime> regime = regime_for(el1, at);
    if (!regime) {
        return std::nullopt;
    }
    const unsigned stride = regime->granule - 3;
    unsigned low = regime->granule;  // lowest input bit that the last level resolves
    unsigned level = 3;
    while (low + stride < regime->input) {
        low += stride;
        --level;
    }
    unsigned high = regime->input - 1;
    const std::uint64_t page_mask = ~((std::uint64_t{1} << regime->granule) - 1);
    std::uint64_t table = regime->table & kOutputMask & ~std::uint64_t{1};
    table &= ~((std::uint64_t{8} << (high - low + 1)) - 1);
    for (;; ++level) {
        std::uint64_t descriptor = 0;
        if (!memory.load_once(Ipa{table + 8 * bits(at.value, high, low)}, descriptor) || !bit(descriptor, 0)) {
            return std::nullopt;
        }
        const bool block = !bit(descriptor, 1);
        if (level == 3 || block) {
            const bool block_allowed = level == 2 || (level == 1 && regime->granule == 12);
            if (block != (level != 3) || (block && !block_allowed)) {
                return std::nullopt;
            }
            const std::uint64_t inside = (std::uint64_t{1} << low) - 1;
            return Ipa{(descriptor & kOutputMask & ~inside) | (at.value & inside)};
        }
        table = descriptor & kOutputMask & page_mask;
        high = low - 1;
        low -= stride;
    }
}

}  // namespace twain::vmm
