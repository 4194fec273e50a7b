// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the compiler expects to find even in freestanding code.
#include <cstddef>

extern "C" {

void* memset(void* to, int value, size_t bytes) {
    auto* at = static_cast<unsigned char*>(to);
    const unsigned char byte = static_cast<unsigned char>(value);
    const unsigned long word = byte * 0x0101'0101'0101'0101ul;
    for (; bytes >= 8 && (reinterpret_cast<unsigned long>(at) & 7) == 0; at += 8, bytes -= 8) {
        *reinterpret_cast<unsigned long*>(at) = word;
        asm volatile("" ::: "memory");  // not a call of itself
    }
    for (size_t i = 0; i < bytes; ++i) {
        at[i] = byte;
        asm volatile("" ::: "memory");
    }
    return to;
}

void* memcpy(void* __restrict to, const void* __restrict from, size_t bytes) {
    auto* target = static_cast<unsigned char*>(to);
    auto* source = static_cast<const unsigned char*>(from);
    for (size_t i = 0; i < bytes; ++i) {
        target[i] = source[i];
        asm volatile("" ::: "memory");
    }
    return to;
}

}  // extern "C"
