// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the guest's kernel does to its own text: modules, function tracing, kprobes. And what it has to complain about.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "check.hpp"

namespace check {
namespace {

constexpr const char* kTracing = "/sys/kernel/tracing/";

bool trace(const char* file, const char* text, bool append = false) {
    return write_text((std::string(kTracing) + file).c_str(), text, append);
}
bool traced(const char* file, const char* text) { return contains((std::string(kTracing) + file).c_str(), text); }

bool load(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool good = fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0;
    close(fd);
    return good;
}

// Through a loop device: a block device whose driver is a module.
bool loop_works() {
    const int file = open("/tmp/disk", O_RDWR | O_CREAT | O_TRUNC, 0600), device = open("/dev/loop0", O_RDWR);
    if (file < 0 || device < 0 || ftruncate(file, 64 * 512) != 0 || pwrite(file, "on the disk", 11, 512) != 11) {
        return false;
    }
    char text[512] = {};
    const bool good = ioctl(device, LOOP_SET_FD, file) == 0 && pread(device, text, 512, 512) == 512 &&
                      std::strcmp(text, "on the disk") == 0 && ioctl(device, LOOP_CLR_FD, 0) == 0;
    close(device);
    close(file);
    return good;
}

void some_work() {
    for (int i = 0; i < 20; ++i) {
        struct stat s {};
        (void)stat("/proc/self/status", &s);
        close(open("/proc/self/status", O_RDONLY));
        (void)reap(child([] { return 0; }));
    }
}

}  // namespace

void kernel_modules() {
    for (int round = 0; round < 3; ++round) {
        ok("load a module", load("/lib/loop.ko"), errno);
        ok("it is there", contains("/proc/modules", "loop "));
        ok("not twice", !load("/lib/loop.ko") && errno == EEXIST, errno);
        ok("it works", loop_works(), errno);
        long unloaded = -1;
        for (int i = 0; i < 100 && unloaded != 0; ++i) {  // the device may still be closing
            unloaded = syscall(SYS_delete_module, "loop", O_NONBLOCK);
            usleep(10'000);
        }
        ok("unload it", unloaded == 0 && !contains("/proc/modules", "loop "), errno);
    }
    ok("load what depends on nothing", load("/lib/dummy.ko") && contains("/proc/net/dev", "dummy0"), errno);
}

void kernel_tracing() {
    ok("there is function tracing",
       traced("available_tracers", " function ") || traced("available_tracers", "function "));
    for (int round = 0; round < 2; ++round) {
        ok("trace one function", trace("set_ftrace_filter", "vfs_open") && trace("current_tracer", "function"), errno);
        some_work();
        ok("it was called", traced("trace", ": vfs_open <-"));
        ok("and off", trace("current_tracer", "nop") && !traced("trace", "vfs_open"));
    }
    ok("trace all functions of one part", trace("set_ftrace_filter", "vfs_*") && trace("current_tracer", "function"),
       errno);
    some_work();
    ok("they were called", traced("trace", ": vfs_statx <-") && traced("trace", ": vfs_open <-"));
    ok("all functions", trace("set_ftrace_filter", "") && trace("current_tracer", "function"), errno);
    some_work();
    ok("tracing off", trace("current_tracer", "nop"));
    some_work();
    ok("a call graph", trace("set_graph_function", "vfs_open") && trace("current_tracer", "function_graph"), errno);
    some_work();
    ok("holds calls", traced("trace", "do_dentry_open()"));
    ok("graph off", trace("current_tracer", "nop"));
    ok("a kprobe", trace("kprobe_events", "p:twain/opened vfs_open") && trace("events/twain/opened/enable", "1"),
       errno);
    some_work();
    ok("is hit", traced("trace", "opened: (vfs_open+0x0"));
    ok("a kretprobe",
       trace("kprobe_events", "r:twain/stated vfs_statx $retval", true) && trace("events/twain/stated/enable", "1"),
       errno);
    some_work();
    ok("is hit as well", traced("trace", "stated: ("));
    ok("probes off", trace("events/twain/enable", "0") && trace("kprobe_events", ""), errno);
    ok("trace points", trace("events/sched/sched_switch/enable", "1") && trace("trace", "") &&
                           (some_work(), traced("trace", "sched_switch:")) &&
                           trace("events/sched/sched_switch/enable", "0"));
}

void kernel_log() {
    static char text[1 << 20];
    const int bytes = klogctl(3, text, sizeof text - 1);
    text[bytes < 0 ? 0 : bytes] = 0;
    int bad = 0;
    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        const std::string_view line = rest.substr(0, end);
        for (const char* sign : {"WARNING:", "BUG:", "Oops", "Unable to handle", "Call trace:", "soft lockup",
                                 "rcu: INFO", "corruption", "undefined instruction"}) {
            if (line.find(sign) != std::string_view::npos) {
                ++bad;
                std::printf("kernel: %.*s\n", static_cast<int>(line.size()), line.data());
            }
        }
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    ok("the kernel has nothing to complain about", bytes > 0 && bad == 0, bad);
}

}  // namespace check
