// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Errors that many methods share: deriving from a capability that is being revoked, and a destination whose table
// leaf finds no memory.
#include "test.hpp"

namespace twain::test {

namespace {

// A low thread revokes a deep tree below a copy of `from` and is interrupted; `attempt` derives from its top then.
template <typename Attempt>
void dying(std::string_view id, Slot from, Attempt attempt, Where where = Where::here()) {
    bool seen = false, good = true;
    for (u64 ns = 4000; ns < 200'000 && !seen; ns += 3000) {
        Scratch scratch;
        const Slot top = scratch.copy(from), child = scratch.copy(top), to = scratch.slot();
        (void)scratch.deepest(child);
        Worker worker(scratch, [](Worker& self) { self.word[0] = kSelf.revoke(self.slots[0]).ok() ? 1 : 2; });
        worker.slots[0] = top;
        const sys::Notification alarm = scratch.notification();
        need(worker.start());
        (void)alarm.wait(sys::after_ns(ns));
        const sys::Status status = attempt(child, to);
        seen = status.error() == Error::dying;
        good = good && wait_for([&] { return worker.done(); }) && worker.word[0] == 1;
        good = good && kSelf.inspect(child)->type == abi::Type::null && kSelf.inspect(to)->type == abi::Type::null;
    }
    check(id, seen && good, where);
}

void revoked_meanwhile() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Memory memory = scratch.memory();
    const sys::Thread thread = scratch.thread();
    const sys::Space guest = scratch.space(abi::SpaceKind::guest);
    const sys::Vcpu vcpu{scratch.slot()};
    need(kObjects.create_vcpu(vcpu.slot, guest, 0));
    const sys::Irq irq{scratch.slot()};
    need(kSystem.make_irq(kObjects, irq.slot, 41, false, 0));
    dying("cspace.copy/dying", note.slot, [](Slot from, Slot to) { return kSelf.copy(to, from); });
    dying("memory.derive/dying", memory.slot,
          [](Slot from, Slot to) { return sys::Memory{from}.derive(0, kPage, to, 7); });
    dying("space.map/dying", memory.slot,
          [](Slot from, Slot to) { return kSpace.map(sys::Memory{from}, 0, 0x20'0000'0000, kPage, kRead, to); });
    dying("space.map/into_dying_space", kSpace.slot,
          [&](Slot from, Slot to) { return sys::Space{from}.map(memory, 0, 0x20'0000'0000, kPage, kRead, to); });
    dying("pool.create/dying", kPool, [](Slot from, Slot to) { return sys::Pool{from}.create_reply(to); });
    dying("pool.split/dying", kPool, [](Slot from, Slot to) { return sys::Pool{from}.split(4 * kPage, to); });
    dying("system.make_sched/dying", kPool,
          [](Slot from, Slot to) { return kSystem.make_sched(sys::Pool{from}, to, 0, 0, {}); });
    dying("system.make_irq/dying", kPool,
          [](Slot from, Slot to) { return kSystem.make_irq(sys::Pool{from}, to, 40, false, 0); });
    dying("system.make_memory/dying", abi::kRootSystem,
          [](Slot from, Slot to) { return sys::System{from}.make_memory(to, 0x0901'0000, kPage); });
    dying("irq.bind/dying", note.slot, [&](Slot from, Slot) { return irq.bind(sys::Notification{from}); });
    dying("vcpu.page/dying", memory.slot, [&](Slot from, Slot) { return vcpu.page(sys::Memory{from}); });
    dying("thread.configure/dying", endpoint.slot,
          [&](Slot from, Slot) { return thread.configure({}, {}, sys::Endpoint{from}, {}, {}); });
    check("cspace.revoke/preempted", true);  // none of the above is seen but while a revoke is interrupted
}

void no_leaf() {
    Scratch scratch;
    const sys::Pool own{abi::kRootPool};
    const sys::Memory memory = scratch.memory(4 * kPage);
    const sys::Notification note = scratch.notification();
    sys::Status last;
    do {
        last = own.create_space(scratch.slot(), abi::SpaceKind::host);
    } while (last);
    expect("pool.create/no_memory", Error::no_memory, last);
    while (own.create_cspace(scratch.slot())) {  // what is too little for a space
    }
    constexpr Slot kFar = 8100;  // nobody has used that leaf
    expect("pool.create/no_memory", Error::no_memory, kObjects.create_reply(kFar));
    expect("cspace.copy/no_memory", Error::no_memory, kSelf.copy(kFar, note.slot));
    expect("memory.derive/no_memory", Error::no_memory, memory.derive(0, kPage, kFar, rights::all));
    expect("memory.split/no_memory", Error::no_memory, sys::Memory{kSpare}.split(kPage, kFar));
    expect("memory.make_pool/no_memory", Error::no_memory, sys::Memory{kSpare}.make_pool(kFar));
    expect("space.map/no_memory", Error::no_memory, kSpace.map(memory, 0, 0x22'0000'0000, kPage, kRead, kFar));
    expect("system.make_sched/no_memory", Error::no_memory, kSystem.make_sched(kObjects, kFar, 0, 0, {}));
    expect("system.make_irq/no_memory", Error::no_memory, kSystem.make_irq(kObjects, kFar, 40, false, 0));
    expect("system.make_memory/no_memory", Error::no_memory, kSystem.make_memory(kFar, 0x0901'0000, kPage));
}

}  // namespace

void test_shared_errors() {
    revoked_meanwhile();
    no_leaf();
}

}  // namespace twain::test
