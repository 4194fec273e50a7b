// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/slot.hpp"

namespace twain::kernel {

void Slot::link(Slot* before, Slot* after, unsigned depth, bool owner) {
    next_ = (next_ & kHomeBits) | u64{owner ? kOwner : u8{0}} << 56 | u64{depth} << 48 | packed(after);
    prev_ = packed(before);
    if (before) before->next_ = (before->next_ & ~Capability::kAddressMask) | packed(this);
    if (after) after->prev_ = packed(this);
}

void Slot::fill(Slot* parent, u64 head, u64 badge, bool owner) {
    if (parent) {
        link(parent, parent->next(), parent->depth() + 1, owner);
    } else {
        link(nullptr, nullptr, 0, owner);
    }
    __atomic_store_n(&badge_, badge, __ATOMIC_RELAXED);
    __atomic_store_n(&head_, head, __ATOMIC_RELEASE);
}

void Slot::fill_sibling(Slot& fresh, u64 head, u64 badge) {
    fresh.link(this, next(), depth(), true);
    __atomic_store_n(&fresh.badge_, badge, __ATOMIC_RELAXED);
    __atomic_store_n(&fresh.head_, head, __ATOMIC_RELEASE);
}

void Slot::clear() {
    __atomic_store_n(&head_, u64{0}, __ATOMIC_RELEASE);
    Slot* before = prev();
    Slot* after = next();
    if (before) before->next_ = (before->next_ & ~Capability::kAddressMask) | packed(after);
    if (after) after->prev_ = packed(before);
    next_ &= kHomeBits;
    prev_ = 0;
}

}  // namespace twain::kernel
