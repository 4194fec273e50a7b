// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Device registers.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

class Mmio {
public:
    constexpr Mmio() = default;
    constexpr explicit Mmio(u64 base) : base_(base) {}
    u32 read(u64 offset) const { return *reinterpret_cast<volatile u32*>(base_ + offset); }
    void write(u64 offset, u32 value) const { *reinterpret_cast<volatile u32*>(base_ + offset) = value; }
    void write64(u64 offset, u64 value) const { *reinterpret_cast<volatile u64*>(base_ + offset) = value; }
    u64 read64(u64 offset) const { return *reinterpret_cast<volatile u64*>(base_ + offset); }
    constexpr Mmio operator+(u64 offset) const { return Mmio(base_ + offset); }

private:
    u64 base_ = 0;
};

}  // namespace twain::kernel
