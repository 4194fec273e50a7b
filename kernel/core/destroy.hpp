// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What happens to an object when its first capability goes, and to a holder when its reference goes.
#pragma once

#include "kernel/core/slot.hpp"
#include "kernel/core/space.hpp"

namespace twain::kernel {

// Empties a slot that nothing was derived from, with all that hangs on it. False: interrupted, call again.
// Structure lock.
bool destroy(Slot& leaf);

// Empties a slot that is no owner's; if it lies in an object, that has the reference no more. Structure lock.
void lose(Slot& slot);

// The capability of some mapping in the space; nullptr: nothing is mapped.
Slot* first_mapping(Space& space);

// Unmaps a range in steps. False: interrupted, call again. Structure lock.
bool unmap(Mapping& mapping);

// What the caller gets when something like that has just ended with false: it was interrupted, or the SMMU did not answer.
// Either way it is as whole as it was, and the same call goes on.
Status unfinished();

}  // namespace twain::kernel
