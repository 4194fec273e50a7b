// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// ASIDs of processes and of guests' views; the translations that a guest space has beyond its own tables.
#pragma once

#include "kernel/core/space.hpp"

namespace twain::kernel::machine {

void flush_all();  // all translations of all cores

// Of a view: see Tags.
u64 renew_asid(Tag& tag, const u64& table);
void forget_asid(Tag& tag);

// What was derived from a guest space's mappings goes when one of them does. False: interrupted. Structure lock.
bool drop_shadows(Space& space, u64& progress);
bool free_shadows(Space& space);

}  // namespace twain::kernel::machine
