// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a first process does first: /proc, /sys, /dev and a place for files, and a console that does not repeat what is typed.
#pragma once

#include <sys/mount.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

namespace first {

inline void mount_all() {
    for (const char* directory : {"/proc", "/sys", "/dev", "/tmp"}) {
        (void)mkdir(directory, 0755);
    }
    (void)mount("proc", "/proc", "proc", 0, nullptr);
    (void)mount("sys", "/sys", "sysfs", 0, nullptr);
    (void)mount("dev", "/dev", "devtmpfs", 0, nullptr);
}

inline void silence_echo() {
    termios settings{};
    if (tcgetattr(STDIN_FILENO, &settings) == 0) {
        settings.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    }
}

}  // namespace first
