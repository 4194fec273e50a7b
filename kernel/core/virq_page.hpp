// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Between the state page of a vCPU and the plan of its virtual interrupts: what the VMM posts and takes back, and what it is told.
#pragma once

#include "kernel/core/virq.hpp"

namespace twain::kernel {

inline u8 timer_priority(const abi::VcpuPage& page) { return static_cast<u8>(page.vtimer); }

inline bool posted_or_recalled(const abi::VcpuPage& page) {
    return __atomic_load_n(&page.posted, __ATOMIC_RELAXED) | __atomic_load_n(&page.recalled, __ATOMIC_RELAXED);
}

inline void tell_retired(VirqPlan& plan, abi::VcpuPage& page) {
    if (const u64 retired = plan.take_retired()) __atomic_fetch_or(&page.retired, retired, __ATOMIC_RELEASE);
}

// What the guest has ended is the VMM's again from here on, whoever has looked and why: nobody may look for it once more.
template <typename Lists>
void collect(VirqPlan& plan, abi::VcpuPage& page, Lists& lists) {
    plan.collect(lists);
    tell_retired(plan, page);
}

// Takes what the VMM has posted, and brings the list registers up to date.
template <typename Lists>
[[gnu::always_inline]] inline void take_posted(VirqPlan& plan, abi::VcpuPage& page, Lists& lists) {
    if (plan.any_listed()) plan.collect(lists);
    if (__atomic_load_n(&page.recalled, __ATOMIC_RELAXED)) {
        for (u64 each = __atomic_exchange_n(&page.recalled, u64{0}, __ATOMIC_ACQUIRE); each; each &= each - 1) {
            plan.recall(lists, static_cast<unsigned>(__builtin_ctzll(each)));
        }
    }
    if (__atomic_load_n(&page.posted, __ATOMIC_RELAXED)) {
        for (u64 each = __atomic_exchange_n(&page.posted, u64{0}, __ATOMIC_ACQUIRE); each; each &= each - 1) {
            const unsigned entry = static_cast<unsigned>(__builtin_ctzll(each));
            plan.post(lists, entry, __atomic_load_n(&page.virq[entry], __ATOMIC_RELAXED));
        }
    }
    if (plan.any_waiting()) (void)plan.fill(lists, timer_priority(page));
    tell_retired(plan, page);
}

// Mostly nothing is, or was shown last.
inline bool anything_to_show(const VirqPlan& plan, const abi::VcpuPage& page) {
    return plan.any_listed() || (page.pending | page.active);
}

// The vCPU goes to its VMM: the picture that this gets, and with it the news of whatever has ended.
template <typename Lists>
void show(VirqPlan& plan, abi::VcpuPage& page, Lists& lists) {
    collect(plan, page, lists);
    plan.picture(lists, page.pending, page.active);
    (void)plan.take_notify();
}

}  // namespace twain::kernel
