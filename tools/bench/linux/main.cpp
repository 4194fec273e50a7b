// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// First process of the Linux guest that `tools/twain bench guest` measures: does what it is told, a line each
//
//     NAME COUNT        does NAME's operation COUNT times; answers `NAME COUNT TICKS`
//     off               powers the machine off
//
// TICKS are of CNTVCT_EL0, between the first and the last operation; what an operation needs is prepared before and
// removed after. At start it says `bench READY TICKS IDLE`: the counter when the first process began, and for how many
// nanoseconds the processor had been idle until then.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "first.hpp"

namespace {

using Ticks = std::uint64_t;

constexpr const char* kFile = "/tmp/file";
constexpr const char* kBig = "/tmp/big";
constexpr std::size_t kBigBytes = 4u << 20, kPage = 4096;

Ticks now() {
    Ticks t = 0;
    asm volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(t)::"memory");
    return t;
}

[[noreturn]] void fail(const char* what) {
    std::printf("bench FAIL %s: %s\n", what, std::strerror(errno));
    std::fflush(stdout);
    reboot(RB_POWER_OFF);
    _exit(1);
}

template <typename T>
T need(T value, const char* what) {
    if (value < 0) {
        fail(what);
    }
    return value;
}

template <typename Operation>
Ticks repeat(unsigned count, Operation operation) {
    const Ticks begin = now();
    for (unsigned i = 0; i < count; ++i) {
        operation();
    }
    return now() - begin;
}

// A child that never comes back from `body`.
template <typename Body>
pid_t child(Body body) {
    const pid_t pid = need(fork(), "fork");
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

void reap(pid_t pid) {
    int status = 0;
    need(waitpid(pid, &status, 0), "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail("a child");
    }
}

void end(pid_t pid) {
    need(kill(pid, SIGKILL), "kill");
    need(waitpid(pid, nullptr, 0), "waitpid");
}

void pass(int from, int to) {
    char byte = 0;
    if (read(from, &byte, 1) != 1 || write(to, &byte, 1) != 1) {
        _exit(1);
    }
}

// A byte to a partner and back.
Ticks round_trips(unsigned count, const int (&there)[2], const int (&back)[2]) {
    const pid_t partner = child([&] {
        for (;;) {
            pass(there[0], back[1]);
        }
    });
    const auto trip = [&] {
        char byte = 0;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
            fail("round trip");
        }
    };
    trip();
    const Ticks ticks = repeat(count, trip);
    end(partner);
    for (const int fd : {there[0], there[1], back[0], back[1]}) {
        close(fd);
    }
    return ticks;
}

Ticks run_program(unsigned count, std::initializer_list<const char*> words) {
    std::vector<char*> arguments;
    for (const char* word : words) {
        arguments.push_back(const_cast<char*>(word));
    }
    arguments.push_back(nullptr);
    return repeat(count, [&] {
        reap(child([&] {
            execv(arguments[0], arguments.data());
            _exit(127);
        }));
    });
}

// ---------------------------------------------------------------------------------------------- operations

Ticks null_call(unsigned count) {
    return repeat(count, [] { syscall(SYS_getppid); });
}

Ticks read_byte(unsigned count) {
    const int fd = need(open("/dev/zero", O_RDONLY), "/dev/zero");
    char byte = 0;
    const Ticks ticks = repeat(count, [&] { need(read(fd, &byte, 1), "read"); });
    close(fd);
    return ticks;
}

Ticks open_close(unsigned count) {
    return repeat(count, [] { close(need(open(kFile, O_RDONLY), kFile)); });
}

Ticks stat_file(unsigned count) {
    struct stat s {};
    return repeat(count, [&] { need(stat(kFile, &s), "stat"); });
}

Ticks pipe_trip(unsigned count) {
    int there[2], back[2];
    need(pipe(there), "pipe");
    need(pipe(back), "pipe");
    return round_trips(count, there, back);
}

Ticks unix_trip(unsigned count) {
    int pair[2];
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    return round_trips(count, {dup(pair[1]), dup(pair[0])}, {pair[0], pair[1]});
}

volatile sig_atomic_t signals = 0;

Ticks take_signal(unsigned count) {
    struct sigaction action {};
    action.sa_handler = [](int) { signals = signals + 1; };
    need(sigaction(SIGUSR1, &action, nullptr), "sigaction");
    const pid_t self = getpid();
    signals = 0;
    const Ticks ticks = repeat(count, [&] { kill(self, SIGUSR1); });
    if (static_cast<unsigned>(signals) != count) {
        fail("signals");
    }
    return ticks;
}

volatile char* pages(std::size_t count) {
    void* at = mmap(nullptr, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        fail("mmap");
    }
    return static_cast<volatile char*>(at);
}

Ticks touch_page(unsigned count) {
    constexpr unsigned kMost = 4096;
    Ticks ticks = 0;
    for (unsigned done = 0; done < count;) {
        const unsigned part = std::min(count - done, kMost);
        volatile char* at = pages(part);
        need(madvise(const_cast<char*>(at), part * kPage, MADV_NOHUGEPAGE), "madvise");
        ticks += repeat(part, [&, next = at]() mutable {
            *next = 1;
            next += kPage;
        });
        munmap(const_cast<char*>(at), part * kPage);
        done += part;
    }
    return ticks;
}

Ticks map_pages(unsigned count) {  // 16 pages: mapped, touched, unmapped
    constexpr unsigned kPages = 16;
    return repeat(count, [] {
        volatile char* at = pages(kPages);
        for (unsigned i = 0; i < kPages; ++i) {
            at[i * kPage] = 1;
        }
        need(munmap(const_cast<char*>(at), kPages * kPage), "munmap");
    });
}

Ticks fork_exit(unsigned count) {
    return repeat(count, [] { reap(child([] {})); });
}

Ticks fork_exec(unsigned count) { return run_program(count, {"/bin/nothing"}); }
Ticks shell(unsigned count) { return run_program(count, {"/bin/sh", "-c", "/bin/nothing; :"}); }

Ticks select_100(unsigned count) {
    std::array<int, 100> fds{};
    fd_set all;
    FD_ZERO(&all);
    for (int& fd : fds) {
        fd = need(open("/dev/null", O_RDONLY), "/dev/null");
        FD_SET(fd, &all);
    }
    const Ticks ticks = repeat(count, [&] {
        fd_set ready = all;
        timeval none{};
        need(select(fds.back() + 1, &ready, nullptr, nullptr, &none), "select");
    });
    for (const int fd : fds) {
        close(fd);
    }
    return ticks;
}

// A token round a ring of processes; one operation is one hop.
Ticks switch_context(unsigned count) {
    constexpr unsigned kRing = 8;
    std::array<std::array<int, 2>, kRing> pipes{};
    for (auto& p : pipes) {
        need(pipe(p.data()), "pipe");
    }
    std::array<pid_t, kRing> members{};
    for (unsigned i = 1; i < kRing; ++i) {
        members[i] = child([&] {
            for (;;) {
                pass(pipes[i - 1][0], pipes[i][1]);
            }
        });
    }
    const auto round = [&] {
        char byte = 0;
        if (write(pipes[0][1], &byte, 1) != 1 || read(pipes[kRing - 1][0], &byte, 1) != 1) {
            fail("ring");
        }
    };
    round();
    const Ticks ticks = repeat(count / kRing, round);
    for (unsigned i = 1; i < kRing; ++i) {
        end(members[i]);
    }
    for (const auto& p : pipes) {
        close(p[0]);
        close(p[1]);
    }
    return ticks;
}

Ticks sha256(unsigned count) { return run_program(count, {"/bin/busybox", "sha256sum", "-s", "-c", "/tmp/sum"}); }
Ticks compress(unsigned count) {
    return run_program(count, {"/bin/busybox", "sh", "-c", "busybox gzip -c /tmp/big >/dev/null"});
}

// Lines on the console, a hundred an operation, until the last character has left the UART.
Ticks console_lines(unsigned count) {
    constexpr unsigned kLines = 100;
    constexpr char kLine[] = "a line of sixty-four characters, as many as a kernel message has\n";
    return repeat(count, [&] {
        for (unsigned i = 0; i < kLines; ++i) {
            need(write(STDOUT_FILENO, kLine, sizeof kLine - 1), "write");
        }
        need(tcdrain(STDOUT_FILENO), "tcdrain");
    });
}

// What the operations work on; text that compresses like text: words from a generator.
Ticks make_files(unsigned) {
    FILE* file = std::fopen(kFile, "w");
    FILE* big = std::fopen(kBig, "w");
    if (file == nullptr || big == nullptr) {
        fail("/tmp");
    }
    std::fclose(file);
    std::uint32_t state = 1;
    for (std::size_t bytes = 0; bytes + 8 <= kBigBytes; bytes += 8) {
        state = state * 1664525 + 1013904223;
        char word[9];
        std::snprintf(word, sizeof word, "w%05u%c ", state >> 22, 'a' + static_cast<char>(state >> 16 & 15));
        std::fwrite(word, 1, 8, big);
    }
    std::fclose(big);
    reap(child([] {
        execl("/bin/busybox", "busybox", "sh", "-c", "busybox sha256sum /tmp/big >/tmp/sum", nullptr);
        _exit(127);
    }));
    return 0;
}

struct Operation {
    const char* name;
    Ticks (*run)(unsigned count);
};

constexpr std::array kOperations{
    Operation{"null", null_call},      Operation{"read", read_byte},        Operation{"open", open_close},
    Operation{"stat", stat_file},      Operation{"pipe", pipe_trip},        Operation{"unix", unix_trip},
    Operation{"signal", take_signal},  Operation{"page", touch_page},       Operation{"mmap", map_pages},
    Operation{"fork_exit", fork_exit}, Operation{"fork_exec", fork_exec},   Operation{"sh_c", shell},
    Operation{"select", select_100},   Operation{"switch", switch_context}, Operation{"sha256", sha256},
    Operation{"gzip", compress},       Operation{"lines", console_lines},   Operation{"files", make_files},
};

// ---------------------------------------------------------------------------------------------- the first process

unsigned long long idle_nanoseconds() {
    unsigned long long idle = 0;
    if (FILE* list = std::fopen("/proc/timer_list", "r"); list != nullptr) {
        for (char line[256]; std::fgets(line, sizeof line, list) != nullptr;) {
            std::sscanf(line, " .idle_sleeptime : %llu", &idle);
        }
        std::fclose(list);
    }
    return idle;
}

void obey(const char* line) {
    char name[32];
    unsigned count = 0;
    if (std::sscanf(line, "%31s %u", name, &count) != 2 || count == 0) {
        std::puts("bench FAIL: NAME COUNT");
        return;
    }
    const auto* found = std::find_if(kOperations.begin(), kOperations.end(),
                                     [&](const Operation& o) { return std::strcmp(o.name, name) == 0; });
    if (found == kOperations.end()) {
        std::printf("bench FAIL: no operation %s\n", name);
        return;
    }
    usleep(100'000);  // what the kernel has put off until later is done before
    const Ticks ticks = found->run(count);
    std::printf("%s %u %llu\n", name, count, static_cast<unsigned long long>(ticks));
}

}  // namespace

int main() {
    const Ticks begin = now();
    first::mount_all();
    const unsigned long long idle = idle_nanoseconds();
    first::silence_echo();
    std::printf("\nbench READY %llu %llu\n", static_cast<unsigned long long>(begin), idle);
    std::fflush(stdout);
    for (char line[80]; std::fgets(line, sizeof line, stdin) != nullptr;) {
        if (std::strcmp(line, "off\n") == 0) {
            break;
        }
        obey(line);
        std::fflush(stdout);
    }
    reboot(RB_POWER_OFF);
}
