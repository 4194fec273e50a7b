// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "shadow.hpp"

#include <new>

#include "asid.hpp"
#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/arch/aarch64/offsets.inc"
#include "kernel/core/cpu.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kTableOrder = Pool::kOrders - 1;
constexpr u64 kValid = 1, kTable = 2, kAddress = 0x0000'ffff'ffff'f000;
constexpr u64 kFragments = u64{1} << 58;  // for software: a table below a block of the guest's
constexpr u64 kBlock = u64{1} << 21;
constexpr unsigned kTop = 511;         // index of the entry that leads to the kernel's image, levels 0 and 1
constexpr unsigned kImageFirst = 508;  // level 2: the image, the devices, up to the end

unsigned index(u64 at, unsigned level) { return static_cast<unsigned>(at >> (39 - 9 * level)) & 511; }
u64* table_of(u64 entry) { return static_cast<u64*>(machine::to_virt(Phys{entry & kAddress})); }
bool is_table(u64 entry) { return (entry & (kValid | kTable)) == (kValid | kTable); }
u64 physical(const u64* table) { return machine::to_phys(table).value; }

bool upper(u64 at) { return at >> 55 & 1; }

// Which of its 8 groups of 64 entries a table has in use, so that the others need not be looked at: for that of a root in
// Shadow::groups_, for others in the descriptor that leads to them, where hardware ignores the bits (Arm ARM D8.3.1).
constexpr unsigned kGroup = 64, kGroupShift = 4;
constexpr u64 kGroups = u64{0xff} << kGroupShift;
u8 groups_of(u64 entry) { return static_cast<u8>(entry >> kGroupShift); }

template <typename Visit>
void for_each_used(u64* table, u8 groups, unsigned end, Visit visit) {
    for (unsigned left = groups; left; left &= left - 1) {
        const unsigned first = static_cast<unsigned>(__builtin_ctz(left)) * kGroup;
        for (unsigned i = first; i < first + kGroup && i < end; ++i) {
            if (table[i]) visit(table[i]);
        }
    }
}

}  // namespace

class Shadow::Lock {
public:
    explicit Lock(Shadow& shadow) : taken_(shadow.lock_) {
        while (__atomic_exchange_n(&taken_, 1u, __ATOMIC_ACQUIRE)) machine::relax();
    }
    ~Lock() { __atomic_store_n(&taken_, 0u, __ATOMIC_RELEASE); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    u32& taken_;
};

u64* Shadow::allocate() {
    u64* table = stock_;
    if (!table) return nullptr;
    stock_ = reinterpret_cast<u64*>(table[0]);
    --stocked_;
    machine::zero(table, kPage);
    return table;
}

void Shadow::release(u64* table) {
    table[0] = reinterpret_cast<u64>(stock_);
    stock_ = table;
    ++stocked_;
}

void Shadow::restock(Pool& pool) {
    while (stocked_ < kStock && pool.free_bytes() > kReserve) {
        auto* table = static_cast<u64*>(pool.allocate(kTableOrder));
        if (!table) return;
        release(table);
    }
}

// Frees a table of level 1 to 3, and what hangs below it; nothing walks it any more.
void Shadow::free_from(u64 entry, unsigned level) {
    const auto leaf = [this](u64 each) {
        if (is_table(each)) release(table_of(each));
    };
    const auto middle = [&](u64 each) {
        if (!is_table(each)) return;
        for_each_used(table_of(each), groups_of(each), 512, leaf);
        release(table_of(each));
    };
    if (level == 1) for_each_used(table_of(entry), groups_of(entry), 512, middle);
    if (level == 2) for_each_used(table_of(entry), groups_of(entry), 512, leaf);
    release(table_of(entry));
}

// A guest that has only ever run here is in no other core's TLB, and a broadcast costs all of them.
bool Shadow::only_here() const {
    dsb_ish();
    return !(__atomic_load_n(&cores_, __ATOMIC_RELAXED) & ~(1u << machine::cpu().id));
}

void Shadow::flush_page(u64 at) const {
    const u64 page = at >> 12 & 0xfff'ffff'ffff;
    if (only_here()) {
        asm volatile("tlbi vaae1, %0\n dsb nsh" ::"r"(page) : "memory");
    } else {
        asm volatile("tlbi vaae1is, %0\n dsb ish" ::"r"(page) : "memory");
    }
}

void Shadow::flush_all() const {
    if (only_here()) {
        asm volatile("tlbi vmalle1\n dsb nsh\n isb" ::: "memory");
    } else {
        machine::flush_all();
    }
}

void Shadow::stock(Space& space) {
    if (!space.shadow && !make(space)) return;
    const Lock lock(*space.shadow);
    space.shadow->restock(*space.pool);
}

Shadow* Shadow::make(Space& space) {
    void* memory = space.pool->allocate(Pool::order_of<Shadow>());
    if (!memory) return nullptr;
    auto* shadow = new (memory) Shadow();
    shadow->views_ = static_cast<View*>(space.pool->allocate(kTableOrder));
    static_assert(sizeof(View) * abi::kShadowViews <= kPage);
    if (!shadow->views_) {
        space.pool->free(memory, Pool::order_of<Shadow>());
        return nullptr;
    }
    __atomic_store_n(&space.shadow, shadow, __ATOMIC_RELEASE);
    return shadow;
}

u64* Shadow::make_root(u64 number, Half half) {
    if (roots_[number]) return halves_[number] == half ? roots_[number] : nullptr;
    u64* root = allocate();
    if (!root) return nullptr;
    if (half == Half::upper) {
        u64* middle = allocate();
        u64* image = middle ? allocate() : nullptr;
        if (!image) {
            if (middle) release(middle);
            release(root);
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

void Shadow::clear_root(u64 number) {
    u64* root = roots_[number];
    if (!root) return;
    const bool high = halves_[number] == Half::upper;
    u64* middle = high ? table_of(root[kTop]) : nullptr;
    u64* tables[] = {root, middle, high ? table_of(middle[kTop]) : nullptr};
    const unsigned ends[] = {high ? kTop : 512, kTop, kImageFirst};
    const u8 groups[] = {groups_[number], high ? groups_of(root[kTop]) : u8{0}, high ? groups_of(middle[kTop]) : u8{0}};
    const unsigned levels = high ? 3 : 1;
    // First nothing leads to the tables below any more, then no walk remembers them, then they are freed.
    for (unsigned level = 0; level < levels; ++level) {
        for_each_used(tables[level], groups[level], ends[level],
                      [](u64& entry) { __atomic_store_n(&entry, entry & ~kValid, __ATOMIC_RELAXED); });
    }
    flush_all();
    for (unsigned level = 0; level < levels; ++level) {
        for_each_used(tables[level], groups[level], ends[level], [&](u64& entry) {
            if (is_table(entry | kValid)) free_from(entry, level + 1);
            entry = 0;
        });
    }
    groups_[number] = 0;
    if (!high) return;
    root[kTop] &= ~kGroups;
    middle[kTop] &= ~kGroups;
}

Status Shadow::fill(Space& space, const abi::ShadowFill* from, u64 count, u64& done) {
    const Lock lock(*this);
    Near near{};
    Status status;
    for (; done < count && status.ok(); done += status.ok() ? 1 : 0) {
        const abi::ShadowFill once{__atomic_load_n(&from[done].at, __ATOMIC_RELAXED), __atomic_load_n(&from[done].to, __ATOMIC_RELAXED)};
        status = fill(space, once, near);
    }
    dsb_ishst();
    return status;
}

Status Shadow::fill(Space& space, const abi::ShadowFill& request, Near& near) {
    const u64 at = request.at & ~(kPage - 1), number = request.at & (kPage - 1);
    const u64 to = request.to & kAddress, bits = request.to & (kPage - 1);
    if (to - near.to >= near.bytes) {
        near.memory = space.tables.find(Virt{to}, near.bytes);
        near.to = align_down(to, near.bytes);
        if (!near.memory || !(near.memory & TableFormat::kUser) || (near.memory & 0x1c) != 0) {
            near.bytes = 0;
            return {Error::bad_arg, 2};
        }
        near.memory &= ~(near.bytes - 1) | ~kAddress;
    }
    if ((bits & abi::kFillWrite) && (near.memory & TableFormat::kReadOnly)) return {Error::rights, 2};
    if ((bits & abi::kFillExecute) && (near.memory & TableFormat::kUserNoExecute)) return {Error::rights, 2};
    const u64 phys = (near.memory & kAddress) + (to - near.to), attributes = TableFormat::leaf(static_cast<u8>(bits & 7), false);
    if (near.leaf && !((request.at ^ near.at) & ~(kBlock - kPage)) && !(bits & (abi::kFillBlock | abi::kFillFragment))) [[likely]] {
        install(near.leaf[index(at, 3)], at, phys | attributes | kTable | kValid);
        return {};
    }
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    const u64 top = at >> 48;
    if (top != 0 && top != 0xffff) return {Error::bad_arg, 2};
    if (at >= layout::kImage) return {Error::bad_arg, 2};  // the kernel's hole
    u64* table = make_root(number, upper(at) ? Half::upper : Half::lower);
    if (!table) return roots_[number] ? Status{Error::bad_arg, 2} : Status{Error::no_memory, 2};
    const bool block = (bits & abi::kFillBlock) && near.bytes >= kBlock && ((at ^ to) & (kBlock - 1)) == 0;
    u64* above = nullptr;
    for (unsigned level = 0; level < 3; ++level) {
        u64& entry = table[index(at, level)];
        const unsigned group = index(at, level) / kGroup;
        if (above) {
            *above |= u64{1} << (kGroupShift + group);
        } else {
            groups_[number] |= static_cast<u8>(1u << group);
        }
        above = &entry;
        if (level == 2 && block && !is_table(entry)) {
            install(entry, at, align_down(phys, kBlock) | attributes | kValid);
            return {};
        }
        if (!is_table(entry)) {
            u64* fresh = allocate();
            if (!fresh) return {Error::no_memory, 2};
            dsb_ishst();  // a walk that finds it finds it empty
            install(entry, at, physical(fresh) | kTable | kValid);
        }
        if (level == 2 && (bits & abi::kFillFragment)) entry |= kFragments;
        table = table_of(entry);
    }
    near.leaf = table;
    near.at = request.at;
    install(table[index(at, 3)], at, phys | attributes | kTable | kValid);
    return {};
}

// Break before make. Who calls has the barrier that makes a walk see it.
void Shadow::install(u64& entry, u64 at, u64 value) const {
    if (entry == value) return;
    if (entry & kValid) {
        machine::write_descriptor(entry, 0);
        flush_page(at);
    }
    __atomic_store_n(&entry, value, __ATOMIC_RELEASE);
}

Status Shadow::view(u64 number, u64 lower, u64 upper) {
    const Lock lock(*this);
    if (number >= abi::kShadowViews) return {Error::bad_arg, 2};
    if (lower == 0 || lower >= abi::kShadowRoots) return {Error::bad_arg, 3};
    if (upper >= abi::kShadowRoots) return {Error::bad_arg, 4};
    const u64* low = make_root(lower, Half::lower);
    if (!low) return roots_[lower] ? Status{Error::bad_arg, 3} : Status{Error::no_memory, 3};
    const u64* high = upper ? make_root(upper, Half::upper) : nullptr;
    if (upper && !high) return roots_[upper] ? Status{Error::bad_arg, 4} : Status{Error::no_memory, 4};
    View& view = views_[number];
    view.tag = {};  // another ASID
    view.lower = physical(low);
    __atomic_store_n(&view.upper, high ? physical(high) : Regime::roots().kernel, __ATOMIC_RELEASE);
    return {};
}

bool Shadow::activate(Cpu& cpu, const u32 (&numbers)[2], unsigned level, Entry& entry) {
    if (!(cores_ >> cpu.id & 1)) {
        __atomic_fetch_or(&cores_, 1u << cpu.id, __ATOMIC_RELAXED);
        dsb_ish();
    }
    u64 lowers[2];
    for (unsigned each = 0; each < 2; ++each) {  // should the second begin a generation, the first keeps its ASID: it is noted
        const u32 number = __atomic_load_n(&numbers[each], __ATOMIC_RELAXED);
        if (number >= abi::kShadowViews || !views_[number].upper) return false;
        View& view = views_[number];
        if (view.tag.generation != cpu.generation) machine::renew_asid(view.tag, view.lower);
        lowers[each] = view.tag.base & Regime::UserTable::kTable;
        entry.uppers[each] = view.upper | (view.tag.base & ~Regime::UserTable::kTable);
        __atomic_store_n(each == level ? &cpu.translation : &cpu.alternate, view.tag.base, __ATOMIC_RELAXED);
    }
    entry.lower = lowers[level];
    entry.upper = entry.uppers[level];
    entry.running = lowers[0] == lowers[1] ? level + 1 : 0;
    return true;
}

Shadow::Entry& Shadow::entry(Cpu& cpu) {
    static_assert(sizeof(Cpu) <= GUEST_ENTRY && GUEST_ENTRY + sizeof(Entry) <= kPage);
    return *reinterpret_cast<Entry*>(reinterpret_cast<u64>(&cpu) + GUEST_ENTRY);
}

Status Shadow::drop(u64 number, u64 at, u64 bytes) {
    const Lock lock(*this);
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    u64* root = roots_[number];
    if (!root) return {};
    constexpr u64 kSeveral = 64 * kPage;
    if (bytes == 0 || bytes > kSeveral) {
        clear_root(number);
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
                flush_all();
                release(freed);
                break;
            }
            table = table_of(entry);
        }
    }
    return {};
}

void Shadow::drop_all() {
    const Lock lock(*this);
    for (u64 number = 1; number < abi::kShadowRoots; ++number) clear_root(number);
}

void Shadow::free_all(Pool& pool) {
    drop_all();
    for (u64 number = 1; number < abi::kShadowRoots; ++number) {
        u64* root = roots_[number];
        if (!root) continue;
        if (halves_[number] == Half::upper) {
            u64* middle = table_of(root[kTop]);
            release(table_of(middle[kTop]));
            release(middle);
        }
        release(root);
    }
    while (u64* table = stock_) {
        stock_ = reinterpret_cast<u64*>(table[0]);
        pool.free(table, kTableOrder);
    }
    pool.free(views_, kTableOrder);
    pool.free(this, Pool::order_of<Shadow>());
}

namespace machine {

void drop_shadows(Space& space) {
    if (space.shadow) space.shadow->drop_all();
}

void free_shadows(Space& space) {
    Shadow* shadow = space.shadow;
    if (!shadow) return;
    space.shadow = nullptr;
    synchronize();  // nobody is filling or dropping any more
    shadow->free_all(*space.pool);
}

}  // namespace machine

}  // namespace twain::kernel
