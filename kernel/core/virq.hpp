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
    static constexpr u64 kPending = u64{1} << 62, kActive = u64{2} << 62, kStates = u64{3} << 62;
    static constexpr u64 kHw = u64{1} << 61, kGroup1 = u64{1} << 60, kEoi = u64{1} << 41;

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
        if (listed(i)) {
            const unsigned list = list_of(i);
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
        if (listed(i)) {
            const unsigned list = list_of(i);
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
    void raise_timer() { timer_waiting_ = !listed(kTimer); }
    bool timer_in_flight() const { return timer_waiting_ || listed(kTimer); }

    // Looks which list registers the guest has finished with.
    template <typename Lists>
    void collect(Lists& lists) {
        for (u64 done = lists.empty() & used_; done; done &= done - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(done));
            const unsigned entry = owner_[list];
            free_list(list);
            if (entry != kTimer) {
                retired_ |= u64{1} << entry;
                if (words_[entry] & abi::kVirqNotify) {
                    notify_ = true;
                    lists.write(list, 0);  // ends its maintenance interrupt
                }
            }
        }
    }

    // Moves waiting entries into list registers. If not all fit, the most urgent go first, and registers that are only
    // pending make way for more urgent entries. Returns true if something has to wait on: then an underflow maintenance
    // interrupt is wanted. However many wait, each entry and each register is looked at once.
    template <typename Lists>
    bool fill(Lists& lists, u8 timer_priority) {
        u64 free = ~used_ & ((u64{1} << lists.count()) - 1);
        if (!fit(free)) [[unlikely]] {
            choose(lists, free, timer_priority);
            return true;
        }
        if (timer_waiting_) put(lists, free, kTimer, timer_priority);
        while (waiting_) put(lists, free, static_cast<unsigned>(__builtin_ctzll(waiting_)), timer_priority);
        return false;
    }

    // What the VMM is told; each is given out once.
    u64 take_retired() {
        const u64 bits = retired_;
        retired_ = 0;
        return bits;
    }
    bool must_notify() const { return notify_; }
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
    // Entries by urgency: five bits of priority, as every implementation has them.
    class Levels {
    public:
        static constexpr unsigned kCount = 32;
        unsigned first() const { return used_ ? static_cast<unsigned>(__builtin_ctz(used_)) : kCount; }
        void add(unsigned entry, unsigned level) {
            if (!(used_ >> level & 1)) entries_[level] = 0;
            used_ |= 1u << level;
            entries_[level] |= u64{1} << entry;  // NOLINT(clang-analyzer-*): no entry that waits is kTimer
        }
        unsigned take_first() {
            u64& entries = entries_[first()];
            const unsigned entry = static_cast<unsigned>(__builtin_ctzll(entries));
            entries &= entries - 1;
            if (!entries) used_ &= used_ - 1;
            return entry;
        }

    private:
        u32 used_ = 0;         // levels that have entries
        u64 entries_[kCount];  // of those
    };

    bool listed(unsigned entry) const { return place_[entry] != 0; }
    unsigned list_of(unsigned entry) const { return place_[entry] - 1u; }
    void free_list(unsigned list) {
        used_ &= ~(u64{1} << list);
        place_[owner_[list]] = 0;
    }
    bool fit(u64 free) const {
        if (timer_waiting_ && !free) return false;
        if (timer_waiting_) free &= free - 1;
        u64 left = waiting_;
        for (; left && free; left &= left - 1) free &= free - 1;
        return !left;
    }
    u8 priority(unsigned entry, u8 timer_priority) const {
        return entry == kTimer ? timer_priority : static_cast<u8>(words_[entry] >> 16);
    }
    unsigned level(unsigned entry, u8 timer_priority) const { return priority(entry, timer_priority) >> 3; }

    // A waiting entry into the first of the free registers.
    template <typename Lists>
    void put(Lists& lists, u64& free, unsigned entry, u8 timer_priority) {
        const unsigned list = static_cast<unsigned>(__builtin_ctzll(free));
        free &= free - 1;
        lists.write(list, list_value(lists, entry, timer_priority));
        owner_[list] = static_cast<u8>(entry);
        place_[entry] = static_cast<u8>(list + 1);
        used_ |= u64{1} << list;
        if (entry == kTimer) {
            timer_waiting_ = false;
        } else {
            waiting_ &= ~(u64{1} << entry);
        }
    }

    // More wait than registers are free. The timer is no less urgent than what is as urgent.
    template <typename Lists>
    [[gnu::noinline]] void choose(Lists& lists, u64 free, u8 timer_priority) {
        Levels levels;
        for (u64 each = waiting_; each; each &= each - 1) {
            const unsigned entry = static_cast<unsigned>(__builtin_ctzll(each));
            levels.add(entry, level(entry, timer_priority));
        }
        unsigned best = levels.first();
        if (timer_waiting_ && level(kTimer, timer_priority) < best) best = level(kTimer, timer_priority);
        for (u64 each = used_; each; each &= each - 1) {
            const unsigned list = static_cast<unsigned>(__builtin_ctzll(each));
            const unsigned entry = owner_[list];
            if (level(entry, timer_priority) <= best || (lists.read(list) & kStates) != kPending) continue;
            free_list(list);  // what it holds is overwritten below
            free |= u64{1} << list;
            if (entry == kTimer) {
                timer_waiting_ = true;
            } else {
                waiting_ |= u64{1} << entry;
                levels.add(entry, level(entry, timer_priority));
            }
        }
        while (free) {
            const bool timer = timer_waiting_ && level(kTimer, timer_priority) <= levels.first();
            put(lists, free, timer ? kTimer : levels.take_first(), timer_priority);
        }
    }
    static u64 eoi(u32 word) { return word & abi::kVirqNotify ? kEoi : 0; }
    template <typename Lists>
    u64 list_value(const Lists& lists, unsigned entry, u8 timer_priority) const {
        const u64 value = kPending | kGroup1 | u64{priority(entry, timer_priority)} << 48;
        if (entry == kTimer) return value | kHw | kTimerIntid << 32 | kTimerIntid;
        const u32 word = words_[entry];
        return value | eoi(word) | lists.sender(word) << 32 | (word & 0xffff);
    }

    static constexpr u64 kTimerIntid = 27;
    u64 waiting_ = 0;
    u64 retired_ = 0;
    u64 used_ = 0;
    bool timer_waiting_ = false;
    bool notify_ = false;
    u8 owner_[kMaxLists] = {};  // of the registers in use
    u8 place_[kEntries] = {};   // register plus 1
    u32 words_[abi::kVirqs] = {};
};

}  // namespace twain::kernel
