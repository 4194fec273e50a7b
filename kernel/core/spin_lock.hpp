// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A lock for a few instructions, with interrupts off. `taken` is 1 as long as somebody has it.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel {

class SpinLock {
public:
    explicit SpinLock(u32& taken) : taken_(taken) {
        while (__atomic_exchange_n(&taken_, 1u, __ATOMIC_ACQUIRE)) wait_in_kernel();
    }
    ~SpinLock() { __atomic_store_n(&taken_, 0u, __ATOMIC_RELEASE); }
    SpinLock(const SpinLock&) = delete;
    SpinLock& operator=(const SpinLock&) = delete;

private:
    u32& taken_;
};

}  // namespace twain::kernel
