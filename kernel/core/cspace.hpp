// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Capability space: two levels, no guards. The first level is in the object, leaves of 128 slots come from the
// pool when a slot in them is first filled.
#pragma once

#include "kernel/core/slot.hpp"

namespace twain::kernel {

class CSpace : public Object {
public:
    static constexpr Type kType = Type::cspace;
    static constexpr u32 kLeafSlots = kPage / sizeof(Slot);
    static constexpr std::size_t kLeavesOffset = sizeof(Object);  // for assembly
    static constexpr u32 kLeaves = abi::cspace::kSlots / kLeafSlots;

    // Lock-free: a missing slot reads as empty.
    Capability load(u64 index) const {
        const Slot* slot = find(index);
        return slot ? slot->load() : Capability{};
    }
    Slot* find(u64 index) const {
        if (index >= abi::cspace::kSlots) return nullptr;
        Leaf* leaf = __atomic_load_n(&leaves_[index / kLeafSlots], __ATOMIC_ACQUIRE);
        return leaf ? &leaf->slots[index % kLeafSlots] : nullptr;
    }
    // The slot for something new; makes its leaf. Structure lock.
    Result<Slot*> make(u64 index, unsigned argument);

    // For tearing down: a slot in use, or nullptr if there is none. Goes on where it was, as nothing is filled meanwhile;
    // if something may be, rewind() first. False: not known yet, ask again. Structure lock.
    bool first_used(Slot*& used);
    void rewind() { cursor_ = 0; }
    void free_leaves();

private:
    struct Leaf {
        Slot slots[kLeafSlots];
    };
    Leaf* leaves_[kLeaves];
    u32 cursor_;  // all slots below it are empty
};

}  // namespace twain::kernel
