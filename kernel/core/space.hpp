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
    u64 cursor;  // how far a change of rights has got
};

// Descriptors that the SMMU reads for a DMA space (stage 1, Arm IHI 0070 3.4): AP[7:6], SH[9:8], AF[10], nG[11], never
// executable. What may be written may be read.
struct DmaFormat {
    static constexpr u64 leaf(u8 rights) {
        const u64 read_only = rights & abi::rights::mem_write ? 0 : 0x80;
        return u64{3} << 53 | 0x800 | 0x400 | 0x300 | 0x40 | read_only;
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
        return tables.init(*pool);
    }

    u64 attributes(u8 rights, bool device) const {
        return kind == abi::SpaceKind::dma ? DmaFormat::leaf(rights) : machine::TableFormat::leaf(rights, device);
    }
    // No translation of it is used any more that its tables do not have.
    void flush() { kind == abi::SpaceKind::dma ? machine::flush_dma(*this) : machine::flush_space(*this); }

    abi::SpaceKind kind;
    machine::SpaceTag tag;  // VMID or ASID, with its generation
    PageTable<machine::TableFormat> tables;
    Queue<Mapping> mappings;
    u64* context;    // of a DMA space that has streams: what the SMMU knows of it
    Shadow* shadow;  // of a guest without EL2: what was derived from the mappings
};

}  // namespace twain::kernel
