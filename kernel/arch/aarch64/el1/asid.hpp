// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// ASIDs of processes and of guests' views.
#pragma once

#include "kernel/core/space.hpp"

namespace twain::kernel::machine {

void flush_all();  // all translations of all cores

// Of a view: see Tags.
u64 renew_asid(Tag& tag, const u64& table);
void forget_asid(Tag& tag);

}  // namespace twain::kernel::machine
