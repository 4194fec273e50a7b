// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Translation tables of three levels: 39-bit addresses, 4K granule (Arm ARM D8.2).
//
//   38      30 29      21 20      12 11       0
//  +----------+----------+----------+----------+
//  |  level 1 |  level 2 |  level 3 |  offset  |     1 GiB, 2 MiB and 4 KiB descriptors
//  +----------+----------+----------+----------+
//
// The attribute bits are the caller's; the walker is the same for every regime. Where a format has kTopLevel, the
// processor wants a level 0 above this, whose first entry leads here. A valid descriptor is never
// replaced by another valid one, so break-before-make holds by construction: map refuses, unmap clears.
#pragma once

#include "kernel/core/pool.hpp"
#include "machine.hpp"

namespace twain::kernel {

template <typename Format>
class PageTable {
public:
    using Entry = u64;
    static constexpr unsigned kEntries = 512;
    static constexpr u64 kValid = 1, kTable = 2, kAddress = 0x0000'ffff'ffff'f000;

    struct Step {
        Error error = Error::none;
        u64 bytes = 0;  // how far this step got
    };

    bool init(Pool& pool) {
        root_ = static_cast<Entry*>(pool.allocate(kTableOrder));
        if constexpr (kTop) {
            top_ = static_cast<Entry*>(root_ ? pool.allocate(kTableOrder) : nullptr);
            if (!top_) {
                if (root_) pool.free(root_, kTableOrder);
                root_ = nullptr;
                return false;
            }
            top_[0] = machine::to_phys(root_).value | kTable | kValid;
        }
        return root_ != nullptr;
    }
    // From now on no table goes before all do, so who reads them need not be told when one is given back.
    void keep_tables() { kept_ = true; }
    Phys level1() const { return machine::to_phys(root_); }
    Phys root() const { return machine::to_phys(kTop ? top_ : root_); }

    // Writes one descriptor, the largest that alignment and length allow. All 4K multiples.
    [[gnu::always_inline]] Step map_step(Pool& pool, Virt at, Phys to, u64 bytes, u64 attributes) {
        const u64 leaf = to.value | attributes | kValid;
        const unsigned first = level_for(at.value | to.value, bytes);
        Entry* table = root_;
#pragma GCC unroll 2
        for (unsigned level = 1; level < 3; ++level) {
            Entry& entry = table[index(at, shift_of(level))];
            if (level >= first && (!(entry & kValid) || (is_table(entry) && drop_empty(pool, entry)))) {
                machine::write_descriptor(entry, leaf);
                return {Error::none, size_of(level)};
            }
            // Further down: smaller descriptors, or what is in the way.
            if (!is_table(entry)) {
                if (entry & kValid) return {Error::occupied, 0};
                void* fresh = pool.allocate(kTableOrder);
                if (!fresh) return {Error::no_memory, 0};
                machine::write_descriptor(entry, machine::to_phys(fresh).value | kTable | kValid);
            }
            table = table_of(entry);
        }
        Entry& entry = table[index(at, shift_of(3))];
        if (entry & kValid) return {Error::occupied, 0};
        machine::write_descriptor(entry, leaf | kTable);
        return {Error::none, kPage};
    }

    // Clears the descriptor that maps `at`; how many bytes it mapped.
    u64 unmap_step(Virt at) {
        return visit(at, [](Entry& entry) { machine::write_descriptor(entry, 0); });
    }

    // Changes rights in place: only permission bits differ, which needs no break-before-make (D8.16.1).
    u64 protect_step(Virt at, u64 attributes) {
        return visit(at, [&](Entry& entry) {
            machine::write_descriptor(entry, (entry & kAddress) | attributes | (entry & kTable) | kValid);
        });
    }

    // The descriptor of the page at `at` as if it were mapped alone, and how many bytes around it its own descriptor
    // maps; 0: nothing is mapped there.
    Entry find(Virt at, u64& size) const {
        Entry found = 0;
        if (at.value >> 39) return 0;
        size = visit(at, [&](const Entry& entry) { found = entry; });
        return found ? found | (at.value & (size - 1) & kAddress) : 0;
    }

    // Gives tables back, one at most; true when none is left. Nothing may use them any more.
    bool free_step(Pool& pool) {
        for (unsigned looked = 0; looked < kLooked; ++looked) {
            const unsigned upper = freed_ / kEntries, lower = freed_ % kEntries;
            if (!root_ || upper == kEntries) {
                if (root_) pool.free(root_, kTableOrder);
                if (top_) pool.free(top_, kTableOrder);
                root_ = top_ = nullptr;
                return true;
            }
            if (!is_table(root_[upper])) {
                freed_ += kEntries;
                continue;
            }
            Entry* middle = table_of(root_[upper]);
            const Entry entry = middle[lower];
            middle[lower] = 0;
            if (is_table(entry)) pool.free(table_of(entry), kTableOrder);
            if (++freed_ % kEntries == 0) {
                root_[upper] = 0;
                pool.free(middle, kTableOrder);
            }
            if (is_table(entry)) return false;
        }
        return false;
    }

private:
    static constexpr unsigned kTableOrder = Pool::kOrders - 1;
    static constexpr unsigned kLooked = 96;  // entries of a table that free_step() looks at
    static constexpr bool kTop = requires { Format::kTopLevel; };
    static constexpr unsigned shift_of(unsigned level) { return 39 - 9 * level; }
    static constexpr u64 size_of(unsigned level) { return u64{1} << shift_of(level); }
    // The first level at which one descriptor may map so much; `addresses`: all bits of the two.
    static unsigned level_for(u64 addresses, u64 bytes) {
        const auto may = [&](unsigned level) { return !(addresses & (size_of(level) - 1)) && bytes >= size_of(level); };
        return !may(2) ? 3 : !may(1) ? 2 : 1;
    }
    static unsigned index(Virt at, unsigned shift) { return static_cast<unsigned>(at.value >> shift) & (kEntries - 1); }
    static Entry* table_of(Entry entry) { return static_cast<Entry*>(machine::to_virt(Phys{entry & kAddress})); }
    static bool is_table(Entry entry) { return (entry & (kValid | kTable)) == (kValid | kTable); }

    template <typename Change>
    u64 visit(Virt at, Change change) const {
        Entry* table = root_;
        for (unsigned level = 1;; ++level) {
            const unsigned shift = shift_of(level);
            const u64 size = u64{1} << shift;
            Entry& entry = table[index(at, shift)];
            if (level < 3 && is_table(entry)) {
                table = table_of(entry);
                continue;
            }
            if (entry & kValid) change(entry);
            return size;
        }
    }

    // A table in which nothing is mapped may make way for a block.
    [[gnu::noinline]] bool drop_empty(Pool& pool, Entry& entry) {
        if (kept_) return false;
        Entry* table = table_of(entry);
        for (unsigned i = 0; i < kEntries; ++i) {
            if (table[i] & kValid) return false;
        }
        machine::write_descriptor(entry, 0);
        machine::flush_walks();
        pool.free(table, kTableOrder);
        return true;
    }

    Entry* root_;
    Entry* top_;
    u32 freed_;  // how far free_step() has got, in entries of the second level
    bool kept_;
};

}  // namespace twain::kernel
