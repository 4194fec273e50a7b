// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The hostile guest. Processor 0 takes commands from the serial line, starts the others and watches over processor 1, the
// *victim*, which executes what may end in anything; processors 2 and 3 help it. Processor 0 has page tables of its own.
#pragma once

#include "probe.hpp"

namespace hostile {

using namespace probe;

// ---- addresses (tables.cpp)
inline constexpr u64 kHigh = 0xffff'8000'0000'0000;  // a physical address of the upper half
inline constexpr u64 kUser = 0x80'0000'0000;         // pages of virtual EL0:
inline constexpr u64 kUserCode = kUser, kUserData = kUser + 0x1000, kUserDataPages = 4, kUserConstant = kUser + 0x5000;
inline constexpr u64 kUserMixed = kUser + 0x6000;     // it may write and execute this one,
inline constexpr u64 kUserHidden = kUser + 0x10'000;  // and not this one: its kernel's
inline constexpr u64 kShared = 0xffff'ffff'c000'0000, kSharedStep = 0x1'0000, kSharedOffset = 0x3c0;  // without EL2
inline constexpr u64 kHole = 0xffff'ffff'ff80'0000;  // the host kernel's, without EL2

struct Tables {
    alignas(4096) u64 low0[512];  // TTBR0_EL1
    u64 high0[512];               // TTBR1_EL1
    u64 low1[512], user1[512], user2[512], user3[512], high1[512], high2[512], high3[512];
};
extern "C" Tables own_tables, victim_tables;
extern "C" bool make_tables(Tables* tables);  // true: they were not as they should be
inline u64 physical(const void* at) { return reinterpret_cast<u64>(at) - kHigh; }
// All memory can be written here, too; nothing of it is the lower half's.
inline u64* writable(const void* at) { return reinterpret_cast<u64*>(kHigh + kRam + physical(at)); }
// What TTBR0_EL1 holds on the victim: in an address space in which its kernel has not yet used what its user may not, the
// host's kernel goes between the two by itself.
inline u64 lower_tables(u64 space) { return physical(victim_tables.low0) | (space & 0xff) << 48; }

extern u64 user_pages[32][512];  // what lies at kUser, by page

// ---- executing anything on processor 1
struct State {
    u64 x[31], sp, pc, pstate;
    u64 esr, far, elr, spsr, vector;  // what came of it
    u64 host;
    u32 ec() const { return static_cast<u32>(esr >> 26 & 0x3f); }
    bool interrupted() const { return (vector & 0x180) == 0x80; }
};
extern "C" State state;
extern "C" void run_state();  // needs VBAR_EL1 = state_vectors
extern "C" char state_vectors[], vectors[], __words[];
inline constexpr u64 kEl0 = 0, kEl1t = 4, kEl1h = 5;

void repair(u64 space);               // registers of this processor as run_state and its caller want them
void write_code(void* at, u32 word);  // by the identity map, where it can be written

// ---- who does what
struct Job {
    volatile u32 kind;  // 0: none
    volatile u64 seed, index, end;
    volatile u64 word, level;  // that is being executed
    volatile u32 slow;         // wait for `go` before each
    volatile u64 asked, go;
    volatile u32 done;
    volatile u64 progress;
    volatile u64 leaked, seen;  // 1: the word has shown what it must not, namely this; 0: changed what it must not
};
extern Job job;
enum : u32 { kIdle, kWords, kAttack };

void run_words();
void run_attack(u64 number);
const char* attack_name(u64 number);  // null: there are no more
void help();                          // processors 2 and 3

void print_decimal(u64 value);

// ---- chance (SplitMix64)
struct Chance {
    u64 s;
    explicit constexpr Chance(u64 seed) : s(seed) {}
    constexpr u64 next() {
        u64 z = s += 0x9e37'79b9'7f4a'7c15;
        z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
        z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
        return z ^ z >> 31;
    }
    constexpr u64 below(u64 n) { return next() % n; }
};

}  // namespace hostile
