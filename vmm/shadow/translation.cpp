// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/shadow/translation.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kOutput = 0x0000'ffff'ffff'f000;

Translation faulting(unsigned status) {
    Translation t;
    t.fault = status;
    return t;
}

}  // namespace

Gva untagged(const abi::El1State& el1, Gva at) {
    const bool upper = bit(at.value, 55);
    if (!bit(el1.tcr_el1, upper ? 38 : 37)) {
        return at;
    }
    constexpr std::uint64_t kTag = std::uint64_t{0xff} << 56;
    return {upper ? at.value | kTag : at.value & ~kTag};
}

Translation translate(const abi::El1State& el1, const GuestMemory& memory, Gva at) {
    Translation t;
    if (!bit(el1.sctlr_el1, 0)) {
        t.at = {at.value};  // beyond 48 bits there is no memory anyway
        return t;
    }
    at = untagged(el1, at);
    const bool upper = bit(at.value, 55);
    const unsigned size = 64 - static_cast<unsigned>(upper ? bits(el1.tcr_el1, 21, 16) : bits(el1.tcr_el1, 5, 0));
    const unsigned granule = static_cast<unsigned>(upper ? bits(el1.tcr_el1, 31, 30) : bits(el1.tcr_el1, 15, 14));
    const bool disabled = bit(el1.tcr_el1, upper ? 23 : 7);
    if (disabled || size > 48 || size < 25 || granule != (upper ? 2u : 0u)) {
        return faulting(kFaultTranslation);
    }
    if ((at.value >> size) != (upper ? ~std::uint64_t{0} >> size : 0)) {
        return faulting(kFaultTranslation);
    }
    unsigned level = size > 39 ? 0 : size > 30 ? 1 : 2;
    std::uint64_t table = (upper ? el1.ttbr1_el1 : el1.ttbr0_el1) & 0x0000'ffff'ffff'fffe;
    table &= ~((std::uint64_t{8} << (size - (39 - 9 * level))) - 1);
    for (;; ++level) {
        const unsigned shift = 39 - 9 * level;
        const std::uint64_t index_mask =
            (std::uint64_t{1} << ((level == 0 || size > shift + 9 ? 9 : size - shift))) - 1;
        t.descriptor = {table + 8 * ((at.value >> shift) & (index_mask & 511))};
        t.level = level;
        std::uint64_t d = 0;
        if (!memory.load_once(t.descriptor, d)) {
            return faulting(kFaultWalk + level);
        }
        const bool is_table = bit(d, 1);
        if (!bit(d, 0) || (level == 3 && !is_table) || (level == 0 && !is_table)) {
            return faulting(kFaultTranslation + level);
        }
        if (level < 3 && is_table) {
            t.limits.supervisor = t.limits.supervisor || bit(d, 61);
            t.limits.read_only = t.limits.read_only || bit(d, 62);
            t.limits.uxn = t.limits.uxn || bit(d, 60);
            t.limits.pxn = t.limits.pxn || bit(d, 59);
            table = d & kOutput;
            continue;
        }
        const std::uint64_t inside = (std::uint64_t{1} << shift) - 1;
        t.shift = shift;
        t.take(d);
        t.at.value |= at.value & inside;
        return t;
    }
}

void Translation::take(std::uint64_t d) {
    at = {d & kOutput & ~((std::uint64_t{1} << shift) - 1)};
    user = bit(d, 6) && !limits.supervisor;
    read_only = bit(d, 7) || limits.read_only;
    uxn = bit(d, 54) || limits.uxn;
    pxn = bit(d, 53) || limits.pxn;
    fault = bit(d, 10) ? 0 : kFaultAccess + level;
}

bool supported(const abi::El1State& el1) {
    const std::uint64_t tcr = el1.tcr_el1;
    const bool lower = bit(tcr, 7) || (bits(tcr, 15, 14) == 0 && bits(tcr, 5, 0) >= 16);
    const bool upper = bit(tcr, 23) || (bits(tcr, 31, 30) == 2 && bits(tcr, 21, 16) >= 16);
    return !bit(el1.sctlr_el1, 0) || (lower && upper && !bit(tcr, 59));  // DS
}

}  // namespace twain::vmm
