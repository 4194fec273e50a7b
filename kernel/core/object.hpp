// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What all kernel objects have in common. No virtual functions: the type is a byte, and dispatch is a switch.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

class Pool;

struct Object {
    Pool* pool;  // where its memory goes back to
    u32 id;      // never used twice while the machine is up
    abi::Type type;
    u8 order;  // size class in the pool
    u16 reserved;
};

inline u32 next_object_id() {
    static u32 last = 0;
    return ++last;
}

}  // namespace twain::kernel
