// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Address space: a process's (host), a virtual machine's (guest) or that of devices (DMA), and the ranges mapped in it.
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

// Descriptors that the SMMU reads for a DMA space (stage 1, Arm IHI 0070 3.4): AP[7:6], SH[9:8], AF[10], nG[11], PXN and
// UXN [54:53]: devices execute nothing. What may be written may be read.
struct DmaFormat {
    static constexpr u64 leaf(u8 rights) {
        return u64{3} << 53 | 0x800 | 0x400 | 0x300 | 0x40 | (rights & abi::rights::mem_write ? 0 : 0x80);
    }
};

// What a device was refused: stream, kind (IHI 0070 7.3; 0: nothing), address.
struct DmaFault {
    u32 stream = 0;
    u32 kind = 0;
    u64 address = 0;
};

class Space : public Object {
public:
    static constexpr Type kType = Type::space;

    bool init(abi::SpaceKind kind) {
        this->kind = kind;
        mappings.clear();
        // What the SMMU has cached of a walk is forgotten with the mapping that it led to, so no table goes before the space.
        if (kind == abi::SpaceKind::dma) tables.keep_tables();
        return tables.init(*pool);
    }

    u64 attributes(u8 rights, bool device) const {
        if (kind == abi::SpaceKind::dma) [[unlikely]]
            return DmaFormat::leaf(rights);
        return machine::TableFormat::leaf(rights, device);
    }
    // No translation of it is used any more that is not in its tables. As machine::flush_space().
    bool flush(u64& progress) {
        if (kind == abi::SpaceKind::dma) [[unlikely]]
            return machine::flush_dma(*this, progress);
        return machine::flush_space(*this, progress);
    }

    abi::SpaceKind kind;
    machine::SpaceTag tag;  // VMID or ASID, and its table
    PageTable<machine::TableFormat> tables;
    Queue<Mapping> mappings;
    u64* context;    // of a DMA space that has streams: what the SMMU reads of it
    Shadow* shadow;  // of a guest without EL2: what was derived from the mappings
};

}  // namespace twain::kernel
