// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A capability slot and its place in the derivation tree.
//
//   head  63  type  56 55 rights 48 47            object or physical base            0
//   badge             endpoint, notification: badge; memory: bytes
//   next  63  flags 56 55 depth  48 47            next slot in tree order            0
//   prev  63       zero          48 47            previous slot                      0
//
// The tree is kept as the list of its pre-order walk with a depth for each node: what was derived from a slot
// follows it, deeper. Presence, type and rights are one masked compare of `head`, so a look-up needs no lock.
#pragma once

#include "kernel/core/object.hpp"
#include "machine.hpp"

namespace twain::kernel {

using abi::Type;

// Where a slot lies: in a capability space, or embedded in an object that holds the reference.
enum class Home : u8 { cspace = 0, thread = 1, vcpu = 2, irq = 3, mapping = 4 };

// What a look-up yields: a copy of the slot's first two words.
struct Capability {
    u64 head = 0;
    u64 badge = 0;

    static constexpr u64 kAddressMask = (u64{1} << 48) - 1;
    Type type() const { return static_cast<Type>(head >> 56); }
    u8 rights() const { return static_cast<u8>(head >> 48); }
    bool has(Type type, u8 rights) const {
        const u64 want = u64{static_cast<u8>(type)} << 56 | u64{rights} << 48;
        return (head & (u64{0xff} << 56 | u64{rights} << 48)) == want;
    }
    // Why it is not of the type, or has not the rights.
    Status lacks(Type wanted) const {
        return {!head ? Error::bad_slot : type() == wanted ? Error::rights : Error::bad_type, 0};
    }
    Status need(u8 wanted) const { return (rights() & wanted) == wanted ? Status{} : Status{Error::rights, 0}; }
    template <typename T>
    T& object() const {
        return *reinterpret_cast<T*>((head & kAddressMask) | machine::kPointerUpper);
    }
    // Memory
    static constexpr u64 kExclusive = 1, kDevice = 2;
    Phys base() const { return {head & kAddressMask & ~(kPage - 1)}; }
    u64 bytes() const { return badge; }
    bool exclusive() const { return head & kExclusive; }
    bool device() const { return head & kDevice; }
};

class Slot {
public:
    static constexpr unsigned kMaxDepth = 200;

    Capability load() const {
        // The head is read twice: a badge between two equal heads belongs to that head.
        for (;;) {
            const u64 head = __atomic_load_n(&head_, __ATOMIC_ACQUIRE);
            const u64 badge = __atomic_load_n(&badge_, __ATOMIC_ACQUIRE);
            if (head == __atomic_load_n(&head_, __ATOMIC_RELAXED)) return {head, badge};
        }
    }
    Type glance() const { return static_cast<Type>(__atomic_load_n(&head_, __ATOMIC_RELAXED) >> 56); }
    Capability peek() const { return {head_, badge_}; }  // under the structure lock
    bool empty() const { return head_ == 0; }
    Type type() const { return static_cast<Type>(head_ >> 56); }
    u8 rights() const { return static_cast<u8>(head_ >> 48); }
    u64 badge() const { return badge_; }
    template <typename T>
    T& object() const {
        return Capability{head_, badge_}.object<T>();
    }

    bool owner() const { return flags() & kOwner; }
    bool dying() const { return flags() & kDying; }
    Home home() const { return static_cast<Home>(flags() >> 2 & 7); }
    unsigned depth() const { return static_cast<u8>(next_ >> 48); }
    // Nothing may be derived from it: it is dying, or too deep. One look at both, which lie side by side.
    bool barren() const { return (next_ >> 48 & (kDying << 8 | 0xff)) >= kMaxDepth; }
    Slot* next() const { return pointer(next_); }
    Slot* prev() const { return pointer(prev_); }
    bool has_children() const {
        const Slot* after = next();
        return after && after->depth() > depth();
    }

    void set_dying() { next_ |= u64{kDying} << 56; }
    void clear_dying() { next_ &= ~(u64{kDying} << 56); }
    void set_home(Home home) { next_ |= u64{static_cast<u8>(home)} << 58; }

    static u64 object_head(Type type, u8 rights, const void* object) {
        return u64{static_cast<u8>(type)} << 56 | u64{rights} << 48 |
               (reinterpret_cast<u64>(object) & Capability::kAddressMask);
    }
    static u64 memory_head(u8 rights, Phys base, u64 flags) {
        return u64{static_cast<u8>(Type::memory)} << 56 | u64{rights} << 48 | base.value | flags;
    }

    // Fills an empty slot as a child of `parent` (nullptr: as a root). `owner`: the object dies with this slot.
    void fill(Slot* parent, u64 head, u64 badge, bool owner);

    // A memory capability that is being split: same place in the tree, fewer bytes.
    void shrink(u64 bytes) { __atomic_store_n(&badge_, bytes, __ATOMIC_RELEASE); }
    // The sibling that a split makes, right behind `this` and as deep.
    void fill_sibling(Slot& fresh, u64 head, u64 badge);

    // Nobody can use the object any more, though it still has its place in the tree.
    void disable() { __atomic_store_n(&head_, head_ & ~(u64{0xff} << 48), __ATOMIC_RELEASE); }

    // Takes the slot out of the tree and empties it; home and place remain. The badge too, until the next one: load() must
    // not find a third one between two equal heads.
    void clear();

private:
    static constexpr u8 kDying = 1, kOwner = 2;
    static constexpr u64 kHomeBits = u64{7} << 58;
    u8 flags() const { return static_cast<u8>(next_ >> 56); }
    static Slot* pointer(u64 word) {
        const u64 low = word & Capability::kAddressMask;
        return low ? reinterpret_cast<Slot*>(low | machine::kPointerUpper) : nullptr;
    }
    static u64 packed(const Slot* slot) { return reinterpret_cast<u64>(slot) & Capability::kAddressMask; }
    void link(Slot* before, Slot* after, unsigned depth, bool owner);

    u64 head_ = 0;
    u64 badge_ = 0;
    u64 next_ = 0;
    u64 prev_ = 0;
};
static_assert(sizeof(Slot) == 32);

}  // namespace twain::kernel
