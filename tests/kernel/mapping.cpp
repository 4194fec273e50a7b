// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Spaces and mappings: what can be mapped, with which rights, and that nothing is left when it is gone.
#include "test.hpp"

namespace twain::test {

namespace {

constexpr u64 kAt = 0x20'0000'0000;
constexpr u64 kBlock = 0x20'0000;

volatile u64& word(u64 address) { return *reinterpret_cast<volatile u64*>(address); }

// Does a read (or a write) of the address fault? A thread of its own finds out.
enum class Access { read, write, run };
bool faults(u64 address, Access access) {
    Scratch scratch;
    Worker worker(scratch, [](Worker& self) {
        const u64 at = self.word[0];
        if (self.word[1] == 0) self.word[2] = word(at);
        if (self.word[1] == 1) word(at) = 1;
        if (self.word[1] == 2) reinterpret_cast<void (*)()>(at)();
    });
    worker.word[0] = address;
    worker.word[1] = static_cast<u64>(access);
    need(worker.start());
    (void)wait_for([&] { return worker.done() || worker.state() == abi::ThreadState::faulted; });
    return !worker.done();
}

void map_arguments() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory(4 * kPage, kReadWrite);
    const Slot to = scratch.slot(), empty = scratch.slot();
    const auto map = [&](u64 source, u64 offset, u64 at, u64 bytes, u64 want, u64 slot) {
        return status(kSpace.slot, abi::space::map, source, offset, at, bytes, want, slot);
    };
    const Slot use_only = scratch.copy(kSpace.slot, rights::space_use);
    expect("space.map/rights", Error::rights, sys::Space{use_only}.map(memory, 0, kAt, kPage, kRead, to));
    expect("space.map/rights", Error::rights, map(memory.slot, 0, kAt, kPage, kReadExec, to));
    expect("space.map/bad_slot", Error::bad_slot, map(empty, 0, kAt, kPage, kRead, to));
    expect("space.map/bad_slot", Error::bad_slot, map(abi::cspace::kSlots, 0, kAt, kPage, kRead, to));
    expect("space.map/bad_slot", Error::bad_slot, map(memory.slot, 0, kAt, kPage, kRead, 0));
    expect("space.map/bad_slot", Error::bad_slot, map(memory.slot, 0, kAt, kPage, kRead, abi::cspace::kSlots));
    expect("space.map/bad_type", Error::bad_type, map(kPool, 0, kAt, kPage, kRead, to));
    expect("space.map/occupied", Error::occupied, map(memory.slot, 0, kAt, kPage, kRead, kPool));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 1, kAt, kPage, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt + 8, kPage, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt, 100, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt, 0, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt, 5 * kPage, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, abi::space::kEnd, kPage, kRead, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt, kPage, 0, to));
    expect("space.map/bad_arg", Error::bad_arg, map(memory.slot, 0, kAt, kPage, 8, to));
    expect("space.map/sum_wraps", Error::bad_arg, map(memory.slot, 0 - kPage, kAt, 2 * kPage, kRead, to));
    expect("space.map/sum_wraps", Error::bad_arg, map(memory.slot, kPage, kAt, 0 - kPage, kRead, to));
    expect("space.map/sum_wraps", Error::bad_arg, map(memory.slot, 0, 0 - kPage, 2 * kPage, kRead, to));
    expect("space.map/write_or_execute", Error::bad_arg,
           map(scratch.memory().slot, 0, kAt, kPage, kReadWrite | rights::mem_exec, to));
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    expect("space.map/device_never_runs", Error::rights, map(device, 0, kAt, kPage, kReadExec, to));
    expect("space.map/depth", Error::depth, map(scratch.deepest(memory.slot), 0, kAt, kPage, kRead, to));
    expect("space.map/nothing_left_behind", Error::bad_slot, kSelf.remove(to));
    expect("space.method/bad_method", Error::bad_method, status(kSpace.slot, kNoMethod));
    expect("space.method/bad_method", Error::bad_method, status(kSpace.slot, 1));
}

// The virtual CPU interface: memory that no capability names.
void map_interface() {
    Scratch scratch;
    constexpr u64 kInterface = 0x0801'0000;
    const sys::Space guest = scratch.space(abi::SpaceKind::guest);
    const Slot to = scratch.slot();
    expect("space.map/interface_of_process", Error::bad_arg, kSpace.map_interface(kInterface, to));
    expect("space.map/rights", Error::rights,
           sys::Space{scratch.copy(guest.slot, rights::space_use)}.map_interface(kInterface, to));
    const auto& boot = *reinterpret_cast<const abi::BootInfo*>(abi::kBootInfoAddress);
    if (!at_el2() || boot.gic_version != 2) {
        expect("space.map/unsupported", Error::unsupported, guest.map_interface(kInterface, to));
        skip("space.map/interface", "it has none in memory");
        return;
    }
    skip("space.map/unsupported", "the interface is memory");
    const auto map = [&](u64 offset, u64 at, u64 bytes, u64 want) {
        return status(guest.slot, abi::space::map, abi::space::kInterface, offset, at, bytes, want, to);
    };
    expect("space.map/interface", Error::bad_arg, map(kPage, kInterface, 2 * kPage, kReadWrite));
    expect("space.map/interface", Error::bad_arg, map(0, kInterface, 3 * kPage, kReadWrite));
    expect("space.map/interface", Error::rights, map(0, kInterface, kPage, kReadExec));
    expect_ok("space.map/interface", guest.map_interface(kInterface, to));
    expect("space.map/interface", Error::rights, sys::Mapping{to}.protect(kReadExec));
    expect("space.map/interface", Error::depth,
           sys::Space{scratch.deepest(guest.slot)}.map_interface(0, scratch.slot()));
    expect("space.map/interface", Error::bad_arg, kSystem.make_memory(scratch.slot(), boot.gicv.base, kPage));
    need(kSelf.remove(to));
    expect_ok("space.map/interface", guest.map_interface(kInterface, to));
}

void map_overlap() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory(4 * kPage);
    const Slot one = scratch.slot(), two = scratch.slot();
    const u64 before = free_bytes();
    need(kSpace.map(memory, 0, kAt + 2 * kPage, kPage, kReadWrite, one));
    word(kAt + 2 * kPage) = 77;
    expect("space.map/occupied", Error::occupied, kSpace.map(memory, 0, kAt + 2 * kPage, kPage, kRead, two));
    // The first two pages fit, the third does not: all or nothing.
    expect("space.map/partial_taken_back", Error::occupied, kSpace.map(memory, 0, kAt, 4 * kPage, kRead, two));
    expect("space.map/partial_taken_back", Error::bad_slot, kSelf.remove(two));
    check("space.map/partial_taken_back", faults(kAt, Access::read));
    check("space.map/partial_taken_back", word(kAt + 2 * kPage) == 77);
    need(kSelf.remove(one));
    check("space.map/no_leak", free_bytes() == before);
}

void map_without_memory() {
    Scratch scratch;
    const sys::Pool pool = scratch.small_pool();
    const sys::Space space{scratch.slot()};
    need(pool.create_space(space.slot, abi::SpaceKind::host));
    const sys::Memory memory = scratch.memory();
    while (pool.stat()->free >= 2 * kPage) need(pool.create_space(scratch.slot(), abi::SpaceKind::guest));
    const u64 before = pool.stat()->free;
    expect("space.map/no_memory", Error::no_memory, space.map(memory, 0, kAt, kPage, kRead, scratch.slot()));
    check("space.map/no_memory", pool.stat()->free <= before);
}

void rights_hold() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory(kPage);
    const Slot to = scratch.slot();
    need(kSpace.map(memory, 0, kAt, kPage, kRead, to));
    check("space.map/read", !faults(kAt, Access::read));
    check("space.map/read_only", faults(kAt, Access::write));
    check("space.map/no_execute", faults(kAt, Access::run));
    const sys::Mapping mapping{to};
    expect_ok("mapping.protect/more", mapping.protect(kReadWrite));
    check("mapping.protect/more", !faults(kAt, Access::write));
    expect_equal("mapping.protect/inspect", kReadWrite, kSelf.inspect(to)->rights);
    word(kAt) = 0xd65f03c0;  // ret
    asm volatile("dc cvau, %0\n dsb ish" ::"r"(kAt) : "memory");
    expect_ok("mapping.protect/execute", mapping.protect(kReadExec));
    asm volatile("ic ivau, %0\n dsb ish\n isb" ::"r"(kAt) : "memory");
    check("mapping.protect/execute", !faults(kAt, Access::run));
    check("mapping.protect/less", faults(kAt, Access::write));
    expect("mapping.protect/bad_arg", Error::bad_arg, mapping.protect(0));
    expect("mapping.protect/bad_arg", Error::bad_arg, mapping.protect(8));
    expect("mapping.protect/bad_arg", Error::bad_arg, mapping.protect(kReadWrite | rights::mem_exec));
    expect("mapping.method/bad_method", Error::bad_method, status(to, kNoMethod));
    need(kSelf.remove(to));
    const sys::Memory read_only{scratch.copy(memory.slot, kRead)};
    need(kSpace.map(read_only, 0, kAt, kPage, kRead, to));
    expect("mapping.protect/rights", Error::rights, mapping.protect(kReadWrite));
    expect("mapping.protect/rights", Error::rights, mapping.protect(kReadExec));
    check("mapping.protect/rights", faults(kAt, Access::write));
}

void removal() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory(kPage);
    const Slot to = scratch.slot();
    need(kSpace.map(memory, 0, kAt, kPage, kRead, to));
    check("mapping.remove/unmaps", !faults(kAt, Access::read));
    need(kSelf.remove(to));
    check("mapping.remove/unmaps", faults(kAt, Access::read));
    need(kSpace.map(memory, 0, kAt, kPage, kRead, to));
    check("memory.revoke/unmaps", !faults(kAt, Access::read));
    need(kSelf.revoke(memory.slot));
    check("memory.revoke/unmaps", faults(kAt, Access::read));
    expect("memory.revoke/unmaps", Error::bad_slot, kSelf.remove(to));
    // The space goes first.
    const sys::Space space = scratch.space();
    need(space.map(memory, 0, kAt, kPage, kRead, to));
    expect_ok("space.remove/with_mappings", kSelf.remove(space.slot));
    expect("space.remove/with_mappings", Error::bad_slot, kSelf.remove(to));
}

// Blocks of 2 MiB, mapped over what used to be pages and the other way round.
void blocks() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory(3 * kBlock);
    const u64 base = kSelf.inspect(memory.slot)->base;
    const u64 offset = (kBlock - base % kBlock) % kBlock;
    const u64 at = kAt + 0x4000'0000;
    const Slot big = scratch.slot(), small = scratch.slot();
    {
        Scratch inner;
        need(kSpace.map(memory, offset, at, kPage, kReadWrite, small));
        word(at) = 0x1234;
        need(kSelf.remove(small));
    }
    const u64 before = free_bytes();
    expect_ok("space.map/block_over_empty_table", kSpace.map(memory, offset, at, kBlock, kReadWrite, big));
    expect_equal("space.map/block_over_empty_table", 0x1234, word(at));
    check("space.map/block_over_empty_table", free_bytes() > before);
    word(at + kBlock - 8) = 99;
    expect("space.map/page_in_block", Error::occupied, kSpace.map(memory, offset, at + kPage, kPage, kRead, small));
    expect_ok("mapping.protect/block", sys::Mapping{big}.protect(kRead));
    check("mapping.protect/block", faults(at + kBlock - 8, Access::write) && word(at + kBlock - 8) == 99);
    need(kSelf.remove(big));
    check("mapping.remove/block", faults(at, Access::read) && faults(at + kBlock - 8, Access::read));
    // Not aligned to each other: pages.
    expect_ok("space.map/unaligned_is_pages", kSpace.map(memory, offset + kPage, at, kBlock, kReadWrite, big));
    check("space.map/unaligned_is_pages", word(at + kBlock - kPage - 8) == 99);
}

// A block of 1 GiB: the only device memory of that size and alignment in which something answers is around PCIe's
// configuration space (QEMU's virt: at 256 GiB), whose first word is the host bridge's identification.
void gigabyte() {
    Scratch scratch;
    constexpr u64 kGigabyte = 0x4000'0000, kPhysical = 0x40'0000'0000, kConfiguration = 0x1000'0000,
                  kBridge = 0x0008'1b36;
    const sys::Memory device{scratch.slot()};
    const Slot mapping = scratch.slot();
    need(kSystem.make_memory(device.slot, kPhysical, kGigabyte));
    const u64 at = kAt + 16 * kGigabyte, before = free_bytes();
    expect_ok("space.map/gigabyte", kSpace.map(device, 0, at, kGigabyte, kReadWrite, mapping));
    check("space.map/gigabyte", before - free_bytes() < kPage);  // no table
    expect_equal("space.map/gigabyte", kBridge, *reinterpret_cast<volatile std::uint32_t*>(at + kConfiguration));
    expect("space.map/gigabyte", Error::occupied,
           kSpace.map(scratch.memory(), 0, at + kBlock, kPage, kRead, scratch.slot()));
    expect_ok("mapping.protect/gigabyte", sys::Mapping{mapping}.protect(kRead));
    check("mapping.protect/gigabyte",
          faults(at + kConfiguration, Access::write) && !faults(at + kConfiguration, Access::read));
    expect_ok("mapping.remove/gigabyte", kSelf.remove(mapping));
    check("mapping.remove/gigabyte", faults(at + kConfiguration, Access::read) && free_bytes() == before);
}

// Long operations are interrupted in between and still end.
void preempted() {
    Scratch scratch;
    constexpr u64 kMany = 8 * kBlock;
    const sys::Memory memory = scratch.memory(kMany + 2 * kBlock);
    const u64 offset = (kBlock - kSelf.inspect(memory.slot)->base % kBlock) % kBlock + kPage;  // pages only
    Worker worker(scratch, [](Worker& self) {
        self.word[0] =
            u64{kSpace.map(sys::Memory{self.slots[0]}, self.word[3], kAt, kMany, kReadWrite, self.slots[1]).ok()};
        self.word[1] = u64{sys::Mapping{self.slots[1]}.protect(kRead).ok()};
        self.word[2] = u64{kSelf.remove(self.slots[1]).ok()};
    });
    worker.slots[0] = memory.slot;
    worker.slots[1] = scratch.slot();
    worker.word[3] = offset;
    need(worker.start());
    unsigned wakes = 0;
    while (!worker.done() && wakes < 100'000) {
        pause(20);
        ++wakes;
    }
    check("space.map/preempted", worker.word[0] == 1 && wakes > 10);
    check("mapping.protect/preempted", worker.word[1] == 1);
    check("mapping.remove/preempted", worker.word[2] == 1 && faults(kAt, Access::read));
}

}  // namespace

void test_mapping() {
    map_arguments();
    map_interface();
    map_overlap();
    map_without_memory();
    rights_hold();
    removal();
    blocks();
    gigabyte();
    preempted();
}

}  // namespace twain::test
