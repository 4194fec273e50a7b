// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/tags.hpp"

#include "machine.hpp"

namespace twain::kernel {

bool Tags::in_use(u64 base) const {
    for (u64 each : in_use_) {
        if (each == base) return true;
    }
    return false;
}

bool Tags::taken(u64 number) const {
    for (u64 each : in_use_) {
        if (each >> Tag::kShift == number) return true;
    }
    return false;
}

// A core compares generations, then notes the base that it is going to use. Only when each has been between two such
// pairs is it known what they use.
void Tags::begin_generation() {
    ++generation_;
    next_ = 1;
    for (CpuId core = 0; core < machine::cores(); ++core) {
        __atomic_store_n(&machine::cpu(core).generation, generation_, __ATOMIC_RELEASE);
    }
    pass_all_cores();
    for (CpuId core = 0; core < machine::cores(); ++core) {
        in_use_[2 * core] = __atomic_load_n(&machine::cpu(core).translation, __ATOMIC_ACQUIRE);
        in_use_[2 * core + 1] = __atomic_load_n(&machine::cpu(core).alternate, __ATOMIC_RELAXED);
    }
    flush_();
}

void Tags::renew(Tag& tag, u64 table) {
    while (__atomic_exchange_n(&lock_, 1u, __ATOMIC_ACQUIRE)) wait_in_kernel();
    if (tag.generation != generation_) {
        if (tag.generation == 0 || !in_use(tag.base)) {
            u64 number = 0;
            do {
                if (next_ >= count_) begin_generation();
                number = next_++;
            } while (taken(number));
            tag.base = number << Tag::kShift | table;
        }
        __atomic_store_n(&tag.generation, generation_, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&lock_, 0u, __ATOMIC_RELEASE);
}

}  // namespace twain::kernel
