// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// First process of the guest: does all checks, or those named on the kernel's command line (`check=memory,code`), then what
// the line on its console says: `run COMMAND`, any number of times, and `off`.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "check.hpp"
#include "tools/bench/linux/first.hpp"

namespace check {

thread_local sigjmp_buf on_fault;
thread_local Raised raised;
thread_local volatile bool catching;

namespace {

int failures = 0;

void take_fault(int signal, siginfo_t* info, void*) {
    if (!catching) {
        std::printf("FAIL unexpected signal %d\n", signal);
        std::fflush(stdout);
        _exit(128 + signal);
    }
    raised = {signal, info->si_code, info->si_addr};
    siglongjmp(on_fault, 1);
}

void catch_faults() {
    static char stack[65536];
    stack_t alternative{};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, nullptr);
    struct sigaction action {};
    action.sa_sigaction = take_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) {
        sigaction(signal, &action, nullptr);
    }
}

struct Topic {
    const char* name;
    void (*run)();
};
constexpr std::array kTopics{
    Topic{"signals", signals}, Topic{"processes", processes},      Topic{"threads", threads},
    Topic{"memory", memory},   Topic{"cow", copy_on_write},        Topic{"huge", huge_pages},
    Topic{"code", code},       Topic{"ptrace", tracing_processes}, Topic{"step", single_steps},
    Topic{"clocks", clocks},   Topic{"modules", kernel_modules},   Topic{"ftrace", kernel_tracing},
    Topic{"log", kernel_log},
};

bool wanted(const char* name) {
    static char line[4096];
    if (line[0] == 0) {
        if (FILE* file = std::fopen("/proc/cmdline", "r"); file != nullptr) {
            if (std::fgets(line, sizeof line, file) == nullptr) {
                line[0] = ' ';
            }
            std::fclose(file);
        }
    }
    const char* list = std::strstr(line, "check=");
    if (list == nullptr) {
        return true;
    }
    const char* end = list + std::strcspn(list, " \n");
    const char* found = std::strstr(list, name);
    return found != nullptr && found < end;
}

void mount_more() {
    (void)mkdir("/dev/shm", 0777);
    (void)mount("shm", "/dev/shm", "tmpfs", 0, nullptr);
    (void)mount("tmp", "/tmp", "tmpfs", 0, nullptr);
    (void)mount("trace", "/sys/kernel/tracing", "tracefs", 0, nullptr);
}

void obey() {
    for (char line[1024]; std::fgets(line, sizeof line, stdin) != nullptr && std::strcmp(line, "off\n") != 0;) {
        if (std::strncmp(line, "run ", 4) != 0) {
            continue;
        }
        line[std::strcspn(line, "\n")] = 0;
        const int status = std::system(line + 4);
        std::printf("\nran %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
        std::fflush(stdout);
    }
}

}  // namespace

void ok(const char* name, bool good, long long got) {
    failures += good ? 0 : 1;
    if (good) {
        std::printf("ok %s\n", name);
    } else {
        std::printf("FAIL %s: %lld\n", name, got);
    }
    std::fflush(stdout);
}

long need(long value, const char* name) {
    if (value < 0) {
        std::printf("FAIL %s: %s\n", name, std::strerror(errno));
        std::fflush(stdout);
        _exit(1);
    }
    return value;
}

void* need_map(void* at, const char* name) {
    need(at == reinterpret_cast<void*>(-1) ? -1 : 0, name);
    return at;
}

pid_t fork_checked() { return static_cast<pid_t>(need(fork(), "fork")); }

void leave(int status) { _exit(status); }

int reap(pid_t pid) {
    int status = 0;
    need(waitpid(pid, &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool write_text(const char* path, const char* text, bool append) {
    // Not by stdio, which looks for the end of what it appends to: tracefs has none.
    const int fd = open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0600);
    const auto bytes = static_cast<ssize_t>(std::strlen(text));
    const bool good = fd >= 0 && write(fd, text, static_cast<std::size_t>(bytes)) == bytes;
    close(fd);
    return good;
}

bool contains(const char* path, const char* text) {
    FILE* file = std::fopen(path, "r");
    bool found = false;
    for (char line[1024]; file != nullptr && !found && std::fgets(line, sizeof line, file) != nullptr;) {
        found = std::strstr(line, text) != nullptr;
    }
    if (file != nullptr) {
        std::fclose(file);
    }
    return found;
}

long number_in(const char* path, const char* key) {
    FILE* file = std::fopen(path, "r");
    long number = -1;
    for (char line[1024]; file != nullptr && std::fgets(line, sizeof line, file) != nullptr;) {
        if (const char* at = std::strstr(line, key); at != nullptr) {
            const long found = std::strtol(at + std::strlen(key), nullptr, 10);
            number = number < found ? found : number;
        }
    }
    if (file != nullptr) {
        std::fclose(file);
    }
    return number;
}

}  // namespace check

int main() {
    using namespace check;
    first::mount_all();
    mount_more();
    first::silence_echo();
    catch_faults();
    std::printf("\nCHECK BEGIN\n");
    std::fflush(stdout);
    for (const Topic& topic : kTopics) {
        if (!wanted(topic.name)) {
            continue;
        }
        std::printf("-- %s\n", topic.name);
        std::fflush(stdout);
        // A process each: one that ends too early is a failed check, not the end of all.
        const int status = reap(child([&] {
            failures = 0;
            topic.run();
            return failures != 0 ? 1 : 0;
        }));
        failures += status != 0 ? 1 : 0;
        if (status != 0) {
            std::printf("FAIL topic %s: %d\n", topic.name, status);
        }
    }
    std::printf("CHECK %s\n", failures == 0 ? "PASS" : "FAIL");
    std::fflush(stdout);
    obey();
    reboot(RB_POWER_OFF);
}
