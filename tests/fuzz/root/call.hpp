// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A random system call: mostly of the right types, often wrong in one argument, and its making.
#pragma once

#include "arena.hpp"

namespace twain::fuzz {

struct Call {
    abi::Sys sys = abi::Sys::invoke;
    u64 x[8] = {};
};

struct Outcome {
    sys::Regs regs;
    bool leaked = false;  // a register that the call destroys holds an address of the kernel's
};

// `may_block`: also calls that wait for somebody else.
Call random_call(Random& random, bool may_block);
Outcome make_call(const Call& call);

// Is this an answer that docs/kernel-api.md promises, if the invoked slot held `type`?
bool documented(const Call& call, Type type, const Outcome& outcome);
// The kernel never answers like this, whatever was asked.
bool nonsense(const Call& call, const Outcome& outcome);

}  // namespace twain::fuzz
