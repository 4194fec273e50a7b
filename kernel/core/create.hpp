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

// The object's first capability, with all rights: the object dies with it. `parent` is the pool's slot (or the memory's).
template <typename T>
void first_capability(Slot& parent, Slot& slot, T& object) {
    slot.fill(&parent, Slot::object_head(T::kType, abi::rights::all, &object), 0, true);
}

// Makes a T in the pool that `parent` names, and its first capability in `slot`; `prepare` may refuse.
struct AsItIs {
    Status operator()(auto&) const { return {}; }
};
template <typename T, typename Prepare = AsItIs>
Status create(Slot& parent, Slot& slot, Prepare prepare = {}) {
    Pool& pool = parent.object<Pool>();
    T* const object = allocate_object<T>(pool);
    if (!object) return Error::no_memory;
    if (const Status status = prepare(*object); !status.ok()) {
        pool.free(object, object->order);
        return status;
    }
    first_capability(parent, slot, *object);
    return {};
}

}  // namespace twain::kernel
