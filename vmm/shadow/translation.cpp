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
    const std::uint64_t offset = at.value & ((std::uint64_t{1} << size) - 1);
    for (;; ++level) {
        t.shift = 39 - 9 * level;
        t.descriptor = {table + 8 * ((offset >> t.shift) & 511)};
        t.level = level;
        std::uint64_t d = 0;
        if (!memory.load_once(t.descriptor, d)) {
            return faulting(kFaultWalk + level);
        }
        const bool is_table = bit(d, 1);
        if (!bit(d, 0) || (!is_table && (level == 3 || level == 0))) {
            return faulting(kFaultTranslation + level);
        }
        if (level == 3 || !is_table) {
            t.take(d);
            t.at.value |= offset & ((std::uint64_t{1} << t.shift) - 1);
            return t;
        }
        t.tables |= d;
        table = d & kOutput;
    }
}

void Translation::take(std::uint64_t d) {
    at = {d & kOutput & ~((std::uint64_t{1} << shift) - 1)};
    user = bit(d, 6) && !bit(tables, 61);
    read_only = bit(d, 7) || bit(tables, 62);
    uxn = bit(d, 54) || bit(tables, 60);
    pxn = bit(d, 53) || bit(tables, 59);
    fault = bit(d, 10) ? 0 : kFaultAccess + level;
}

bool supported(const abi::El1State& el1) {
    const std::uint64_t tcr = el1.tcr_el1;
    const bool lower = bit(tcr, 7) || (bits(tcr, 15, 14) == 0 && bits(tcr, 5, 0) >= 16);
    const bool upper = bit(tcr, 23) || (bits(tcr, 31, 30) == 2 && bits(tcr, 21, 16) >= 16);
    return !bit(el1.sctlr_el1, 0) || (lower && upper && !bit(tcr, 59));  // DS
}

}  // namespace twain::vmm
