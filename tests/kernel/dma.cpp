// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What devices reach by DMA, on a machine with an SMMU: two of QEMU's `edu` (docs/specs/edu.txt) on the PCI bus of `virt`.
#include "test.hpp"

namespace twain::test {

namespace {

// Where `virt` has its PCI configuration space and a window for registers; the devices are numbers 1 and 2, function 0.
constexpr u64 kConfiguration = 0x40'1000'0000, kConfigurationBytes = 0x8000;
constexpr u64 kRegisters = 0x1000'0000, kRegisterBytes = 0x10'0000;
constexpr u64 kStream = 8, kSecond = 16, kForeign = 9, kStreams = 256;
constexpr std::uint32_t kEduIds = 0x11e8'1234;

class Edu {
public:
    Edu(Scratch& scratch, u64 stream) {
        const u64 number = stream / 8, base = kRegisters + number * kRegisterBytes;
        const sys::Memory configuration{scratch.slot()}, registers{scratch.slot()};
        need(kSystem.make_memory(configuration.slot, kConfiguration + number * kConfigurationBytes, kPage));
        need(kSystem.make_memory(registers.slot, base, kPage));
        configuration_ = scratch.map(configuration);
        registers_ = scratch.map(registers);
        if (!present()) return;
        at<std::uint32_t>(configuration_, 0x10) = static_cast<std::uint32_t>(base);
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

// A page of RAM, and what this program sees in it.
struct Page {
    explicit Page(Scratch& scratch) : memory(scratch.memory(kPage)), word(*at(scratch.map(memory))) {}
    static volatile u64* at(u64 address) { return reinterpret_cast<volatile u64*>(address); }
    sys::Memory memory;
    volatile u64& word;
};

// What the device reads at the address, by what it then writes to a page of its own at `echo`; ~0: it was refused.
u64 seen_by(const Edu& edu, u64 address, u64 echo, volatile u64& shown) {
    constexpr u64 kNothing = ~u64{0};
    shown = kNothing;
    (void)refusal();
    edu.read(address, 8);
    if (refusal().kind != 0) return kNothing;
    edu.write(echo, 8);
    return shown;
}

void confined(const Edu& edu) {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::dma);
    const Page page(scratch), other(scratch);
    (void)refusal();

    page.word = 0x1111;
    edu.read(kAt, 8);  // nothing has been allowed yet
    check("system.dma_fault/of_unattached", refusal().stream == kStream);
    expect_ok("system.attach/reaches_what_is_mapped", kSystem.attach(space, kStream));
    expect_ok("system.attach/again", kSystem.attach(space, kStream));
    const Slot mapping = scratch.slot();
    expect_ok("system.attach/reaches_what_is_mapped", space.map(page.memory, 0, kAt, kPage, kReadWrite, mapping));
    edu.read(kAt, 8);
    page.word = 0x2222;
    edu.write(kAt, 8);
    expect_equal("system.attach/reaches_what_is_mapped", 0x1111, page.word);
    check("system.attach/reaches_what_is_mapped", refusal().kind == 0);

    other.word = 0x5555;  // by its physical address, as far as the device has bits
    edu.write(kSelf.inspect(other.memory.slot)->base & 0xfff'ffff, 8);
    expect_equal("system.attach/and_nothing_else", 0x5555, other.word);
    check("system.dma_fault/of_unmapped", refusal().stream == kStream);

    page.word = 0x3333;
    expect_ok("mapping.protect/dma", sys::Mapping{mapping}.protect(kRead));
    edu.write(kAt, 8);
    expect_equal("mapping.protect/dma", 0x3333, page.word);
    const sys::System::DmaFault fault = refusal();
    check("system.dma_fault/of_read_only", fault.stream == kStream && fault.address == kAt && fault.kind == 0x13);
    expect("mapping.protect/dma_exec", Error::bad_arg, sys::Mapping{mapping}.protect(kReadExec));
    expect_ok("cspace.remove/dma_mapping", kSelf.remove(mapping));
    edu.read(kAt, 8);
    check("cspace.remove/dma_mapping", refusal().stream == kStream);
    // Once more, smaller than what was there, and by a chain that the device has cached.
    expect_ok("cspace.remove/dma_mapping", space.map(other.memory, 0, kAt, kPage, kReadWrite, mapping));
    edu.read(kAt, 8);
    edu.write(kAt + 8, 8);
    check("cspace.remove/dma_mapping", refusal().kind == 0);
}

// What was cached of a translation is not used when it has gone, whoever takes it back, and another page is there.
void nothing_stale(const Edu& edu) {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::dma);
    const Page page(scratch), next(scratch), echo(scratch);
    constexpr u64 kEcho = kAt + kPage;
    need(kSystem.attach(space, kStream));
    need(space.map(echo.memory, 0, kEcho, kPage, kReadWrite, scratch.slot()));
    const Slot mapping = scratch.slot();
    page.word = 0x1234;
    next.word = 0x5678;
    for (unsigned turn = 0; turn < 2; ++turn) {
        need(space.map(page.memory, 0, kAt, kPage, kReadWrite, mapping));
        expect_equal("cspace.remove/dma_nothing_stale", 0x1234, seen_by(edu, kAt, kEcho, echo.word));
        need(kSelf.remove(mapping));
        expect_equal("cspace.remove/dma_nothing_stale", ~u64{0}, seen_by(edu, kAt, kEcho, echo.word));
        need(space.map(next.memory, 0, kAt, kPage, kReadWrite, mapping));
        expect_equal("cspace.remove/dma_nothing_stale", 0x5678, seen_by(edu, kAt, kEcho, echo.word));
        expect_ok("cspace.revoke/dma_memory", kSelf.revoke(next.memory.slot));  // takes this program's own mapping too
        expect_equal("cspace.revoke/dma_memory", ~u64{0}, seen_by(edu, kAt, kEcho, echo.word));
        if (turn == 0)
            need(kSpace.map(next.memory, 0, reinterpret_cast<u64>(&next.word), kPage, kReadWrite, scratch.slot()));
    }
}

// The same address in two spaces; two devices that use it at a time, and one that is taken from one, and given to the other.
void two_spaces(const Edu& edu, const Edu& second) {
    Scratch scratch;
    const sys::Space one = scratch.space(abi::SpaceKind::dma), two = scratch.space(abi::SpaceKind::dma);
    const Page in_one(scratch), in_two(scratch), echo(scratch);
    constexpr u64 kEcho = kAt + kPage;
    in_one.word = 0xaaaa;
    in_two.word = 0xbbbb;
    need(one.map(in_one.memory, 0, kAt, kPage, kReadWrite, scratch.slot()));
    need(two.map(in_two.memory, 0, kAt, kPage, kReadWrite, scratch.slot()));
    need(one.map(echo.memory, 0, kEcho, kPage, kReadWrite, scratch.slot()));
    need(two.map(echo.memory, 0, kEcho, kPage, kReadWrite, scratch.slot()));
    need(kSystem.attach(two, kSecond));
    for (unsigned turn = 0; turn < 2; ++turn) {
        need(kSystem.attach(one, kStream));
        expect_equal("system.attach/two_spaces", 0xaaaa, seen_by(edu, kAt, kEcho, echo.word));
        expect_equal("system.attach/two_spaces", 0xbbbb, seen_by(second, kAt, kEcho, echo.word));
        expect("system.attach/occupied", Error::occupied, kSystem.attach(two, kStream));
        expect_equal("system.attach/two_spaces", 0xaaaa, seen_by(edu, kAt, kEcho, echo.word));
        expect_ok("system.attach/detached", kSystem.detach(kStream));
        expect_equal("system.attach/detached", ~u64{0}, seen_by(edu, kAt, kEcho, echo.word));
        expect_ok("system.attach/detached", kSystem.detach(kStream));  // nothing there
        need(kSystem.attach(two, kStream));
        expect_equal("system.attach/two_spaces", 0xbbbb, seen_by(edu, kAt, kEcho, echo.word));
        expect_ok("system.attach/detached", kSystem.detach(kStream));
        edu.write(kAt, 8);
        expect_equal("system.attach/detached", 0xbbbb, in_two.word);
    }
}

// More spaces than the SMMU has contexts, all at once: it takes one for a space that has a stream, and there is one for each.
void many(const Edu& edu) {
    const u64 before = free_bytes();
    {
        Scratch scratch;
        const Page page(scratch);
        sys::Space last{};
        for (u64 n = 0; n < kStreams + 8; ++n) {
            last = scratch.space(abi::SpaceKind::dma);
            const u64 stream = n % kStreams;
            if (n >= kStreams) {
                expect("system.attach/occupied", Error::occupied, kSystem.attach(last, stream));
                need(kSystem.detach(stream));
            }
            expect_ok("system.attach/many", kSystem.attach(last, stream));
            if (stream == kStream) need(last.map(page.memory, 0, kAt, kPage, kReadWrite, scratch.slot()));
        }
        (void)refusal();
        page.word = 0x7777;
        edu.read(kAt, 8);
        check("system.attach/many", refusal().kind == 0);
        for (u64 stream = 0; stream < kStreams; ++stream) need(kSystem.detach(stream));
        for (u64 stream = 0; stream < kStreams; ++stream)
            expect_ok("system.attach/all_streams", kSystem.attach(last, stream));
        edu.read(kAt, 8);
        check("system.attach/all_streams", refusal().stream == kStream);
        expect_ok("cspace.remove/dma_all_streams", kSelf.remove(last.slot));
    }
    expect_equal("system.attach/many", before, free_bytes());
}

// As many events as there are in the queue, and more: the oldest are told, the rest is lost, and then all is as before.
void flood(const Edu& edu) {
    Scratch scratch;
    (void)refusal();
    constexpr unsigned kMore = 130;
    for (unsigned i = 0; i < kMore; ++i) edu.read(kAt + i * kPage, 8);
    unsigned told = 0;
    bool in_order = true;
    for (auto fault = *kSystem.dma_fault(); fault.kind != 0; fault = *kSystem.dma_fault(), ++told) {
        in_order = in_order && fault.stream == kStream;
    }
    check("system.dma_fault/flood", in_order && told >= 64 && told <= 128);
    edu.read(kAt, 8);
    check("system.dma_fault/flood", refusal().stream == kStream);
}

void gone(const Edu& edu) {
    const u64 before = free_bytes();
    {
        Scratch scratch;
        const sys::Space space = scratch.space(abi::SpaceKind::dma);
        const Page page(scratch);
        const Slot mapping = scratch.slot();
        need(kSystem.attach(space, kStream));
        need(kSystem.attach(space, kForeign));
        need(space.map(page.memory, 0, kAt, kPage, kReadWrite, mapping));
        edu.read(kAt, 8);
        page.word = 0x4444;
        expect_ok("cspace.remove/dma_space", kSelf.remove(space.slot));
        edu.write(kAt, 8);
        expect_equal("cspace.remove/dma_space", 0x4444, page.word);
        check("system.dma_fault/after_the_space", refusal().stream == kStream);
    }
    expect_equal("cspace.remove/dma_space", before, free_bytes());
    {  // with the pool that it is made from, which is memory again then
        Scratch scratch;
        const Page page(scratch);
        const sys::Pool pool = scratch.small_pool();
        const sys::Space space{scratch.slot()};
        need(pool.create_space(space.slot, abi::SpaceKind::dma));
        need(kSystem.attach(space, kStream));
        need(space.map(page.memory, 0, kAt, kPage, kReadWrite, scratch.slot()));
        edu.read(kAt, 8);
        page.word = 0x6666;
        expect_ok("cspace.remove/dma_pool", kSelf.remove(pool.slot));
        edu.write(kAt, 8);
        expect_equal("cspace.remove/dma_pool", 0x6666, page.word);
    }
}

// An emptied table of a DMA space stays: what was cached of the way to it is right as long as the space is there.
void block_over_pages(const Edu& edu) {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::dma);
    const Page echo(scratch), page(scratch);
    constexpr u64 kBlock = 0x40'0000, kEcho = 0x20'0000;
    need(kSystem.attach(space, kStream));
    need(space.map(echo.memory, 0, kEcho, kPage, kReadWrite, scratch.slot()));
    const Slot mapping = scratch.slot();
    page.word = 0x1001;
    need(space.map(page.memory, 0, kBlock, kPage, kReadWrite, mapping));
    expect_equal("space.map/dma_block_over_pages", 0x1001, seen_by(edu, kBlock, kEcho, echo.word));
    need(kSelf.remove(mapping));
    const sys::Memory block = scratch.memory(u64{2} << 20);
    volatile u64& word = *Page::at(scratch.map(block, u64{2} << 20));
    word = 0x2002;
    need(space.map(block, 0, kBlock, u64{2} << 20, kReadWrite, mapping));
    expect_equal("space.map/dma_block_over_pages", 0x2002, seen_by(edu, kBlock, kEcho, echo.word));
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
    for (const u64 beyond : {kStreams, kStreams + kStream, u64{1} << 32, u64{1} << 32 | kStream, ~u64{0}}) {
        expect("system.attach/bad_arg", Error::bad_arg, kSystem.attach(space, beyond));
        expect("system.attach/bad_arg", Error::bad_arg, kSystem.detach(beyond));
    }
    expect("system.attach/bad_slot", Error::bad_slot, kSystem.attach(sys::Space{to}, kStream));
    expect("system.attach/bad_type", Error::bad_type, kSystem.attach(sys::Space{page.slot}, kStream));
    expect("system.attach/rights", Error::rights,
           kSystem.attach(sys::Space{scratch.copy(space.slot, rights::space_map)}, kStream));
    const sys::System reader{scratch.copy(abi::kRootSystem, rights::sys_log)};
    expect("system.attach/rights", Error::rights, reader.attach(space, kStream));
    expect("system.dma_fault/rights", Error::rights, reader.dma_fault().status());
    expect("thread.configure/dma_space", Error::bad_arg, scratch.thread().configure({}, space, {}, {}, {}));
    expect("pool.create/dma_guest", Error::bad_arg, kObjects.create_vcpu(to, space, 0));
    expect("system.make_memory/never_smmu", Error::bad_arg,
           kSystem.make_memory(to, reinterpret_cast<const abi::BootInfo*>(abi::kBootInfoAddress)->smmu.base, kPage));
}

}  // namespace

void test_dma() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const sys::Status made = kObjects.create_space(to, abi::SpaceKind::dma);
    if (!made.ok()) {
        expect("pool.create/no_smmu", Error::unsupported, made);
        expect("system.attach/no_smmu", Error::unsupported, kSystem.detach(kStream));
        expect("system.dma_fault/no_smmu", Error::unsupported, kSystem.dma_fault().status());
        skip("dma.cpp", "no SMMU");
        return;
    }
    for (const char* id : {"pool.create/no_smmu", "system.attach/no_smmu", "system.dma_fault/no_smmu"})
        skip(id, "an SMMU");
    need(kSelf.remove(to));
    const Edu edu(scratch, kStream), second(scratch, kSecond);
    need(edu.present() && second.present() ? sys::Status{} : sys::Status{Error::unsupported});
    refused();
    confined(edu);
    nothing_stale(edu);
    two_spaces(edu, second);
    block_over_pages(edu);
    many(edu);
    flood(edu);
    gone(edu);
}

}  // namespace twain::test
