// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "rt/start.hpp"

#include <cstdint>
#include <cstring>

#include "kernel/api/abi.hpp"
#include "rt/panic.hpp"
#include "rt/thread.hpp"

int main();

extern "C" {
using Constructor = void (*)();
extern const Constructor __init_array_start[];
extern const Constructor __init_array_end[];
extern const std::byte __tls_image[];
extern const std::byte __tls_image_bytes[];  // an absolute symbol: its address is the number

[[noreturn]] void twain_rt_start(std::uint64_t start);
[[noreturn]] void twain_rt_thread_start(twain::rt::ThreadStart* start);
}

namespace twain::rt {
namespace {

bool root_task = false;
ThreadStart first_thread{};

// AAPCS64: TPIDR_EL0 points at two reserved words, the thread's variables follow (aligned to 16 at most).
void take_tls(ThreadStart& thread) {
    std::memcpy(thread.tls + 16, __tls_image, reinterpret_cast<std::size_t>(__tls_image_bytes));
    asm volatile("msr tpidr_el0, %0" ::"r"(thread.tls) : "memory");
}

}  // namespace

bool is_root_task() { return root_task; }

}  // namespace twain::rt

void twain_rt_start(std::uint64_t start) {
    using namespace twain;
    rt::root_task = start != 0 && *reinterpret_cast<const std::uint64_t*>(start) == abi::kBootMagic;
    rt::take_tls(rt::first_thread);
    for (const Constructor* next = __init_array_start; next != __init_array_end; ++next) {
        (*next)();
    }
    rt::panic(main() == 0 ? "main returned" : "main failed");
}

void twain_rt_thread_start(twain::rt::ThreadStart* start) {
    twain::rt::take_tls(*start);
    start->run(start->argument);
    twain::rt::panic("a thread returned");
}
