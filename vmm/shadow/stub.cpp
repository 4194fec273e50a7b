// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/shadow/stub.hpp"

#include <array>
#include <bit>
#include <cstddef>

#include "vmm/types.hpp"

namespace twain::vmm {
namespace {

using Word = std::uint32_t;

constexpr Word kRegister = 31;  // the field Rt
constexpr Word kReadDaif = 0xd53b'4220, kWriteDaif = 0xd51b'4220;
constexpr Word kInvalidate = 0xd50b'7520, kFlush = 0xd508'83a0;
constexpr Word kWriteTable0 = 0xd518'2000, kWriteTable1 = 0xd518'2020;

constexpr Word service_call(Word immediate) { return 0xd400'0001u | immediate << 5; }

struct Exchange {
    Word from;  // without the register
    Word to;
};
// At virtual EL1 TPIDR_EL0 holds SP_EL0, and TPIDRRO_EL0 a pointer; its own accesses to those two trap, by names that EL0
// does not have.
constexpr std::array kExchanges{
    Exchange{0xd538'4100, 0xd53b'd040},  // MRS SP_EL0      -> MRS TPIDR_EL0
    Exchange{0xd518'4100, 0xd51b'd040},  // MSR SP_EL0      -> MSR TPIDR_EL0
    Exchange{0xd53b'd040, 0xd53c'd040},  // MRS TPIDR_EL0   -> MRS TPIDR_EL2
    Exchange{0xd51b'd040, 0xd51c'd040},  // MSR TPIDR_EL0   -> MSR TPIDR_EL2
    Exchange{0xd53b'd060, 0xd53c'd060},  // MRS TPIDRRO_EL0 -> MRS S3_4_C13_C0_3
    Exchange{kInvalidate, 0xd50c'7520},  // IC IVAU         -> SYS #4, C7, C5, #1
    Exchange{0xd538'4240, 0xd280'0080},  // MRS CurrentEL   -> MOVZ #4
    Exchange{kWriteTable0, service_call(abi::kShadowTable0)},
    Exchange{kWriteTable1, service_call(abi::kShadowTable1)},
};

struct Field {
    Word access;  // without the register
    std::size_t offset;
};
constexpr std::array kReads{
    Field{0xd538'd080, offsetof(abi::SharedRegisters, tpidr_el1)},
    Field{kReadDaif, offsetof(abi::SharedRegisters, daif)},
    Field{0xd538'4020, offsetof(abi::SharedRegisters, elr_el1)},
    Field{0xd538'4000, offsetof(abi::SharedRegisters, spsr_el1)},
    Field{0xd538'5200, offsetof(abi::SharedRegisters, esr_el1)},
    Field{0xd538'6000, offsetof(abi::SharedRegisters, far_el1)},
    Field{0xd53b'd040, offsetof(abi::SharedRegisters, tpidr_el0)},
    Field{0xd53b'd060, offsetof(abi::SharedRegisters, tpidrro_el0)},
    Field{0xd538'd020, offsetof(abi::SharedRegisters, contextidr_el1)},
    Field{0xd538'2020, offsetof(abi::SharedRegisters, ttbr1_el1)},
    Field{0xd538'0000, offsetof(abi::SharedRegisters, midr_el1)},
};
constexpr std::array kWrites{
    Field{0xd518'4020, offsetof(abi::SharedRegisters, elr_el1)},
    Field{0xd518'4000, offsetof(abi::SharedRegisters, spsr_el1)},
    Field{0xd518'5200, offsetof(abi::SharedRegisters, esr_el1)},
    Field{0xd518'6000, offsetof(abi::SharedRegisters, far_el1)},
    Field{0xd51b'd040, offsetof(abi::SharedRegisters, tpidr_el0)},
    Field{0xd51b'd060, offsetof(abi::SharedRegisters, tpidrro_el0)},
    Field{0xd518'd020, offsetof(abi::SharedRegisters, contextidr_el1)},
};

template <std::size_t kCount>
const Field* find(const std::array<Field, kCount>& fields, Word word) {
    for (const Field& f : fields) {
        if ((word & ~kRegister) == f.access) {
            return &f;
        }
    }
    return nullptr;
}

// MSR DAIFSet, MSR DAIFClr. Bits that are not next to each other have no stub.
struct Masks {
    bool set = false, clear = false;
    Word bits = 0;  // D A I F
    explicit Masks(Word word) {
        const Word what = word & 0xffff'f0ff;
        bits = word >> 8 & 15;
        const Word low = bits == 0 ? 0 : bits >> std::countr_zero(bits);
        const bool run = bits != 0 && (low & (low + 1)) == 0;
        set = what == 0xd503'40df && run;
        clear = what == 0xd503'40ff && run;
    }
    explicit operator bool() const { return set || clear; }
};

class Assembler {
public:
    Assembler(std::span<Word, kStubWords> code, std::uint64_t at) : code_(code), at_(at) {}

    void put(Word word) { code_[used_++] = word; }
    void push(Word a) { put(0xf81f'0fe0 | a); }
    void pop(Word a) { put(0xf841'07e0 | a); }
    void push(Word a, Word b) { put(0xa9bf'03e0 | b << 10 | a); }
    void pop(Word a, Word b) { put(0xa8c1'03e0 | b << 10 | a); }
    void load(Word to, Word pointer, std::size_t offset) {
        put(0xd53b'd060 | pointer);
        put(0xf940'0000 | static_cast<Word>(offset / 8) << 10 | pointer << 5 | to);
    }
    void store(Word from, Word pointer, std::size_t offset) {
        put(0xd53b'd060 | pointer);
        put(0xf900'0000 | static_cast<Word>(offset / 8) << 10 | pointer << 5 | from);
    }
    // DAIF.I, F or all four masks at once, by its low byte or half.
    void store_masks(Word from, Word pointer, bool all) {
        put(0xd53b'd060 | pointer);
        put((all ? 0x7900'0000u : 0x3900'0000u) | pointer << 5 | from);
    }
    void differ(Word a, Word b) { put(0xca00'0000 | a << 16 | b << 5 | b); }  // EOR b, b, a
    void to_page(Word a) { put(0xd34c'fc00 | a << 5 | a); }                   // LSR #12
    void skip_if_zero(Word a, unsigned words) { put(0xb400'0000 | (words + 1) << 5 | a); }
    void only_masks(Word r) { put(0x927a'0c00 | r << 5 | r); }  // AND #0x3c0
    void set_bits(Word r, Word masks) { put(0xb240'0000 | run(masks, false) | r << 5 | r); }
    void clear_bits(Word r, Word masks) { put(0x9240'0000 | run(masks, true) | r << 5 | r); }
    // Skips `words` behind this one if bit 7 (I) is set.
    void skip_if_masked(Word r, unsigned words) { put(0x3738'0000 | (words + 1) << 5 | r); }
    // An interrupt that was masked until now is asked for; four words.
    void look_for_interrupt(Word a) {
        load(a, a, offsetof(abi::SharedRegisters, pending));
        skip_if_zero(a, 1);
        put(service_call(abi::kShadowUnmasked));
    }
    void skip(unsigned words) { put(0x1400'0000 | (words + 1)); }
    unsigned back(std::uint64_t site) {
        put(branch(at_ + 4 * used_, site + 4));
        return used_;
    }

private:
    // The fields immr and imms of a logical immediate: masks in DAIF's place, or all but them.
    static Word run(Word masks, bool inverted) {
        const Word first = static_cast<Word>(std::countr_zero(masks)) + 6,
                   count = static_cast<Word>(std::popcount(masks));
        const Word start = inverted ? first + count : first, ones = inverted ? 64 - count : count;
        return ((64 - start) & 63) << 16 | (ones - 1) << 10;
    }

    std::span<Word, kStubWords> code_;
    std::uint64_t at_;
    unsigned used_ = 0;
};

// The address of the shared registers ends in 0x03c0 (its page is one of 16): as a byte or half of a register, that is
// masks to store.
static_assert(abi::kSharedOffset == 0x3c0 && offsetof(abi::SharedRegisters, daif) == 0);

void change_masks(Assembler& to, const Masks& masks) {
    constexpr Word kBoth = 3, kAll = 15, kI = 2, kZero = 31;
    if (masks.bits == kBoth || masks.bits == kAll) {
        to.push(0);
        to.store_masks(masks.set ? 0 : kZero, 0, masks.bits == kAll);
        if (masks.clear) {
            to.look_for_interrupt(0);
        }
        to.pop(0);
        return;
    }
    to.push(0, 1);
    to.load(1, 0, offsetof(abi::SharedRegisters, daif));
    if (masks.set) {
        to.set_bits(1, masks.bits);
    } else {
        to.clear_bits(1, masks.bits);
    }
    to.store(1, 0, offsetof(abi::SharedRegisters, daif));
    if (masks.clear && (masks.bits & kI) != 0) {
        to.look_for_interrupt(0);
    }
    to.pop(0, 1);
}

// IC IVAU of a page of which there is no copy is one for those who execute it at virtual EL0.
void invalidate_line(Assembler& to, Word t, Word a) {
    to.push(a);
    to.load(a, a, kUnexecutedOffset);
    to.differ(t, a);
    to.to_page(a);
    to.skip_if_zero(a, 2);
    to.put(service_call(kInvalidateLine + t));
    to.skip(1);
    to.put(kInvalidate | t);
    to.pop(a);
}

void flush_page(Assembler& to, Word t, Word a) {
    to.push(a);
    to.load(a, a, kFlushedOffset);
    to.differ(t, a);
    to.skip_if_zero(a, 1);
    to.put(service_call(kFlushPage + t));
    to.pop(a);
}

}  // namespace

std::uint32_t exchanged(std::uint32_t word) {
    if (word == kEret) {
        return service_call(abi::kShadowReturn);
    }
    if ((word & 0xff00'0000) != 0xd500'0000) {
        return word;
    }
    for (const Exchange& e : kExchanges) {
        if ((word & ~kRegister) != e.from) {
            continue;
        }
        const bool numbers = e.from == kWriteTable0 || e.from == kWriteTable1;  // the register is part of the immediate
        return e.to + (word & kRegister) * (numbers ? 32 : 1);
    }
    return word;
}

bool has_stub(std::uint32_t word, bool stack) {
    if ((word & 0xff00'0000) != 0xd500'0000) {
        return false;
    }
    const Word access = word & ~kRegister;
    if (find(kReads, word) != nullptr) {
        return (word & kRegister) != 31;
    }
    if (access == kInvalidate || access == kFlush) {
        return stack && (word & kRegister) != 31;
    }
    return stack && (find(kWrites, word) != nullptr || access == kWriteDaif || Masks(word));
}

unsigned make_stub(std::uint32_t word, std::uint64_t at, std::uint64_t site,
                   std::span<std::uint32_t, kStubWords> code) {
    Assembler to(code, at);
    const Word t = word & kRegister;
    const Word a = t == 0 ? 1 : 0;
    if (const Field* f = find(kReads, word); f != nullptr && t != 31) {
        to.load(t, t, f->offset);
        if (f->access == kReadDaif) {
            to.only_masks(t);
        }
    } else if (const Field* w = find(kWrites, word); w != nullptr) {
        to.push(a);
        to.store(t, a, w->offset);
        to.pop(a);
    } else if ((word & ~kRegister) == kWriteDaif) {
        to.push(a);
        to.store(t, a, offsetof(abi::SharedRegisters, daif));
        to.skip_if_masked(t, 4);
        to.look_for_interrupt(a);
        to.pop(a);
    } else if (const Masks masks(word); masks) {
        change_masks(to, masks);
    } else if ((word & ~kRegister) == kInvalidate && t != 31) {
        invalidate_line(to, t, a);
    } else if ((word & ~kRegister) == kFlush && t != 31) {
        flush_page(to, t, a);
    } else {
        return 0;
    }
    return to.back(site);
}

}  // namespace twain::vmm
