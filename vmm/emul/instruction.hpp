// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A64 instructions that access memory (Arm ARM C4.1.94 "Loads and Stores", and DC ZVA), decoded. A stage-2 abort
// reports ISV=0 for all but the plainest of them; the VMM then decodes the instruction itself. The word may come from
// a hostile guest that rewrites it: decoding is a pure function of one copy.
#pragma once

#include <cstdint>

#include "vmm/types.hpp"

namespace twain::vmm {

struct Instruction {
    enum class Op : std::uint8_t {
        none,  // not a memory access, or one that we do not emulate
        load,
        store,
        prefetch,         // PRFM: nothing to do
        load_exclusive,   // no monitor is kept: a device has no contention to detect
        store_exclusive,  // always succeeds: status 0 into rs
        atomic,           // LSE: rt = [rn]; [rn] = operation([rn], rs)
        swap,             // SWP
        compare_swap,     // CAS, CASP: rs compared, rt stored
        zero_block,       // DC ZVA: 64 bytes
    };
    enum class Atomic : std::uint8_t { add, clear, exclusive_or, set, smax, smin, umax, umin };
    enum class Index : std::uint8_t { offset, pre, post };  // pre and post write the base register back
    enum class Structure : std::uint8_t { none, multiple, single, replicate };  // LD1..LD4, ST1..ST4

    Op op = Op::none;
    Atomic atomic = Atomic::add;
    Index index = Index::offset;
    Structure structure = Structure::none;
    std::uint8_t bytes = 0;    // of one element: 1, 2, 4, 8; SIMD&FP registers also 16
    std::uint8_t count = 1;    // registers transferred: 2 for pairs; structures: see below
    bool simd = false;         // rt, rt2 name V registers
    bool sign = false;         // loads extend the sign ...
    bool wide = false;         // ... to 64 bits (else to 32, and clear the upper half)
    bool literal = false;      // address is pc + offset
    bool by_register = false;  // address is rn + extend(rm, option) << shift; post-indexed structures add rm
    std::uint8_t rt = 31, rt2 = 31, rn = 31, rs = 31, rm = 31;
    std::uint8_t option = 0;  // 2 UXTW, 3 LSL (64 bits), 6 SXTW, 7 SXTX
    std::uint8_t shift = 0;
    std::int64_t offset = 0;
    // Structures: `selem` registers per structure, `repeat` groups of registers, `lanes` per register.
    std::uint8_t selem = 1, repeat = 1, lanes = 1, lane = 0;

    constexpr bool is_store() const {
        return op == Op::store || op == Op::store_exclusive || op == Op::atomic || op == Op::swap ||
               op == Op::compare_swap || op == Op::zero_block;
    }
};

Instruction decode(std::uint32_t word);

}  // namespace twain::vmm
