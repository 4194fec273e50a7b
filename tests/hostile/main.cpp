// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Processor 0: takes commands, lets the victim work and says how far it has got. A victim that gets nowhere is interrupted;
// if that does not help, the guest is reset.
//
//     patience TICKS                   of how long nothing may happen, in half milliseconds (then: of how long again)
//     words SEED FIRST COUNT [slow]    executes random instruction words: words.cpp
//     attack N                         attacks.cpp
//     attacks                          how many there are
//
// Answers: "at N" (words up to N have been executed), "word N W L" (slow: about to execute it), "stuck N W L" (and a reset),
// "off N W L" (the victim has switched itself off), "done N", "survived NAME", "stuck NAME", "FAIL ...".
#include "hostile.hpp"

extern "C" {
void hostile_main(const void* tree);
void secondary_start();
void secondary_main();
}

namespace hostile {

Job job;

void print_decimal(u64 value) {
    char text[21] = {};
    unsigned at = 20;
    do {
        text[--at] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    print(text + at);
}

namespace {

constexpr u64 kCpuOn = 0xc400'0003, kAffinityInfo = 0xc400'0004, kReset = 0x8400'0009;
constexpr u32 kVictim = 1;
constexpr u64 kTicksPerSecond = 2000;
constexpr u32 kReport = 256, kHeartbeat = 20, kLongest = 60'000;  // words, ticks, ticks of an attack

u64 tick, patience = 8;

// The victim may have done anything to the UART.
void say(const char* what) {
    write32(kUart + 0x30, 0x301);
    write32(kUart + 0x38, 0);
    print(what);
}

void sleep_a_tick() {
    Interrupts& mine = interrupts[0];
    mine.seen = 0;
    write32(own_interrupts() + 0x100, 1u << 27);
    asm volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"(counter() + tick), "r"(u64{1}));
    for (;;) {
        enable_interrupts(false);
        if ((mine.seen & u64{1} << 27) != 0) {
            break;
        }
        asm volatile("dsb sy\n\twfi" ::: "memory");
        enable_interrupts(true);
        asm volatile("isb");
    }
    enable_interrupts(true);
}

// One line, without its end.
void read_line(char* line, u32 bytes) {
    u32 n = 0;
    write32(kUart + 0x30, 0x301);
    write32(kUart + 0x2c, 0x70);
    for (;;) {
        while ((read32(kUart + 0x18) & 0x10) != 0) {
            sleep_a_tick();
        }
        const char c = static_cast<char>(read32(kUart));
        if (c == '\n' || c == '\r') {
            line[n] = 0;
            if (n != 0) {
                return;
            }
        } else if (n + 1 < bytes) {
            line[n++] = c;
        }
    }
}

struct Words {
    const char* at;
    bool take(const char* word) {
        skip();
        const char* p = at;
        for (; *word != 0; ++word, ++p) {
            if (*p != *word) {
                return false;
            }
        }
        if (*p != 0 && *p != ' ') {
            return false;
        }
        at = p;
        return true;
    }
    u64 number() {
        skip();
        u64 value = 0;
        for (; *at >= '0' && *at <= '9'; ++at) {
            value = value * 10 + static_cast<u64>(*at - '0');
        }
        return value;
    }
    void skip() {
        while (*at == ' ') {
            ++at;
        }
    }
};

void tell_word(const char* what) {
    say(what);
    print_decimal(job.index);
    print(" ");
    print_hex(job.word);
    print(job.level == 0 ? " EL0\n" : " EL1\n");
}

[[noreturn]] void reset() {
    (void)hvc(kReset);
    for (;;) {
    }
}

bool victim_is_off() { return hvc(kAffinityInfo, kVictim, 0).x0 == 1; }

// What it executes now is given up.
[[noreturn]] void stuck(u64 attack) {
    if (job.kind == kWords) {
        tell_word("stuck ");
    } else {
        say("stuck ");
        print(attack_name(attack));
        print("\n");
    }
    reset();
}

void start_victim() { (void)hvc(kCpuOn, kVictim, physical(reinterpret_cast<void*>(&secondary_start)), 0); }

// Until the job is done.
void watch(u64 attack) {
    u64 last = ~u64{0}, told = job.index;
    u64 waited = 0, silent = 0;
    job.done = 0;
    start_victim();
    while (job.done == 0) {
        sleep_a_tick();
        if (job.slow != 0 && job.asked != job.go) {
            tell_word("word ");
            job.go = job.asked;
        }
        if (job.leaked != 0) {
            tell_word("FAIL a word has seen or changed what it must not: ");
            say("seen ");
            print_hex(job.seen);
            const u64 came_of_it[] = {state.vector, state.esr, state.far, state.elr};
            for (const u64 each : came_of_it) {
                print(" ");
                print_hex(each);
            }
            print("\n");
            job.leaked = 0;
        }
        const u64 now = job.progress;
        if (now != last) {
            last = now;
            waited = 0;
        } else if (job.done == 0 && victim_is_off()) {
            if (job.kind == kAttack) {
                break;
            }
            tell_word("off ");
            job.index = job.index + 1;
            waited = 0;
            start_victim();
        } else if (++waited == patience) {
            send_sgi(kVictim, 1);
        } else if (waited == 2 * patience) {
            stuck(attack);
        }
        if (job.kind == kAttack && ++silent >= kLongest) {  // it speaks itself meanwhile, so we do not
            stuck(attack);
        }
        if (job.kind == kWords && (job.index - told >= kReport || ++silent == kHeartbeat)) {
            told = job.index;
            silent = 0;
            say("at ");
            print_decimal(told);
            print("\n");
        }
    }
    while (!victim_is_off()) {
        sleep_a_tick();
    }
}

void execute(Words command) {
    job = {};
    if (command.take("words")) {
        job.seed = command.number();
        job.index = command.number();
        job.end = job.index + command.number();
        job.slow = command.take("slow") ? 1 : 0;
        job.kind = kWords;
        watch(0);
        say("done ");
        print_decimal(job.index);
        print("\n");
    } else if (command.take("patience")) {
        patience = command.number();
    } else if (command.take("attacks")) {
        u64 n = 0;
        while (attack_name(n) != nullptr) {
            ++n;
        }
        say("attacks ");
        print_decimal(n);
        print("\n");
    } else if (command.take("attack")) {
        const u64 number = command.number();
        if (attack_name(number) == nullptr) {
            return;
        }
        job.kind = kAttack;
        job.index = number;
        watch(number);
        say("survived ");
        print(attack_name(number));
        print("\n");
    }
}

}  // namespace
}  // namespace hostile

using namespace hostile;

void secondary_main() {
    gic_start_processor();
    write32(own_interrupts() + 0x100, 2);
    if (self() != kVictim) {
        help();
    } else if (job.kind == kWords) {
        run_words();
        job.done = 1;
    } else {
        run_attack(job.index);
        job.done = 1;
    }
    (void)hvc(0x8400'0002);  // CPU_OFF
}

void hostile_main(const void* tree) {
    read_device_tree(tree);
    gic_start();
    gic_start_processor();
    write32(own_interrupts() + 0x100, 1u << 27);
    enable_interrupts(true);
    u64 frequency = 0;
    asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
    tick = frequency / kTicksPerSecond;
    say("hostile READY\n");
    static char line[80];
    for (;;) {
        read_line(line, sizeof line);
        execute({line});
    }
}
