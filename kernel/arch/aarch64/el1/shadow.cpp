// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "shadow.hpp"

#include <new>

#include "asid.hpp"
#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/core/cpu.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kTableOrder = Pool::kOrders - 1;
constexpr u64 kValid = 1, kTable = 2, kAddress = 0x0000'ffff'ffff'f000;
constexpr u64 kFragments = u64{1} << 58;  // for software: a table below a block of the guest's
constexpr u64 kBlock = u64{1} << 21;
constexpr unsigned kTop = 511;            // index of the entry that leads to the kernel's image, levels 0 and 1
constexpr unsigned kImageFirst = 508;     // level 2: the image, the devices, up to the end

unsigned index(u64 at, unsigned level) { return static_cast<unsigned>(at >> (39 - 9 * level)) & 511; }
u64* table_of(u64 entry) { return static_cast<u64*>(machine::to_virt(Phys{entry & kAddress})); }
bool is_table(u64 entry) { return (entry & (kValid | kTable)) == (kValid | kTable); }
u64 physical(const u64* table) { return machine::to_phys(table).value; }
u64* allocate(Pool& pool) { return static_cast<u64*>(pool.allocate(kTableOrder)); }

bool upper(u64 at) { return at >> 55 & 1; }

void flush_page(u64 at) {
    dsb_ish();
    asm volatile("tlbi vaae1is, %0" ::"r"(at >> 12 & 0xfff'ffff'ffff) : "memory");
    dsb_ish();
}

// Frees what hangs below a level 0 or 1 table whose entries [0, end) are private; nothing walks it any more.
void free_below(Pool& pool, u64* table, unsigned level, unsigned end) {
    for (unsigned i = 0; i < end; ++i) {
        if (!is_table(table[i])) continue;
        u64* next = table_of(table[i]);
        for (unsigned j = 0; level < 2 && j < 512; ++j) {
            if (!is_table(next[j])) continue;
            u64* leaf = table_of(next[j]);
            for (unsigned k = 0; level < 1 && k < 512; ++k) {
                if (is_table(leaf[k])) pool.free(table_of(leaf[k]), kTableOrder);
            }
            pool.free(leaf, kTableOrder);
        }
        pool.free(next, kTableOrder);
    }
}

}  // namespace

Shadow* Shadow::of(Space& space) {
    if (space.shadow) return space.shadow;
    void* memory = space.pool->allocate(Pool::order_of<Shadow>());
    if (!memory) return nullptr;
    auto* shadow = new (memory) Shadow();
    shadow->views_ = reinterpret_cast<View*>(allocate(*space.pool));
    static_assert(sizeof(View) * abi::kShadowViews <= kPage);
    if (!shadow->views_) {
        space.pool->free(memory, Pool::order_of<Shadow>());
        return nullptr;
    }
    space.shadow = shadow;
    return shadow;
}

u64* Shadow::make_root(Pool& pool, u64 number, Half half) {
    if (roots_[number]) return halves_[number] == half ? roots_[number] : nullptr;
    u64* root = allocate(pool);
    if (!root) return nullptr;
    if (half == Half::upper) {
        u64* middle = allocate(pool);
        u64* image = middle ? allocate(pool) : nullptr;
        if (!image) {
            if (middle) pool.free(middle, kTableOrder);
            pool.free(root, kTableOrder);
            return nullptr;
        }
        const u64* kernel = static_cast<const u64*>(machine::to_virt(Phys{Regime::roots().kernel}));
        const u64* kernel_image = table_of(table_of(kernel[kTop])[kTop]);
        for (unsigned i = kImageFirst; i < 512; ++i) image[i] = kernel_image[i];
        middle[kTop] = physical(image) | kTable | kValid;
        root[kTop] = physical(middle) | kTable | kValid;
    }
    roots_[number] = root;
    halves_[number] = half;
    dsb_ish();
    return root;
}

void Shadow::clear_root(Pool& pool, u64 number) {
    u64* root = roots_[number];
    if (!root) return;
    const bool high = halves_[number] == Half::upper;
    u64* middle = high ? table_of(root[kTop]) : nullptr;
    u64* tables[] = {root, middle, high ? table_of(middle[kTop]) : nullptr};
    const unsigned ends[] = {high ? kTop : 512, kTop, kImageFirst};
    const unsigned levels = high ? 3 : 1;
    // First nothing leads to the tables below any more, then no walk remembers them, then they are freed.
    for (unsigned level = 0; level < levels; ++level) {
        for (unsigned i = 0; i < ends[level]; ++i) {
            __atomic_store_n(&tables[level][i], tables[level][i] & ~kValid, __ATOMIC_RELAXED);
        }
    }
    machine::flush_all();
    for (unsigned level = 0; level < levels; ++level) {
        for (unsigned i = 0; i < ends[level]; ++i) {
            if (!tables[level][i]) continue;
            u64 detached = tables[level][i] | kValid;
            tables[level][i] = 0;
            free_below(pool, &detached, level, 1);
        }
    }
}

Status Shadow::fill(Space& space, const abi::ShadowFill& request) {
    const u64 at = request.at & ~(kPage - 1), number = request.at & (kPage - 1);
    const u64 to = request.to & kAddress, bits = request.to & (kPage - 1);
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    const u64 top = at >> 48;
    if (top != 0 && top != 0xffff) return {Error::bad_arg, 2};
    if (at >= layout::kImage) return {Error::bad_arg, 2};  // the kernel's hole
    u64 available = 0;
    const u64 memory = space.tables.find(Virt{to}, available);
    if (!memory || !(memory & TableFormat::kUser) || (memory & 0x1c) != 0) return {Error::bad_arg, 2};
    if ((bits & abi::kFillWrite) && (memory & TableFormat::kReadOnly)) return {Error::rights, 2};
    if ((bits & abi::kFillExecute) && (memory & TableFormat::kUserNoExecute)) return {Error::rights, 2};
    Pool& pool = *space.pool;
    u64* table = make_root(pool, number, upper(at) ? Half::upper : Half::lower);
    if (!table) return roots_[number] ? Status{Error::bad_arg, 2} : Status{Error::no_memory, 2};

    const u64 attributes = TableFormat::leaf(static_cast<u8>(bits & 7), false);
    const bool block = (bits & abi::kFillBlock) && available >= kBlock && ((at ^ to) & (kBlock - 1)) == 0;
    for (unsigned level = 0;; ++level) {
        u64& entry = table[index(at, level)];
        if (level == 3 || (level == 2 && block && !is_table(entry))) {
            const u64 size = level == 3 ? kPage : kBlock;
            const u64 phys = (memory & kAddress) & ~(size - 1);
            const u64 value = phys | attributes | (level == 3 ? kTable : 0) | kValid;
            if (entry == value) return {};
            if (entry & kValid) {  // break before make
                machine::write_descriptor(entry, 0);
                flush_page(at);
            }
            machine::write_descriptor(entry, value);
            return {};
        }
        if (!is_table(entry)) {
            u64* fresh = allocate(pool);
            if (!fresh) return {Error::no_memory, 2};
            if (entry & kValid) {
                machine::write_descriptor(entry, 0);
                flush_page(at);
            }
            machine::write_descriptor(entry, physical(fresh) | kTable | kValid);
        }
        if (level == 2 && (bits & abi::kFillFragment)) entry |= kFragments;
        table = table_of(entry);
    }
}

Status Shadow::view(Space& space, u64 number, u64 lower, u64 upper) {
    if (number >= abi::kShadowViews) return {Error::bad_arg, 2};
    if (lower == 0 || lower >= abi::kShadowRoots) return {Error::bad_arg, 3};
    if (upper >= abi::kShadowRoots) return {Error::bad_arg, 4};
    const u64* low = make_root(*space.pool, lower, Half::lower);
    if (!low) return roots_[lower] ? Status{Error::bad_arg, 3} : Status{Error::no_memory, 3};
    const u64* high = upper ? make_root(*space.pool, upper, Half::upper) : nullptr;
    if (upper && !high) return roots_[upper] ? Status{Error::bad_arg, 4} : Status{Error::no_memory, 4};
    View& view = views_[number];
    view.generation = 0;  // another ASID
    view.base = 0;
    view.lower = physical(low);
    __atomic_store_n(&view.upper, high ? physical(high) : Regime::roots().kernel, __ATOMIC_RELEASE);
    return {};
}

bool Shadow::activate(Cpu& cpu, u32 number, Entry& entry) {
    if (number >= abi::kShadowViews || !views_[number].upper) return false;
    View& view = views_[number];
    if (view.generation != cpu.generation) machine::renew_asid(view.base, view.generation, view.lower);
    __atomic_store_n(&cpu.translation, view.base, __ATOMIC_RELAXED);
    entry.lower = view.base & Regime::UserTable::kTable;
    entry.upper = view.upper | (view.base & ~Regime::UserTable::kTable);
    return true;
}

Status Shadow::drop(Space& space, u64 number, u64 at, u64 bytes) {
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    u64* root = roots_[number];
    if (!root) return {};
    constexpr u64 kSeveral = 64 * kPage;
    if (bytes == 0 || bytes > kSeveral) {
        clear_root(*space.pool, number);
        return {};
    }
    at &= ~(kPage - 1);
    if (upper(at) != (halves_[number] == Half::upper)) return {};
    u64* freed = nullptr;
    for (const u64 end = at + bytes; at < end && at < layout::kImage; at += kPage) {
        u64* table = root;
        for (unsigned level = 0;; ++level) {
            u64& entry = table[index(at, level)];
            if (!(entry & kValid)) break;
            if (level == 3 || !is_table(entry)) {
                machine::write_descriptor(entry, 0);
                flush_page(at);
                break;
            }
            if (level == 2 && (entry & kFragments)) {
                freed = table_of(entry);
                machine::write_descriptor(entry, 0);
                machine::flush_all();
                space.pool->free(freed, kTableOrder);
                break;
            }
            table = table_of(entry);
        }
    }
    return {};
}

void Shadow::drop_all(Pool& pool) {
    for (u64 number = 1; number < abi::kShadowRoots; ++number) clear_root(pool, number);
}

void Shadow::free_all(Pool& pool) {
    drop_all(pool);
    for (u64 number = 1; number < abi::kShadowRoots; ++number) {
        u64* root = roots_[number];
        if (!root) continue;
        if (halves_[number] == Half::upper) {
            u64* middle = table_of(root[kTop]);
            pool.free(table_of(middle[kTop]), kTableOrder);
            pool.free(middle, kTableOrder);
        }
        pool.free(root, kTableOrder);
    }
    pool.free(views_, kTableOrder);
    pool.free(this, Pool::order_of<Shadow>());
}

namespace machine {

void drop_shadows(Space& space) {
    if (space.shadow) space.shadow->drop_all(*space.pool);
}

void free_shadows(Space& space) {
    if (space.shadow) space.shadow->free_all(*space.pool);
    space.shadow = nullptr;
}

}  // namespace machine

}  // namespace twain::kernel
