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

bool CSpace::first_used(Slot*& used) {
    for (u32 looked = 0; looked < 2 * kLeafSlots; ++looked) {
        if (cursor_ == abi::cspace::kSlots) {
            used = nullptr;
            return true;
        }
        if (!leaves_[cursor_ / kLeafSlots]) {
            cursor_ = (cursor_ | (kLeafSlots - 1)) + 1;
            continue;
        }
        used = find(cursor_);
        if (!used->empty()) return true;
        ++cursor_;
    }
    return false;
}

void CSpace::free_leaves() {
    for (Leaf*& leaf : leaves_) {
        if (leaf) pool->free(leaf, Pool::order_of<Leaf>());
        leaf = nullptr;
    }
}

}  // namespace twain::kernel
