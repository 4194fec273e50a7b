// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/tags.hpp"

#include "kernel/core/spin_lock.hpp"
#include "machine.hpp"

namespace twain::kernel {

// A core goes on using the base.
void Tags::keep(u64 base) {
    const u64 number = base >> Tag::kShift;
    kept_[number / 64] |= u64{1} << number % 64;
    if (Tag* owner = owners_[number]; owner && owner->base() == base) owner->set(base);
}

// A core reads a tag, then notes the base that it is going to use. Only when each has been between two such pairs is it
// known what they use.
void Tags::begin_generation() {
    for (u64 number = 1; number < count_; ++number) {
        if (Tag* owner = owners_[number]) owner->set(owner->word() | Tag::kStale);
    }
    pass_all_cores();
    for (u64& word : kept_) word = 0;
    for (CpuId core = 0; core < machine::cores(); ++core) {
        keep(__atomic_load_n(&machine::cpu(core).translation, __ATOMIC_ACQUIRE));
        keep(__atomic_load_n(&machine::cpu(core).alternate, __ATOMIC_RELAXED));
    }
    flush_();
    next_ = 1;
}

u64 Tags::renew(Tag& tag, const u64& table) {
    const SpinLock lock(lock_);
    if (tag.word() & Tag::kStale) {  // else another core has been faster
        if (owners_[tag.number()] == &tag) owners_[tag.number()] = nullptr;
        for (;; ++next_) {
            if (next_ == count_) begin_generation();
            if (!kept(next_)) break;
        }
        owners_[next_] = &tag;
        tag.set(next_ << Tag::kShift | __atomic_load_n(&table, __ATOMIC_RELAXED));
        ++next_;
    }
    return tag.word();
}

void Tags::forget(Tag& tag) {
    const SpinLock lock(lock_);
    if (owners_[tag.number()] == &tag) owners_[tag.number()] = nullptr;
    tag.set(Tag::kStale);
}

}  // namespace twain::kernel
