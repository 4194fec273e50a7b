// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The derivation tree: copying downwards, and taking everything back. All under the structure lock.
#pragma once

#include "kernel/core/cspace.hpp"

namespace twain::kernel {

// May something be derived from this slot now?
Status look_derivable(const Slot& slot);
inline Status derivable(const Slot& slot) {
    const Capability cap = slot.peek();
    if (slot.barren() || (cap.type() == Type::memory && cap.exclusive())) return look_derivable(slot);
    return {};
}

// Fills `target` with a copy of `source`, as its child, with at most `rights` and, if nonzero, a badge. For copies and
// for references that objects hold.
Status derive(Slot& source, Slot& target, u8 rights, u64 badge);

// Deletes everything derived from `slot`, and with `itself` the slot too. Long work: false means that it was
// interrupted at a consistent state and wants to be called again.
bool revoke(Slot& slot, bool itself);

}  // namespace twain::kernel
