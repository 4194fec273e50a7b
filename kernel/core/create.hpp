// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Making objects: memory from the pool, a first capability for it.
#pragma once

#include <new>

#include "kernel/core/derive.hpp"
#include "kernel/core/pool.hpp"

namespace twain::kernel {

// A zeroed, constructed object that has no capability yet.
template <typename T>
T* allocate_object(Pool& pool) {
    constexpr unsigned order = Pool::order_of<T>();
    void* memory = pool.allocate(order);
    if (!memory) return nullptr;
    T* object = new (memory) T;  // what has no initializer keeps the pool's zeroes (-fno-lifetime-dse)
    object->pool = &pool;
    object->id = next_object_id();
    object->type = T::kType;
    object->order = order;
    return object;
}

template <typename T>
void free_object(T& object) {
    object.pool->free(&object, object.order);
}

// The object's first capability, with all rights: the object dies with it. `parent` is the pool's slot (or the memory's).
template <typename T>
void first_capability(Slot& parent, Slot& slot, T& object) {
    slot.fill(&parent, Slot::object_head(T::kType, abi::rights::all, &object), 0, true);
}

}  // namespace twain::kernel
