// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Interrupt object: a device's line, the notification that it signals, and who may let the next one come.
#pragma once

#include "kernel/core/endpoint.hpp"
#include "kernel/core/slot.hpp"

namespace twain::kernel {

class Irq : public Object {
public:
    static constexpr Type kType = Type::irq;
    static constexpr u32 kFirst = 32, kEnd = 1020;  // shared peripheral interrupts

    u32 intid;
    CpuId core;
    Shared<bool> unacknowledged;
    Shared<Notification*> note;  // nullptr: the line is disabled
    u64 badge;
    Slot ref;

    static Irq*& of(u32 intid) { return table_[intid - kFirst]; }

private:
    inline static Irq* table_[kEnd - kFirst];
};

}  // namespace twain::kernel
