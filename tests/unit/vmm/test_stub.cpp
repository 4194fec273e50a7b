// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Stubs, run by an interpreter of the few instructions that they are made of: each does to the shared registers what its
// instruction would do to the processor's, and nothing to anything else.
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <random>

#include <catch2/catch.hpp>

#include "kernel/api/abi.hpp"
#include "vmm/shadow/stub.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {
namespace {

using Shared = abi::SharedRegisters;
constexpr std::uint64_t kSite = 0xffff'8000'0810'1234, kAt = 0xffff'8000'0800'0400;
constexpr std::uint32_t kNop = 0xd503'201f;

// Two vCPUs' shared registers, of which one is pointed to; a stack.
struct Processor {
    std::array<std::uint64_t, 31> x{};
    std::array<std::uint64_t, 64> stack{};
    unsigned sp = 48;  // words
    std::array<Shared, 2> shared{};
    std::array<std::uint64_t, 2> unexecuted{}, flushed{};
    unsigned vcpu = 0;
    bool asked = false;                        // SVC kShadowUnmasked
    std::optional<std::uint32_t> told;         // SVC kInvalidateLine, kFlushPage: the register
    std::optional<std::uint64_t> invalidated;  // IC IVAU itself: the address
    std::uint64_t pc = 0;

    static std::uint64_t pointer(unsigned v) { return 0xffff'ffff'c000'0000 + v * 0x1'0000 + abi::kSharedOffset; }
    std::uint64_t get(unsigned r) const { return r == 31 ? 0 : x[r]; }

    char* at(std::uint64_t address) {
        for (unsigned v = 0; v < 2; ++v) {
            if (address - pointer(v) < sizeof(Shared)) {
                return reinterpret_cast<char*>(&shared[v]) + (address - pointer(v));
            }
            if (address == pointer(v) + kUnexecutedOffset) {
                return reinterpret_cast<char*>(&unexecuted[v]);
            }
            if (address == pointer(v) + kFlushedOffset) {
                return reinterpret_cast<char*>(&flushed[v]);
            }
        }
        FAIL("a stub uses address " << std::hex << address);
        return nullptr;
    }

    static std::uint64_t logical_immediate(std::uint32_t w) {  // 64 bits, one run of ones (Arm ARM, DecodeBitMasks)
        REQUIRE(bit(w, 22));
        const unsigned ones = bits(w, 15, 10) + 1, rotate = bits(w, 21, 16);
        return std::rotr(ones == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << ones) - 1, static_cast<int>(rotate));
    }

    void step(std::uint32_t w) {
        const unsigned t = w & 31, n = w >> 5 & 31, t2 = w >> 10 & 31;
        std::uint64_t next = pc + 4;
        if (is_pointer(w)) {
            x[t] = pointer(vcpu);
        } else if ((w & 0xffc0'0000) == 0xf940'0000) {
            std::memcpy(&x[t], at(x[n] + 8 * bits(w, 21, 10)), 8);
        } else if ((w & 0xffc0'0000) == 0xf900'0000) {
            const std::uint64_t value = get(t);
            std::memcpy(at(x[n] + 8 * bits(w, 21, 10)), &value, 8);
        } else if ((w & 0xffff'fc00) == 0x3900'0000 || (w & 0xffff'fc00) == 0x7900'0000) {
            const std::uint64_t value = get(t);
            std::memcpy(at(x[n]), &value, bit(w, 30) ? 2 : 1);
        } else if ((w & ~31u) == 0xf81f'0fe0) {
            stack[sp -= 2] = x[t];
        } else if ((w & ~31u) == 0xf841'07e0) {
            x[t] = stack[sp];
            sp += 2;
        } else if ((w & ~0x7c1fu) == 0xa9bf'03e0) {
            sp -= 2;
            stack[sp] = x[t];
            stack[sp + 1] = x[t2];
        } else if ((w & ~0x7c1fu) == 0xa8c1'03e0) {
            x[t] = stack[sp];
            x[t2] = stack[sp + 1];
            sp += 2;
        } else if ((w & 0xff80'0000) == 0x9200'0000) {
            x[t] = x[n] & logical_immediate(w);
        } else if ((w & 0xff80'0000) == 0xb200'0000) {
            x[t] = x[n] | logical_immediate(w);
        } else if ((w & 0xfff8'0000) == 0x3738'0000) {
            next = bit(get(t), 7) ? pc + 4 * bits(w, 18, 5) : next;
        } else if ((w & 0xff00'0000) == 0xb400'0000) {
            next = get(t) == 0 ? pc + 4 * bits(w, 23, 5) : next;
        } else if (w == (0xd400'0001 | abi::kShadowUnmasked << 5)) {
            asked = true;
        } else if ((w & ~(31u << 5)) == (0xd400'0001 | kInvalidateLine << 5) ||
                   (w & ~(31u << 5)) == (0xd400'0001 | kFlushPage << 5)) {
            told = w >> 5 & 0xffff;
        } else if ((w & ~31u) == 0xd50b'7520) {
            invalidated = get(t);
        } else if ((w & 0xffe0'fc00) == 0xca00'0000) {
            x[t] = x[n] ^ get(w >> 16 & 31);
        } else if ((w & 0xffff'fc00) == 0xd34c'fc00) {
            x[t] = x[n] >> 12;
        } else if ((w & 0xfc00'0000) == 0x1400'0000) {
            next = pc + sign_extend(w & 0x3ff'ffff, 26) * 4;
        } else {
            FAIL("a stub has the instruction " << std::hex << w);
        }
        pc = next;
    }
};

struct Stub {
    std::array<std::uint32_t, kStubWords> code{};
    unsigned words = 0;
    explicit Stub(std::uint32_t word) : words(make_stub(word, kAt, kSite, code)) {
        REQUIRE((words > 0 && words <= kStubWords));
    }

    // Runs to the end. If `moves` is not negative, the vCPU is interrupted before its step of that number and goes on at
    // the other vCPU.
    void run(Processor& p, int moves = -1) const {
        p.pc = kAt;
        for (int step = 0; p.pc != kSite + 4; ++step) {
            const auto index = [&] {
                const std::uint64_t i = (p.pc - kAt) / 4;
                REQUIRE(i < words);
                return i;
            };
            if (step == moves) {
                p.pc -= index() > 0 && is_pointer(code[index() - 1]) ? 4 : 0;
                p.vcpu = 1;
            }
            REQUIRE(step < 64);
            p.step(code[index()]);
        }
    }
};

Processor random_processor(std::mt19937_64& random) {
    Processor p;
    for (auto& x : p.x) x = random();
    for (auto& s : p.stack) s = random();
    for (Shared& s : p.shared) {
        std::array<std::uint64_t, sizeof(Shared) / 8> words{};
        for (auto& w : words) w = random();
        std::memcpy(&s, words.data(), sizeof s);
        s.daif &= 0x3c0;
        s.pending = 0;
    }
    return p;
}

struct Register {
    std::uint32_t read, write;  // 0: no stub
    std::uint64_t Shared::*place;
};
constexpr std::array kRegisters{
    Register{0xd538'd080, 0, &Shared::tpidr_el1},
    Register{0xd538'4020, 0xd518'4020, &Shared::elr_el1},
    Register{0xd538'4000, 0xd518'4000, &Shared::spsr_el1},
    Register{0xd538'5200, 0xd518'5200, &Shared::esr_el1},
    Register{0xd538'6000, 0xd518'6000, &Shared::far_el1},
    Register{0xd53b'd040, 0xd51b'd040, &Shared::tpidr_el0},
    Register{0xd53b'd060, 0xd51b'd060, &Shared::tpidrro_el0},
    Register{0xd538'd020, 0xd518'd020, &Shared::contextidr_el1},
    Register{0xd538'2020, 0, &Shared::ttbr1_el1},
    Register{0xd538'0000, 0, &Shared::midr_el1},
};

bool same(const Shared& a, const Shared& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

TEST_CASE("stub: a register is read and written in its place, by every register") {
    std::mt19937_64 random(1);
    for (const Register& r : kRegisters) {
        for (unsigned t = 0; t < 31; ++t) {
            Processor p = random_processor(random), before = p;
            Stub(r.read | t).run(p);
            CHECK(p.x[t] == before.shared[0].*r.place);
            p.x[t] = before.x[t];
            CHECK(p.x == before.x);
            CHECK(p.sp == before.sp);
            CHECK(same(p.shared[0], before.shared[0]));
        }
        for (unsigned t = 0; t < 32 && r.write != 0; ++t) {
            Processor p = random_processor(random);
            Processor before = p;
            Stub(r.write | t).run(p);
            CHECK(p.shared[0].*r.place == before.get(t));
            CHECK(p.x == before.x);
            CHECK(p.sp == before.sp);
            before.shared[0].*r.place = p.shared[0].*r.place;
            CHECK(same(p.shared[0], before.shared[0]));
        }
    }
}

TEST_CASE("stub: masks are set, cleared, read and written; an interrupt that waits is asked for") {
    std::mt19937_64 random(2);
    for (unsigned masks = 0; masks < 16; ++masks) {
        const bool run =
            masks == 0 ? false : ((masks >> std::countr_zero(masks)) & ((masks >> std::countr_zero(masks)) + 1)) == 0;
        for (const std::uint32_t base : {0xd503'40dfu, 0xd503'40ffu}) {
            const std::uint32_t word = base | masks << 8;
            REQUIRE(has_stub(word, true) == run);
            for (unsigned daif = 0; daif < 16 && run; ++daif) {
                for (const std::uint64_t pending : {0, 1}) {
                    Processor p = random_processor(random);
                    p.shared[0].daif = daif << 6;
                    p.shared[0].pending = pending;
                    const Processor before = p;
                    Stub(word).run(p);
                    const unsigned want = base == 0xd503'40df ? daif | masks : daif & ~masks;
                    CHECK((p.shared[0].daif & 0x3c0) == want << 6);
                    CHECK(p.shared[0].daif < 0x1'0000);
                    CHECK(p.asked == (pending != 0 && base == 0xd503'40ff && (masks & 2) != 0));
                    CHECK(p.x == before.x);
                    CHECK(p.sp == before.sp);
                }
            }
        }
    }
    for (unsigned t = 0; t < 32; ++t) {
        Processor p = random_processor(random);
        p.shared[0].pending = 1;
        const Processor before = p;
        Stub(0xd51b'4220 | t).run(p);
        CHECK(p.shared[0].daif == before.get(t));
        CHECK(p.asked == !bit(before.get(t), 7));
        CHECK(p.x == before.x);
        if (t < 31) {
            Stub(0xd53b'4220 | t).run(p);
            CHECK(p.x[t] == (before.x[t] & 0x3c0));
        }
    }
}

TEST_CASE("stub: IC IVAU is told of, but for the page that has no copy, where it is done") {
    std::mt19937_64 random(5);
    CHECK_FALSE(has_stub(0xd50b'753f, true));  // of address 0
    CHECK_FALSE(has_stub(0xd50b'7520, false));
    for (unsigned t = 0; t < 31; ++t) {
        REQUIRE(has_stub(0xd50b'7520 | t, true));
        for (const std::uint64_t other :
             {std::uint64_t{0}, std::uint64_t{4095}, std::uint64_t{4096}, std::uint64_t{1} << 63}) {
            Processor p = random_processor(random);
            p.unexecuted[0] = p.x[t] & ~std::uint64_t{4095};
            p.x[t] = p.unexecuted[0] ^ other;
            const Processor before = p;
            Stub(0xd50b'7520 | t).run(p);
            CHECK(p.told.has_value() == (other >= 4096));
            CHECK(p.invalidated.has_value() == (other < 4096));
            CHECK(p.told.value_or(kInvalidateLine + t) == kInvalidateLine + t);
            CHECK(p.invalidated.value_or(before.x[t]) == before.x[t]);
            CHECK((p.x == before.x && p.sp == before.sp && same(p.shared[0], before.shared[0])));
        }
    }
}

TEST_CASE("stub: TLBI VALE1IS is told of, but for the very one that is done already") {
    std::mt19937_64 random(6);
    CHECK_FALSE(has_stub(0xd508'83bf, true));
    CHECK_FALSE(has_stub(0xd508'83a0, false));
    for (unsigned t = 0; t < 31; ++t) {
        REQUIRE(has_stub(0xd508'83a0 | t, true));
        for (unsigned other = 0; other <= 64; ++other) {  // which bit is another
            Processor p = random_processor(random);
            p.flushed[0] = p.x[t] ^ (other == 64 ? 0 : std::uint64_t{1} << other);
            const Processor before = p;
            Stub(0xd508'83a0 | t).run(p);
            CHECK(p.told.has_value() == (other != 64));
            CHECK(p.told.value_or(kFlushPage + t) == kFlushPage + t);
            CHECK((p.x == before.x && p.sp == before.sp && same(p.shared[0], before.shared[0])));
        }
    }
}

TEST_CASE("stub: whoever is moved to another vCPU in the middle does not touch the one that it was on") {
    std::mt19937_64 random(3);
    std::vector<std::uint32_t> words;
    for (const Register& r : kRegisters) {
        words.push_back(r.read | 5);
        if (r.write != 0) words.push_back(r.write | 5);
    }
    for (const std::uint32_t masks : {1, 2, 3, 4, 8, 12, 15}) {
        words.push_back(0xd503'40df | masks << 8);
        words.push_back(0xd503'40ff | masks << 8);
    }
    words.push_back(0xd51b'4225);
    words.push_back(0xd50b'7525);
    words.push_back(0xd508'83a5);
    for (const std::uint32_t word : words) {
        for (int move = 0; move < 12; ++move) {
            Processor p = random_processor(random);
            p.shared[1].daif = p.shared[0].daif;  // or it would not have been interrupted and gone on here
            const Stub stub(word);
            std::optional<Shared> left;
            Processor half = p;
            half.pc = kAt;
            for (int step = 0; step < move && half.pc != kSite + 4; ++step) {
                half.step(stub.code[(half.pc - kAt) / 4]);
            }
            left = half.shared[0];
            stub.run(p, move);
            CHECK(same(p.shared[0], *left));
            CHECK(p.sp == 48);
        }
    }
}

TEST_CASE("exchanged: privileged instructions become others, all the rest itself") {
    CHECK(exchanged(0xd69f'03e0) == (0xd400'0001 | abi::kShadowReturn << 5));
    CHECK(exchanged(0xd538'4109) == 0xd53b'd049);  // MRS X9, SP_EL0
    CHECK(exchanged(0xd518'411f) == 0xd51b'd05f);
    CHECK(exchanged(0xd53b'd043) == 0xd53c'd043);
    CHECK(exchanged(0xd518'2007) == (0xd400'0001 | (abi::kShadowTable0 + 7) << 5));
    CHECK(exchanged(0xd518'203f) == (0xd400'0001 | (abi::kShadowTable1 + 31) << 5));
    CHECK(exchanged(0xd538'4244) == 0xd280'0084);  // MOVZ X4, #4
    std::mt19937 random(4);
    unsigned changed = 0;
    for (unsigned i = 0; i < 2'000'000; ++i) {
        const std::uint32_t word = static_cast<std::uint32_t>(random());
        if (!may_be_privileged(word)) {
            if (exchanged(word) != word || has_stub(word, true)) ++changed;
        }
    }
    CHECK(changed == 0);
    CHECK(exchanged(kNop) == kNop);
    // What has been exchanged stays as it is.
    for (std::uint32_t low = 0; low < 0x100'0000; ++low) {
        const std::uint32_t once = exchanged(0xd500'0000 | low);
        if (once != (0xd500'0000 | low) && (once & ~31u) != 0xd53b'd040 && (once & ~31u) != 0xd51b'd040 &&
            exchanged(once) != once) {
            FAIL(std::hex << low);
        }
    }
}

TEST_CASE("stub: none without a stack where one is needed, none that reads into XZR") {
    CHECK(has_stub(0xd538'4020, false));
    CHECK_FALSE(has_stub(0xd538'403f, true));
    CHECK_FALSE(has_stub(0xd51b'd040, false));
    CHECK_FALSE(has_stub(0xd503'43df, false));
    CHECK_FALSE(has_stub(kNop, true));
}

}  // namespace twain::vmm
