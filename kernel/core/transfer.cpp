// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/transfer.hpp"

#include "kernel/core/derive.hpp"

namespace twain::kernel {

void transfer_capability(Thread& sender, Thread& receiver, const StructureLock&) {
    receiver.frame.x[7] = 0;
    if (!receiver.receive_slot || !sender.cspace || !receiver.cspace) return;
    Slot* source = sender.cspace->find(sender.frame.x[7]);
    if (!source || source->empty()) return;
    CSpace::Vacancy vacancy;
    const Result<Slot*> target = receiver.cspace->make(receiver.receive_slot, 7, vacancy);
    if (!target.ok() || !derive(*source, *target.value(), abi::rights::all, 0).ok()) return;
    receiver.frame.x[1] |= abi::kTagCap;
    receiver.frame.x[7] = receiver.receive_slot;
}

}  // namespace twain::kernel
