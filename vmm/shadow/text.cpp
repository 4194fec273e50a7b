// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/shadow/text.hpp"

#include "kernel/api/abi.hpp"

namespace twain::vmm {
namespace {

constexpr unsigned kWords = 1024, kLineWords = 16;

struct Exchange {
    std::uint32_t from;  // without the register in [4:0]
    std::uint32_t to;
};
// Virtual EL1 has its SP_EL0 in TPIDR_EL0 and its TPIDR_EL1 in TPIDRRO_EL0; its accesses to those two trap instead, by
// names that EL0 does not have.
constexpr std::array kExchanges{
    Exchange{0xd538'4100, 0xd53b'd040},  // MRS SP_EL0      -> MRS TPIDR_EL0
    Exchange{0xd518'4100, 0xd51b'd040},  // MSR SP_EL0      -> MSR TPIDR_EL0
    Exchange{0xd538'd080, 0xd53b'd060},  // MRS TPIDR_EL1   -> MRS TPIDRRO_EL0
    Exchange{0xd53b'd040, 0xd53c'd040},  // MRS TPIDR_EL0   -> MRS TPIDR_EL2
    Exchange{0xd51b'd040, 0xd51c'd040},  // MSR TPIDR_EL0   -> MSR TPIDR_EL2
    Exchange{0xd53b'd060, 0xd53c'd060},  // MRS TPIDRRO_EL0 -> S3_4_C13_C0_3
    Exchange{0xd50b'7520, 0xd50c'7520},  // IC IVAU         -> SYS #4, C7, C5, #1
};
constexpr std::uint32_t kEret = 0xd69f'03e0, kReturn = 0xd400'0001 | abi::kShadowReturn << 5;

std::uint32_t exchanged(std::uint32_t word) {
    if (word == kEret) {
        return kReturn;
    }
    if ((word & 0xff00'0000) != 0xd500'0000) {
        return word;
    }
    for (const Exchange& e : kExchanges) {
        if ((word & ~std::uint32_t{31}) == e.from) {
            return e.to | (word & 31);
        }
    }
    return word;
}

}  // namespace

unsigned TextCopies::find(std::uint64_t page) const {
    for (unsigned slot = static_cast<unsigned>(page * 0x9e37'79b1 >> 8) % kSlots; index_[slot] != 0; slot = (slot + 1) % kSlots) {
        if (pages_[index_[slot] - 1u] == page) {
            return index_[slot] - 1u;
        }
    }
    return kNone;
}

void TextCopies::rewrite(unsigned copy, unsigned first, unsigned end) {
    const char* from = memory_.pointer({pages_[copy] << 12}, 4096);
    const auto* words = reinterpret_cast<const std::uint32_t*>(from);
    std::uint32_t* to = to_ + std::size_t{copy} * kWords;
    for (unsigned i = first; i < end; ++i) {
        __atomic_store_n(&to[i], exchanged(__atomic_load_n(&words[i], __ATOMIC_RELAXED)), __ATOMIC_RELAXED);
    }
}

bool TextCopies::get(Ipa page, bool refresh, Ipa& copy) {
    const std::uint64_t number = page.value >> 12;
    unsigned n = find(number);
    if (n == kNone) {
        if (used_ == kPages) {
            return false;
        }
        n = used_++;
        pages_[n] = number;
        unsigned slot = static_cast<unsigned>(number * 0x9e37'79b1 >> 8) % kSlots;
        while (index_[slot] != 0) {
            slot = (slot + 1) % kSlots;
        }
        index_[slot] = static_cast<std::uint16_t>(n + 1);
        refresh = true;
    }
    if (refresh) {
        rewrite(n, 0, kWords);
    }
    copy = base_ + std::uint64_t{n} * 4096;
    return true;
}

void TextCopies::update_line(Ipa at) {
    const unsigned n = find(at.value >> 12);
    if (n != kNone) {
        const unsigned first = static_cast<unsigned>(at.value & 4095) / 4 & ~(kLineWords - 1);
        rewrite(n, first, first + kLineWords);
    }
}

void TextCopies::update_all() {
    for (unsigned n = 0; n < used_; ++n) {
        rewrite(n, 0, kWords);
    }
}

void TextCopies::forget() {
    used_ = 0;
    index_.fill(0);
}

}  // namespace twain::vmm
