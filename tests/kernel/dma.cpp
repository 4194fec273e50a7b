// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a device reaches by DMA, on a machine with an SMMU: QEMU's `edu` (docs/specs/edu.txt) on the PCI bus of `virt`.
#include "test.hpp"

namespace twain::test {

namespace {

// Where `virt` has its PCI configuration space and a window for registers; the device is number 1, function 0.
constexpr u64 kConfiguration = 0x40'1000'8000, kRegisters = 0x1000'0000, kStream = 8, kForeign = 9;
constexpr std::uint32_t kEduIds = 0x11e8'1234;

class Edu {
public:
    explicit Edu(Scratch& scratch) {
        const sys::Memory configuration{scratch.slot()}, registers{scratch.slot()};
        need(kSystem.make_memory(configuration.slot, kConfiguration, kPage));
        need(kSystem.make_memory(registers.slot, kRegisters, kPage));
        configuration_ = scratch.map(configuration);
        registers_ = scratch.map(registers);
        if (!present()) return;
        at<std::uint32_t>(configuration_, 0x10) = kRegisters;
        at<std::uint32_t>(configuration_, 0x04) = 6;  // answers at its registers, is a bus master
    }
    bool present() const { return at<std::uint32_t>(configuration_, 0) == kEduIds; }

    // Moves bytes between its own memory and what it sees at `address`, and waits till it says that it is done.
    void read(u64 address, u64 bytes) const { transfer(address, kOwn, bytes, 1); }
    void write(u64 address, u64 bytes) const { transfer(kOwn, address, bytes, 3); }

private:
    static constexpr u64 kOwn = 0x40000;
    template <typename T>
    static volatile T& at(u64 base, u64 offset) {
        return *reinterpret_cast<volatile T*>(base + offset);
    }
    void transfer(u64 from, u64 to, u64 bytes, u64 command) const {
        at<u64>(registers_, 0x80) = from;
        at<u64>(registers_, 0x88) = to;
        at<u64>(registers_, 0x90) = bytes;
        at<u64>(registers_, 0x98) = command;
        // It takes 100 ms.
        bool busy = true;
        for (unsigned turn = 0; busy && turn < 20; ++turn) {
            pause(20'000);
            busy = at<u64>(registers_, 0x98) & 1;
        }
        need(busy ? sys::Status{Error::timeout} : sys::Status{});
    }
    u64 configuration_, registers_;
};

// The first of what the device was refused since the last time.
sys::System::DmaFault refusal() {
    const sys::System::DmaFault first = *kSystem.dma_fault();
    while (kSystem.dma_fault()->kind != 0) {
    }
    return first;
}

constexpr u64 kAt = 0x123000;  // where the device sees the page

void confined(const Edu& edu) {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::dma);
    const sys::Memory page = scratch.memory(kPage), other = scratch.memory(kPage);
    auto& seen = *reinterpret_cast<volatile u64*>(scratch.map(page));
    auto& unseen = *reinterpret_cast<volatile u64*>(scratch.map(other));
    (void)refusal();

    seen = 0x1111;
    edu.read(kAt, 8);  // nothing has been allowed yet
    check("system.dma_fault/of_unattached", refusal().stream == kStream);
    expect_ok("system.attach/reaches_what_is_mapped", kSystem.attach(space, kStream));
    expect("system.attach/occupied", Error::occupied, kSystem.attach(space, kStream));
    const Slot mapping = scratch.slot();
    expect_ok("system.attach/reaches_what_is_mapped", space.map(page, 0, kAt, kPage, kReadWrite, mapping));
    edu.read(kAt, 8);
    seen = 0x2222;
    edu.write(kAt, 8);
    expect_equal("system.attach/reaches_what_is_mapped", 0x1111, seen);
    check("system.attach/reaches_what_is_mapped", refusal().kind == 0);

    unseen = 0x5555;
    edu.write(kSelf.inspect(other.slot)->base & 0xfff'ffff,
              8);  // by its physical address, as far as the device has bits
    expect_equal("system.attach/and_nothing_else", 0x5555, unseen);
    check("system.dma_fault/of_unmapped", refusal().stream == kStream);

    seen = 0x3333;
    expect_ok("mapping.protect/dma", sys::Mapping{mapping}.protect(kRead));
    edu.write(kAt, 8);
    expect_equal("mapping.protect/dma", 0x3333, seen);
    const sys::System::DmaFault fault = refusal();
    check("system.dma_fault/of_read_only", fault.stream == kStream && fault.address == kAt && fault.kind == 0x13);
    expect_ok("cspace.remove/dma_mapping", kSelf.remove(mapping));
    edu.read(kAt, 8);
    check("cspace.remove/dma_mapping", refusal().stream == kStream);
    // Once more, smaller than what was there, and by a chain that the device has cached.
    expect_ok("cspace.remove/dma_mapping", space.map(other, 0, kAt, kPage, kReadWrite, mapping));
    edu.read(kAt, 8);
    edu.write(kAt + 8, 8);
    check("cspace.remove/dma_mapping", refusal().kind == 0);
}

void gone(const Edu& edu) {
    const u64 before = free_bytes();
    {
        Scratch scratch;
        const sys::Space space = scratch.space(abi::SpaceKind::dma);
        const sys::Memory page = scratch.memory(kPage);
        auto& seen = *reinterpret_cast<volatile u64*>(scratch.map(page));
        const Slot mapping = scratch.slot();
        need(kSystem.attach(space, kStream));
        need(kSystem.attach(space, kForeign));
        need(space.map(page, 0, kAt, kPage, kReadWrite, mapping));
        edu.read(kAt, 8);
        seen = 0x4444;
        expect_ok("cspace.remove/dma_space", kSelf.remove(space.slot));
        edu.write(kAt, 8);
        expect_equal("cspace.remove/dma_space", 0x4444, seen);
        check("system.dma_fault/after_the_space", refusal().stream == kStream);
    }
    expect_equal("cspace.remove/dma_space", before, free_bytes());
}

void refused() {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::dma), host = scratch.space();
    const Slot to = scratch.slot();
    const sys::Memory page = scratch.memory(kPage), device{scratch.slot()};
    need(kSystem.make_memory(device.slot, 0x0901'0000, kPage));
    expect("space.map/dma_device", Error::bad_type, space.map(device, 0, kAt, kPage, kReadWrite, to));
    expect("space.map/dma_exec", Error::bad_arg, space.map(page, 0, kAt, kPage, kReadExec, to));
    expect("system.attach/bad_arg", Error::bad_arg, kSystem.attach(host, kStream));
    expect("system.attach/bad_arg", Error::bad_arg, kSystem.attach(space, 256));
    expect("system.attach/bad_arg", Error::bad_arg, kSystem.attach(space, ~u64{0}));
    expect("system.attach/bad_slot", Error::bad_slot, kSystem.attach(sys::Space{to}, kStream));
    expect("system.attach/bad_type", Error::bad_type, kSystem.attach(sys::Space{page.slot}, kStream));
    expect("system.attach/rights", Error::rights,
           kSystem.attach(sys::Space{scratch.copy(space.slot, rights::space_map)}, kStream));
    const sys::System reader{scratch.copy(abi::kRootSystem, rights::sys_log)};
    expect("system.attach/rights", Error::rights, reader.attach(space, kStream));
    expect("system.dma_fault/rights", Error::rights, reader.dma_fault().status());
    expect("thread.configure/dma_space", Error::bad_arg, scratch.thread().configure({}, space, {}, {}, {}));
    expect("pool.create/dma_guest", Error::bad_arg, kObjects.create_vcpu(to, space, 0));
}

}  // namespace

void test_dma() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const sys::Status made = kObjects.create_space(to, abi::SpaceKind::dma);
    if (!made.ok()) {
        expect("pool.create/no_smmu", Error::unsupported, made);
        skip("dma.cpp", "no SMMU");
        return;
    }
    skip("pool.create/no_smmu", "an SMMU");
    need(kSelf.remove(to));
    const Edu edu(scratch);
    need(edu.present() ? sys::Status{} : sys::Status{Error::unsupported});
    refused();
    confined(edu);
    gone(edu);
}

}  // namespace twain::test
