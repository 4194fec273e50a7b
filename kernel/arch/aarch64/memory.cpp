// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the compiler expects to find even in freestanding code.
#include <cstddef>

extern "C" {

void* memset(void* to, int value, size_t bytes) {
    auto* at = static_cast<unsigned char*>(to);
    for (size_t i = 0; i < bytes; ++i) {
        at[i] = static_cast<unsigned char>(value);
        asm volatile("" ::: "memory");  // not a call of itself
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
