// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Address space: a process's (host) or a virtual machine's (guest), and the ranges mapped in it.
#pragma once

#include "kernel/core/list.hpp"
#include "kernel/core/pagetable.hpp"
#include "kernel/core/slot.hpp"

namespace twain::kernel {

class Space;
class Shadow;

// One mapped range. Its capability, a child of the memory's, lies in the mapper's capability space; removing
// either the capability, the memory it came from or the space removes the mapping.
class Mapping : public Object, public Link {
public:
    static constexpr Type kType = Type::mapping;
    Space* space = nullptr;  // all have an initializer: its block need not be zeroed
    Slot* slot = nullptr;    // the capability that owns this
    Virt at;
    u64 bytes = 0;
    u64 done = 0;  // how much of [at, at + bytes) is mapped: long work is done in steps
    Phys to;
    u8 rights = 0;
    u8 device = 0;
    u8 limit = 0;  // rights of the memory capability
    u8 protecting = 0;
    Error failed = Error::none;  // an unfinished map has ended so and is being taken back
    u64 cursor = 0;              // how far a change of rights has got
    u64 flushed = 0;             // how far dropping what was translated by it has got since it last changed
};

class Space : public Object {
public:
    static constexpr Type kType = Type::space;

    bool init(abi::SpaceKind kind) {
        this->kind = kind;
        mappings.clear();
        return tables.init(*pool);
    }

    abi::SpaceKind kind;
    machine::SpaceTag tag;  // VMID or ASID, and its table
    PageTable<machine::TableFormat> tables;
    Queue<Mapping> mappings;
    Shadow* shadow;  // of a guest without EL2: what was derived from the mappings
};

}  // namespace twain::kernel
