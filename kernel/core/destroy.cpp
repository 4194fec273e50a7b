// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/destroy.hpp"

#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/irq.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kStepsBetweenChecks = 32;

// A thread loses one of the objects that it refers to. Without its spaces it cannot go on.
void lose_reference(Slot& slot) {
    auto& thread = Pool::holder<Thread>(&slot);
    switch (static_cast<Thread::Ref>(&slot - thread.refs)) {
        case Thread::ref_cspace:
            stop(thread);
            thread.cspace = nullptr;
            break;
        case Thread::ref_space:
            stop(thread);
            thread.space = nullptr;
            break;
        case Thread::ref_sched: detach_sched(thread); break;
        case Thread::ref_note:
            if (thread.bound) leave(*thread.note);
            break;
        case Thread::ref_fault:
        case Thread::kRefs: break;
    }
}

// Repeats a step until it says that it is done. False: interrupted.
template <typename Step>
bool in_steps(Step step) {
    while (!step()) {
        if (should_pause()) return false;
    }
    return true;
}

// Nobody uses the object any more. False: interrupted, call again.
bool dismantle(Object& object) {
    switch (object.type) {
        case Type::cspace: static_cast<CSpace&>(object).free_leaves(); break;
        case Type::space: {
            auto& space = static_cast<Space&>(object);
            const bool forgotten =
                space.kind == abi::SpaceKind::dma ? machine::forget_dma(space) : machine::forget_space(space);
            return forgotten && in_steps([&] { return space.tables.free_step(*space.pool); });
        }
        case Type::thread:
            stop(static_cast<Thread&>(object));
            machine::forget_thread(static_cast<Thread&>(object));
            break;
        case Type::sched: drain(static_cast<Sched&>(object)); break;
        case Type::endpoint: return in_steps([&] { return drain_step(static_cast<Endpoint&>(object)); });
        case Type::reply: drain(static_cast<Reply&>(object)); break;
        case Type::notification: drain(static_cast<Notification&>(object)); break;
        case Type::irq: {
            const u32 intid = static_cast<Irq&>(object).intid;
            machine::disable_irq(intid);
            Irq::of(intid) = nullptr;
            synchronize();  // another core may be handling it
            break;
        }
        case Type::vcpu: guest_destroy(static_cast<Vcpu&>(object)); break;
        default: break;
    }
    return true;
}

// References that an object holds go before the object does: they are capabilities like all others.
Slot* held_reference(Slot& owner) {
    const auto first = [](Slot* slots, unsigned count) -> Slot* {
        for (unsigned i = 0; i < count; ++i) {
            if (!slots[i].empty()) return &slots[i];
        }
        return nullptr;
    };
    switch (owner.type()) {
        case Type::thread: return first(owner.object<Thread>().refs, Thread::kRefs);
        case Type::irq: return first(&owner.object<Irq>().ref, 1);
        case Type::vcpu: return first(owner.object<Vcpu>().refs, Vcpu::kRefs);
        default: return nullptr;
    }
}

}  // namespace

void lose(Slot& slot) {
    switch (slot.home()) {
        case Home::cspace:
        case Home::mapping: break;
        case Home::thread: lose_reference(slot); break;
        case Home::vcpu: guest_lose_reference(slot); break;
        case Home::irq: {
            auto& irq = Pool::holder<Irq>(&slot);
            machine::disable_irq(irq.intid);
            irq.note = nullptr;
            break;
        }
    }
    slot.clear();
}

Slot* first_mapping(Space& space) {
    Mapping* mapping = space.mappings.front();
    return mapping ? mapping->slot : nullptr;
}

Status unfinished() { return machine::dma_gave_up() ? Status{Error::timeout} : kAgain; }

bool unmap(Mapping& mapping) {
    Space& space = *mapping.space;
    unsigned steps = 0;
    while (mapping.done) {  // from the end, so that `done` stays the length of what is mapped
        mapping.done -= space.tables.unmap_step(mapping.at + (mapping.done - kPage));
        mapping.flushed = 0;
        if (++steps % kStepsBetweenChecks == 0 && should_pause()) break;
    }
    return space.flush(mapping.flushed) && mapping.done == 0;
}

bool destroy(Slot& leaf) {
    if (!leaf.owner()) {
        lose(leaf);
        return true;
    }
    while (Slot* held = held_reference(leaf)) lose(*held);
    if (leaf.type() == Type::mapping) {
        auto& mapping = leaf.object<Mapping>();
        if (!unmap(mapping)) return false;
        Queue<Mapping>::remove(mapping);
        leaf.clear();
        mapping.pool->free(&mapping, mapping.order);
        return true;
    }
    if (leaf.type() == Type::pool) {
        if (!in_steps([&] { return leaf.object<Pool>().wipe_step(); })) return false;
        leaf.clear();
        return true;
    }
    if (leaf.type() == Type::memory || leaf.type() == Type::system) {
        leaf.clear();
        return true;
    }
    // First nobody can use what it finds here, then nobody is still using what it found, then the object goes, in steps.
    Object& object = leaf.object<Object>();
    if (leaf.rights()) {
        leaf.disable();
        synchronize();
    }
    if (!dismantle(object)) return false;
    leaf.clear();
    object.pool->free(&object, object.order);
    return true;
}

}  // namespace twain::kernel
