// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/log.hpp"

#include "sys/handle.hpp"

namespace twain::init {

namespace {

void log_digits(std::uint64_t number, unsigned base) {
    char digits[20];
    std::size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    log_text({digits + at, sizeof digits - at});
}

}  // namespace

void log_text(std::string_view text) { sys::klog(sys::System{abi::kRootSystem}, text); }

void log_number(std::uint64_t number) { log_digits(number, 10); }

void log_hex(std::uint64_t number) {
    log_text("0x");
    log_digits(number, 16);
}

void log_failure(const Failure& failure) {
    log_text("init: ");
    log_text(failure.step);
    if (*failure.name != 0) {
        log_text(" ");
        log_text(failure.name);
    }
    log_text(": ");
    log_text(sys::error_name(failure.status.error()));
    log_text(" (argument ");
    log_number(failure.status.argument());
    log_text(")\n");
}

}  // namespace twain::init
