// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The root task: the kernel gives it everything, once, and the rest of the system is its business.
#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/core/create.hpp"
#include "kernel/core/log.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

using abi::Type;
namespace rights = abi::rights;

constexpr u64 kPoolBytes = u64{4} << 20;
constexpr u8 kRootPriority = 62;

struct FreeRam {
    abi::Range ranges[abi::kRootRamCount];
    unsigned count = 0;

    void add(u64 base, u64 end) {
        base = align_up(base, u64{1} << 21);  // the linear map has whole 2 MiB blocks only
        end = align_down(end, u64{1} << 21);
        if (base < end && count < abi::kRootRamCount) ranges[count++] = {base, end - base};
    }
    void sort() {  // largest first
        for (unsigned i = 1; i < count; ++i) {
            for (unsigned j = i; j > 0 && ranges[j].bytes > ranges[j - 1].bytes; --j)
                std::swap(ranges[j], ranges[j - 1]);
        }
    }
};

FreeRam free_ram(const abi::BootInfo& boot) {
    FreeRam free;
    const u64 taken = boot.image.base, taken_end = boot.image.base + boot.image.bytes;
    for (u32 i = 0; i < boot.ram_count; ++i) {
        const u64 base = boot.ram[i].base;
        u64 end = base + boot.ram[i].bytes;
        if (end > layout::kMaxRamEnd) end = layout::kMaxRamEnd;
        if (base >= end) continue;
        if (taken >= end || taken_end <= base) {
            free.add(base, end);
            continue;
        }
        if (taken > base) free.add(base, taken);
        if (taken_end < end) free.add(taken_end, end);
    }
    free.sort();
    return free;
}

class Root {
public:
    explicit Root(Pool& pool) : pool_(pool), cspace_(object<CSpace>()) {}

    template <typename T>
    T& object() {
        T* made = allocate_object<T>(pool_);
        if (!made) panic("no memory for the root task");
        return *made;
    }
    Slot& give(abi::Slot index, Slot* parent, u64 head, u64 badge = 0) {
        CSpace::Vacancy vacancy;
        const auto made = cspace_.make(index, 0, vacancy);
        if (!made.ok()) panic("the root task's capability space");
        made.value()->fill(parent, head, badge, true);
        return *made.value();
    }
    template <typename T>
    Slot& give(abi::Slot index, T& made, Slot* parent) {
        return give(index, parent, Slot::object_head(T::kType, rights::all, &made));
    }
    void give_memory(abi::Slot index, u8 allowed, const abi::Range& range, u64 flags) {
        give(index, nullptr, Slot::memory_head(allowed, {range.base}, flags), align_up(range.bytes, kPage));
    }
    CSpace& cspace() { return cspace_; }

private:
    Pool& pool_;
    CSpace& cspace_;
};

[[gnu::flatten]] void map(Space& space, u64 at, Phys to, u64 bytes, u64 allowed) {
    const u64 attributes = machine::TableFormat::leaf(static_cast<u8>(allowed), false);
    for (u64 done = 0; done < bytes;) {
        const auto step = space.tables.map_step(*space.pool, Virt{at + done}, to + done, bytes - done, attributes);
        if (step.error != Error::none) panic("mapping the root task");
        done += step.bytes;
    }
}

void refer(Thread& thread, Thread::Ref ref, Slot& source) { (void)derive(source, thread.refs[ref], rights::all, 0); }

}  // namespace

void start_root(Cpu& cpu, Phys boot_page) {
    const abi::BootInfo& boot = boot_info();
    FreeRam ram = free_ram(boot);
    if (ram.count == 0 || ram.ranges[0].bytes <= kPoolBytes) panic("no free RAM");
    // The root pool and the root task's stack are the end of the largest range.
    abi::Range& first = ram.ranges[0];
    first.bytes -= kPoolBytes;
    const Phys pool_at{first.base + first.bytes};
    const u64 stack_bytes = abi::kRootStackBytes;
    const Phys stack_at = pool_at + (kPoolBytes - stack_bytes);
    Pool& pool = *Pool::create(machine::to_virt(pool_at), kPoolBytes - stack_bytes);
    machine::zero(machine::to_virt(stack_at), stack_bytes);

    const StructureLock lock;
    Root root(pool);
    Slot& pool_slot = root.give(abi::kRootPool, pool, nullptr);
    // Not a child of the pool: the pool's capability lies in it, so removing either would lead to the other.
    Slot& cspace_slot = root.give(abi::kRootCSpace, root.cspace(), nullptr);
    auto& space = root.object<Space>();
    if (!space.init(abi::SpaceKind::host)) panic("no memory for the root task");
    Slot& space_slot = root.give(abi::kRootSpace, space, &pool_slot);
    auto& sched = root.object<Sched>();
    sched.budget.set(machine::ns_to_ticks(kSliceNs), 0);
    sched.priority = kRootPriority;
    Slot& sched_slot = root.give(abi::kRootSched, sched, &pool_slot);
    auto& thread = root.object<Thread>();
    for (Slot& ref : thread.refs) ref.set_home(Home::thread);
    root.give(abi::kRootThread, thread, &pool_slot);
    root.give(abi::kRootSystem, nullptr, Slot::object_head(Type::system, rights::all, &pool));
    root.give_memory(abi::kRootBootInfo, rights::mem_read, {boot_page.value, kPage}, 0);
    if (boot.archive.bytes) root.give_memory(abi::kRootArchive, rights::mem_read, boot.archive, 0);
    for (unsigned i = 0; i < ram.count; ++i) {
        root.give_memory(abi::kRootRam + i, rights::all, ram.ranges[i], Capability::kExclusive);
    }

    map(space, abi::kBootInfoAddress, boot_page, kPage, rights::mem_read);
    map(space, abi::kRootStackTop - stack_bytes, stack_at, stack_bytes, rights::mem_read | rights::mem_write);
    for (u32 i = 0; i < boot.root_count && i < abi::kMaxSegments; ++i) {
        const abi::Segment& segment = boot.root[i];
        map(space, segment.address, {segment.phys}, segment.bytes, segment.rights);
    }

    refer(thread, Thread::ref_cspace, cspace_slot);
    refer(thread, Thread::ref_space, space_slot);
    refer(thread, Thread::ref_sched, sched_slot);
    thread.cspace = &root.cspace();
    thread.space = &space;
    thread.sched = thread.active = &sched;
    sched.bound = sched.user = &thread;
    thread.frame.pc = boot.root_entry;
    thread.frame.sp = abi::kRootStackTop;
    thread.frame.x[0] = abi::kBootInfoAddress;
    make_ready(cpu, thread);
}

}  // namespace twain::kernel
