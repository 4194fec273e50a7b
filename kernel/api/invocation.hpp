// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// One method call on an object: its arguments, by register number, and the slots they name.
#pragma once

#include "kernel/core/cpu.hpp"
#include "kernel/core/create.hpp"
#include "kernel/core/guest.hpp"
#include "kernel/core/irq.hpp"

namespace twain::kernel {

class Invocation {
public:
    Invocation(Cpu& cpu, Thread& self, Slot& slot) : cpu(cpu), self(self), slot(slot), cap(slot.peek()) {}

    u64 arg(unsigned n) const { return self.frame.x[n]; }
    void result(unsigned n, u64 value) { self.frame.x[n] = value; }

    // The invoked capability as its object, if it has the right.
    template <typename T>
    T& object() const {
        return cap.object<T>();
    }
    Status need(u8 rights) const { return cap.need(rights); }

    // A slot of the invoker's capability space that argument n names and that holds `type` with `rights`.
    Result<Slot*> slot_arg(unsigned n, abi::Type type, u8 rights) const {
        Slot* found = self.cspace->find(arg(n));
        if (!found || found->empty()) return {Error::bad_slot, n};
        if (found->type() != type) return {Error::bad_type, n};
        if ((found->rights() & rights) != rights) return {Error::rights, n};
        return found;
    }
    // Of the invoker's capability space, or of another. One for each call.
    [[gnu::always_inline]] Result<Slot*> destination(unsigned n) { return destination(*self.cspace, n); }
    [[gnu::always_inline]] Result<Slot*> destination(CSpace& space, unsigned n) {
        return space.make(arg(n), n, vacancy_);
    }

    Cpu& cpu;
    Thread& self;
    Slot& slot;
    const Capability cap;

private:
    CSpace::Vacancy vacancy_;
};

// Methods by type; structure lock held.
[[gnu::cold]] Status invoke_pool(Invocation& call, u32 method);
Status invoke_cspace(Invocation& call, u32 method);
[[gnu::cold]] Status invoke_memory(Invocation& call, u32 method);
[[gnu::cold]] Status invoke_mapping(Invocation& call, u32 method);
Status invoke_space(Invocation& call, u32 method);
Status invoke_thread(Invocation& call, u32 method);
Status invoke_sched(Invocation& call, u32 method);
Status invoke_irq(Invocation& call, u32 method);
Status invoke_vcpu(Invocation& call, u32 method);
Status invoke_system(Invocation& call, u32 method);

}  // namespace twain::kernel
