// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What picolibc asks of the system below it: memory for its heap, locks, an end.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "rt/panic.hpp"
#include "sys/svc.hpp"

namespace {

std::byte* heap_next = nullptr;

// Threads of one process are few and hold the lock for a list walk: no queue.
std::atomic<std::uint64_t> lock_owner{0};  // thread pointer, 0: free
unsigned lock_depth = 0;

std::uint64_t thread_pointer() {
    std::uint64_t value = 0;
    asm("mrs %0, tpidr_el0" : "=r"(value));
    return value;
}

}  // namespace

extern "C" {

extern std::byte __heap_start[];
extern std::byte __heap_end[];

// The heap is an arena of the size that the program was linked with; there is no more.
void* sbrk(std::ptrdiff_t bytes) {
    if (heap_next == nullptr) {
        heap_next = __heap_start;
    }
    if (bytes > __heap_end - heap_next || bytes < __heap_start - heap_next) {
        errno = ENOMEM;
        return reinterpret_cast<void*>(-1);
    }
    std::byte* before = heap_next;
    heap_next += bytes;
    return before;
}

[[noreturn]] void _exit(int) { twain::rt::panic("exit"); }
[[noreturn]] void abort() { twain::rt::panic("abort"); }

// picolibc has one lock; its type is ours to choose.
struct __lock {};
struct __lock __lock___libc_recursive_mutex;

void __retarget_lock_acquire_recursive(struct __lock*) {
    const std::uint64_t self = thread_pointer();
    if (lock_owner.load(std::memory_order_relaxed) != self) {
        std::uint64_t free = 0;
        while (!lock_owner.compare_exchange_weak(free, self, std::memory_order_acquire)) {
            free = 0;
            twain::sys::svc<twain::abi::Sys::yield>(0, 0);
        }
    }
    ++lock_depth;
}

void __retarget_lock_release_recursive(struct __lock*) {
    if (--lock_depth == 0) {
        lock_owner.store(0, std::memory_order_release);
    }
}

// Compiled into libraries that were built with stack protection.
[[noreturn]] void __stack_chk_fail() { twain::rt::panic("stack smashed"); }
std::uintptr_t __stack_chk_guard = 0x00000aff0d0a5a7eU;

}  // extern "C"
