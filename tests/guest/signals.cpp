// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Signals: those that faults raise, with code and address; those that others send; what they must not disturb.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "check.hpp"

namespace check {
namespace {

volatile sig_atomic_t count = 0, depth = 0, deepest = 0;

void handle(int signal, void (*handler)(int), int flags = 0) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(signal, &action, nullptr);
}

volatile char* map(std::size_t pages, int protection) {
    return static_cast<volatile char*>(
        need_map(mmap(nullptr, pages * kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap"));
}

void faults() {
    volatile char* page = map(2, PROT_READ);
    munmap(const_cast<char*>(page + kPage), kPage);
    Raised r = signal_of([&] { page[5] = 1; });
    ok("write to a read-only page", r.signal == SIGSEGV && r.code == SEGV_ACCERR && r.address == page + 5,
       r.signal * 100 + r.code);
    r = signal_of([&] { (void)page[kPage + 9]; });
    ok("read of an unmapped page", r.signal == SIGSEGV && r.code == SEGV_MAPERR && r.address == page + kPage + 9,
       r.code);
    r = signal_of([&] { reinterpret_cast<void (*)()>(const_cast<char*>(page))(); });
    ok("execute a page of data", r.signal == SIGSEGV && r.code == SEGV_ACCERR && r.address == page, r.code);
    r = signal_of([] { *reinterpret_cast<volatile char*>(0xffff'8000'0000'0000) = 1; });
    ok("write to the kernel's half", r.signal == SIGSEGV, r.signal);
    r = signal_of([] { (void)*reinterpret_cast<volatile char*>(0x0100'0000'0000'0000); });
    ok("read of no address at all", r.signal == SIGSEGV || r.signal == SIGBUS, r.signal);
    r = signal_of([] { asm volatile(".inst 0x00000000"); });
    ok("undefined instruction", r.signal == SIGILL && r.code == ILL_ILLOPC, r.code);
    r = signal_of([] { asm volatile("mrs x0, sctlr_el1" ::: "x0"); });
    ok("a register of the kernel's", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("msr daifset, #2"); });
    ok("masking interrupts", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("hvc #0"); });
    ok("HVC", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("smc #0"); });
    ok("SMC", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("eret"); });
    ok("ERET", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("tlbi vmalle1"); });
    ok("TLBI", r.signal == SIGILL, r.signal);
    r = signal_of([] { asm volatile("brk #1"); });
    ok("breakpoint", r.signal == SIGTRAP && r.code == TRAP_BRKPT, r.code);
    const int fd = static_cast<int>(need(open("/tmp/short", O_RDWR | O_CREAT, 0600), "/tmp/short"));
    need(ftruncate(fd, 10), "ftruncate");
    auto* beyond =
        static_cast<volatile char*>(need_map(mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, fd, 0), "mmap"));
    r = signal_of([&] { (void)beyond[kPage]; });
    ok("beyond the end of a file", r.signal == SIGBUS && r.code == BUS_ADRERR, r.code);
    // The kernel's own accesses to what a process may not touch.
    int pipes[2];
    need(pipe(pipes), "pipe");
    ok("write(2) from an unmapped page", write(pipes[1], const_cast<char*>(page + kPage), 1) == -1 && errno == EFAULT,
       errno);
    ok("write(2) from the kernel's half",
       write(pipes[1], reinterpret_cast<void*>(0xffff'8000'0800'0000), 1) == -1 && errno == EFAULT, errno);
    need(write(pipes[1], "x", 1), "write");
    ok("read(2) to a read-only page", read(pipes[0], const_cast<char*>(page), 1) == -1 && errno == EFAULT, errno);
    ok("1000 faults, one after the other", [&] {
        int taken = 0;
        for (int i = 0; i < 1000; ++i) {
            taken += signal_of([&] { page[0] = 1; }).signal == SIGSEGV ? 1 : 0;
        }
        return taken;
    }() == 1000);
}

void sent() {
    handle(SIGUSR1, [](int) { count = count + 1; });
    count = 0;
    for (int i = 0; i < 2000; ++i) {
        kill(getpid(), SIGUSR1);
    }
    ok("2000 signals to oneself", count == 2000, count);
    handle(
        SIGUSR2,
        [](int) {
            depth = depth + 1;
            deepest = depth > deepest ? depth : deepest;
            if (depth < 10) {
                kill(getpid(), SIGUSR2);
            }
            depth = depth - 1;
        },
        SA_NODEFER);
    kill(getpid(), SIGUSR2);
    ok("signals within signals", deepest == 10 && depth == 0, deepest);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    count = 0;
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    const bool held = count == 0;
    sigprocmask(SIG_SETMASK, &old, nullptr);
    ok("blocked, then one", held && count == 1, count);
    int pipes[2];
    need(pipe(pipes), "pipe");
    const pid_t parent = getpid();
    pid_t sender = child([&] {
        usleep(20'000);
        kill(parent, SIGUSR1);
        return 0;
    });
    char byte = 0;
    ok("a signal interrupts read(2)", read(pipes[0], &byte, 1) == -1 && errno == EINTR, errno);
    reap(sender);
    handle(
        SIGUSR1, [](int) { count = count + 1; }, SA_RESTART);
    sender = child([&] {
        usleep(20'000);
        kill(parent, SIGUSR1);
        usleep(20'000);
        return write(pipes[1], "y", 1) == 1 ? 0 : 1;
    });
    ok("or has it restarted", read(pipes[0], &byte, 1) == 1 && byte == 'y', byte);
    reap(sender);
    for (const int end : {SIGKILL, SIGTERM, SIGABRT}) {
        const pid_t victim = child([] {
            for (;;) {
                pause();
            }
            return 0;
        });
        kill(victim, end);
        ok("a signal that ends", reap(victim) == -end);
    }
    ok("a fault that ends", reap(child([] {
                                signal(SIGSEGV, SIG_DFL);
                                volatile std::uintptr_t nowhere = 8;
                                *reinterpret_cast<volatile int*>(nowhere) = 1;
                                return 0;
                            })) == -SIGSEGV);
}

// Registers, general and vector, survive a signal that may come anywhere.
void undisturbed() {
    handle(
        SIGALRM,
        [](int) {
            count = count + 1;
            asm volatile("movi v0.16b, #255\n\tmovi v8.16b, #255\n\tmovi v31.16b, #255\n\tmsr nzcv, xzr" ::
                             : "v0", "v8", "v31", "cc");
        },
        SA_RESTART);
    count = 0;
    itimerval every{{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every, nullptr);
    std::uint64_t bad = 0;
    while (count < 50) {
        std::uint64_t x = 0, low = 0, high = 0;
        asm volatile(
            "movi v0.16b, #17\n\tmovi v31.16b, #34\n\tmov x9, #1000\n\tmov x10, #0\n\tmov x11, #0x1234\n"
            "1:\n\tadd x10, x10, #1\n\tsubs x9, x9, #1\n\tb.ne 1b\n\t"
            "add %0, x10, x11\n\tumov %1, v0.d[1]\n\tumov %2, v31.d[0]"
            : "=r"(x), "=r"(low), "=r"(high)::"x9", "x10", "x11", "v0", "v31", "cc");
        bad |= (x ^ (1000 + 0x1234)) | (low ^ 0x1111'1111'1111'1111) | (high ^ 0x2222'2222'2222'2222);
    }
    itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    ok("registers survive timer signals", bad == 0, static_cast<long long>(bad));
}

}  // namespace

void signals() {
    faults();
    sent();
    undisturbed();
}

}  // namespace check
