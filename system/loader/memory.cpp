// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What libfdt and the compiler expect of a C library, one byte at a time: with the MMU off an unaligned access is
// a fault, so the C library's own fast versions are of no use here.
#include <cstddef>
#include <cstdint>

namespace std {

// Code that cannot be reached, which only an optimizing compiler sees.
[[noreturn]] void __throw_out_of_range_fmt(const char*, ...);
void __throw_out_of_range_fmt(const char*, ...) {
    asm volatile("udf #0");
    for (;;) {
    }
}

}  // namespace std

extern "C" {

void* memcpy(void* to, const void* from, std::size_t bytes);
void* memmove(void* to, const void* from, std::size_t bytes);
void* memset(void* to, int value, std::size_t bytes);
int memcmp(const void* a, const void* b, std::size_t bytes);
void* memchr(const void* in, int value, std::size_t bytes);
std::size_t strlen(const char* text);
std::size_t strnlen(const char* text, std::size_t limit);
char* strrchr(const char* text, int value);
int strcmp(const char* a, const char* b);
[[noreturn]] void __stack_chk_fail();
extern std::uintptr_t __stack_chk_guard;

std::uintptr_t __stack_chk_guard = 0x00000aff0d0a5a7eU;

void __stack_chk_fail() {
    asm volatile("udf #0");
    for (;;) {
    }
}

void* memmove(void* to, const void* from, std::size_t bytes) {
    auto* out = static_cast<unsigned char*>(to);
    const auto* in = static_cast<const unsigned char*>(from);
    if (out < in) {
        for (std::size_t i = 0; i < bytes; ++i) {
            out[i] = in[i];
        }
    } else {
        for (std::size_t i = bytes; i != 0; --i) {
            out[i - 1] = in[i - 1];
        }
    }
    return to;
}

void* memcpy(void* to, const void* from, std::size_t bytes) { return memmove(to, from, bytes); }

void* memset(void* to, int value, std::size_t bytes) {
    auto* out = static_cast<unsigned char*>(to);
    for (std::size_t i = 0; i < bytes; ++i) {
        out[i] = static_cast<unsigned char>(value);
    }
    return to;
}

int memcmp(const void* a, const void* b, std::size_t bytes) {
    const auto* left = static_cast<const unsigned char*>(a);
    const auto* right = static_cast<const unsigned char*>(b);
    for (std::size_t i = 0; i < bytes; ++i) {
        if (left[i] != right[i]) {
            return left[i] - right[i];
        }
    }
    return 0;
}

void* memchr(const void* in, int value, std::size_t bytes) {
    const auto* data = static_cast<const unsigned char*>(in);
    for (std::size_t i = 0; i < bytes; ++i) {
        if (data[i] == static_cast<unsigned char>(value)) {
            return const_cast<unsigned char*>(data + i);
        }
    }
    return nullptr;
}

std::size_t strnlen(const char* text, std::size_t limit) {
    std::size_t length = 0;
    while (length < limit && text[length] != '\0') {
        ++length;
    }
    return length;
}

std::size_t strlen(const char* text) { return strnlen(text, SIZE_MAX); }

char* strrchr(const char* text, int value) {
    const char* found = nullptr;
    do {
        if (*text == static_cast<char>(value)) {
            found = text;
        }
    } while (*text++ != '\0');
    return const_cast<char*>(found);
}

int strcmp(const char* a, const char* b) {
    while (*a != '\0' && *a == *b) {
        ++a;
        ++b;
    }
    return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
}

}  // extern "C"
