// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/pool.hpp"

#include "machine.hpp"

namespace twain::kernel {

namespace {
constexpr u8 kFree = 0x80;
}

Pool* Pool::create(void* base, u64 bytes) {
    auto* pool = static_cast<Pool*>(base);
    const u64 start = reinterpret_cast<u64>(base);
    const u64 units = bytes >> kUnitShift;
    const u64 head = align_up(sizeof(Pool) + units, kPage);
    machine::zero(base, kPage);
    pool->pool = nullptr;
    pool->id = next_object_id();
    pool->type = kType;
    pool->base_ = start;
    pool->bytes_ = bytes;
    pool->first_ = pool->fresh_ = start + head;
    pool->end_ = start + bytes;
    pool->free_bytes_ = bytes - head;
    pool->wiped_ = start + kPage;
    pool->notes_ = reinterpret_cast<u8*>(start + sizeof(Pool));
    return pool;
}

void Pool::push(Block* block, unsigned order) {
    note(block) = static_cast<u8>(kFree | order);
    block->prev = nullptr;
    block->next = lists_[order];
    if (block->next) block->next->prev = block;
    lists_[order] = block;
}

void Pool::unlink(Block* block, unsigned order) {
    note(block) = 0;
    (block->prev ? block->prev->next : lists_[order]) = block->next;
    if (block->next) block->next->prev = block->prev;
}

// A block from the lists, or a fresh page cut down.
void* Pool::take(unsigned order) {
    unsigned from = order;
    while (from < kOrders && !lists_[from]) ++from;
    Block* block;
    if (from < kOrders) {
        block = lists_[from];
        unlink(block, from);
    } else {
        if (fresh_ == end_) return nullptr;
        block = reinterpret_cast<Block*>(fresh_);
        machine::zero(&note(block), kPage >> kUnitShift);
        fresh_ += kPage;
        from = kOrders - 1;
    }
    while (from > order) {
        --from;
        push(reinterpret_cast<Block*>(reinterpret_cast<u64>(block) + size_of(from)), from);
    }
    return block;
}

void* Pool::allocate(unsigned order) {
    void* const block = allocate_raw(order);
    if (block) machine::zero(block, size_of(order));
    return block;
}

// None waits.
void* Pool::allocate_other(unsigned order) {
    void* block = take(order);
    if (!block) {  // what waits may make a larger one
        merge_recent();
        block = take(order);
    }
    if (block) free_bytes_ -= size_of(order);
    return block;
}

void Pool::merge(void* memory, unsigned order) {
    u64 at = reinterpret_cast<u64>(memory);
    for (; order + 1 < kOrders; ++order) {
        const u64 buddy = at ^ size_of(order);  // pages are aligned, so buddies share theirs
        auto* other = reinterpret_cast<Block*>(buddy);
        if (note(other) != (kFree | order)) break;
        unlink(other, order);
        at &= ~size_of(order);
    }
    push(reinterpret_cast<Block*>(at), order);
}

void Pool::merge_recent() {
    for (unsigned order = 0; order < kOrders; ++order) {
        if (recent_[order]) merge(recent_[order], order);
        recent_[order] = nullptr;
    }
}

void Pool::free(void* memory, unsigned order) {
    free_bytes_ += size_of(order);
    if (recent_[order]) merge(recent_[order], order);
    recent_[order] = memory;
}

Pool* Pool::split(u64 bytes) {
    if (bytes > end_ - fresh_) return nullptr;
    end_ -= bytes;
    bytes_ -= bytes;
    free_bytes_ -= bytes;
    Pool* const part = create(reinterpret_cast<void*>(end_), bytes);
    part->pool = this;
    return part;
}

// Its last page, or all of it. True: all of it.
bool Pool::take_back_step(Pool& part) {
    const u64 at = part.base_, whole = part.bytes_;
    if (at == end_) {
        machine::zero(&part, kPage);
        end_ += whole;
        bytes_ += whole;
        free_bytes_ += whole;
        return true;
    }
    part.bytes_ = whole - kPage;
    if (part.free_bytes_) part.free_bytes_ -= kPage;
    auto* const page = reinterpret_cast<void*>(at + (whole - kPage));
    if (page == &part) machine::zero(page, kPage);
    machine::zero(&note(page), kPage >> kUnitShift);
    bytes_ += kPage;
    free(page, kOrders - 1);
    return page == &part;
}

bool Pool::wipe_step() {
    if (wiped_ == fresh_) wiped_ = end_;
    if (wiped_ < base_ + bytes_) {
        machine::zero(reinterpret_cast<void*>(wiped_), kPage);
        wiped_ += kPage;
        return false;
    }
    if (pool) return pool->take_back_step(*this);
    machine::zero(this, kPage);
    return true;
}

}  // namespace twain::kernel
