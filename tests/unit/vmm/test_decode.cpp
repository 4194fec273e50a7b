// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Decoding against words that the GNU assembler made of the text beside them; execution against plain memory.
#include <catch2/catch.hpp>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "vmm/emul/execute.hpp"

using namespace twain;
using namespace twain::vmm;

namespace {

using Op = Instruction::Op;
using Atomic = Instruction::Atomic;
using Index = Instruction::Index;
using Structure = Instruction::Structure;

struct Known {
    std::uint32_t word;
    const char* text;
    Instruction expected;
};

// clang-format off
const Known kKnown[] = {
    {0xf9400041, "ldr x1, [x2]", {.op = Op::load, .bytes = 8, .rt = 1, .rn = 2}},
    {0xb9400441, "ldr w1, [x2, #4]", {.op = Op::load, .bytes = 4, .rt = 1, .rn = 2, .offset = 4}},
    {0x397fffe3, "ldrb w3, [sp, #4095]", {.op = Op::load, .bytes = 1, .rt = 3, .rn = 31, .offset = 4095}},
    {0x797ffc83, "ldrh w3, [x4, #8190]", {.op = Op::load, .bytes = 2, .rt = 3, .rn = 4, .offset = 8190}},
    {0x39c00483, "ldrsb w3, [x4, #1]", {.op = Op::load, .bytes = 1, .sign = true, .rt = 3, .rn = 4, .offset = 1}},
    {0x39800483, "ldrsb x3, [x4, #1]",
     {.op = Op::load, .bytes = 1, .sign = true, .wide = true, .rt = 3, .rn = 4, .offset = 1}},
    {0x79c00483, "ldrsh w3, [x4, #2]", {.op = Op::load, .bytes = 2, .sign = true, .rt = 3, .rn = 4, .offset = 2}},
    {0x79800483, "ldrsh x3, [x4, #2]",
     {.op = Op::load, .bytes = 2, .sign = true, .wide = true, .rt = 3, .rn = 4, .offset = 2}},
    {0xb9800483, "ldrsw x3, [x4, #4]",
     {.op = Op::load, .bytes = 4, .sign = true, .wide = true, .rt = 3, .rn = 4, .offset = 4}},
    {0xf93ffc5f, "str xzr, [x2, #32760]", {.op = Op::store, .bytes = 8, .rt = 31, .rn = 2, .offset = 32760}},
    {0x39000149, "strb w9, [x10]", {.op = Op::store, .bytes = 1, .rt = 9, .rn = 10}},
    {0x79000149, "strh w9, [x10]", {.op = Op::store, .bytes = 2, .rt = 9, .rn = 10}},
    {0xf9800040, "prfm pldl1keep, [x2]", {.op = Op::prefetch}},
    {0xf8500041, "ldur x1, [x2, #-256]", {.op = Op::load, .bytes = 8, .rt = 1, .rn = 2, .offset = -256}},
    {0xb80ff041, "stur w1, [x2, #255]", {.op = Op::store, .bytes = 4, .rt = 1, .rn = 2, .offset = 255}},
    {0xb89fc041, "ldursw x1, [x2, #-4]",
     {.op = Op::load, .bytes = 4, .sign = true, .wide = true, .rt = 1, .rn = 2, .offset = -4}},
    {0xf89ff040, "prfum pldl1keep, [x2, #-1]", {.op = Op::prefetch}},
    {0xf8408441, "ldr x1, [x2], #8",
     {.op = Op::load, .index = Index::post, .bytes = 8, .rt = 1, .rn = 2, .offset = 8}},
    {0xf8408c41, "ldr x1, [x2, #8]!",
     {.op = Op::load, .index = Index::pre, .bytes = 8, .rt = 1, .rn = 2, .offset = 8}},
    {0x381ff441, "strb w1, [x2], #-1",
     {.op = Op::store, .index = Index::post, .bytes = 1, .rt = 1, .rn = 2, .offset = -1}},
    {0xb81f0fe1, "str w1, [sp, #-16]!",
     {.op = Op::store, .index = Index::pre, .bytes = 4, .rt = 1, .rn = 31, .offset = -16}},
    {0x78c02441, "ldrsh w1, [x2], #2",
     {.op = Op::load, .index = Index::post, .bytes = 2, .sign = true, .rt = 1, .rn = 2, .offset = 2}},
    {0xf8403841, "ldtr x1, [x2, #3]", {.op = Op::load, .bytes = 8, .rt = 1, .rn = 2, .offset = 3}},
    {0x78000841, "sttrh w1, [x2]", {.op = Op::store, .bytes = 2, .rt = 1, .rn = 2}},
    {0x38800841, "ldtrsb x1, [x2]", {.op = Op::load, .bytes = 1, .sign = true, .wide = true, .rt = 1, .rn = 2}},
    {0xf8636841, "ldr x1, [x2, x3]",
     {.op = Op::load, .bytes = 8, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 3}},
    {0xf8637841, "ldr x1, [x2, x3, lsl #3]",
     {.op = Op::load, .bytes = 8, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 3, .shift = 3}},
    {0xb8634841, "ldr w1, [x2, w3, uxtw]",
     {.op = Op::load, .bytes = 4, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 2}},
    {0x7c23d841, "str h1, [x2, w3, sxtw #1]",
     {.op = Op::store, .bytes = 2, .simd = true, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 6, .shift = 1}},
    {0x3823e841, "strb w1, [x2, x3, sxtx]",
     {.op = Op::store, .bytes = 1, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 7}},
    {0x3ce37841, "ldr q1, [x2, x3, lsl #4]",
     {.op = Op::load, .bytes = 16, .simd = true, .by_register = true, .rt = 1, .rn = 2, .rm = 3, .option = 3, .shift = 4}},
    {0xa9400861, "ldp x1, x2, [x3]", {.op = Op::load, .bytes = 8, .count = 2, .rt = 1, .rt2 = 2, .rn = 3}},
    {0xa9200861, "stp x1, x2, [x3, #-512]",
     {.op = Op::store, .bytes = 8, .count = 2, .rt = 1, .rt2 = 2, .rn = 3, .offset = -512}},
    {0x28c10861, "ldp w1, w2, [x3], #8",
     {.op = Op::load, .index = Index::post, .bytes = 4, .count = 2, .rt = 1, .rt2 = 2, .rn = 3, .offset = 8}},
    {0x29bf0be1, "stp w1, w2, [sp, #-8]!",
     {.op = Op::store, .index = Index::pre, .bytes = 4, .count = 2, .rt = 1, .rt2 = 2, .rn = 31, .offset = -8}},
    {0x69408861, "ldpsw x1, x2, [x3, #4]",
     {.op = Op::load, .bytes = 4, .count = 2, .sign = true, .wide = true, .rt = 1, .rt2 = 2, .rn = 3, .offset = 4}},
    {0xa8400861, "ldnp x1, x2, [x3]", {.op = Op::load, .bytes = 8, .count = 2, .rt = 1, .rt2 = 2, .rn = 3}},
    {0xac008861, "stnp q1, q2, [x3, #16]",
     {.op = Op::store, .bytes = 16, .count = 2, .simd = true, .rt = 1, .rt2 = 2, .rn = 3, .offset = 16}},
    {0xacc10861, "ldp q1, q2, [x3], #32",
     {.op = Op::load, .index = Index::post, .bytes = 16, .count = 2, .simd = true, .rt = 1, .rt2 = 2, .rn = 3, .offset = 32}},
    {0x2d000861, "stp s1, s2, [x3]",
     {.op = Op::store, .bytes = 4, .count = 2, .simd = true, .rt = 1, .rt2 = 2, .rn = 3}},
    {0x6dc08861, "ldp d1, d2, [x3, #8]!",
     {.op = Op::load, .index = Index::pre, .bytes = 8, .count = 2, .simd = true, .rt = 1, .rt2 = 2, .rn = 3, .offset = 8}},
    {0x58000041, "ldr x1, .+8", {.op = Op::load, .bytes = 8, .literal = true, .rt = 1, .offset = 8}},
    {0x18ffffe1, "ldr w1, .-4", {.op = Op::load, .bytes = 4, .literal = true, .rt = 1, .offset = -4}},
    {0x987fffe1, "ldrsw x1, .+1048572",
     {.op = Op::load, .bytes = 4, .sign = true, .wide = true, .literal = true, .rt = 1, .offset = 1048572}},
    {0x9c800001, "ldr q1, .-1048576",
     {.op = Op::load, .bytes = 16, .simd = true, .literal = true, .rt = 1, .offset = -1048576}},
    {0x3d400441, "ldr b1, [x2, #1]", {.op = Op::load, .bytes = 1, .simd = true, .rt = 1, .rn = 2, .offset = 1}},
    {0x7c402441, "ldr h1, [x2], #2",
     {.op = Op::load, .index = Index::post, .bytes = 2, .simd = true, .rt = 1, .rn = 2, .offset = 2}},
    {0xbc004c41, "str s1, [x2, #4]!",
     {.op = Op::store, .index = Index::pre, .bytes = 4, .simd = true, .rt = 1, .rn = 2, .offset = 4}},
    {0xfd000041, "str d1, [x2]", {.op = Op::store, .bytes = 8, .simd = true, .rt = 1, .rn = 2}},
    {0x3dbfffff, "str q31, [sp, #65520]",
     {.op = Op::store, .bytes = 16, .simd = true, .rt = 31, .rn = 31, .offset = 65520}},
    {0x3cdff041, "ldur q1, [x2, #-1]", {.op = Op::load, .bytes = 16, .simd = true, .rt = 1, .rn = 2, .offset = -1}},
    {0xc85f7c41, "ldxr x1, [x2]", {.op = Op::load_exclusive, .bytes = 8, .rt = 1, .rn = 2}},
    {0x085f7c41, "ldxrb w1, [x2]", {.op = Op::load_exclusive, .bytes = 1, .rt = 1, .rn = 2}},
    {0xc85ffc41, "ldaxr x1, [x2]", {.op = Op::load_exclusive, .bytes = 8, .rt = 1, .rn = 2}},
    {0x085ffc41, "ldaxrb w1, [x2]", {.op = Op::load_exclusive, .bytes = 1, .rt = 1, .rn = 2}},
    {0x88057c41, "stxr w5, w1, [x2]", {.op = Op::store_exclusive, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x48057c41, "stxrh w5, w1, [x2]", {.op = Op::store_exclusive, .bytes = 2, .rt = 1, .rn = 2, .rs = 5}},
    {0x8805fc41, "stlxr w5, w1, [x2]", {.op = Op::store_exclusive, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x4805fc41, "stlxrh w5, w1, [x2]", {.op = Op::store_exclusive, .bytes = 2, .rt = 1, .rn = 2, .rs = 5}},
    {0xc87f0c41, "ldxp x1, x3, [x2]", {.op = Op::load_exclusive, .bytes = 8, .count = 2, .rt = 1, .rt2 = 3, .rn = 2}},
    {0x88258c41, "stlxp w5, w1, w3, [x2]",
     {.op = Op::store_exclusive, .bytes = 4, .count = 2, .rt = 1, .rt2 = 3, .rn = 2, .rs = 5}},
    {0xc8dffc41, "ldar x1, [x2]", {.op = Op::load, .bytes = 8, .rt = 1, .rn = 2}},
    {0x08dffc41, "ldarb w1, [x2]", {.op = Op::load, .bytes = 1, .rt = 1, .rn = 2}},
    {0x489ffc41, "stlrh w1, [x2]", {.op = Op::store, .bytes = 2, .rt = 1, .rn = 2}},
    {0x88df7c41, "ldlar w1, [x2]", {.op = Op::load, .bytes = 4, .rt = 1, .rn = 2}},
    {0xc89f7c41, "stllr x1, [x2]", {.op = Op::store, .bytes = 8, .rt = 1, .rn = 2}},
    {0xb8bfc041, "ldapr w1, [x2]", {.op = Op::load, .bytes = 4, .rt = 1, .rn = 2}},
    {0x19dfb041, "ldapursb w1, [x2, #-5]",
     {.op = Op::load, .bytes = 1, .sign = true, .rt = 1, .rn = 2, .offset = -5}},
    {0xd9007041, "stlur x1, [x2, #7]", {.op = Op::store, .bytes = 8, .rt = 1, .rn = 2, .offset = 7}},
    {0xb8250041, "ldadd w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::add, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e50041, "ldaddalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::add, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8251041, "ldclr w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::clear, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e51041, "ldclralb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::clear, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8252041, "ldeor w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::exclusive_or, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e52041, "ldeoralb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::exclusive_or, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8253041, "ldset w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::set, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e53041, "ldsetalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::set, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8254041, "ldsmax w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::smax, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e54041, "ldsmaxalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::smax, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8255041, "ldsmin w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::smin, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e55041, "ldsminalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::smin, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8256041, "ldumax w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::umax, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e56041, "ldumaxalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::umax, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xb8257041, "ldumin w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::umin, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x38e57041, "lduminalb w5, w1, [x2]",
     {.op = Op::atomic, .atomic = Atomic::umin, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0xf825005f, "stadd x5, [x2]", {.op = Op::atomic, .atomic = Atomic::add, .bytes = 8, .rt = 31, .rn = 2, .rs = 5}},
    {0xf8e58041, "swpal x5, x1, [x2]", {.op = Op::swap, .bytes = 8, .rt = 1, .rn = 2, .rs = 5}},
    {0x78258041, "swph w5, w1, [x2]", {.op = Op::swap, .bytes = 2, .rt = 1, .rn = 2, .rs = 5}},
    {0x88a57c41, "cas w5, w1, [x2]", {.op = Op::compare_swap, .bytes = 4, .rt = 1, .rn = 2, .rs = 5}},
    {0x08e5fc41, "casalb w5, w1, [x2]", {.op = Op::compare_swap, .bytes = 1, .rt = 1, .rn = 2, .rs = 5}},
    {0x48247c46, "casp x4, x5, x6, x7, [x2]",
     {.op = Op::compare_swap, .bytes = 8, .count = 2, .rt = 6, .rn = 2, .rs = 4}},
    {0x0864fc46, "caspal w4, w5, w6, w7, [x2]",
     {.op = Op::compare_swap, .bytes = 4, .count = 2, .rt = 6, .rn = 2, .rs = 4}},
    {0xd50b7429, "dc zva, x9", {.op = Op::zero_block, .bytes = 8, .rn = 9}},
    {0x4c407041, "ld1 {v1.16b}, [x2]",
     {.op = Op::load, .structure = Structure::multiple, .bytes = 1, .simd = true, .rt = 1, .rn = 2, .selem = 1, .repeat = 1, .lanes = 16}},
    {0x0cdfa041, "ld1 {v1.8b, v2.8b}, [x2], #16",
     {.op = Op::load, .index = Index::post, .structure = Structure::multiple, .bytes = 1, .simd = true, .rt = 1, .rn = 2, .selem = 1, .repeat = 2, .lanes = 8}},
    {0x4c832ffe, "st1 {v30.2d, v31.2d, v0.2d, v1.2d}, [sp], x3",
     {.op = Op::store, .index = Index::post, .structure = Structure::multiple, .bytes = 8, .simd = true, .by_register = true, .rt = 30, .rn = 31, .rm = 3, .selem = 1, .repeat = 4, .lanes = 2}},
    {0x0c408441, "ld2 {v1.4h, v2.4h}, [x2]",
     {.op = Op::load, .structure = Structure::multiple, .bytes = 2, .simd = true, .rt = 1, .rn = 2, .selem = 2, .repeat = 1, .lanes = 4}},
    {0x4c9f4841, "st3 {v1.4s, v2.4s, v3.4s}, [x2], #48",
     {.op = Op::store, .index = Index::post, .structure = Structure::multiple, .bytes = 4, .simd = true, .rt = 1, .rn = 2, .selem = 3, .repeat = 1, .lanes = 4}},
    {0x4c400441, "ld4 {v1.8h, v2.8h, v3.8h, v4.8h}, [x2]",
     {.op = Op::load, .structure = Structure::multiple, .bytes = 2, .simd = true, .rt = 1, .rn = 2, .selem = 4, .repeat = 1, .lanes = 8}},
    {0x4d401441, "ld1 {v1.b}[13], [x2]",
     {.op = Op::load, .structure = Structure::single, .bytes = 1, .simd = true, .rt = 1, .rn = 2, .lane = 13}},
    {0x4dbf5841, "st2 {v1.h, v2.h}[7], [x2], #4",
     {.op = Op::store, .index = Index::post, .structure = Structure::single, .bytes = 2, .simd = true, .rt = 1, .rn = 2, .selem = 2, .lane = 7}},
    {0x4dc7a041, "ld3 {v1.s, v2.s, v3.s}[2], [x2], x7",
     {.op = Op::load, .index = Index::post, .structure = Structure::single, .bytes = 4, .simd = true, .by_register = true, .rt = 1, .rn = 2, .rm = 7, .selem = 3, .lane = 2}},
    {0x4d20a441, "st4 {v1.d, v2.d, v3.d, v4.d}[1], [x2]",
     {.op = Op::store, .structure = Structure::single, .bytes = 8, .simd = true, .rt = 1, .rn = 2, .selem = 4, .lane = 1}},
    {0x4d40c841, "ld1r {v1.4s}, [x2]",
     {.op = Op::load, .structure = Structure::replicate, .bytes = 4, .simd = true, .rt = 1, .rn = 2, .lanes = 4}},
    {0x0dffe041, "ld4r {v1.8b, v2.8b, v3.8b, v4.8b}, [x2], #4",
     {.op = Op::load, .index = Index::post, .structure = Structure::replicate, .bytes = 1, .simd = true, .rt = 1, .rn = 2, .selem = 4, .lanes = 8}},
    {0xd503201f, "nop", {.op = Op::none}},
    {0x8b020020, "add x0, x1, x2", {.op = Op::none}},
    {0xd5381000, "mrs x0, sctlr_el1", {.op = Op::none}},
    {0xd50b7e20, "dc civac, x0", {.op = Op::none}},
    {0xf8200441, "ldraa x1, [x2]", {.op = Op::none}},
    {0xd9200841, "stg x1, [x2]", {.op = Op::none}},
    {0xd9600041, "ldg x1, [x2]", {.op = Op::none}},
    {0x69000861, "stgp x1, x2, [x3]", {.op = Op::none}},
    {0xd61f0000, "br x0", {.op = Op::none}},
    {0xd4000001, "svc #0", {.op = Op::none}},
    {0x85804020, "ldr z0, [x1]", {.op = Op::none}},
};
// clang-format on

// Memory of 64 KiB at kBase; everything else aborts.
struct TestMemory {
    static constexpr std::uint64_t kBase = 0x10'0000;
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(0x1'0000);
    std::uint64_t hole = 0;  // an address that aborts, too

    bool inside(Gva at, unsigned n) const {
        return at.value >= kBase && n <= bytes.size() && at.value - kBase <= bytes.size() - n &&
               !(hole >= at.value && hole < at.value + n);
    }
    bool load(Gva at, unsigned n, std::uint64_t& value) {
        REQUIRE((n == 1 || n == 2 || n == 4 || n == 8));
        if (!inside(at, n)) {
            return false;
        }
        value = 0;
        std::memcpy(&value, &bytes[at.value - kBase], n);
        return true;
    }
    bool store(Gva at, unsigned n, std::uint64_t value) {
        REQUIRE((n == 1 || n == 2 || n == 4 || n == 8));
        REQUIRE(truncate(value, n) == value);
        if (!inside(at, n)) {
            return false;
        }
        std::memcpy(&bytes[at.value - kBase], &value, n);
        return true;
    }
};

struct Bench {
    abi::VcpuPage page{};
    TestMemory memory;

    Bench() {
        for (std::size_t i = 0; i < memory.bytes.size(); ++i) {
            memory.bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
        }
        page.pstate = 5;
        page.x[2] = TestMemory::kBase + 0x100;
    }
    Executed run(std::uint32_t word) {
        Executor<TestMemory> executor(page, memory);
        return executor.run(decode(word));
    }
    std::uint64_t at(std::uint64_t offset, unsigned n) {
        std::uint64_t value = 0;
        std::memcpy(&value, &memory.bytes[offset], n);
        return value;
    }
};

std::uint32_t word_of(const char* text) {
    for (const Known& k : kKnown) {
        if (std::string_view(k.text) == text) {
            return k.word;
        }
    }
    FAIL("no such instruction: " << text);
    return 0;
}

}  // namespace

TEST_CASE("the decoder agrees with the assembler", "[decode]") {
    for (const Known& k : kKnown) {
        INFO(k.text);
        const Instruction i = decode(k.word);
        const Instruction& e = k.expected;
        REQUIRE(i.op == e.op);
        if (i.op == Op::none || i.op == Op::prefetch) {
            continue;
        }
        CHECK(i.bytes == e.bytes);
        CHECK(i.count == e.count);
        CHECK(i.simd == e.simd);
        CHECK(i.sign == e.sign);
        CHECK(i.wide == e.wide);
        CHECK(i.literal == e.literal);
        CHECK(i.by_register == e.by_register);
        CHECK(i.index == e.index);
        CHECK(i.structure == e.structure);
        CHECK(i.rt == (i.op == Op::zero_block ? 31 : e.rt));
        CHECK((i.rn == e.rn || i.literal));
        CHECK((i.count == 1 || i.op == Op::compare_swap || i.rt2 == e.rt2));
        CHECK((e.rs == 31 || i.rs == e.rs));
        CHECK((!i.by_register || i.rm == e.rm));
        if (i.op == Op::atomic) {
            CHECK(i.atomic == e.atomic);
        }
        if (i.structure == Structure::none) {
            CHECK(i.offset == (i.by_register || i.op == Op::atomic ? i.offset : e.offset));
            CHECK(i.option == e.option);
            CHECK(i.shift == e.shift);
        } else {
            CHECK(i.selem == e.selem);
            CHECK(i.repeat == e.repeat);
            CHECK(i.lanes == e.lanes);
            CHECK(i.lane == e.lane);
        }
    }
}

TEST_CASE("any word can be decoded and executed", "[decode][hostile]") {
    std::mt19937 random(1);
    Bench b;
    for (unsigned n = 0; n < 400'000; ++n) {
        std::uint32_t word = static_cast<std::uint32_t>(random());
        if (n % 4 != 0) {
            word = (word & 0xf5ff'ffff) | 0x0800'0000;  // loads and stores
        }
        const Instruction i = decode(word);
        REQUIRE((i.op == Op::none || (i.bytes >= 1 && i.bytes <= 16)));
        REQUIRE(i.repeat * i.selem * i.lanes * (i.structure == Structure::multiple ? 1u : 0u) <= 64);
        for (unsigned r = 0; r < 31; ++r) {
            b.page.x[r] = TestMemory::kBase + (random() & 0xffff);
        }
        (void)b.run(word);
    }
}

TEST_CASE("loads extend as they should", "[execute]") {
    Bench b;
    b.memory.bytes[0x100] = 0xff;
    b.memory.bytes[0x101] = 0x80;
    b.page.x[4] = TestMemory::kBase + 0x100;
    CHECK(b.run(word_of("ldrsb w3, [x4, #1]")).result == Executed::Result::done);
    CHECK(b.page.x[3] == 0xffff'ff80);
    (void)b.run(word_of("ldrsb x3, [x4, #1]"));
    CHECK(b.page.x[3] == 0xffff'ffff'ffff'ff80);
    (void)b.run(word_of("ldrsh w3, [x4, #2]"));
    CHECK(b.page.x[3] == truncate(sign_extend(b.at(0x102, 2), 16), 4));
    b.page.x[1] = ~std::uint64_t{0};
    (void)b.run(word_of("ldr w1, [x2, #4]"));
    CHECK(b.page.x[1] == b.at(0x104, 4));
}

TEST_CASE("addresses: indexes, registers, literals, stack pointers", "[execute]") {
    Bench b;
    (void)b.run(word_of("ldr x1, [x2], #8"));
    CHECK(b.page.x[1] == b.at(0x100, 8));
    CHECK(b.page.x[2] == TestMemory::kBase + 0x108);
    (void)b.run(word_of("ldr x1, [x2, #8]!"));
    CHECK(b.page.x[1] == b.at(0x110, 8));
    CHECK(b.page.x[2] == TestMemory::kBase + 0x110);
    b.page.x[3] = 0xffff'ffff'ffff'fffe;
    b.page.v[2] = 0x1234;
    (void)b.run(word_of("str h1, [x2, w3, sxtw #1]"));
    CHECK(b.at(0x10c, 2) == 0x1234);
    b.page.x[3] = 0xdead'beef'0000'0010;
    (void)b.run(word_of("ldr w1, [x2, w3, uxtw]"));
    CHECK(b.page.x[1] == b.at(0x120, 4));
    b.page.pc = TestMemory::kBase + 0x200;
    (void)b.run(word_of("ldr w1, .-4"));
    CHECK(b.page.x[1] == b.at(0x1fc, 4));

    b.page.el1.sp_el1 = TestMemory::kBase + 0x400;
    b.page.sp_el0 = TestMemory::kBase + 0x800;
    b.page.x[1] = 0x55;
    (void)b.run(word_of("str w1, [sp, #-16]!"));
    CHECK(b.page.el1.sp_el1 == TestMemory::kBase + 0x3f0);
    CHECK(b.at(0x3f0, 4) == 0x55);
    CHECK((b.page.loaded & abi::kGroupEl1) != 0);
    b.page.pstate = 0;  // EL0
    (void)b.run(word_of("str w1, [sp, #-16]!"));
    CHECK(b.page.sp_el0 == TestMemory::kBase + 0x7f0);
}

TEST_CASE("an abort leaves the registers alone", "[execute]") {
    Bench b;
    b.page.x[3] = TestMemory::kBase + 0x100;
    b.memory.hole = TestMemory::kBase + 0x104;
    const abi::VcpuPage before = b.page;
    const Executed e = b.run(word_of("ldp w1, w2, [x3], #8"));
    CHECK(e.result == Executed::Result::aborted);
    CHECK(e.at.value == TestMemory::kBase + 0x104);
    CHECK_FALSE(e.write);
    CHECK(std::memcmp(&before, &b.page, sizeof before) == 0);
    CHECK(b.run(word_of("stp w1, w2, [sp, #-8]!")).write);
    b.page.x[9] = TestMemory::kBase + 0x13f;
    CHECK(b.run(word_of("dc zva, x9")).result == Executed::Result::aborted);
}

TEST_CASE("exclusives, atomics, compare and swap", "[execute]") {
    Bench b;
    (void)b.memory.store(Gva{TestMemory::kBase + 0x100}, 8, 0x0000'0001'8000'0000);
    b.page.x[5] = 0xffff;
    b.page.x[1] = 7;
    (void)b.run(word_of("stxr w5, w1, [x2]"));
    CHECK(b.page.x[5] == 0);
    CHECK(b.at(0x100, 8) == 0x0000'0001'0000'0007);
    b.page.x[5] = 0xffff'ffff;
    (void)b.run(word_of("ldsmax w5, w1, [x2]"));
    CHECK(b.page.x[1] == 7);
    CHECK(b.at(0x100, 4) == 7);
    (void)b.run(word_of("ldumax w5, w1, [x2]"));
    CHECK(b.at(0x100, 8) == 0x0000'0001'ffff'ffff);
    (void)b.run(word_of("ldadd w5, w1, [x2]"));
    CHECK(b.at(0x100, 8) == 0x0000'0001'ffff'fffe);
    (void)b.run(word_of("ldclr w5, w1, [x2]"));
    CHECK(b.at(0x100, 8) == 0x0000'0001'0000'0000);
    b.page.x[5] = 1;
    b.page.x[1] = 9;
    (void)b.run(word_of("cas w5, w1, [x2]"));
    CHECK(b.page.x[5] == 0);
    CHECK(b.at(0x100, 4) == 0);
    (void)b.run(word_of("cas w5, w1, [x2]"));
    CHECK(b.at(0x100, 4) == 9);
    b.page.x[4] = 0x0000'0001'0000'0009;
    b.page.x[5] = b.at(0x108, 8);
    b.page.x[6] = 11;
    b.page.x[7] = 12;
    (void)b.run(word_of("casp x4, x5, x6, x7, [x2]"));
    CHECK(b.at(0x100, 8) == 11);
    CHECK(b.at(0x108, 8) == 12);
    (void)b.run(word_of("swpal x5, x1, [x2]"));
    CHECK(b.page.x[1] == 11);
}

TEST_CASE("vector registers and structures", "[execute]") {
    Bench b;
    b.page.v[3] = ~std::uint64_t{0};
    b.page.x[2] = TestMemory::kBase + 0x100;
    (void)b.run(word_of("ldr b1, [x2, #1]"));
    CHECK(b.page.v[2] == b.at(0x101, 1));
    CHECK(b.page.v[3] == 0);
    CHECK((b.page.loaded & abi::kGroupFp) != 0);
    (void)b.run(word_of("ldur q1, [x2, #-1]"));
    CHECK(b.page.v[2] == b.at(0xff, 8));
    CHECK(b.page.v[3] == b.at(0x107, 8));
    (void)b.run(word_of("ld2 {v1.4h, v2.4h}, [x2]"));
    for (unsigned e = 0; e < 4; ++e) {
        CHECK(((b.page.v[2] >> (16 * e)) & 0xffff) == b.at(0x100 + 4 * e, 2));
        CHECK(((b.page.v[4] >> (16 * e)) & 0xffff) == b.at(0x102 + 4 * e, 2));
    }
    CHECK(b.page.v[3] == 0);
    b.page.v[3] = 0;
    (void)b.run(word_of("ld1 {v1.b}[13], [x2]"));
    CHECK(b.page.v[3] == b.at(0x100, 1) << 40);
    (void)b.run(word_of("ld1r {v1.4s}, [x2]"));
    CHECK(b.page.v[2] == (b.at(0x100, 4) | b.at(0x100, 4) << 32));
    CHECK(b.page.v[3] == b.page.v[2]);
    (void)b.run(word_of("st3 {v1.4s, v2.4s, v3.4s}, [x2], #48"));
    CHECK(b.page.x[2] == TestMemory::kBase + 0x130);
    CHECK(b.at(0x100, 4) == (b.page.v[2] & 0xffff'ffff));
    CHECK(b.at(0x104, 4) == (b.page.v[4] & 0xffff'ffff));
    CHECK(b.at(0x10c, 4) == b.page.v[2] >> 32);
}
