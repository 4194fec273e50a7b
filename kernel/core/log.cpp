// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/log.hpp"

#include "kernel/core/spin_lock.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr u64 kBytes = 16 * 1024;
char ring[kBytes];
u64 written = 0;
u32 taken = 0;

u64 length(const char* text) {
    u64 bytes = 0;
    while (text[bytes]) ++bytes;
    return bytes;
}

}  // namespace

void log_seize() {
    for (u32 turn = 0; turn < kPatience && __atomic_load_n(&taken, __ATOMIC_ACQUIRE); ++turn) machine::relax();
    __atomic_store_n(&taken, 0u, __ATOMIC_RELEASE);
}

void log_text(const char* text, u64 bytes) {
    const SpinLock lock(taken);
    for (u64 i = 0; i < bytes; ++i) ring[written++ % kBytes] = text[i];
    machine::uart_write(text, bytes);
}

LogPart log_read(u64 position, char* to, u64 bytes) {
    const SpinLock lock(taken);
    if (position > written) position = written;
    if (written - position > kBytes) position = written - kBytes;
    u64 count = 0;
    for (; count < bytes && position < written; ++count) to[count] = ring[position++ % kBytes];
    return {position, count};
}

void LogArgument::print() const {
    if (text_) {
        log_text(text_, length(text_));
        return;
    }
    char digits[18];
    unsigned at = sizeof digits;
    u64 number = number_;
    do {
        digits[--at] = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number);
    if (number_ > 9) {
        digits[--at] = 'x';
        digits[--at] = '0';
    }
    log_text(digits + at, sizeof digits - at);
}

void log_format(const char* format, const LogArgument* arguments, unsigned count) {
    const char* from = format;
    unsigned used = 0;
    for (const char* at = format;; ++at) {
        const bool hole = at[0] == '{' && at[1] == '}' && used < count;
        if (!hole && *at) continue;
        log_text(from, static_cast<u64>(at - from));
        if (!*at) return;
        arguments[used++].print();
        from = at + 2;
        ++at;
    }
}

}  // namespace twain::kernel
