// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Tags of address spaces in the TLB (VMIDs, ASIDs): there are fewer than spaces. A tag is of a generation. When the
// numbers run out, a new generation begins: all translations are dropped, and each space gets another number when it is
// next used, but for what user mode uses at that moment; that keeps its number.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

class Tags {
public:
    // Numbers 1 to count - 1. `flush` drops all translations of all cores.
    constexpr Tags(u64 count, void (*flush)()) : count_(count), flush_(flush) {}

    // Makes the tag one of the current generation. On any core, with interrupts off, with or without the structure lock.
    void renew(Tag& tag, u64 table);

private:
    bool in_use(u64 base) const;  // by a core when the generation began
    bool taken(u64 number) const;
    void begin_generation();

    const u64 count_;
    void (*const flush_)();
    u32 lock_ = 0;
    u64 next_ = 1;
    u64 generation_ = 1;
    u64 in_use_[2 * abi::kMaxCores] = {};
};

}  // namespace twain::kernel
