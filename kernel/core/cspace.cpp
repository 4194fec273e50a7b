// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/cspace.hpp"

#include "kernel/core/pool.hpp"

namespace twain::kernel {

Result<Slot*> CSpace::make_leaf(u64 index, unsigned argument, Vacancy& vacancy) {
    if (index == 0 || index >= abi::cspace::kSlots) return {Error::bad_slot, argument};
    Leaf* leaf = leaves_[index / kLeafSlots];
    if (!leaf) {
        leaf = static_cast<Leaf*>(pool->allocate(Pool::order_of<Leaf>()));
        if (!leaf) return {Error::no_memory, argument};
        vacancy.space_ = this;
        vacancy.index_ = index;
        vacancy.leaf_ = leaf;
    }
    Slot* slot = &leaf->slots[index % kLeafSlots];
    if (!slot->empty()) return {Error::occupied, argument};
    return slot;
}

void CSpace::Vacancy::settle() {
    auto* const leaf = static_cast<Leaf*>(leaf_);
    if (leaf->slots[index_ % kLeafSlots].empty()) {
        space_->pool->free(leaf, Pool::order_of<Leaf>());
    } else {
        __atomic_store_n(&space_->leaves_[index_ / kLeafSlots], leaf, __ATOMIC_RELEASE);
    }
}

bool CSpace::first_used(Slot*& used) {
    for (u32 looked = 0; looked < kLooked; ++looked) {
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
