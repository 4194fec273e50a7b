// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// How a further thread of a process begins: with a stack and thread-local storage of its own.
//
//     ThreadStart start{run, this};                    // lives as long as the thread does
//     thread.start(thread_entry(), stack_top, reinterpret_cast<std::uint64_t>(&start));
//
// The C library's heap is locked: any thread may use it. A thread waits for the lock by giving up the processor
// to threads of its own priority only, so threads of different priorities on one core do not allocate at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace twain::rt {

inline constexpr std::size_t kTlsBytes = 256;  // checked by program.ld

struct alignas(16) ThreadStart {
    void (*run)(void*);  // must not return: that is a panic
    void* argument;
    alignas(16) std::byte tls[16 + kTlsBytes] = {};  // AAPCS64 TLS: two words, then the thread's variables
};

}  // namespace twain::rt

extern "C" void twain_rt_thread_entry();

namespace twain::rt {

// The address where such a thread starts, with x0 = address of its ThreadStart.
inline std::uint64_t thread_entry() { return reinterpret_cast<std::uint64_t>(&twain_rt_thread_entry); }

}  // namespace twain::rt
