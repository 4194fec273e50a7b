// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The encoding table is ordered as Arm ARM C4.1.94 orders the classes; the first match decides.
#include <array>

#include "vmm/emul/instruction.hpp"

namespace twain::vmm {
namespace {

using Op = Instruction::Op;
using Index = Instruction::Index;
using Structure = Instruction::Structure;

constexpr std::uint8_t field(std::uint32_t w, unsigned high, unsigned low) {
    return static_cast<std::uint8_t>(bits(w, high, low));
}

constexpr std::uint8_t size_bytes(unsigned log2) { return static_cast<std::uint8_t>(1u << log2); }

constexpr Instruction registers(std::uint32_t w) {
    Instruction i;
    i.rt = field(w, 4, 0);
    i.rn = field(w, 9, 5);
    i.rt2 = field(w, 14, 10);
    i.rs = field(w, 20, 16);
    i.rm = i.rs;
    return i;
}

// LDXR, STXR, LDAXR, STLXR, LDXP, STXP, LDAR, STLR, LDLAR, STLLR, CAS, CASP
constexpr Instruction exclusive(std::uint32_t w) {
    Instruction i = registers(w);
    const bool ordered = bit(w, 23);
    const bool load = bit(w, 22);
    const bool o1 = bit(w, 21);
    const unsigned size = field(w, 31, 30);
    i.bytes = size_bytes(size);
    if (ordered && !o1) {
        i.op = load ? Op::load : Op::store;
    } else if (ordered || (o1 && size < 2)) {
        if (i.rt2 != 31) {
            return {};
        }
        i.op = Op::compare_swap;
        if (!ordered) {  // CASP: pairs that begin at an even register
            if (((i.rs | i.rt) & 1) != 0) {
                return {};
            }
            i.bytes = size == 0 ? 4 : 8;
            i.count = 2;
        }
    } else {
        i.op = load ? Op::load_exclusive : Op::store_exclusive;
        i.count = o1 ? 2 : 1;
    }
    return i;
}

// LDAPUR, STLUR and their sign-extending forms
constexpr Instruction unscaled_ordered(std::uint32_t w) {
    Instruction i = registers(w);
    const unsigned size = field(w, 31, 30);
    const unsigned opc = field(w, 23, 22);
    if ((size == 3 && opc >= 2) || (size == 2 && opc == 3)) {
        return {};
    }
    i.bytes = size_bytes(size);
    i.offset = static_cast<std::int64_t>(sign_extend(bits(w, 20, 12), 9));
    i.op = opc == 0 ? Op::store : Op::load;
    i.sign = opc >= 2;
    i.wide = opc == 2;
    return i;
}

constexpr Instruction literal(std::uint32_t w) {
    Instruction i = registers(w);
    const unsigned opc = field(w, 31, 30);
    i.simd = bit(w, 26);
    i.literal = true;
    i.op = Op::load;
    i.offset = static_cast<std::int64_t>(sign_extend(std::uint64_t{bits(w, 23, 5)} << 2, 21));
    if (i.simd) {
        i.bytes = size_bytes(2 + opc);
        return opc == 3 ? Instruction{} : i;
    }
    i.bytes = opc == 1 ? 8 : 4;
    i.sign = opc == 2;
    i.wide = opc == 2;
    if (opc == 3) {
        i.op = Op::prefetch;
    }
    return i;
}

// LDP, STP, LDNP, STNP, LDPSW
constexpr Instruction pair(std::uint32_t w) {
    Instruction i = registers(w);
    const unsigned opc = field(w, 31, 30);
    const unsigned mode = field(w, 24, 23);
    i.simd = bit(w, 26);
    i.op = bit(w, 22) ? Op::load : Op::store;
    i.count = 2;
    i.index = mode == 1 ? Index::post : mode == 3 ? Index::pre : Index::offset;
    if (opc == 3) {
        return {};
    }
    if (i.simd) {
        i.bytes = size_bytes(2 + opc);
    } else if (opc == 1) {
        if (i.op == Op::store || mode == 0) {
            return {};  // STGP
        }
        i.bytes = 4;
        i.sign = true;
        i.wide = true;
    } else {
        i.bytes = opc == 0 ? 4 : 8;
    }
    i.offset = static_cast<std::int64_t>(sign_extend(bits(w, 21, 15), 7)) * i.bytes;
    return i;
}

// What size, V and opc say for the single-register forms; op none: not allocated.
constexpr Instruction single(std::uint32_t w) {
    Instruction i = registers(w);
    const unsigned size = field(w, 31, 30);
    const unsigned opc = field(w, 23, 22);
    i.simd = bit(w, 26);
    if (i.simd) {
        const unsigned log2 = (opc & 2) != 0 ? 4 : size;
        if (log2 == 4 && size != 0) {
            return {};
        }
        i.bytes = size_bytes(log2);
        i.op = (opc & 1) != 0 ? Op::load : Op::store;
        return i;
    }
    i.bytes = size_bytes(size);
    i.op = opc == 0 ? Op::store : Op::load;
    i.sign = opc >= 2;
    i.wide = opc == 2;
    if (size == 3 && opc == 2) {
        i.op = Op::prefetch;
    } else if ((size == 3 && opc == 3) || (size == 2 && opc == 3)) {
        i.op = Op::none;
    }
    return i;
}

constexpr Instruction unsigned_offset(std::uint32_t w) {
    Instruction i = single(w);
    i.offset = static_cast<std::int64_t>(bits(w, 21, 10)) * i.bytes;
    return i;
}

// Unscaled, post-indexed, unprivileged, pre-indexed
constexpr Instruction immediate(std::uint32_t w) {
    Instruction i = single(w);
    const unsigned mode = field(w, 11, 10);
    i.offset = static_cast<std::int64_t>(sign_extend(bits(w, 20, 12), 9));
    i.index = mode == 1 ? Index::post : mode == 3 ? Index::pre : Index::offset;
    if ((mode == 2 && i.simd) || (i.op == Op::prefetch && mode != 0)) {
        return {};
    }
    return i;
}

constexpr Instruction register_offset(std::uint32_t w) {
    Instruction i = single(w);
    i.by_register = true;
    i.option = field(w, 15, 13);
    if ((i.option & 2) == 0) {
        return {};
    }
    unsigned log2 = 0;
    while ((1u << log2) < i.bytes) {
        ++log2;
    }
    i.shift = static_cast<std::uint8_t>(bit(w, 12) ? log2 : 0);
    return i;
}

// LDADD.. LDUMIN, SWP, LDAPR
constexpr Instruction atomic(std::uint32_t w) {
    Instruction i = registers(w);
    const unsigned opc = field(w, 14, 12);
    i.bytes = size_bytes(field(w, 31, 30));
    if (!bit(w, 15)) {
        i.op = Op::atomic;
        i.atomic = static_cast<Instruction::Atomic>(opc);
    } else if (opc == 0) {
        i.op = Op::swap;
    } else if (opc == 4 && field(w, 23, 22) == 2 && i.rs == 31) {
        i.op = Op::load;
    }
    return i;
}

// LD1..LD4, ST1..ST4 of whole registers
constexpr Instruction structures(std::uint32_t w) {
    struct Shape {
        std::uint8_t repeat, selem;
    };
    constexpr std::array<Shape, 16> kShapes{{{1, 4}, {}, {4, 1}, {}, {1, 3}, {}, {3, 1}, {1, 1}, {1, 2}, {}, {2, 1}}};
    Instruction i = registers(w);
    const Shape shape = kShapes[bits(w, 15, 12)];
    const bool post = bit(w, 23);
    const bool q = bit(w, 30);
    i.bytes = size_bytes(field(w, 11, 10));
    if (shape.selem == 0 || (!post && i.rm != 0) || (i.bytes == 8 && !q && shape.selem != 1)) {
        return {};
    }
    i.op = bit(w, 22) ? Op::load : Op::store;
    i.simd = true;
    i.structure = Structure::multiple;
    i.repeat = shape.repeat;
    i.selem = shape.selem;
    i.lanes = static_cast<std::uint8_t>((q ? 16u : 8u) / i.bytes);
    i.index = post ? Index::post : Index::offset;
    i.by_register = post && i.rm != 31;
    i.offset = i.repeat * i.selem * i.lanes * i.bytes;
    return i;
}

// LD1..LD4, ST1..ST4 of one lane, LD1R..LD4R
constexpr Instruction structure_lane(std::uint32_t w) {
    Instruction i = registers(w);
    const bool post = bit(w, 23);
    const bool load = bit(w, 22);
    const unsigned opcode = field(w, 15, 13);
    const unsigned size = field(w, 11, 10);
    const unsigned q = bit(w, 30) ? 1 : 0;
    const unsigned s = bit(w, 12) ? 1 : 0;
    i.selem = static_cast<std::uint8_t>(((opcode & 1) != 0 ? 3 : 1) + (bit(w, 21) ? 1 : 0));
    i.structure = Structure::single;
    switch (opcode >> 1) {
        case 0:
            i.bytes = 1;
            i.lane = static_cast<std::uint8_t>(q << 3 | s << 2 | size);
            break;
        case 1:
            if ((size & 1) != 0) {
                return {};
            }
            i.bytes = 2;
            i.lane = static_cast<std::uint8_t>(q << 2 | s << 1 | size >> 1);
            break;
        case 2:
            if (size == 0) {
                i.bytes = 4;
                i.lane = static_cast<std::uint8_t>(q << 1 | s);
            } else if (size == 1 && s == 0) {
                i.bytes = 8;
                i.lane = static_cast<std::uint8_t>(q);
            } else {
                return {};
            }
            break;
        default:
            if (!load || s != 0) {
                return {};
            }
            i.bytes = size_bytes(size);
            i.structure = Structure::replicate;
            i.lanes = static_cast<std::uint8_t>((q != 0 ? 16u : 8u) / i.bytes);
            break;
    }
    if (!post && i.rm != 0) {
        return {};
    }
    i.op = load ? Op::load : Op::store;
    i.simd = true;
    i.index = post ? Index::post : Index::offset;
    i.by_register = post && i.rm != 31;
    i.offset = i.selem * i.bytes;
    return i;
}

constexpr Instruction zero_block(std::uint32_t w) {
    Instruction i;
    i.op = Op::zero_block;
    i.rn = field(w, 4, 0);  // XZR, not SP: the executor knows
    i.bytes = 8;
    return i;
}

struct Encoding {
    std::uint32_t mask;
    std::uint32_t value;
    Instruction (*decode)(std::uint32_t);
};

constexpr std::array kEncodings{
    Encoding{0xbfbf0000, 0x0c000000, structures},  // bit 21 is zero; post-index below
    Encoding{0xbfa00000, 0x0c800000, structures},
    Encoding{0xbf800000, 0x0d000000, structure_lane},
    Encoding{0xbf800000, 0x0d800000, structure_lane},
    Encoding{0x3f000000, 0x08000000, exclusive},
    Encoding{0x3f200c00, 0x19000000, unscaled_ordered},
    Encoding{0x3b000000, 0x18000000, literal},
    Encoding{0x3a000000, 0x28000000, pair},
    Encoding{0x3b000000, 0x39000000, unsigned_offset},
    Encoding{0x3b200000, 0x38000000, immediate},
    Encoding{0x3b200c00, 0x38200800, register_offset},
    Encoding{0x3f200c00, 0x38200000, atomic},
    Encoding{0xffffffe0, 0xd50b7420, zero_block},
};

}  // namespace

Instruction decode(std::uint32_t word) {
    for (const Encoding& e : kEncodings) {
        if ((word & e.mask) == e.value) {
            return e.decode(word);
        }
    }
    return {};
}

}  // namespace twain::vmm
