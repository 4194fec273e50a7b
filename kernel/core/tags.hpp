// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Tags of address spaces in the TLB (VMIDs, ASIDs): there are fewer than spaces. When the numbers run out, a new
// generation begins: all tags become stale, all translations are dropped, and each space gets another number when it is
// next used, but for what user mode uses at that moment; that keeps its number.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

class Tags {
public:
    static constexpr u64 kMost = 256;

    // Numbers 1 to count - 1. `flush` drops all translations of all cores.
    constexpr Tags(u64 count, void (*flush)()) : count_(count), flush_(flush) {}

    // Makes a stale tag current, with the address that `table` has then; the base that it is. On any core, with interrupts off, with or without the structure
    // lock; so may forget() be called.
    u64 renew(Tag& tag, const u64& table);
    // The tag's table, or the tag itself, is about to go. Nobody else is given its number in this generation.
    void forget(Tag& tag);

private:
    bool kept(u64 number) const { return kept_[number / 64] >> number % 64 & 1; }
    void keep(u64 base);
    void begin_generation();

    const u64 count_;
    void (*const flush_)();
    u32 lock_ = 0;
    u64 next_ = 1;
    u64 kept_[kMost / 64] = {};  // numbers in use when the generation began
    Tag* owners_[kMost] = {};    // who was given the number last
};

}  // namespace twain::kernel
