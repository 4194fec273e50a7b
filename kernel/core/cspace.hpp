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
    // A slot for something new. Its leaf may be new as well; then it becomes part of the space when the slot has been
    // filled, and goes back to the pool if it has not: who failed has changed nothing. Structure lock.
    class Vacancy {
    public:
        Vacancy() = default;
        ~Vacancy() {
            if (leaf_) settle();
        }
        Vacancy(const Vacancy&) = delete;
        Vacancy& operator=(const Vacancy&) = delete;

    private:
        friend class CSpace;
        void settle();
        CSpace* space_;
        u64 index_;
        void* leaf_ = nullptr;  // nullptr: it was there before
    };
    Result<Slot*> make(u64 index, unsigned argument, Vacancy& vacancy) {
        Slot* const slot = find(index);
        if (slot && slot->empty() && index != 0) return slot;
        return make_leaf(index, argument, vacancy);
    }

    // For tearing down: a slot in use, or nullptr if there is none. Goes on where it was, as nothing is filled meanwhile;
    // if something may be, rewind() first. False: not known yet, ask again. Structure lock.
    bool first_used(Slot*& used);
    void rewind() { cursor_ = 0; }
    void free_leaves();

private:
    Result<Slot*> make_leaf(u64 index, unsigned argument, Vacancy& vacancy);
    struct Leaf {
        Slot slots[kLeafSlots];
    };
    Leaf* leaves_[kLeaves];
    static constexpr u32 kLooked = 96;  // slots that first_used() looks at
    u32 cursor_;                        // all slots below it are empty
};

}  // namespace twain::kernel
