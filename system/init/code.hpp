// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Making freshly written instructions visible to instruction fetch (Arm ARM B2.4.4): clean the data cache to the point
// of unification, then invalidate the instruction cache, line by line. Host tests put a
// header that does nothing in its place.
#pragma once

#include <cstdint>

namespace twain::init {

inline void make_code_visible(const void* code, std::uint64_t bytes) {
    std::uint64_t type = 0;
    asm("mrs %0, ctr_el0" : "=r"(type));
    const std::uint64_t data_line = std::uint64_t{4} << ((type >> 16) & 15);
    const std::uint64_t code_line = std::uint64_t{4} << (type & 15);
    const std::uint64_t begin = reinterpret_cast<std::uint64_t>(code);
    for (std::uint64_t at = begin & ~(data_line - 1); at < begin + bytes; at += data_line) {
        asm volatile("dc cvau, %0" ::"r"(at) : "memory");
    }
    asm volatile("dsb ish" ::: "memory");
    for (std::uint64_t at = begin & ~(code_line - 1); at < begin + bytes; at += code_line) {
        asm volatile("ic ivau, %0" ::"r"(at) : "memory");
    }
    asm volatile("dsb ish\n\tisb" ::: "memory");
}

}  // namespace twain::init
