// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a hostile kernel does on purpose, one attack at a time, by the victim and its helpers. Whatever comes of it may be an
// exception of its own, or the end of this guest, and nothing else; an attack that knows more says so by result().
#include "hostile.hpp"

extern "C" {
extern char __stack_top[];
void secondary_start();
}

namespace hostile {
namespace {

constexpr u64 kCpuOn = 0xc400'0003, kCpuOff = 0x8400'0002, kAffinityInfo = 0xc400'0004;
constexpr u32 kSvc = 0xd400'0001, kBrk = 0xd420'0000, kRet = 0xd65f'03c0, kEret = 0xd69f'03e0;
constexpr u32 kLoad = 0xf940'0020, kStore = 0xf900'0020, kJump = 0xd61f'0020;  // LDR X0, [X1]; STR X0, [X1]; BR X1
constexpr u32 kElr = 0xd518'4022, kSpsr = 0xd518'4003;                         // MSR ELR_EL1, X2; MSR SPSR_EL1, X3
constexpr u32 kLowerAbort = 0x24, kLowerFetch = 0x20;

void end_instructions() { asm volatile("dsb ish\n\tisb" ::: "memory"); }

// ---- helpers: processors 2 and 3

enum : u32 { kNothing, kTouch, kRewrite, kRace, kSpin };
volatile u32 role, quit;
volatile u64 rounds[8], started[8];

u64 start(u32 cpu, u64 entry) { return hvc(kCpuOn, cpu, entry, 0).x0; }
u64 entry_point() { return physical(reinterpret_cast<void*>(&secondary_start)); }
bool is_off(u32 cpu) { return hvc(kAffinityInfo, cpu, 0).x0 == 1; }

void with_helpers(u32 what, u32 last) {
    role = what;
    quit = 0;
    for (u32 cpu = 2; cpu <= last; ++cpu) {
        rounds[cpu] = 0;
        (void)start(cpu, entry_point());
    }
}
void without_helpers(u32 last) {
    quit = 1;
    for (u32 cpu = 2; cpu <= last; ++cpu) {
        while (!is_off(cpu)) {
            job.progress = job.progress + 1;
        }
    }
}

// ---- executing anything

template <u64 kCount>
void put_code(u64* page, const u32 (&words)[kCount]) {
    u32* at = reinterpret_cast<u32*>(page);
    for (const u32 word : words) {
        write_code(at++, word);
    }
}

const State& attempt(u64 pc, u64 pstate) {
    state.pc = pc;
    state.pstate = pstate;
    asm volatile("msr vbar_el1, %0\n\tisb" ::"r"(state_vectors));
    run_state();
    asm volatile("msr vbar_el1, %0\n\tisb" ::"r"(vectors));
    job.progress = job.progress + 1;
    return state;
}

u64* words_page() { return reinterpret_cast<u64*>(__words); }
void chance_registers(Chance& chance) {
    for (u64& x : state.x) {
        x = chance.next() % 4 == 0 ? chance.next() : kUserData + (chance.next() & 0x3ff8);
    }
    state.sp = kUserData + 0x2000;
}

void flush_all() { asm volatile("dsb ish\n\ttlbi vmalle1is\n\tdsb ish\n\tisb" ::: "memory"); }

// ---- the attacks

// Every word of the pages that its kernel shares with the host's, when it has no EL2; each value while an ERET is under way.
void shared_registers() {
    put_code(words_page(), {kElr, kSpsr, kStore, kEret});
    const u32 user[] = {kSvc, kBrk};
    put_code(user_pages[0], user);
    static constexpr u64 values[] = {~u64{0}, kHole,       kHole + 0x3f'0000,     0x3c5,        0x3c9, 0x1d,
                                     0x3ff,   ~u64{0x3ff}, 0xffff'ffff'0000'0000, kSharedOffset};
    Chance chance(1);
    u64 wrong = 0, stored = 0;
    for (u64 page = 0; page < 4; ++page) {
        for (u64 offset = 0; offset < 4096; offset += 8) {
            const bool register_of_mine = page == 1 && offset - kSharedOffset < 0x80;
            for (u64 n = 0; n < (register_of_mine ? 12 : 1); ++n) {
                state.x[0] = n < 10 ? values[n] : chance.next();
                state.x[1] = kShared + page * kSharedStep + offset;
                state.x[2] = kUserCode;
                state.x[3] = 0;
                state.sp = kUserData + 0x2000;
                (void)attempt(reinterpret_cast<u64>(__words), kEl1h);
                if (state.ec() == 0x25) {  // with EL2 there is nothing
                    continue;
                }
                ++stored;
                if (page != 1 || offset - kSharedOffset >= 0x18 || offset == kSharedOffset) {  // neither ELR nor SPSR
                    wrong = state.vector != 0x400 || state.ec() != 0x15 || (state.spsr & ~u64{0xf000'0000}) != 0
                                ? state.spsr | 1
                                : wrong;
                } else if (offset == kSharedOffset + 16 && (state.x[0] & 0x3ff) == 0) {
                    wrong = state.vector != 0x400 || (state.spsr & 0xf) != 0 ? state.spsr | 2 : wrong;
                }
            }
        }
    }
    result("ERET goes where ELR and SPSR say, whatever else is written", wrong == 0, wrong);
    print("shared ");
    print_decimal(stored);
    print("\n");
}

// Islands of stubs lie in holes of the guest's tables, near the text.
u64 near_text(u64 n) {  // n < 128
    return (reinterpret_cast<u64>(__words) & ~u64{0x1f'ffff}) + (n - 64) * 0x20'0000;
}

bool is_island(u64 at) {
    (void)attempt(at, kEl1h);
    return state.ec() != 0x21 || state.elr != at;
}

// Stubs are executed by their kernel, and nothing else.
bool only_executable(u64 island) {
    static constexpr u32 code[] = {kLoad, kBrk, kStore, kBrk};
    put_code(words_page(), code);
    for (u64 at = island; at < island + 0x4'0000; at += at < island + 0x2000 ? 4 : 0x104) {
        state.x[1] = at & ~u64{7};
        (void)attempt(reinterpret_cast<u64>(__words), kEl1h);
        const bool reads = state.ec() != 0x25;
        (void)attempt(reinterpret_cast<u64>(__words) + 8, kEl1h);
        const bool writes = state.ec() != 0x25;
        (void)attempt(at, kEl0);
        if (reads || writes || state.ec() != kLowerFetch) {
            return false;
        }
    }
    return true;
}

void stubs() {
    Chance chance(counter());
    u64 found[4] = {}, islands = 0;
    for (u64 n = 0; n < 128; ++n) {
        chance_registers(chance);
        if (n != 64 && is_island(near_text(n)) && islands < 4) {
            found[islands++] = near_text(n);
        }
    }
    bool ok = true;
    for (u64 n = 0; n < islands; ++n) {
        ok = ok && only_executable(found[n]);
    }
    result("stubs are not memory, and not for users", ok, found[0]);
    print("islands ");
    print_decimal(islands);
    print("\n");
    // A stub goes back to where it was made for, which is our own text: whatever comes of that then.
    for (u64 n = 0; islands != 0 && n < 6000; ++n) {
        const u64 any = chance.next(), at = found[any % islands] + (any >> 8 & (n % 4 == 0 ? 0x3'fffc : 0x1ffc));
        chance_registers(chance);
        state.sp = any % 2 == 0 ? chance.next() : state.sp;
        (void)attempt(n % 16 == 0 ? at | 2 : at, any % 8 == 0 ? kEl1t : kEl1h);
    }
}

// Descriptors of all kinds in all levels of the lower half, while other processors use what they map.
u64 any_descriptor(Chance& chance, u64 old) {
    const u64 any = chance.next();
    const u64 addresses[] = {kRam + (any & 0x1ff'f000),
                             kUart,
                             kGicd,
                             0x1'0000'0000,
                             kRam + 0x200'0000,
                             any & 0xffff'ffff'f000,
                             physical(victim_tables.low0) + (any >> 20 & 7) * 4096,
                             physical(__words)};
    const u64 bits = 0x701 | (any >> 40 & 0x8c0) | (any >> 60 & 2) | (any & u64{0x7} << 53) | (any & u64{0x1f} << 59);
    switch (any >> 56 & 7) {
        case 0: return any;
        case 1: return old ^ (u64{1} << (any >> 48 & 63));
        case 2: return 0;
        default: return addresses[any >> 50 & 7] | bits;
    }
}

void corrupted_tables() {
    with_helpers(kTouch, 3);
    Chance chance(3);
    u64* const tables[] = {victim_tables.user1, victim_tables.user2, victim_tables.user3, victim_tables.low0};
    for (u64 n = 0; n < 2500; ++n) {
        const u64 any = chance.next();
        u64* const table = tables[any & 3];
        u64& entry = table == victim_tables.low0    ? table[1]
                     : table == victim_tables.user3 ? table[any >> 8 & 15]
                                                    : table[0];
        const u64 old = entry;
        const u64 address = kUser + (any >> 16 & 0xfff8);
        *const_cast<volatile u64*>(&entry) = any_descriptor(chance, old);
        switch (any >> 4 & 7) {
            case 0: flush_all(); break;
            case 1: asm volatile("dsb ish\n\ttlbi vae1is, %0\n\tdsb ish\n\tisb" ::"r"(address >> 12) : "memory"); break;
            case 2:
                asm volatile("dsb ish\n\ttlbi vale1is, %0\n\tdsb ish\n\tisb" ::"r"(chance.next()) : "memory");
                break;
            case 3: asm volatile("dsb ish\n\ttlbi aside1is, xzr\n\tdsb ish\n\tisb" ::: "memory"); break;
            default: break;
        }
        const u32 code[] = {(any >> 12 & 1) != 0 ? kLoad : (any >> 13 & 1) != 0 ? kJump : kStore, kBrk};
        put_code(words_page(), code);
        state.x[1] = address;
        (void)attempt(reinterpret_cast<u64>(__words), kEl1h);
        (void)attempt(kUserCode + (any & 0xffc), kEl0);
        *const_cast<volatile u64*>(&entry) = old;
        if (n % 64 == 0) {
            (void)make_tables(&victim_tables);
            flush_all();
        }
    }
    (void)make_tables(&victim_tables);
    flush_all();
    without_helpers(3);
    print("touched ");
    print_decimal(rounds[2] + rounds[3]);
    print("\n");
}

// A table that is its own parent at every level; tables in devices and outside the memory.
void recursive_tables() {
    Chance chance(4);
    u64 wrong = 0, value = 0;
    victim_tables.high0[300] = physical(victim_tables.high0) | 0x703;
    flush_all();
    const u64 self = 300;
    const u64 itself = ~u64{0} << 48 | self << 39 | self << 30 | self << 21 | self << 12;
    Fault f = faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(itself + 8 * self) : "memory"); });
    result("a table seen through itself", f.count == 0 && value == victim_tables.high0[300], value);
    for (u64 n = 0; n < 512; ++n) {
        const u64 at = ~u64{0} << 48 | self << 39 | self << 30 | self << 21 | n << 12 | (chance.next() & 0xff8);
        (void)faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(at) : "memory"); });
        state.x[1] = at;
        (void)attempt(at, kEl1h);
        job.progress = job.progress + 1;
    }
    victim_tables.high0[300] = 0;
    flush_all();
    const u64 bad[] = {kUart,
                       kGicd,
                       kGicr + 0x1'0000,
                       0x1'0000'0000,
                       kRam + 0x200'0000,
                       0xffff'ffff'f000,
                       0,
                       kRam - 4096,
                       physical(__words),
                       physical(victim_tables.low0) | 0xffe,
                       u64{0xffff} << 48 | physical(victim_tables.low0)};
    for (const u64 table : bad) {
        asm volatile("msr ttbr0_el1, %0\n\tisb\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::"r"(table) : "memory");
        for (u64 n = 0; n < 64; ++n) {
            const u64 at = n == 0 ? kUserData : chance.next() >> 16;
            (void)faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(at) : "memory"); });
            (void)attempt(at, n % 2 == 0 ? kEl0 : kEl1h);
        }
        asm volatile("msr ttbr0_el1, %0\n\tisb\n\ttlbi vmalle1\n\tdsb ish\n\tisb" ::"r"(physical(victim_tables.low0))
                     : "memory");
    }
    result("and its own tables work again", read32(kUart + 0xfe0) == 0x11 && wrong == 0, wrong);
}

// Blocks of 1 GiB over all that is free of the upper half: what the host's kernel and the shared registers have of it, too.
void huge_blocks() {
    alignas(4096) static u64 blocks[512], hole[512];
    for (u64 n = 0; n < 512; ++n) {
        blocks[n] = kRam | 0x701 | (n % 4 == 2 ? n << 30 : 0);
        hole[n] = (kRam + ((4 + n % 8) << 21)) | 0x701;
    }
    blocks[511] = physical(hole) | 3;
    for (u64 n = 257; n < 512; ++n) {
        victim_tables.high0[n] = physical(blocks) | 3;
    }
    flush_all();
    u64 wrong = 0, value = 0;
    static constexpr u64 places[] = {kHole,
                                     kHole + 0x1000,
                                     kHole + 0x20'0000,
                                     kHole + 0x3f'0000,
                                     kHole + 0x3f'2000,
                                     kHole + 0x40'0000,
                                     0 - u64{8},
                                     kHole - 8,
                                     kShared - 4096,
                                     kShared + 4 * kSharedStep,
                                     0xffff'ff80'00c0'0000,
                                     0xffff'8080'00d0'0008};
    for (const u64 place : places) {  // it is the memory that the tables say, wherever that is
        const u64 inside = place >= kShared ? (4 + (place >> 21 & 7)) << 21 | (place & 0x1f'ffff) : place & 0x3fff'ffff;
        volatile u64& ours = *reinterpret_cast<volatile u64*>(kRam + inside);
        if (inside >= 0x180'0000) {
            continue;
        }
        ours = place;
        Fault f = faults_of([&] { asm volatile("ldr %0, [%1]" : "=r"(value) : "r"(place) : "memory"); });
        wrong = f.count != 0 || value != place ? place : wrong;
        f = faults_of([&] { asm volatile("str %0, [%1]" ::"r"(~place), "r"(place) : "memory"); });
        wrong = f.count != 0 || ours != ~place ? place : wrong;
        job.progress = job.progress + 1;
    }
    result("memory where the host has its own", wrong == 0, wrong);
    Chance chance(5);
    const u32 code[] = {kLoad, kBrk, kStore, kBrk};
    put_code(words_page(), code);
    for (u64 n = 0; n < 3000; ++n) {
        const u64 any = chance.next();
        const u64 base = any % 4 == 0   ? kHole + (any >> 8 & 0x7f'fff8)
                         : any % 4 == 1 ? kShared + (any >> 8 & 0x3'fff8)
                                        : ~u64{0} << 47 | (any >> 17 & ~u64{7});
        if ((base >> 39 & 0x1ff) == 256) {
            continue;
        }
        state.x[0] = any;
        state.x[1] = base;
        (void)attempt(reinterpret_cast<u64>(__words), kEl1h);
        if (base >= kShared || (base & 0x3fff'ffff) >= 0x80'0000) {  // not into ourselves
            (void)attempt(reinterpret_cast<u64>(__words) + 8, kEl1h);
        }
        (void)attempt(base & ~u64{3}, kEl1h);
        (void)attempt(base & ~u64{3}, kEl0);
    }
    (void)make_tables(&victim_tables);
    flush_all();
}

// Virtual EL0 and what is not its own.
void user_into_kernel() {
    u64 wrong = 0, tried = 0;
    const u32 code[] = {kLoad, kSvc, kStore, kSvc, kJump, kSvc};
    put_code(user_pages[0], code);
    user_pages[16][0] = 0x1234;
    // When its kernel has gone to it without the monitor, and the host's kernel then comes between: for its vector registers.
    const u64 kernels[] = {reinterpret_cast<u64>(__words), reinterpret_cast<u64>(&state)};
    static constexpr u32 late[] = {0x6f00'e400, kLoad, kSvc},
                         device[] = {0x3dc0'0020, kBrk};  // MOVI V0.2D, #0; LDR Q0, [X1]
    put_code(user_pages[0], late);
    put_code(words_page(), device);
    for (u64 n = 0; n < 6; ++n) {
        asm volatile("msr ttbr0_el1, %0\n\tisb" ::"r"(lower_tables(0x80 + n)));
        (void)attempt(kUserCode + 8, kEl0);
        state.x[1] = kUart + 0x24;
        (void)attempt(reinterpret_cast<u64>(__words), kEl1h);  // now others have them
        state.x[1] = kernels[n % 2];
        (void)attempt(kUserCode, kEl0);
        wrong = state.vector != 0x400 || state.ec() != kLowerAbort ? kernels[n % 2] | 4 : wrong;
    }
    put_code(user_pages[0], code);
    const u64 text = reinterpret_cast<u64>(__words);
    const u64 targets[] = {text,
                           reinterpret_cast<u64>(&state),
                           reinterpret_cast<u64>(&victim_tables),
                           physical(&state),
                           kRam,
                           kUart,
                           kGicd,
                           kGicr,
                           kUserHidden,
                           kShared,
                           kShared + kSharedOffset,
                           kShared + kSharedStep,
                           kShared + kSharedStep + kSharedOffset,
                           kHole,
                           kHole + 0x1000,
                           kHole + 0x1'0000,
                           kHole + 0x20'0000,
                           kHole + 0x3f'0000,
                           kHole + 0x3f'2000,
                           0 - u64{8},
                           kHigh + kUart,
                           0xffff'0000'0000'0000,
                           0xffff'8000'0000'0000,
                           0x0000'8000'0000'0000,
                           0x7fff'ffff'ffff'fff8};
    const auto check = [&](u64 target, bool jump) {
        for (u64 n = 0; n < 3; ++n) {
            for (u64 warm = 0; warm < 2; ++warm) {
                state.x[0] = 0x5678;
                state.x[1] = target;
                (void)attempt(kUserCode + 8 * n, kEl0);
                const bool refused = state.vector == 0x400 && (state.ec() == kLowerAbort || state.ec() == kLowerFetch);
                wrong = !refused || (n == 0 && state.x[0] != 0x5678) ? target | n : wrong;
                ++tried;
                // Its kernel, too, goes there: then it may be in the TLB.
                (void)faults_of([&] { (void)*reinterpret_cast<volatile u32*>(target & ~u64{3}); });
                if (jump) {
                    (void)attempt(target & ~u64{3}, kEl1h);
                }
            }
        }
    };
    for (const u64 target : targets) {
        check(target, true);
    }
    for (u64 n = 0; n < 128; ++n) {
        check(near_text(n) + 4 * n, false);
    }
    result("a user reaches nothing of its kernel's", wrong == 0, wrong);
    static constexpr u32 privileged[] = {0xd538'4020, 0xd518'4020, 0xd538'd080, 0xd518'1000, 0xd518'2000, 0xd503'4fdf,
                                         0xd503'42ff, kEret,       0xd400'0002, 0xd400'0003, 0xd508'871f, 0xd508'7500,
                                         0xd538'cc00, 0xd51b'4220, 0xd518'cba0, 0xd51b'e320, 0xd51c'd040, 0xd50c'7520};
    wrong = 0;
    for (const u32 word : privileged) {
        const u32 one[] = {word, kSvc};
        put_code(user_pages[0], one);
        state.x[0] = 0x3c5;
        (void)attempt(kUserCode, kEl0);
        wrong = state.vector != 0x400 || (state.ec() != 0 && state.ec() != 0x18) ? word : wrong;
    }
    result("and executes nothing of its kernel's", wrong == 0, wrong);
}

// Accesses to devices by instructions of which the processor says nothing, while another processor writes other ones there.
constexpr u32 kOdd[] = {0x2940'0821, 0x2900'0821, 0x28c1'0821, 0x2881'0821, 0xb840'4422, 0xb800'4422, 0x885f'7c22,
                        0x8802'7c23, 0x0c40'7820, 0x0c00'7820, 0x4c9f'2020, 0x3dc0'0020, 0x3d80'0020, 0xd50b'7421,
                        0xf980'0020, 0x88a2'7c23, 0xb822'0023, 0xb822'8023, 0x88df'fc22, 0x889f'fc22, kBrk,
                        0x0000'0000, kRet,        0xd503'201f, 0x1400'0000, 0x6d40'0821, 0x4d40'c020};
void without_syndrome() {
    with_helpers(kRewrite, 2);
    Chance chance(6);
    static constexpr u64 devices[] = {
        kUart + 0x24,     kUart + 0x1000, kGicd + 0x400,         kGicd + 0x6100, kGicr + 0x2'0000 + 0x1'0400,
        kGicr + 0x8'0000, 0x0a00'0000,    kRam + 0x200'0000 - 4, kRam - 4,       0x1'0000'0000};
    for (u64 n = 0; n < 4000; ++n) {
        const u64 any = chance.next();
        const u64 device = devices[any % 10];
        if (any >> 8 & 1) {
            write_code(words_page() + 8, kOdd[(any >> 16) % (sizeof kOdd / sizeof kOdd[0])]);
            write_code(reinterpret_cast<u32*>(words_page() + 8) + 1, kBrk);
        }
        state.x[1] = device + (any >> 32 & 7);
        state.x[2] = any & 0xff;
        state.x[3] = any >> 8 & 0xff;
        state.x[30] = reinterpret_cast<u64>(__words);
        state.sp = kUserData;
        if (n % 4 == 0) {
            end_instructions();
        }
        (void)attempt(reinterpret_cast<u64>(words_page() + 8), kEl1h);
    }
    without_helpers(2);
    result("the UART keeps what was written", (write32(kUart + 0x24, 0x123), read32(kUart + 0x24)) == 0x123,
           read32(kUart + 0x24));
}

void fetch_from_devices() {
    u64 wrong = 0;
    Chance chance(7);
    for (u64 n = 0; n < 200; ++n) {
        static constexpr u64 targets[] = {kUart, kGicd, kGicr, 0x0901'0000, 0, kHigh + kUart, kHigh + kGicr};
        const u64 target = targets[n % 7] + (chance.next() & 0xffc);
        (void)attempt(target, kEl1h);
        wrong = state.ec() != 0x21 ? state.esr : wrong;
    }
    result("no instruction comes from a device", wrong == 0, wrong);
}

u64 low(u64 x) { return static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(x))); }

// Two processors start a third at once.
volatile u64 ready_to_race, answer, let_go;
void races_to_start() {
    result("bad MPIDR", low(start(0x100, entry_point())) == ~u64{1}, 0);
    result("one that is not there", low(start(4, entry_point())) == ~u64{1}, 0);
    result("oneself", low(start(1, entry_point())) == ~u64{3}, 0);
    result("an entry outside the memory", low(start(3, 0x1'0000'0000)) == ~u64{8}, 0);
    result("an entry in a device", low(start(3, kUart)) == ~u64{8}, 0);
    result("a crooked entry", low(start(3, entry_point() + 2)) == ~u64{8}, 0);
    ready_to_race = 0;
    let_go = 0;
    with_helpers(kRace, 2);
    u64 wrong = 0;
    for (u64 n = 1; n <= 60; ++n) {
        while (!is_off(3)) {
            job.progress = job.progress + 1;
        }
        answer = 1;
        ready_to_race = n;
        const u64 mine = low(start(3, entry_point()));
        while (answer == 1) {
        }
        wrong = (mine == 0) == (answer == 0) ? n : wrong;
        let_go = n;
        job.progress = job.progress + 1;
    }
    without_helpers(2);
    while (!is_off(3)) {
    }
    result("of two who start a third one succeeds", wrong == 0, wrong);
    (void)start(3, physical(user_pages[25]));  // nothing but zeroes, and no vectors
}

void firmware() {
    Chance chance(8);
    for (u64 n = 0; n < 4000; ++n) {
        const u64 any = chance.next();
        u64 id = any % 2 == 0 ? any >> 32 : (any >> 8 & 0xff00'0000) | (any >> 40 & 0x1f);
        id = any % 8 == 1 ? 0x8400'0000 | (any >> 40 & 0x4000'007f) : id;
        switch (id & ~u64{0x4000'0000} & 0xffff'ffff) {
            case 0x8400'0001:
            case 0x8400'0002:
            case 0x8400'0003:
            case 0x8400'0008:
            case 0x8400'0009:
            case 0x8400'0012: continue;
            default: break;
        }
        (void)(any % 16 < 8 ? hvc(id, chance.next(), chance.next() % 3, chance.next())
                            : smc(id, chance.next(), chance.next() % 3, chance.next()));
        job.progress = job.progress + 1;
    }
    result("the firmware still answers", hvc(0x8400'0000).x0 == 0x1'0001, 0);
}

void timers() {
    Chance chance(9);
    write32(own_interrupts() + 0x100, 1u << 27 | 1u << 30 | 2);
    const u64 before = interrupts[1].count;
    for (u64 n = 0; n < 1500; ++n) {
        const u64 any = chance.next();
        const u64 now = counter();
        const u64 values[] = {0,       1,           now,          now - 1,
                              now + 1, now + 1000,  u64{1} << 63, (u64{1} << 63) - 1,
                              ~u64{0}, ~u64{0} - 1, any,          now - (u64{1} << 63)};
        const u64 value = values[any % 12];
        switch (any >> 8 & 3) {
            case 0:
                asm volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"(value), "r"(any >> 16 & 7));
                break;
            case 1:
                asm volatile("msr cntp_cval_el0, %0\n\tmsr cntp_ctl_el0, %1\n\tisb" ::"r"(value), "r"(any >> 16 & 7));
                break;
            case 2:
                asm volatile("msr cntv_tval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"(value), "r"(u64{1}));
                break;
            default:
                asm volatile("msr cntp_tval_el0, %0\n\tmsr cntp_ctl_el0, %1\n\tisb" ::"r"(value), "r"(u64{1}));
                break;
        }
        if (any >> 24 & 1) {
            enable_interrupts(true);
            for (u64 k = any >> 32 & 63; k != 0; --k) {
                asm volatile("isb");
            }
            enable_interrupts(false);
        } else if (any >> 25 & 1) {  // masked, and something will wait
            asm volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb\n\tdsb sy\n\twfi" ::"r"(now + 200),
                         "r"(u64{1})
                         : "memory");
        }
        job.progress = job.progress + 1;
    }
    asm volatile("msr cntv_ctl_el0, xzr\n\tmsr cntp_ctl_el0, xzr\n\tisb");
    result("timers fire", interrupts[1].count != before, 0);
}

// Private interrupts of a processor, as they were when it began.
void restore_own(u64 frame, u32 enabled) {
    write32(frame + 0x180, ~0u);
    write32(frame + 0x280, ~0u);
    write32(frame + 0x380, ~0u);
    write32(frame + 0x80, machine.gic == 2 ? 0 : ~0u);
    write32(frame + 0xc04, 0);
    for (u32 n = 0; n < 32; n += 4) {
        write32(frame + 0x400 + n, 0xa0a0'a0a0);
    }
    write32(frame + 0x100, enabled);
}

// Every word of the interrupt controller, at every width, crooked too; then every register of the CPU interface.
void interrupt_controller() {
    Chance chance(10);
    static constexpr u64 frames[] = {
        kGicd, kGicc, kGicr, kGicr + 0x1'0000, kGicr + 0x2'0000, kGicr + 0x3'0000, kGicr + 0x6'0000, kGicr + 0x7'0000};
    static constexpr u32 code[] = {0x3940'0020, kBrk, 0x7940'0020, kBrk, 0xb940'0020, kBrk, 0xf940'0020, kBrk,
                                   0x3900'0020, kBrk, 0x7900'0020, kBrk, 0xb900'0020, kBrk, 0xf900'0020, kBrk};
    put_code(words_page(), code);
    for (const u64 frame : frames) {
        for (u64 at = 0; at < 0x1'0000;
             at += at < 0x1000 || (at >= 0x6000 && at < 0x6400) || at >= 0xff80 ? 4 : 0x400) {
            const u64 any = chance.next();
            state.x[0] = chance.next() % 2 == 0 ? ~u64{0} : chance.next();
            state.x[1] = frame + at + (any % 8 == 0 ? any >> 8 & 7 : 0);
            state.sp = kUserData;
            (void)attempt(reinterpret_cast<u64>(__words) + 8 * (any >> 16 & 7), kEl1h);
        }
    }
    // The interface itself: op1 0, CRn 12 and CRn 4 CRm 6. With EL2 it is the processor's, and QEMU 7.2 does not stand BPR.
    const bool own = machine.twain && machine.gic == 3 && state.vector != 0;
    for (u32 register_number = 0; own && register_number < 128 * 2; ++register_number) {
        const u32 crm = register_number >> 4 & 15, op2 = register_number >> 1 & 7;
        const bool binary_point = (crm == 8 && op2 == 3) || (crm == 12 && op2 == 3);
        const u32 word = 0xd518'0000 | 12 << 12 | crm << 8 | op2 << 5 | (register_number & 1) << 21;
        for (u64 n = 0; n < 3 && crm != 0; ++n) {
            const u32 one[] = {word, kBrk};
            put_code(words_page(), one);
            state.x[0] = binary_point ? 3 : n == 0 ? ~u64{0} : chance.next();
            (void)attempt(reinterpret_cast<u64>(__words), kEl1h);
        }
    }
    if (machine.gic == 3) {
        asm volatile("msr s3_0_c12_c12_4, %0\n\tisb" ::"r"(u64{2}));  // ICC_CTLR_EL1: deactivation by itself
        for (u64 n = 0; n < 64; ++n) {
            asm volatile("msr s3_0_c12_c11_1, %0" ::"r"(n));  // ICC_DIR_EL1
        }
        asm volatile("msr s3_0_c12_c8_4, xzr\n\tmsr s3_0_c12_c9_0, xzr\n\tisb");  // ICC_AP0R0_EL1, ICC_AP1R0_EL1
    }
    repair(0);
    asm volatile("msr vbar_el1, %0\n\tisb" ::"r"(vectors));
    write32(kGicd, 0);
    write32(kGicd + 0x184, ~0u);
    for (u32 cpu = 0; cpu < 4 && machine.gic == 3; ++cpu) {
        restore_own(kGicr + cpu * kRedistributor + kSgiFrame, cpu == 0 ? 1u << 27 : 2);
    }
    if (machine.gic == 2) {  // those of the others can be reached from there only
        restore_own(kGicd, 2);
        for (u32 n = 0; n < 16; n += 4) {
            write32(kGicd + 0xf10 + n, ~0u);  // GICD_CPENDSGIR
        }
    }
    gic_start();
    write32(own_interrupts() + 0x100, 1u << 3);
    interrupts[1].seen = 0;
    enable_interrupts(true);
    send_sgi(self(), 3);
    result("an interrupt still comes", wait_for(3), interrupts[1].seen);
    enable_interrupts(false);
}

// Virtual EL0 with everything masked, on three processors, for ever: processor 0 has to end it.
void masked_loop() {
    const u32 code[] = {0x1400'0000};
    put_code(user_pages[0], code);
    with_helpers(kSpin, 3);
    (void)attempt(kUserCode, kEl0 | 0x3c0);
}

struct Attack {
    const char* name;
    void (*run)();
};
constexpr Attack kAttacks[] = {
    {"shared registers", shared_registers},
    {"stubs", stubs},
    {"corrupted tables", corrupted_tables},
    {"recursive tables", recursive_tables},
    {"huge blocks", huge_blocks},
    {"user into kernel", user_into_kernel},
    {"without syndrome", without_syndrome},
    {"fetch from devices", fetch_from_devices},
    {"races to start", races_to_start},
    {"firmware", firmware},
    {"timers", timers},
    {"interrupt controller", interrupt_controller},
    {"masked loop", masked_loop},
};

}  // namespace

const char* attack_name(u64 number) {
    return number < sizeof kAttacks / sizeof kAttacks[0] ? kAttacks[number].name : nullptr;
}

void run_attack(u64 number) {
    asm volatile("msr ttbr0_el1, %0\n\tisb" ::"r"(lower_tables(1 + number)));
    kAttacks[number].run();
}

void help() {
    const u32 cpu = self();
    started[cpu] = started[cpu] + 1;
    Chance chance(cpu);
    u64 round = 0;
    switch (role) {
        case kTouch:
            while (quit == 0) {
                const u64 at = kUser + (chance.next() & 0xfff8);
                (void)faults_of([&] { (void)*reinterpret_cast<volatile u64*>(at); });
                rounds[cpu] = rounds[cpu] + 1;
            }
            break;
        case kRewrite:
            while (quit == 0) {
                write_code(words_page() + 8, kOdd[chance.below(sizeof kOdd / sizeof kOdd[0])]);
            }
            break;
        case kRace:
            while (cpu == 3 && let_go != ready_to_race) {
            }
            while (cpu == 2 && quit == 0) {
                if (ready_to_race != round) {
                    round = ready_to_race;
                    const u64 got = low(start(3, entry_point()));
                    answer = got == 1 ? 2 : got;
                }
            }
            break;
        case kSpin:
            for (;;) {
                asm volatile("msr daifset, #15");
            }
        default: break;
    }
}

}  // namespace hostile
