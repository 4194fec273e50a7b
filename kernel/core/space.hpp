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
    Space* space;
    Slot* slot;  // the capability that owns this
    Virt at;
    u64 bytes;
    u64 done;  // how much of [at, at + bytes) is mapped: long work is done in steps
    Phys to;
    u8 rights;
    u8 device;
    u8 limit;  // rights of the memory capability
    u8 protecting;
    Error failed;  // an unfinished map has ended so and is being taken back
    u64 cursor;    // how far a change of rights has got
    u64 flushed;   // how far dropping what was translated by it has got since it last changed
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
