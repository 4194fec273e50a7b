// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Making objects: memory from the pool, a first capability for it.
#pragma once

#include <new>

#include "kernel/core/derive.hpp"
#include "kernel/core/pool.hpp"

namespace twain::kernel {

// An object that has no capability yet, in a block of a pool or in none. What has no initializer keeps what was in the block
// (-fno-lifetime-dse).
template <typename T>
[[gnu::always_inline]] inline T* make_object(Pool& pool, void* block) {
    if (!block) return nullptr;
    T* object = new (block) T;
    object->pool = &pool;
    object->id = next_object_id();
    object->type = T::kType;
    object->order = Pool::order_of<T>();
    return object;
}

// The same in a zeroed block.
template <typename T>
T* allocate_object(Pool& pool) {
    return make_object<T>(pool, pool.allocate(Pool::order_of<T>()));
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
