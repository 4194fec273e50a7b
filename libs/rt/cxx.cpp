// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The C++ runtime: what the compiler and libstdc++'s headers call. There are no exceptions; what would throw is
// a programming error or an exhausted heap, and ends the program.
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>

#include "rt/panic.hpp"

namespace {

void* allocate(std::size_t bytes) {
    void* memory = std::malloc(bytes != 0 ? bytes : 1);
    if (memory == nullptr) {
        twain::rt::panic("out of heap");
    }
    return memory;
}

void* allocate(std::size_t bytes, std::align_val_t align) {
    void* memory = std::aligned_alloc(static_cast<std::size_t>(align), bytes);
    if (memory == nullptr) {
        twain::rt::panic("out of heap");
    }
    return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void* operator new(std::size_t bytes, std::align_val_t align) { return allocate(bytes, align); }
void* operator new[](std::size_t bytes, std::align_val_t align) { return allocate(bytes, align); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace std {

void __throw_bad_alloc() { twain::rt::panic("out of heap"); }
void __throw_bad_array_new_length() { twain::rt::panic("bad array length"); }
void __throw_length_error(const char* what) { twain::rt::panic("length error: ", what); }
void __throw_logic_error(const char* what) { twain::rt::panic("logic error: ", what); }
void __throw_invalid_argument(const char* what) { twain::rt::panic("invalid argument: ", what); }
void __throw_out_of_range(const char* what) { twain::rt::panic("out of range: ", what); }
void __throw_out_of_range_fmt(const char* what, ...) { twain::rt::panic("out of range: ", what); }
void __throw_bad_function_call() { twain::rt::panic("empty std::function"); }

}  // namespace std

extern "C" {

// A program never ends of itself, so nothing is ever destroyed.
void* __dso_handle = nullptr;
int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }
[[noreturn]] void __cxa_pure_virtual() { twain::rt::panic("pure virtual call"); }

// One thread runs before the others: initialization of a static variable needs a flag, not a lock.
int __cxa_guard_acquire(unsigned char* guard) { return *guard == 0 ? 1 : 0; }
void __cxa_guard_release(unsigned char* guard) { *guard = 1; }
void __cxa_guard_abort(unsigned char*) {}

}  // extern "C"
