// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel log: a ring of text that the supervisor reads, and, until the UART's driver starts, the UART.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

void log_text(const char* text, u64 bytes);

// From now on nobody is waited for: this core may be the one that was writing when it panicked.
void log_seize();

// Copies up to `bytes` from `position` (a count of characters since the start) on; skips what is no longer there.
struct LogPart {
    u64 next;
    u64 bytes;
};
LogPart log_read(u64 position, char* to, u64 bytes);

// Formats into the log: {} in `format` stands for the next argument, numbers in hexadecimal, with 0x above 9.
class LogArgument {
public:
    LogArgument(const char* text) : text_(text) {}
    LogArgument(std::integral auto number) : number_(static_cast<u64>(number)) {}
    void print() const;

private:
    const char* text_ = nullptr;
    u64 number_ = 0;
};
void log_format(const char* format, const LogArgument* arguments, unsigned count);

template <typename... Arguments>
void log(const char* format, Arguments... arguments) {
    const LogArgument list[] = {LogArgument(arguments)..., LogArgument("")};
    log_format(format, list, sizeof...(arguments));
}

}  // namespace twain::kernel
