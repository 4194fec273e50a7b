// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Which virtual interrupts of a vCPU sit in the list registers, which wait, and which are over.
//
// Entry i < 64 is one that the VMM posts (abi::VcpuPage::virq); entry 64 is the virtual timer, whose physical
// interrupt the guest ends by itself (HW bit). List registers: Arm IHI 0069, ICH_LR<n>_EL2:
//
//   63 62  61 60  59  56 55   48 47   45 44        32 31           0
//   state  HW grp  res0  prio     res0   physical     virtual INTID      HW = 0: [41] EOI maintenance
//
// Lists is the access to the registers: count(), read(i), write(i, value), empty() (bitmap of those that the guest
// has finished with: ICH_ELRSR_EL2, and ICH_EISR_EL2 where EOI maintenance was asked for), sender(word) (who sent an
// SGI, as bits of the physical INTID: version 2 tells the guest).
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

class VirqPlan {
public:
    static constexpr unsigned kEntries = abi::kVirqs + 1, kTimer = abi::kVirqs, kMaxLists = 16;
    static constexpr u8 kNone = 0xff;
    static constexpr u64 kPending = u64{1} << 62, kActive = u64{2} << 62, kStates = u64{3} << 62;
    static constexpr u64 kHw = u64{1} << 61, kGroup1 = u64{1} << 60, kEoi = u64{1} << 41;

    void init() {
        for (u8& owner : owner_) owner = kNone;
    }

    bool any_listed() const { return used_ != 0; }
    bool any_waiting() const { return waiting_ != 0 || timer_waiting_; }
    u64 used() const { return used_; }

    // The VMM makes entry i pending (again). A word without a meaning is dropped at once. A list register always asks for
    // maintenance as words_ does: collect() clears no other, and one that is left over would interrupt for ever.
    template <typename Lists>
    void post(Lists& lists, unsigned i, u32 word) {
        const u32 intid = word & 0xffff;
        if (intid >= 1020) {
            retired_ |= u64{1} << i;
            return;
        }
        words_[i] = word;
        const u8 list = list_of(i);
        if (list != kNone) {
            const u64 value = lists.read(list);
            if (value & kStates) {
                lists.write(list, (value & ~kEoi) | kPending | eoi(word));
                return;
            }
            free_list(list);
        }
        waiting_ |= u64{1} << i;
    }

    // Takes back entry i unless the guest is handling it.
    template <typename Lists>
    void recall(Lists& lists, unsigned i) {
        const u64 bit = u64{1} << i;
        const u8 list = list_of(i);
        if (list != kNone) {
            const u64 value = lists.read(list);
            if (value & kActive) {
                lists.write(list, value & ~kPending);
                return;
            }
            lists.write(list, 0);
            free_list(list);
        }
        waiting_ &= ~bit;
        retired_ |= bit;
    }

    // The virtual timer's physical interrupt has come (and is active).
    void raise_timer() { timer_waiting_ = list_of(kTimer) == kNone; }
    bool timer_in_flight() const { return timer_waiting_ || list_of(kTimer) != kNone; }

    // Looks which list registers the guest has finished with.
    template <typename Lists>
    void collect(Lists& lists) {
        for (u64 done = lists.empty() & used_; done; done &= done - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(done));
            const u8 entry = owner_[list];
            free_list(static_cast<u8>(list));
            if (entry != kTimer) {
                retired_ |= u64{1} << entry;
                if (words_[entry] & abi::kVirqNotify) {
                    notify_ = true;
                    lists.write(list, 0);  // ends its maintenance interrupt
                }
            }
        }
    }

    // Moves waiting entries into list registers, most urgent first; one that is only pending makes way for a more
    // urgent one. Returns true if something has to wait on: then an underflow maintenance interrupt is wanted.
    template <typename Lists>
    bool fill(Lists& lists, u8 timer_priority) {
        u64 equals = 0;  // waiting entries that are as urgent as the most urgent one: they need no further search
        while (any_waiting()) {
            const unsigned entry =
                equals ? static_cast<unsigned>(__builtin_ctzll(equals)) : most_urgent(timer_priority, equals);
            u8 list = free_slot(lists.count());
            if (list == kNone) list = evict(lists, priority(entry, timer_priority));
            if (list == kNone) return true;
            lists.write(list, list_value(lists, entry, timer_priority));
            owner_[list] = static_cast<u8>(entry);
            used_ |= u64{1} << list;
            if (entry == kTimer) {
                timer_waiting_ = false;
            } else {
                waiting_ &= ~(u64{1} << entry);
                equals &= ~(u64{1} << entry);
            }
        }
        return false;
    }

    // What the VMM is told; each is given out once.
    u64 take_retired() {
        const u64 bits = retired_;
        retired_ = 0;
        return bits;
    }
    bool take_notify() {
        const bool notify = notify_;
        notify_ = false;
        return notify;
    }

    template <typename Lists>
    void picture(Lists& lists, u64& pending, u64& active) const {
        pending = waiting_;
        active = 0;
        for (u64 each = used_; each; each &= each - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
            if (owner_[list] == kTimer) continue;
            const u64 value = lists.read(list);
            if (value & kPending) pending |= u64{1} << owner_[list];
            if (value & kActive) active |= u64{1} << owner_[list];
        }
    }

    // Is anything pending that should end a WFI?
    template <typename Lists>
    bool wakes(Lists& lists) const {
        if (any_waiting()) return true;
        for (u64 each = used_; each; each &= each - 1) {
            if (lists.read(static_cast<unsigned>(__builtin_ctzll(each))) & kPending) return true;
        }
        return false;
    }

private:
    u8 list_of(unsigned entry) const {
        for (u64 each = used_; each; each &= each - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
            if (owner_[list] == entry) return static_cast<u8>(list);
        }
        return kNone;
    }
    void free_list(u8 list) {
        used_ &= ~(u64{1} << list);
        owner_[list] = kNone;
    }
    u8 free_slot(unsigned count) const {
        const u64 free = ~used_ & ((u64{1} << count) - 1);
        return free ? static_cast<u8>(__builtin_ctzll(free)) : kNone;
    }
    u8 priority(unsigned entry, u8 timer_priority) const {
        return entry == kTimer ? timer_priority : static_cast<u8>(words_[entry] >> 16);
    }
    unsigned most_urgent(u8 timer_priority, u64& equals) const {
        unsigned best = timer_waiting_ ? kTimer : kNone;
        u32 least = timer_waiting_ ? timer_priority : 0x100;
        equals = 0;
        for (u64 each = waiting_; each; each &= each - 1) {
            const unsigned entry = static_cast<unsigned>(__builtin_ctzll(each));
            const u32 own = words_[entry] >> 16 & 0xff;
            if (own > least) continue;
            if (own < least) {
                best = entry;
                equals = 0;
            }
            least = own;
            equals |= u64{1} << entry;
        }
        return best;
    }
    static u64 eoi(u32 word) { return word & abi::kVirqNotify ? kEoi : 0; }
    template <typename Lists>
    u64 list_value(const Lists& lists, unsigned entry, u8 timer_priority) const {
        const u64 value = kPending | kGroup1 | u64{priority(entry, timer_priority)} << 48;
        if (entry == kTimer) return value | kHw | kTimerIntid << 32 | kTimerIntid;
        const u32 word = words_[entry];
        return value | eoi(word) | lists.sender(word) << 32 | (word & 0xffff);
    }
    // The least urgent register that is only pending goes back to waiting, if it is less urgent than `than`.
    template <typename Lists>
    u8 evict(Lists& lists, u8 than) {
        u8 worst = kNone;
        u8 worst_priority = than;
        for (u64 each = used_; each; each &= each - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
            const u64 value = lists.read(list);
            const u8 urgency = static_cast<u8>(value >> 48);
            if ((value & kStates) != kPending || urgency <= worst_priority) continue;
            worst = static_cast<u8>(list);
            worst_priority = urgency;
        }
        if (worst == kNone) return kNone;
        const u8 entry = owner_[worst];
        lists.write(worst, 0);
        free_list(worst);
        if (entry == kTimer) {
            timer_waiting_ = true;
        } else {
            waiting_ |= u64{1} << entry;
        }
        return worst;
    }

    static constexpr u64 kTimerIntid = 27;
    u64 waiting_ = 0;
    u64 retired_ = 0;
    u64 used_ = 0;
    bool timer_waiting_ = false;
    bool notify_ = false;
    u8 owner_[kMaxLists] = {};
    u32 words_[abi::kVirqs] = {};
};

}  // namespace twain::kernel
