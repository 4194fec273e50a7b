// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the start-up code (crt0.S, start.cpp) knows of the process that it started.
#pragma once

namespace twain::rt {

// The kernel started this process itself: abi::kBootInfoAddress holds the boot information and there is no
// environment (every look-up finds nothing).
bool is_root_task();

}  // namespace twain::rt
