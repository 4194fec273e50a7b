// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Pool: a range of memory that a user donated to the kernel. Every kernel object, capability table, page table
// and mapping node comes from one, so that nobody can exhaust anybody else.
//
//   base                                                                    base + bytes
//   | Pool | one byte per 64-byte unit | pages in use or on free lists | never used yet | what split() gave away |
//
// What was given away comes back as pages on the free lists, or, where it borders on that, as what was never used.
// Blocks are powers of two from 64 bytes to 4 KiB, naturally aligned, with buddies merged on free, except that
// the last block of each size to be freed waits for the next request of that size. All calls: under the structure
// lock.
#pragma once

#include "kernel/core/object.hpp"

namespace twain::kernel {

class Pool : public Object {
public:
    static constexpr abi::Type kType = abi::Type::pool;
    static constexpr unsigned kUnitShift = 6;  // 64 bytes
    static constexpr unsigned kOrders = 7;     // 64 .. 4096
    static constexpr u64 kMinBytes = 4 * kPage;

    // Builds the pool at the start of the range itself, whose memory need not be zero.
    static Pool* create(void* base, u64 bytes);

    void* allocate(unsigned order);  // zeroed; nullptr: exhausted
    // The same with what was in it, for who writes all of it at once.
    void* allocate_raw(unsigned order) {
        void* const block = recent_[order];
        if (!block) return allocate_other(order);
        recent_[order] = nullptr;
        free_bytes_ -= size_of(order);
        return block;
    }
    void free(void* block, unsigned order);

    template <typename T>
    static constexpr unsigned order_of() {
        unsigned order = 0;
        while ((std::size_t{1} << (order + kUnitShift)) < sizeof(T)) ++order;
        static_assert(sizeof(T) <= kPage);
        return order;
    }

    // The object that a slot inside it belongs to: blocks lie at multiples of their size.
    template <typename T>
    static T& holder(const void* inside) {
        return *reinterpret_cast<T*>(align_down(reinterpret_cast<u64>(inside), u64{1} << (order_of<T>() + kUnitShift)));
    }

    // What was never used, at its end, becomes a pool of its own, whose `pool` is this one. nullptr: there is less. At least
    // kMinBytes, a multiple of kPage.
    Pool* split(u64 bytes);

    u64 bytes() const { return bytes_; }                                            // without what was given away
    u64 head() const { return first_ - base_ < bytes_ ? first_ - base_ : bytes_; }  // what it takes for itself
    u64 free_bytes() const { return free_bytes_; }

    // Destruction, one page a step, so that it can be interrupted. The pool's own first pages go last.
    // Returns true when nothing of what the kernel wrote is left, and who it was split from has its pages.
    bool wipe_step();

private:
    static constexpr u64 size_of(unsigned order) { return u64{1} << (order + kUnitShift); }
    struct Block {
        Block* next;
        Block* prev;
    };
    u8& note(const void* block) { return notes_[(reinterpret_cast<u64>(block) - base_) >> kUnitShift]; }
    void push(Block* block, unsigned order);
    void unlink(Block* block, unsigned order);
    void* take(unsigned order);
    void* allocate_other(unsigned order);
    void merge(void* block, unsigned order);
    void merge_recent();
    bool take_back_step(Pool& part);

    u64 base_;
    u64 bytes_;
    u64 first_;  // where its blocks begin
    u64 fresh_;  // first page that was never handed out
    u64 end_;    // of those
    u64 free_bytes_;
    u64 wiped_;
    u8* notes_;
    Block* lists_[kOrders];
    void* recent_[kOrders];
};

}  // namespace twain::kernel
