// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A lock for a few hundred instructions. The holder may have been preempted, by who waits as well, on this core or another, and
// may have to wait for time to run. So who finds the lock taken gives way a few times, and then sleeps until it is unlocked: it
// neither polls nor needs a timer.
#pragma once

#include <cstdint>

#include "vmm/machine/platform.hpp"

namespace twain::vmm {

template <Platform P>
class Lock {
public:
    void lock(P& platform, VcpuIndex who) {
        for (unsigned attempt = 0; (__atomic_fetch_or(&word_, kTaken, __ATOMIC_ACQUIRE) & kTaken) != 0; ++attempt) {
            if (attempt < kYields) {
                platform.yield();
            } else if ((__atomic_fetch_or(&word_, kTaken | waits(who), __ATOMIC_ACQUIRE) & kTaken) == 0) {
                return;
            } else {
                platform.rest(who);
            }
        }
    }
    // All who sleep try again, and those who are late sleep again.
    void unlock(P& platform) {
        for (std::uint32_t left = __atomic_exchange_n(&word_, 0u, __ATOMIC_RELEASE) & ~kTaken; left != 0;
             left &= left - 1) {
            const unsigned who = static_cast<unsigned>(__builtin_ctz(left)) - 1;
            platform.rouse(who < kMaxVcpus ? who : kNoVcpu);
        }
    }

private:
    static constexpr std::uint32_t kTaken = 1;
    static constexpr unsigned kYields = 4;
    static constexpr std::uint32_t waits(VcpuIndex who) { return 2u << (who < kMaxVcpus ? who : kMaxVcpus); }

    std::uint32_t word_ = 0;  // kTaken, and who sleeps
};

template <Platform P>
class Guard {
public:
    Guard(Lock<P>& lock, P& platform, VcpuIndex who) : lock_(lock), platform_(platform) { lock_.lock(platform, who); }
    ~Guard() { lock_.unlock(platform_); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

private:
    Lock<P>& lock_;
    P& platform_;
};

}  // namespace twain::vmm
