// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A capability that travels with a message.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

// Derives what the sender's x7 names into the receiver's receive slot. The receiver's tag and x7 say whether it has
// arrived; a message is never lost for a capability's sake.
// Calls across cores carry none: they are delivered without the lock.
void transfer_capability(Thread& sender, Thread& receiver, const StructureLock&);

}  // namespace twain::kernel
