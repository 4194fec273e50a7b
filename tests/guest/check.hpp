// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A Linux program that checks from inside what a process and its kernel may rely on. It says a line for each check, which
// holds no address and no time: natively, with EL2 and without, the text is the same.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace check {

inline constexpr std::size_t kPage = 4096;

// One check: `ok NAME`, or `FAIL NAME: GOT` and counted.
void ok(const char* name, bool good, long long got = 0);
// What a check needs and cannot have ends the program: `FAIL NAME: errno text`.
long need(long value, const char* name);
void* need_map(void* at, const char* name);

// A child that runs body and exits with what it returns; reap() gives that, or -signal.
template <typename Body>
pid_t child(Body body);
pid_t fork_checked();
[[noreturn]] void leave(int status);
int reap(pid_t pid);

template <typename Body>
pid_t child(Body body) {
    const pid_t pid = fork_checked();
    if (pid == 0) {
        leave(body());
    }
    return pid;
}

// The signal that action raises, with its code and address; 0: none.
struct Raised {
    int signal = 0;
    int code = 0;
    const volatile void* address = nullptr;
};
extern thread_local sigjmp_buf on_fault;
extern thread_local Raised raised;
extern thread_local volatile bool catching;
template <typename Action>
Raised signal_of(Action action) {
    raised = {};
    catching = true;
    if (sigsetjmp(on_fault, 1) == 0) {
        action();
    }
    catching = false;
    return raised;
}

// The same numbers every time.
class Numbers {
public:
    explicit Numbers(std::uint32_t seed) : state_(seed) {}
    std::uint32_t below(std::uint32_t limit) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return state_ % limit;
    }

private:
    std::uint32_t state_;
};

// Small files of /proc, /sys and the like.
bool write_text(const char* path, const char* text, bool append = false);
bool contains(const char* path, const char* text);
long number_in(const char* path, const char* key);  // what stands behind the key, or -1

// ---- the checks, a file each
void signals();
void processes();
void threads();
void memory();
void copy_on_write();
void huge_pages();
void code();
void tracing_processes();
void single_steps();
void clocks();
void kernel_modules();
void kernel_tracing();
void kernel_log();

}  // namespace check
