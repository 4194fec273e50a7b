// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/derive.hpp"

#include "kernel/core/cpu.hpp"
#include "kernel/core/destroy.hpp"
#include "machine.hpp"

namespace twain::kernel {

Status look_derivable(const Slot& slot) {
    if (slot.dying()) return Error::dying;
    if (slot.depth() >= Slot::kMaxDepth) return Error::depth;
    // Memory that was given to the kernel, see memory::make_pool, is exclusive and has a pool as its child.
    if (slot.type() == Type::memory && slot.has_children() && slot.next()->type() == Type::pool) return Error::busy;
    return {};
}

Status derive(Slot& source, Slot& target, u8 rights, u64 badge) {
    if (const Status status = derivable(source); !status.ok()) return status;
    const Capability cap = source.peek();
    if (cap.type() == Type::mapping) return {Error::bad_type, 3};
    u64 head = cap.head & ~(u64{0xff} << 48);
    head |= u64{static_cast<u8>(cap.rights() & rights)} << 48;
    u64 word = cap.badge;
    if (cap.type() == Type::memory) {
        head &= ~Capability::kExclusive;
        if (badge) return {Error::bad_arg, 5};
    } else if (badge) {
        if ((cap.type() != Type::endpoint && cap.type() != Type::notification) || word) return {Error::bad_arg, 5};
        word = badge;
    }
    target.fill(&source, head, word, false);
    return {};
}

namespace {

constexpr unsigned kLongWay = 256;

// Goes down to something that nothing was derived from. Everything on the way is marked: it refuses to derive, so
// its children only get fewer, and, as depth is bounded, so does in the end all that is below it, whatever others do
// meanwhile. Every step leads from an older slot to a newer one (there is no move), so the way ends. nullptr: interrupted.
Slot* descend(Slot& from) {
    Slot* at = &from;
    for (unsigned steps = 1;; ++steps) {
        if (steps % kLongWay == 0 && machine::preemption_pending()) return nullptr;
        at->set_dying();
        if (at->has_children()) {
            at = at->next();
            continue;
        }
        Slot* inner = nullptr;
        if (at->owner() && at->type() == Type::cspace) {
            while (!at->object<CSpace>().first_used(inner)) {
                if (should_pause()) return nullptr;
            }
        } else if (at->owner() && at->type() == Type::space) {
            inner = first_mapping(at->object<Space>());
        }
        if (!inner) return at;
        at = inner;
    }
}

}  // namespace

bool revoke(Slot& slot, bool itself) {
    while (slot.has_children()) {
        Slot* const leaf = descend(*slot.next());
        if (!leaf || !destroy(*leaf)) return false;
        if (should_pause()) {
            if (slot.has_children()) return false;
        }
    }
    if (!itself) {
        slot.clear_dying();
        if (slot.owner() && slot.type() == Type::cspace) slot.object<CSpace>().rewind();  // a removal may have begun
        return true;
    }
    for (;;) {
        Slot* const leaf = descend(slot);
        if (!leaf || !destroy(*leaf)) return false;
        if (leaf == &slot) return true;
        if (should_pause()) return false;
    }
}

}  // namespace twain::kernel
