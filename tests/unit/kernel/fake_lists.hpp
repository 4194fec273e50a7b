// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#pragma once

#include "kernel/core/virq.hpp"

namespace twain::kernel::fake {

// List registers, and the guest's side of them.
struct Lists {
    unsigned number = 4;
    u64 registers[VirqPlan::kMaxLists] = {};
    u64 ended = 0;  // with EOI maintenance
    mutable unsigned accesses = 0;
    unsigned count() const { return number; }
    u64 sender(u32 word) const { return word >> abi::kVirqSourceShift & 7; }
    u64 read(unsigned n) const {
        ++accesses;
        return registers[n];
    }
    void write(unsigned n, u64 value) {
        ++accesses;
        registers[n] = value;
        ended &= ~(u64{1} << n);
    }
    u64 empty() const {
        u64 free = ended;
        for (unsigned i = 0; i < number; ++i) {
            if (!(registers[i] & VirqPlan::kStates) && !(registers[i] & VirqPlan::kEoi)) free |= u64{1} << i;
        }
        return free;
    }
    int find(u32 intid) const {
        for (unsigned i = 0; i < number; ++i) {
            if ((registers[i] & VirqPlan::kStates) && (registers[i] & 0xffff) == intid) return static_cast<int>(i);
        }
        return -1;
    }
    // The guest takes the most urgent pending one: which register, or -1.
    int take() {
        int best = -1;
        for (unsigned i = 0; i < number; ++i) {
            if ((registers[i] & VirqPlan::kStates) != VirqPlan::kPending) continue;
            if (best < 0 || (registers[i] >> 48 & 0xff) < (registers[static_cast<unsigned>(best)] >> 48 & 0xff)) {
                best = static_cast<int>(i);
            }
        }
        if (best >= 0) registers[best] = (registers[best] & ~VirqPlan::kStates) | VirqPlan::kActive;
        return best;
    }
    void end(int n) {
        registers[n] &= ~VirqPlan::kActive;
        if (!(registers[n] & VirqPlan::kPending) && (registers[n] & VirqPlan::kEoi)) ended |= u64{1} << n;
    }
};

}  // namespace twain::kernel::fake
