// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Random instruction words at virtual EL1 and virtual EL0, each with registers of its own. Word n of a seed, and its
// registers, are always the same; what it finds in memory is what the words before it have left.
//
// What comes back is looked at: virtual EL0 must not see what only its kernel may see, nor change it, and nothing must see
// what the neighbour's memory holds.
#include "hostile.hpp"

namespace hostile {
namespace {

constexpr u32 kBreak = 0xd420'0000;                // BRK #0: what lies around the word
constexpr u64 kSecret = 0x5ec2'e717'0dd5'a000;     // the kernel's hidden page: in bits 63:12
constexpr u64 kNeighbour = 0xb517'0dd5'a900'0000;  // the neighbour's memory: in bits 63:24
constexpr u64 kHiddenPage = (kUserHidden - kUser) / 4096;
constexpr u64 kWordsInSpace = 64;    // then TTBR0_EL1 gets another ASID
constexpr u64 kRepairTables = 1024;  // words

// ---- the word

// MRS and MSR of what there is: op0, op1, CRn, CRm, op2.
constexpr u32 name(u32 op0, u32 op1, u32 crn, u32 crm, u32 op2) {
    return 0xd500'0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5;
}
constexpr u32 kNames[] = {
    name(3, 0, 0, 0, 0),   name(3, 0, 0, 0, 5),   name(3, 0, 0, 4, 0),   name(3, 0, 0, 7, 0),   name(3, 0, 1, 0, 0),
    name(3, 0, 1, 0, 1),   name(3, 0, 1, 0, 2),   name(3, 0, 2, 0, 0),   name(3, 0, 2, 0, 1),   name(3, 0, 2, 0, 2),
    name(3, 0, 4, 0, 0),   name(3, 0, 4, 0, 1),   name(3, 0, 4, 1, 0),   name(3, 0, 4, 2, 0),   name(3, 0, 4, 2, 2),
    name(3, 3, 4, 2, 0),   name(3, 3, 4, 2, 1),   name(3, 3, 4, 4, 0),   name(3, 3, 4, 4, 1),   name(3, 3, 4, 5, 1),
    name(3, 0, 4, 6, 0),   name(3, 0, 5, 1, 0),   name(3, 0, 5, 1, 1),   name(3, 0, 5, 2, 0),   name(3, 0, 6, 0, 0),
    name(3, 0, 7, 4, 0),   name(3, 0, 9, 12, 0),  name(3, 3, 9, 12, 0),  name(3, 3, 9, 13, 0),  name(3, 3, 9, 14, 0),
    name(3, 0, 10, 2, 0),  name(3, 0, 10, 3, 0),  name(3, 0, 12, 0, 0),  name(3, 0, 12, 1, 0),  name(3, 0, 12, 8, 3),
    name(3, 0, 12, 9, 0),  name(3, 0, 12, 11, 1), name(3, 0, 12, 11, 3), name(3, 0, 12, 11, 5), name(3, 0, 12, 12, 0),
    name(3, 0, 12, 12, 1), name(3, 0, 12, 12, 2), name(3, 0, 12, 12, 3), name(3, 0, 12, 12, 4), name(3, 0, 12, 12, 5),
    name(3, 0, 12, 12, 6), name(3, 0, 12, 12, 7), name(3, 0, 13, 0, 1),  name(3, 0, 13, 0, 4),  name(3, 3, 13, 0, 2),
    name(3, 3, 13, 0, 3),  name(3, 3, 13, 0, 7),  name(3, 0, 14, 1, 0),  name(3, 3, 14, 0, 0),  name(3, 3, 14, 0, 1),
    name(3, 3, 14, 0, 2),  name(3, 3, 14, 2, 0),  name(3, 3, 14, 2, 1),  name(3, 3, 14, 2, 2),  name(3, 3, 14, 3, 0),
    name(3, 3, 14, 3, 1),  name(3, 3, 14, 3, 2),  name(3, 1, 0, 0, 0),   name(3, 1, 0, 0, 1),   name(3, 2, 0, 0, 0),
    name(3, 3, 0, 0, 1),   name(3, 3, 0, 0, 7),   name(2, 0, 0, 2, 2),   name(2, 0, 0, 0, 4),   name(2, 0, 0, 0, 5),
    name(2, 0, 0, 0, 6),   name(2, 0, 0, 0, 7),   name(2, 0, 1, 0, 4),   name(2, 3, 0, 1, 0),   name(2, 3, 0, 5, 0),
    name(3, 4, 1, 1, 0),   name(3, 4, 2, 1, 0),   name(3, 4, 12, 0, 0),  name(3, 4, 13, 0, 2),  name(3, 4, 13, 0, 3),
    name(3, 6, 1, 1, 0),   name(3, 5, 1, 0, 0),
};
// SYS: caches, translations. DC ZVA, IVAC, CVAC, CVAU, CIVAC, CVAP, ISW, CISW; IC; AT; TLBI.
constexpr u32 kSystem[] = {
    name(1, 3, 7, 4, 1),  name(1, 0, 7, 6, 1), name(1, 3, 7, 10, 1), name(1, 3, 7, 11, 1), name(1, 3, 7, 14, 1),
    name(1, 3, 7, 12, 1), name(1, 0, 7, 6, 2), name(1, 0, 7, 14, 2), name(1, 0, 7, 1, 0),  name(1, 0, 7, 5, 0),
    name(1, 3, 7, 5, 1),  name(1, 4, 7, 5, 1), name(1, 0, 7, 8, 0),  name(1, 0, 7, 8, 1),  name(1, 0, 7, 8, 2),
    name(1, 0, 7, 8, 3),  name(1, 0, 7, 9, 0), name(1, 4, 7, 8, 4),  name(1, 0, 8, 3, 0),  name(1, 0, 8, 3, 1),
    name(1, 0, 8, 3, 2),  name(1, 0, 8, 3, 3), name(1, 0, 8, 3, 5),  name(1, 0, 8, 3, 7),  name(1, 0, 8, 7, 0),
    name(1, 0, 8, 7, 1),  name(1, 0, 8, 7, 2), name(1, 0, 8, 7, 3),  name(1, 0, 8, 7, 5),  name(1, 0, 8, 7, 7),
    name(1, 0, 8, 2, 1),  name(1, 4, 8, 7, 4), name(1, 4, 8, 3, 0),
};
// Branches, by what is fixed in them.
struct Form {
    u32 mask, value;
};
constexpr Form kBranches[] = {
    {0x7c00'0000, 0x1400'0000}, {0x7e00'0000, 0x3400'0000}, {0x7e00'0000, 0x3600'0000}, {0xff00'0010, 0x5400'0000},
    {0xffff'fc1f, 0xd61f'0000}, {0xffff'fc1f, 0xd63f'0000}, {0xffff'fc1f, 0xd65f'0000}, {0xffe0'001f, 0xd400'0001},
    {0xffe0'001f, 0xd400'0002}, {0xffe0'001f, 0xd400'0003}, {0xffe0'001f, 0xd420'0000}, {0xffe0'001f, 0xd440'0000},
    {0xffe0'001c, 0xd4a0'0000}, {0xfe00'0000, 0xd600'0000}, {0xffff'f01f, 0xd503'201f}, {0xffff'f01f, 0xd503'301f},
    {0xffff'f0ff, 0xd503'40df}, {0xffff'f0ff, 0xd503'40ff}, {0xfff8'f01f, 0xd500'401f}, {0xffff'ffe0, 0xd503'2060},
};
constexpr u32 kEret = 0xd69f'03e0;
// After a write of SCTLR, TTBR1, TCR, VBAR little follows: seldom enough that most of the time is not spent on resets.
constexpr u32 kFatal[] = {name(3, 0, 1, 0, 0), name(3, 0, 2, 0, 1), name(3, 0, 2, 0, 2), name(3, 0, 12, 0, 0)};
constexpr u64 kSeldom = 16;
// ICC_BPR0_EL1, ICC_BPR1_EL1: a multiple of 8 ends QEMU 7.2 (icv_gprio_mask), if the processor's own interface has them.
constexpr u32 kNever[] = {name(3, 0, 12, 8, 3), name(3, 0, 12, 12, 3)};

template <typename T, u64 kCount>
constexpr u64 count_of(const T (&)[kCount]) {
    return kCount;
}

u32 any_word(Chance& chance) {
    const u32 any = static_cast<u32>(chance.next());
    const u64 kind = chance.below(100);
    if (kind < 30) {
        return any;
    }
    if (kind < 55) {  // loads and stores of all kinds
        return (any & ~0x0200'0000u) | 0x0800'0000;
    }
    if (kind < 60) {  // exclusives, ordered accesses, compare and swap
        return (any & ~0x3f00'0000u) | 0x0800'0000;
    }
    if (kind < 64) {  // SIMD structures
        return (any & ~0xbe00'0000u) | 0x0c00'0000;
    }
    if (kind < 76) {  // MRS, MSR of what there is
        return kNames[chance.below(count_of(kNames))] | (any & 0x20'001f);
    }
    if (kind < 82) {
        return kSystem[chance.below(count_of(kSystem))] | (any & 0x1f);
    }
    if (kind < 90) {
        return 0xd500'0000 | (any & 0xff'ffff);
    }
    if (any % 1024 == 0) {
        return kEret;
    }
    const Form form = kBranches[chance.below(count_of(kBranches))];
    return (any & ~form.mask) | form.value;
}

// FRECPX of vectors, which there is not, where there is FP16: the same (disas_simd_two_reg_misc_fp16).
constexpr Form kNeverEither = {0xbfff'fc00, 0x0ef9'f800};

template <u64 kCount>
bool is_one_of(u32 word, const u32 (&names)[kCount]) {
    for (const u32 each : names) {
        if ((word & ~31u) == each) {
            return true;
        }
    }
    return false;
}

u32 choose_word(Chance& chance) {
    for (;;) {
        const u32 word = any_word(chance);
        const bool never = is_one_of(word, kNever) || (word & kNeverEither.mask) == kNeverEither.value;
        if (!never && (!is_one_of(word, kFatal) || chance.below(kSeldom) == 0)) {
            return word;
        }
    }
}

// ---- its registers

u64 choose_value(Chance& chance) {
    const u64 any = chance.next();
    switch (chance.below(24)) {
        case 0: return any & 0xfff;
        case 1: return any;
        case 2: return ~(any & 0xffff);
        case 3: return u64{1} << (any & 63);
        case 4: return kUserCode + (any & 0xfff);
        case 5: return kUserConstant + (any & 0xfff);
        case 6: return kUserMixed + (any & 0xffc);
        case 7: return kUserHidden + (any & 0xff8);
        case 8: return reinterpret_cast<u64>(user_pages[kHiddenPage]) + (any & 0xff8);
        case 9: return kShared + (any >> 12 & 3) * kSharedStep + (any & 0xff8);
        case 10: return kShared + kSharedStep + kSharedOffset + (any & 0x78);
        case 11: return kHole + (any & 0x7f'ffff);
        case 12:
            return (reinterpret_cast<u64>(__words) & ~u64{0x1f'ffff}) + (15 + (any >> 32 & 3)) * 0x20'0000 +
                   (any & 0xffc);  // stubs
        case 13: return any % 8 != 0 ? kGicd + 0x1000 + (any & 0xeff8) : kUart + 0x40 + (any & 0xff8);
        case 14: return any % 8 != 0 ? 0x1'0000'0000 + (any & 0xffff'fff8) : kRam + 0x200'0000 + (any & 0xfff8);
        case 15:
            return any % 16 != 0 ? machine.gic == 2 ? kGicc + (any & 0x1ffc) : kGicr + 0x2'0000 + (any & 0x1'fff8)
                                 : reinterpret_cast<u64>(&victim_tables) + (any % sizeof victim_tables & ~u64{7});
        case 16: return any % 64 != 0 ? kRam + 0x40'0000 + (any & 0xf'fff8) : 0x8400'0000 + (any >> 32 & 0x1f);
        case 17: return reinterpret_cast<u64>(__words) + (any & 0xffc);
        default: return kUserData + (any & 0x3ff8);  // half of them: where something happens
    }
}

bool keeps_secret(u64 value) { return (value & ~u64{0xfff}) == kSecret; }

// Only while virtual EL0 executes something: its kernel may carry what it finds into its user's memory, by a vector register.
void hide(bool secret) {
    for (u64 n = 0; n < 512; ++n) {
        user_pages[kHiddenPage][n] = secret ? kSecret | n : 0;
    }
}

bool hidden() {
    for (u64 n = 0; n < 512; ++n) {
        if (user_pages[kHiddenPage][n] != (kSecret | n)) {
            return false;
        }
    }
    return true;
}

bool accesses_memory(u32 word) { return (word & 0x0a00'0000) == 0x0800'0000; }
// MSR, SYS: at EL1 they may have changed a register that is not saved.
bool needs_repair(u32 word) { return job.level == 1 && (word & 0xffe0'0000) == 0xd500'0000; }

void prepare(u64 index) {
    Chance chance(job.seed * 0x2545'f491'4f6c'dd1d ^ index * 0x9fb2'1c65'1e98'df25);
    const u64 how = chance.next();
    const bool user = (how & 1) != 0;
    const u32 word = choose_word(chance);
    job.word = word;
    job.level = user ? 0 : 1;
    for (u64& x : state.x) {
        x = choose_value(chance);
    }
    state.sp = how % 16 == 0 ? choose_value(chance) : kUserData + 0x2000 + (how >> 8 & 0xff0);
    const u64 place = 256 + (how >> 32 & 255);
    state.pc = (user ? kUserCode : reinterpret_cast<u64>(__words)) + 4 * place;
    state.pstate = (how & 0xf000'0000) | (user ? kEl0 : how % 32 < 4 ? kEl1t : kEl1h);
    write_code((user ? reinterpret_cast<u32*>(user_pages[0]) : reinterpret_cast<u32*>(__words)) + place, word);
    if (user && accesses_memory(word)) {
        hide(true);
    }
}

void leak(u64 what) {
    job.seen = what;
    job.leaked = 1;
    while (job.leaked != 0) {  // until it has been told
    }
}

void repair_tables() {
    (void)make_tables(&victim_tables);
    asm volatile("dsb ish\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::: "memory");
}

void look(u32 word) {
    const bool user = job.level == 0;
    u64 seen = 0;
    for (const u64 x : state.x) {
        seen = x >> 24 == kNeighbour >> 24 || (user && keeps_secret(x)) ? x : seen;
    }
    const bool untouched = !user || !accesses_memory(word) || hidden();
    if (user && accesses_memory(word)) {
        hide(false);
    }
    if (seen == 0 && untouched) {
        return;
    }
    if (user && make_tables(&victim_tables)) {  // an earlier word had given it to the user
        repair_tables();
    } else {
        leak(seen);
    }
}

}  // namespace

void write_code(void* at, u32 word) {
    *reinterpret_cast<volatile u32*>(writable(at)) = word;
    asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish\n\tisb" ::"r"(at) : "memory");
}

void run_words() {
    for (u64 n = 0; n < 1024; ++n) {
        reinterpret_cast<volatile u32*>(writable(__words))[n] = kBreak;
        reinterpret_cast<volatile u32*>(user_pages[0])[n] = kBreak;
        reinterpret_cast<volatile u32*>(user_pages[6])[n] = kBreak;
    }
    asm volatile("dsb ish\n\tic iallu\n\tdsb ish\n\tisb" ::: "memory");
    while (job.index < job.end) {
        const u64 space = job.index / kWordsInSpace;
        if (job.index % kWordsInSpace == 0 || job.progress == 0) {
            repair(space);
        }
        prepare(job.index);
        if (job.slow != 0) {
            job.asked = job.index + 1;
            while (job.go != job.asked) {
                job.progress = job.progress + 1;
            }
        }
        const u32 word = static_cast<u32>(job.word);
        void* const place = reinterpret_cast<void*>(
            state.pc >> 63 != 0 ? state.pc : reinterpret_cast<u64>(user_pages[0]) + (state.pc & 4095));
        run_state();
        job.progress = job.progress + 1;
        if (state.interrupted() || needs_repair(word)) {
            repair(space);
        }
        look(word);
        write_code(place, kBreak);
        if (job.index % kRepairTables == 0) {
            repair_tables();
        }
        job.index = job.index + 1;
    }
}

// The CPU interface: what waits is taken, and what is active ends.
static void repair_interface3() {
    u64 token = 0;
    for (unsigned n = 0; n < 40; ++n) {
        asm volatile("mrs %0, s3_0_c12_c12_0\n\tdsb sy" : "=r"(token)::"memory");  // ICC_IAR1_EL1
        if ((token & 0xff'ffff) >= 1020) {
            break;
        }
        asm volatile("msr s3_0_c12_c12_1, %0\n\tisb" ::"r"(token) : "memory");  // ICC_EOIR1_EL1
    }
    asm volatile("msr s3_0_c12_c12_4, xzr\n\tmsr s3_0_c4_c6_0, %0\n\tmsr s3_0_c12_c12_7, %1\n\tisb" ::"r"(u64{0xff}),
                 "r"(u64{1}));
}

static void repair_interface2() {
    write32(kGicc, 1);
    write32(kGicc + 4, 0xff);
    write32(kGicc + 8, 0);  // GICC_BPR
    for (unsigned n = 0; n < 40; ++n) {
        const u32 token = read32(kGicc + 0xc);
        if ((token & 0x3ff) >= 1020) {
            break;
        }
        write32(kGicc + 0x10, token);
    }
    write32(kGicc + 0xd0, 0);  // GICC_APR0: nothing is active
}

void repair(u64 space) {
    asm volatile("msr ttbr0_el1, %0\n\tmsr ttbr1_el1, %1\n\tisb" ::"r"(lower_tables(space)),
                 "r"(physical(victim_tables.high0))
                 : "memory");
    asm volatile("msr mair_el1, %0" ::"r"(u64{0x4ff}));
    asm volatile("msr cpacr_el1, %0" ::"r"(u64{3} << 20));
    asm volatile("msr vbar_el1, %0" ::"r"(state_vectors));
    asm volatile("msr tpidr_el1, %0" ::"r"(kSecret));
    asm volatile("msr cntv_ctl_el0, xzr\n\tmsr cntp_ctl_el0, xzr\n\tmsr mdscr_el1, xzr");
    asm volatile("msr s2_0_c0_c0_5, xzr\n\tmsr s2_0_c0_c1_5, xzr\n\tmsr s2_0_c0_c0_7, xzr\n\tmsr s2_0_c0_c1_7, xzr");
    if (machine.gic == 2) {
        repair_interface2();
    } else {
        repair_interface3();
    }
    write32(own_interrupts() + 0x280, ~2u);
    write32(own_interrupts() + 0x380, ~0u);
    write32(own_interrupts() + 0x180, ~2u);
    write32(own_interrupts() + 0x100, 2);
}

}  // namespace hostile
