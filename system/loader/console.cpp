// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/console.hpp"

namespace twain::loader {
namespace {

constexpr std::uint64_t kData = 0x00, kFlags = 0x18;
constexpr std::uint32_t kTransmitFull = 1 << 5;
constexpr unsigned kPatience = 1'000'000;  // reads of the flags for one character: a dead UART stops nobody

}  // namespace

void Console::put(char c) const {
    if (base_ == 0) {
        return;
    }
    if (c == '\n') {
        put('\r');
    }
    for (unsigned i = 0; i < kPatience; ++i) {
        if ((*reinterpret_cast<const volatile std::uint32_t*>(base_ + kFlags) & kTransmitFull) == 0) {
            break;
        }
    }
    *reinterpret_cast<volatile std::uint32_t*>(base_ + kData) = static_cast<unsigned char>(c);
}

const Console& Console::text(std::string_view text) const {
    for (const char c : text) {
        put(c);
    }
    return *this;
}

const Console& Console::number(std::uint64_t value) const {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count != 0) {
        put(digits[--count]);
    }
    return *this;
}

const Console& Console::choice(std::uint64_t bits) const {
    for (std::uint64_t n = 0; bits != 0; ++n, bits >>= 1) {
        if ((bits & 1) != 0) {
            number(n).text(bits > 1 ? " or " : "");
        }
    }
    return *this;
}

const Console& Console::hex(std::uint64_t value) const {
    text("0x");
    bool begun = false;
    for (int shift = 60; shift >= 0; shift -= 4) {
        const auto digit = value >> shift & 0xf;
        begun = begun || digit != 0 || shift == 0;
        if (begun) {
            put("0123456789abcdef"[digit]);
        }
    }
    return *this;
}

const Console& Console::mega(std::uint64_t bytes) const {
    constexpr std::uint64_t kMega = 1 << 20;
    return number(bytes / kMega).text(" MB");
}

}  // namespace twain::loader
