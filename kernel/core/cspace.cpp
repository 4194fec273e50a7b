// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/cspace.hpp"

#include "kernel/core/pool.hpp"

namespace twain::kernel {

Result<Slot*> CSpace::make(u64 index, unsigned argument) {
    if (index == 0 || index >= abi::cspace::kSlots) return {Error::bad_slot, argument};
    Leaf*& leaf = leaves_[index / kLeafSlots];
    if (!leaf) {
        void* page = pool->allocate(Pool::order_of<Leaf>());
        if (!page) return {Error::no_memory, argument};
        __atomic_store_n(&leaf, static_cast<Leaf*>(page), __ATOMIC_RELEASE);
    }
    Slot* slot = &leaf->slots[index % kLeafSlots];
    if (!slot->empty()) return {Error::occupied, argument};
    return slot;
}

Slot* CSpace::first_used() {
    for (; cursor_ < abi::cspace::kSlots; ++cursor_) {
        if (!leaves_[cursor_ / kLeafSlots]) {
            cursor_ |= kLeafSlots - 1;
            continue;
        }
        Slot* slot = find(cursor_);
        if (!slot->empty()) return slot;
    }
    return nullptr;
}

void CSpace::free_leaves() {
    for (Leaf*& leaf : leaves_) {
        if (leaf) pool->free(leaf, Pool::order_of<Leaf>());
        leaf = nullptr;
    }
}

}  // namespace twain::kernel
