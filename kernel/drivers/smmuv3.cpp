// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Registers: Arm IHI 0070 chapter 6; stream table entries and context descriptors 5.2 and 5.4; commands chapter 4;
// events chapter 7.
#include "kernel/drivers/smmuv3.hpp"

#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/core/pool.hpp"
#include "kernel/drivers/mmio.hpp"

namespace twain::kernel::smmu {

namespace {

constexpr u64 kIdr0 = 0x0, kIdr5 = 0x14, kCr0 = 0x20, kCr0Ack = 0x24, kCr1 = 0x28, kCr2 = 0x2c, kIrqControl = 0x50,
              kStreamTable = 0x80, kStreamTableFormat = 0x88, kCommandBase = 0x90, kCommandProducer = 0x98,
              kCommandConsumer = 0x9c, kEventBase = 0xa0, kEventMessage = 0xb0, kEventProducer = 0x100a8,
              kEventConsumer = 0x100ac;
constexpr u32 kEnable = 1 << 0, kEnableEvents = 1 << 2, kEnableCommands = 1 << 3;
constexpr u64 kAllocate = u64{1} << 62;                      // read- or write-allocate hint of a table or queue
constexpr u64 kRegisterBytes = 0x20000, kOffset = 0x120000;  // behind the interrupt controller

constexpr unsigned kStreamBits = 8, kCommandBits = 8, kEventBits = 7;
static_assert(kStreams == 1 << kStreamBits);
struct alignas(64) Entry {
    u64 word[8];
};
struct Command {
    u64 word[2];
};
struct Event {
    u64 word[4];
};
alignas(kStreams * sizeof(Entry)) Entry streams[kStreams];
alignas(kPage) Command commands[1 << kCommandBits];
alignas(kPage) Event events[1 << kEventBits];
u32 next_command, next_event;  // index and, above it, the wrap bit

bool usable;
u64 address_size;  // CD.IPS

constexpr Mmio registers() { return Mmio(layout::kDevices + kOffset); }
constexpr u64 in_range(u32 index, unsigned bits) { return index & ((1u << bits) - 1); }
constexpr u32 with_wrap(u32 index, unsigned bits) { return index & ((2u << bits) - 1); }
u64 physical(const void* in_image) {
    return reinterpret_cast<u64>(in_image) - layout::kImage + boot_info().kernel.base;
}

// The SMMU answers at once or is broken; DMA that cannot be confined any more is a reason to stop.
template <typename Done>
void await(Done done) {
    constexpr unsigned kTurns = 1'000'000;
    for (unsigned turn = 0; !done(); ++turn) {
        if (turn == kTurns) panic("the SMMU does not answer");
        machine::relax();
    }
}

void give(u64 first, u64 second) {
    commands[in_range(next_command, kCommandBits)] = {{first, second}};
    next_command = with_wrap(next_command + 1, kCommandBits);
    dsb_sy();
    registers().write(kCommandProducer, next_command);
}

// One command, and until it has had its effect.
void command(u64 first, u64 second = 0) {
    constexpr u64 kSync = 0x46;
    give(first, second);
    give(kSync, 0);
    await([] { return with_wrap(registers().read(kCommandConsumer), kCommandBits) == next_command; });
}
void forget_stream(u64 stream) { command(0x03 | stream << 32, 1); }  // CFGI_STE, leaf
void flush_context(u64 asid) { command(0x11 | asid << 48); }         // TLBI_NH_ASID

void set_control(u32 bits) {
    registers().write(kCr0, bits);
    await([bits] { return registers().read(kCr0Ack) == bits; });
}

constexpr unsigned kAsidShift = 48;
u64 asid(const Space& space) { return space.context[0] >> kAsidShift; }

// The space's context: 39-bit addresses by TTB0, 4K, inner shareable write-back walks, faults abort and are reported.
bool make_context(Space& space, u64 asid) {
    space.context = static_cast<u64*>(space.pool->allocate(Pool::order_of<Entry>()));
    if (!space.context) return false;
    constexpr u64 kValid = u64{1} << 31, kNoTtb1 = u64{1} << 30, kAarch64 = u64{1} << 41, kReport = u64{1} << 45,
                  kAbort = u64{1} << 46, kAsidOwn = u64{1} << 47;
    constexpr u64 kWalks = 3 << 12 | 1 << 10 | 1 << 8 | 25;
    space.context[1] = space.tables.level1().value;
    space.context[3] = 0xff;  // MAIR
    space.context[0] =
        asid << kAsidShift | kAsidOwn | kAbort | kReport | kAarch64 | address_size << 32 | kValid | kNoTtb1 | kWalks;
    return true;
}

}  // namespace

bool present() { return usable; }

void init(const abi::BootInfo& boot) {
    if (boot.smmu.bytes < kRegisterBytes) return;
    map_device(kOffset, {boot.smmu.base}, kRegisterBytes);
    const Mmio smmu = registers();
    constexpr u32 kStage1 = 1 << 1, kFormat64 = 1 << 3;
    const u32 features = smmu.read(kIdr0);
    set_control(0);
    usable = (features & kStage1) && (features & kFormat64);
    if (!usable) return;
    const u64 size = smmu.read(kIdr5) & 7;
    address_size = size < 5 ? size : 5;  // 48 bits are enough
    smmu.write(kCr1,
               3 << 10 | 1 << 8 | 1 << 6 | 3 << 4 | 1 << 2 | 1);  // tables and queues: inner shareable, write-back
    smmu.write(kCr2, 1 << 2 | 1 << 1);  // its TLB is ours alone; streams without an entry are reported
    smmu.write64(kStreamTable, physical(streams) | kAllocate);
    smmu.write(kStreamTableFormat, kStreamBits);
    smmu.write64(kCommandBase, physical(commands) | kAllocate | kCommandBits);
    smmu.write(kCommandProducer, 0);
    smmu.write(kCommandConsumer, 0);
    smmu.write64(kEventBase, physical(events) | kAllocate | kEventBits);
    smmu.write(kEventProducer, 0);
    smmu.write(kEventConsumer, 0);
    set_control(kEnableCommands);
    command(0x04, 31);  // CFGI_ALL
    flush_all();
    smmu.write64(kEventMessage, 0);  // an interrupt line, no message
    smmu.write(kIrqControl, 1 << 2);
    set_control(kEnableCommands | kEnableEvents);
    set_control(kEnableCommands | kEnableEvents | kEnable);
}

Status attach(Space& space, u64 stream) {
    if (stream >= kStreams) return {Error::bad_arg, 3};
    u64(&entry)[8] = streams[stream].word;
    if (entry[0]) return {Error::occupied, 3};
    // A stream belongs to one space for as long as that lives, so its first stream's number makes an ASID of its own.
    if (!space.context && !make_context(space, stream + 1)) return Error::no_memory;
    constexpr u64 kValid = 1, kTranslate = 5 << 1;  // stage 1, no stage 2
    constexpr u64 kWalks = 3 << 6 | 1 << 4 | 1 << 2, kSharedAsComes = u64{1} << 44;
    entry[1] = kSharedAsComes | kWalks;
    __atomic_store_n(&entry[0], machine::to_phys(space.context).value | kTranslate | kValid, __ATOMIC_RELEASE);
    dsb_sy();
    forget_stream(stream);
    return {};
}

void flush(const Space& space) {
    dsb_sy();
    if (space.context) flush_context(asid(space));
}

void flush_all() {
    dsb_sy();
    if (usable) command(0x30);  // TLBI_NSNH_ALL
}

void forget(Space& space) {
    if (!space.context) return;
    const u64 context = machine::to_phys(space.context).value;
    constexpr u64 kContext = 0x000f'ffff'ffff'ffc0;
    for (u32 stream = 0; stream < kStreams; ++stream) {
        u64& entry = streams[stream].word[0];
        if ((entry & kContext) != context) continue;
        __atomic_store_n(&entry, u64{0}, __ATOMIC_RELEASE);
        dsb_sy();
        forget_stream(stream);
    }
    flush_context(asid(space));
    space.pool->free(space.context, Pool::order_of<Entry>());
    space.context = nullptr;
}

DmaFault next_fault() {
    if (!usable) return {};
    constexpr u32 kOverflow = u32{1} << 31;
    const u32 producer = registers().read(kEventProducer);
    if (with_wrap(producer, kEventBits) == next_event) return {};
    dsb_sy();
    const Event event = events[in_range(next_event, kEventBits)];
    next_event = with_wrap(next_event + 1, kEventBits);
    registers().write(kEventConsumer, next_event | (producer & kOverflow));  // what was lost is acknowledged too
    return {static_cast<u32>(event.word[0] >> 32), static_cast<u32>(event.word[0] & 0xff), event.word[2]};
}

}  // namespace twain::kernel::smmu
