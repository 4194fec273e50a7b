// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "shadow.hpp"

#include <new>

#include "asid.hpp"
#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/arch/aarch64/offsets.inc"
#include "kernel/core/spin_lock.hpp"

namespace twain::kernel {

namespace {

constexpr unsigned kTableOrder = Pool::kOrders - 1;
constexpr u64 kValid = 1, kTable = 2, kAddress = 0x0000'ffff'ffff'f000;
constexpr u64 kFragments = 4;  // for software: a table below a block of the guest's
constexpr u64 kBlock = u64{1} << 21;
constexpr unsigned kTop = 511;         // index of the entry that leads to the kernel's image, levels 0 and 1
constexpr unsigned kImageFirst = 508;  // level 2: the image, the devices, up to the end

unsigned index(u64 at, unsigned level) { return static_cast<unsigned>(at >> (39 - 9 * level)) & 511; }
u64* table_of(u64 entry) { return static_cast<u64*>(machine::to_virt(Phys{entry & kAddress})); }
bool is_table(u64 entry) { return (entry & (kValid | kTable)) == (kValid | kTable); }
u64 physical(const u64* table) { return machine::to_phys(table).value; }

bool upper(u64 at) { return at >> 55 & 1; }

// In which of a table's 8 groups of 64 entries there is something, and in which of them something valid, so that the others
// need not be looked at: in the descriptor that leads to it, where hardware ignores the bits (Arm ARM D8.3.1).
constexpr unsigned kGroup = 64, kUsed = 4, kLive = 51;
u64 group_bit(unsigned group) { return (u64{1} << kUsed | u64{1} << kLive) << group; }

// Nothing in the table is valid any more: tables hang on there, stale.
void forget_entries(u64& leads, bool pages, unsigned end = 512) {
    u64* const table = table_of(leads);
    for (unsigned live = static_cast<u8>(leads >> kLive); live; live &= live - 1) {
        u64* const first = table + static_cast<unsigned>(__builtin_ctz(live)) * kGroup;
        u64* const last = first + kGroup < table + end ? first + kGroup : table + end;
        if (pages) {
            machine::zero(first, kGroup * sizeof *first);
        } else {
            for (u64* entry = first; entry < last; ++entry) __atomic_store_n(entry, *entry & ~kValid, __ATOMIC_RELAXED);
        }
    }
    leads &= ~(u64{0xff} << kLive);
}

}  // namespace

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

// The first place from this one on where there is a table.
bool Shadow::seek(u64& place) const {
    static_assert(kRoots == 64);
    for (; place < kPlaces; place = align_down(place, kRoots) + kRoots) {
        if (const u64 left = (place < kRoots ? made_ : uppers_) >> place % kRoots) {
            place += static_cast<unsigned>(__builtin_ctzll(left));
            return true;
        }
    }
    return false;
}

// As long as a root lives it has tables of its own: a lower one the first, an upper one all three on the way to the kernel's
// image. The descriptor that leads to one, and the end of what it has for translations; nullptr: it has none of that level.
u64* Shadow::own(u64 place, unsigned& end) {
    u64* leads = &roots_[place % kRoots];
    u64 level = place / kRoots;
    const bool high = uppers_ >> place % kRoots & 1;
    if (level > 0 && !high) return nullptr;
    end = !high ? 512 : level == 2 ? kImageFirst : kTop;
    for (; *leads && level > 0; --level) leads = &table_of(*leads)[kTop];
    return *leads ? leads : nullptr;
}

// Nothing leads on from one of a root's own tables. Who calls flushes. False: nothing did.
bool Shadow::forget(u64 place) {
    unsigned end;
    u64* const leads = own(place, end);
    if (!leads || !(*leads >> kLive & 0xff)) return false;
    forget_entries(*leads, false, end);
    unsearched_ = kPlaces;
    return true;
}

// Takes back what hangs below a table, the last tables first; of one in use (not `all`), what is stale. False: interrupted;
// the next call goes on where this one was.
template <unsigned kLevel>
bool Shadow::sweep(u64& leads, unsigned end, bool all) {
    u64* const table = table_of(leads);
    for (unsigned left = static_cast<u8>(leads >> kUsed); left; left &= left - 1) {
        const unsigned group = static_cast<unsigned>(__builtin_ctz(left));
        for (unsigned i = group * kGroup; i < (group + 1) * kGroup && i < end; ++i) {
            u64& entry = table[i];
            if (!entry || (!all && (entry & kValid))) continue;
            if constexpr (kLevel < 2) {
                if (!sweep<kLevel + 1>(entry, 512, true)) return false;
            }
            if (entry & kTable) release(table_of(entry));
            entry = 0;
            if (should_pause()) return false;
        }
        if (!all) continue;
        leads &= ~group_bit(group);
        if (should_pause()) return false;
    }
    return true;
}

bool Shadow::sweep(u64 place, bool all) {
    unsigned end;
    u64* const leads = own(place, end);
    if (!leads) return true;
    switch (place / kRoots) {
        case 0: return sweep<0>(*leads, end, all);
        case 1: return sweep<1>(*leads, end, all);
        default: return sweep<2>(*leads, end, all);
    }
}

bool Shadow::restock(Pool& pool) {
    while (stocked_ < kStock) {
        if (auto* table = static_cast<u64*>(pool.free_bytes() > kReserve ? pool.allocate(kTableOrder) : nullptr)) {
            release(table);
        } else if (unsearched_ == 0) {
            break;
        } else if (sweep(unsearched_ - 1, false)) {
            --unsearched_;
        }
        if (should_pause()) return stocked();
    }
    return true;
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

bool Shadow::stock(Space& space) {
    if (!space.shadow && !make(space)) return true;
    const SpinLock lock(space.shadow->lock_);
    return space.shadow->restock(*space.pool);
}

Shadow* Shadow::make(Space& space) {
    void* memory = space.pool->allocate(Pool::order_of<Shadow>());
    if (!memory) return nullptr;
    auto* shadow = new (memory) Shadow();
    void* views = space.pool->allocate(kTableOrder);
    static_assert(sizeof(View) * abi::kShadowViews <= kPage);
    if (!views) {
        space.pool->free(memory, Pool::order_of<Shadow>());
        return nullptr;
    }
    shadow->views_ = new (views) View[abi::kShadowViews];
    __atomic_store_n(&space.shadow, shadow, __ATOMIC_RELEASE);
    return shadow;
}

Status Shadow::make_root(u64 number, bool high, unsigned argument) {
    if (made_ >> number & 1) return (uppers_ >> number & 1) == u64{high} ? Status{} : Status{Error::bad_arg, argument};
    if (stocked_ < 3) return {Error::no_memory, argument};
    u64* root = allocate();
    if (high) {
        u64* middle = allocate();
        u64* image = allocate();
        const u64* kernel = static_cast<const u64*>(machine::to_virt(Phys{Regime::roots().kernel}));
        const u64* kernel_image = table_of(table_of(kernel[kTop])[kTop]);
        for (unsigned i = kImageFirst; i < 512; ++i) image[i] = kernel_image[i];
        middle[kTop] = physical(image) | kTable | kValid;
        root[kTop] = physical(middle) | kTable | kValid;
    }
    roots_[number] = physical(root) | kTable | kValid;
    made_ |= u64{1} << number;
    uppers_ |= u64{high} << number;
    dsb_ish();
    return {};
}

Status Shadow::fill(Space& space, const abi::ShadowFill* from, u64& count) {
    const SpinLock lock(lock_);
    Near near{};
    Status status;
    u64 done = 0;
    for (; done < count; ++done) {
        if (done != 0 && machine::preemption_pending()) break;
        const abi::ShadowFill once{__atomic_load_n(&from[done].at, __ATOMIC_RELAXED),
                                   __atomic_load_n(&from[done].to, __ATOMIC_RELAXED)};
        status = fill(space, once, near);
        if (!status.ok() || again(status)) break;
    }
    dsb_ishst();
    if (again(status) && done == 0) return kAgain;
    count = done;
    return again(status) ? Status{} : status;
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
    const u64 phys = (near.memory & kAddress) + (to - near.to);
    const u64 attributes = TableFormat::leaf(static_cast<u8>(bits & 7), false);
    const bool page = !(bits & (abi::kFillBlock | abi::kFillFragment));
    if (page && near.leads && !((request.at ^ near.at) & ~(kBlock - kPage))) [[likely]] {
        *near.leads |= group_bit(index(at, 3) / kGroup);
        install(table_of(*near.leads)[index(at, 3)], at, phys | attributes | kTable | kValid);
        return {};
    }
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    const u64 top = at >> 48;
    if (top != 0 && top != 0xffff) return {Error::bad_arg, 2};
    if (at >= layout::kImage) return {Error::bad_arg, 2};  // the kernel's hole
    if (const Status status = make_root(number, upper(at), 2); !status.ok()) return status;
    const bool block = (bits & abi::kFillBlock) && near.bytes >= kBlock && ((at ^ to) & (kBlock - 1)) == 0;
    u64* leads = &roots_[number];
    for (unsigned level = 0; level < 3; ++level) {
        *leads |= group_bit(index(at, level) / kGroup);
        u64& entry = table_of(*leads)[index(at, level)];
        if (level == 2 && block && !is_table(entry)) {
            if (entry & kTable) release(table_of(entry));
            install(entry, at, align_down(phys, kBlock) | attributes | kValid);
            return {};
        }
        if (!is_table(entry)) {
            const bool stale = entry & kTable;
            if (stale && machine::preemption_pending()) return kAgain;
            u64* fresh = stale ? nullptr : allocate();
            if (!stale && !fresh) return {Error::no_memory, 2};
            if (stale) forget_entries(entry, level == 2);
            dsb_ishst();  // a walk that finds it finds it empty
            install(entry, at, (stale ? entry & ~kFragments : physical(fresh) | kTable) | kValid);
        }
        if (level == 2 && (bits & abi::kFillFragment)) entry |= kFragments;
        leads = &entry;
    }
    *leads |= group_bit(index(at, 3) / kGroup);
    near.leads = leads;
    near.at = request.at;
    install(table_of(*leads)[index(at, 3)], at, phys | attributes | kTable | kValid);
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
    const SpinLock lock(lock_);
    if (number >= abi::kShadowViews) return {Error::bad_arg, 2};
    if (lower == 0 || lower >= abi::kShadowRoots) return {Error::bad_arg, 3};
    if (upper >= abi::kShadowRoots) return {Error::bad_arg, 4};
    if (const Status status = make_root(lower, false, 3); !status.ok()) return status;
    if (upper) {
        if (const Status status = make_root(upper, true, 4); !status.ok()) return status;
    }
    View& view = views_[number];
    __atomic_store_n(&view.lower, roots_[lower] & kAddress, __ATOMIC_RELAXED);
    __atomic_store_n(&view.upper, upper ? roots_[upper] & kAddress : Regime::roots().kernel, __ATOMIC_RELEASE);
    // Another ASID. A core that is entering it, without this lock, has one before or after; never none, which is the kernel's.
    machine::forget_asid(view.tag);
    return {};
}

bool Shadow::activate(Cpu& cpu, const u32 (&numbers)[2], unsigned level, Entry& entry) {
    if (!(cores_ >> cpu.id & 1)) {
        __atomic_fetch_or(&cores_, 1u << cpu.id, __ATOMIC_RELAXED);
        dsb_ish();
    }
    u64 lowers[2];
    // Should the second begin a generation, the first keeps its ASID: it is noted.
    for (unsigned each = 0; each < 2; ++each) {
        const u32 number = __atomic_load_n(&numbers[each], __ATOMIC_RELAXED);
        if (number >= abi::kShadowViews) return false;
        View& view = views_[number];
        const u64 upper = __atomic_load_n(&view.upper, __ATOMIC_ACQUIRE);
        if (!upper) return false;
        u64 base = view.tag.word();
        if (base & Tag::kStale) base = machine::renew_asid(view.tag, view.lower);
        lowers[each] = base & Regime::UserTable::kTable;
        entry.uppers[each] = upper | (base & ~Regime::UserTable::kTable);
        __atomic_store_n(each == level ? &cpu.translation : &cpu.alternate, base, __ATOMIC_RELAXED);
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
    const SpinLock lock(lock_);
    if (number == 0 || number >= abi::kShadowRoots) return {Error::bad_arg, 2};
    const u64 root = roots_[number];
    if (!root) return {};
    constexpr u64 kSeveral = 64 * kPage;
    if (bytes == 0 || bytes > kSeveral) {
        bool pause = false;
        for (u64 place = number; place < kPlaces && !pause; place += kRoots) {
            pause = forget(place) && machine::preemption_pending();
        }
        flush_all();
        return pause ? kAgain : Status{};
    }
    at &= ~(kPage - 1);
    if (u64{upper(at)} != (uppers_ >> number & 1)) return {};
    for (const u64 end = at + bytes; at < end && at < layout::kImage; at += kPage) {
        u64* table = table_of(root);
        for (unsigned level = 0;; ++level) {
            u64& entry = table[index(at, level)];
            if (!(entry & kValid)) break;
            if (level == 3 || !is_table(entry)) {
                machine::write_descriptor(entry, 0);
                flush_page(at);
                break;
            }
            if (level == 2 && (entry & kFragments)) {
                machine::write_descriptor(entry, entry & ~kValid);
                flush_all();
                break;
            }
            table = table_of(entry);
        }
    }
    return {};
}

bool Shadow::drop_all(u64& progress) {
    const SpinLock lock(lock_);
    bool pause = false;
    for (; !pause && seek(progress); ++progress) pause = forget(progress) && should_pause();
    flush_all();
    return !pause;
}

bool Shadow::free_all(Pool& pool) {
    while (made_) {
        const unsigned number = static_cast<unsigned>(__builtin_ctzll(made_));
        for (unsigned level = 3, end; level-- > 0;) {  // the last tables first
            const u64 place = level * kRoots + number;
            u64* const leads = own(place, end);
            if (!leads) continue;
            if (!sweep(place, true)) return false;
            release(table_of(*leads));
            *leads = 0;
        }
        made_ &= made_ - 1;
        if (should_pause()) return false;
    }
    while (u64* table = stock_) {
        stock_ = reinterpret_cast<u64*>(table[0]);
        pool.free(table, kTableOrder);
        if (should_pause()) return false;
    }
    for (u64 number = 0; number < abi::kShadowViews; ++number) {
        View& view = views_[number];
        if (!view.upper) continue;
        machine::forget_asid(view.tag);
        view.upper = 0;
        if (should_pause()) return false;
    }
    pool.free(views_, kTableOrder);
    pool.free(this, Pool::order_of<Shadow>());
    return true;
}

}  // namespace twain::kernel
