// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Registers: Arm IHI 0070 chapter 6; stream table entries and context descriptors 5.2 and 5.4; commands chapter 4;
// events chapter 7.
#include "kernel/drivers/smmuv3.hpp"

#include <utility>

#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/core/destroy.hpp"
#include "kernel/core/log.hpp"
#include "kernel/drivers/mmio.hpp"

namespace twain::kernel::smmu {

namespace {

constexpr u32 kIdr0 = 0x0, kIdr1 = 0x4, kIdr5 = 0x14, kCr0 = 0x20, kCr0Ack = 0x24, kCr1 = 0x28, kCr2 = 0x2c,
              kBypass = 0x44, kIrqControl = 0x50, kStreamTable = 0x80, kStreamTableFormat = 0x88, kCommandBase = 0x90,
              kCommandProducer = 0x98, kCommandConsumer = 0x9c, kEventBase = 0xa0, kEventMessage = 0xb0,
              kEventProducer = 0x100a8, kEventConsumer = 0x100ac;
constexpr u32 kEnable = 1 << 0, kEnableEvents = 1 << 2, kEnableCommands = 1 << 3;
constexpr u32 kBypassAborts = 1 << 20, kBypassUpdate = u32{1} << 31;
constexpr u64 kAllocate = u64{1} << 62;                      // read- or write-allocate hint of a table or queue
constexpr u64 kRegisterBytes = 0x20000, kOffset = 0x120000;  // behind the interrupt controller
constexpr u64 kPatienceNs = 1'000'000;

constexpr unsigned kStreamBits = 8, kCommandBits = 7, kEventBits = 7;
static_assert(kStreams == 1 << kStreamBits);
using Commands = Ring<kCommandBits>;
using Events = Ring<kEventBits>;

// What the SMMU reads and writes. Tables and queues lie at multiples of their size.
struct Entry {
    u64 word[8];
};
struct Command {
    u64 word[2];
};
struct Event {
    u64 word[4];
};
alignas(kStreams * sizeof(Entry)) Entry streams[kStreams];
alignas(sizeof(Entry)) Entry contexts[kStreams];  // by ASID
alignas(kPage) Command commands[Commands::kEntries];
alignas(kPage) Event events[Events::kEntries];

// Who has a stream. It is there until the SMMU has forgotten what it knew of it: a stream that is being taken from a space
// has an owner and no entry.
struct Stream {
    Space* space;
    u64 ticket;
};
Stream owners[kStreams];

u64 given;  // commands, in all
u32 next_event;
bool usable, silent;
u64 address_size;  // CD.IPS

constexpr Mmio registers() { return Mmio(layout::kDevices + kOffset); }

// Until something has happened, but not for ever.
bool await(bool (*happened)(u64), u64 what) {
    const Ticks limit = machine::now() + machine::ns_to_ticks(kPatienceNs);
    while (!happened(what)) {
        if (machine::now() > limit) return false;
        wait_in_kernel();
    }
    return true;
}

// Has the SMMU done the first `count` commands?
bool done(u64 count) { return Commands::read(given, registers().read(kCommandConsumer)) >= count; }
bool done_or_pause(u64 count) { return done(count) || should_pause(); }

// In steps.
[[gnu::noinline]] bool wait_for(u64 count) {
    silent = !await(done_or_pause, count);
    return done(count);
}

void give(u64 first, u64 second = 0) {
    commands[Commands::index(given)] = {{first, second}};
    ++given;
}
void publish() {
    dsb_sy();
    registers().write(kCommandProducer, Commands::position(given));
}

constexpr u64 kSync = 0x46, kForgetAllStreams = 0x04, kForgetAllTranslations = 0x30;
constexpr unsigned kAsidShift = 48;
constexpr u64 forget_stream(u64 stream) { return 0x03 | stream << 32; }       // CFGI_STE: its context too
constexpr u64 forget_context(u64 asid) { return 0x11 | asid << kAsidShift; }  // TLBI_NH_ASID

// Gives two commands and a CMD_SYNC, unless `ticket` says that they are given, and waits until they have had their effect. False: not yet.
bool settle(u64& ticket, u64 first, u64 second) {
    constexpr u64 kGiven = 3;
    if (!ticket) {
        if (given + kGiven > Commands::kEntries && !wait_for(given + kGiven - Commands::kEntries)) return false;
        give(first);
        give(second);
        give(kSync);
        publish();
        ticket = given;
    }
    return wait_for(ticket);
}

bool set_control(u32 bits) {
    registers().write(kCr0, bits);
    return await([](u64 wanted) { return registers().read(kCr0Ack) == wanted; }, bits);
}

// Those that the kernel needs: stage 1 of the tables that the processor has, 4K, coherent, little endian, no device that
// must be stalled at a fault, tables and queues where the kernel wants them.
bool has_features(const Mmio& smmu) {
    const u32 idr0 = smmu.read(kIdr0), idr1 = smmu.read(kIdr1), idr5 = smmu.read(kIdr5);
    constexpr u32 kStage1 = 1 << 1, kFormat64 = 1 << 3, kCoherent = 1 << 4, kNeeded = kStage1 | kFormat64 | kCoherent;
    constexpr u32 kStallForced = 2, kBigEndian = 3, kPreset = 3 << 29, k4K = 1 << 4;
    return (idr0 & kNeeded) == kNeeded && (idr0 >> 24 & 3) != kStallForced && (idr0 >> 21 & 3) != kBigEndian &&
           !(idr1 & kPreset) && (idr1 >> 21 & 31) >= kCommandBits && (idr1 >> 16 & 31) >= kEventBits && (idr5 & k4K);
}

constexpr struct {
    u32 offset, value;
} kSetup[] = {
    {kCr1, 3 << 10 | 1 << 8 | 1 << 6 | 3 << 4 | 1 << 2 | 1},  // tables and queues: inner shareable, write-back
    {kCr2, 1 << 2 | 1 << 1},            // its TLB is ours alone; streams beyond the table are reported
    {kStreamTableFormat, kStreamBits},  // linear
    {kCommandProducer, 0},
    {kCommandConsumer, 0},
    {kEventProducer, 0},
    {kEventConsumer, 0},
    {kEventMessage, 0},  // an interrupt line, no message
    {kEventMessage + 4, 0},
    {kIrqControl, 1 << 2},
};

bool start(const Mmio& smmu) {
    // While it is off, and should it be off again, what devices do is aborted (where GBPA is implemented).
    smmu.write(kBypass, smmu.read(kBypass) | kBypassAborts | kBypassUpdate);
    (void)await([](u64 bit) { return !(registers().read(kBypass) & bit); }, kBypassUpdate);
    if (!set_control(0) || !has_features(smmu)) return false;
    constexpr u64 k48Bits = 5;
    address_size = smmu.read(kIdr5) & 7;
    if (address_size > k48Bits) address_size = k48Bits;
    for (const auto& [offset, value] : kSetup) smmu.write(offset, value);
    smmu.write64(kStreamTable, physical(streams) | kAllocate);
    smmu.write64(kCommandBase, physical(commands) | kAllocate | kCommandBits);
    smmu.write64(kEventBase, physical(events) | kAllocate | kEventBits);
    if (!set_control(kEnableCommands)) return false;
    give(kForgetAllStreams, 31);
    give(kForgetAllTranslations);
    give(kSync);
    publish();
    return await(done, given) && set_control(kEnableCommands | kEnableEvents | kEnable);
}

// A context that nobody has: 39-bit addresses by TTB0, 4K, inner shareable write-back walks, faults abort and are reported.
void make_context(Space& space) {
    u64 asid = 0;
    while (contexts[asid].word[0]) ++asid;  // at most one for each stream that has a space
    constexpr u64 kValid = u64{1} << 31, kNoTtb1 = u64{1} << 30, kAarch64 = u64{1} << 41, kReport = u64{1} << 45,
                  kAbort = u64{1} << 46, kAsidOwn = u64{1} << 47;
    constexpr u64 kWalks = 3 << 12 | 1 << 10 | 1 << 8 | 25;
    u64(&context)[8] = contexts[asid].word;
    context[1] = space.tables.level1().value;
    context[3] = 0xff;  // MAIR
    context[0] =
        asid << kAsidShift | kAsidOwn | kAbort | kReport | kAarch64 | address_size << 32 | kValid | kNoTtb1 | kWalks;
    space.context = context;
}

u64 asid(const Space& space) { return space.context[0] >> kAsidShift; }

// The first stream of a space, or kStreams.
u64 first_of(const Space& space) {
    u64 stream = 0;
    while (stream < kStreams && owners[stream].space != &space) ++stream;
    return stream;
}

// The stream's entry becomes this one, and the SMMU knows of no other. False: not yet.
bool change(u64 stream, u64 entry) {
    Stream& owner = owners[stream];
    u64& now = streams[stream].word[0];
    if (now != entry) {
        __atomic_store_n(&now, entry, __ATOMIC_RELEASE);
        owner.ticket = 0;
    }
    return settle(owner.ticket, forget_stream(stream), forget_context(asid(*owner.space)));
}

bool detach(u64 stream) {
    if (!change(stream, 0)) return false;
    Space& space = *std::exchange(owners[stream].space, nullptr);
    if (first_of(space) == kStreams) {
        space.context[0] = 0;
        space.context = nullptr;
    }
    return true;
}

}  // namespace

bool present() { return usable; }
bool gave_up() { return std::exchange(silent, false); }

void init(const abi::BootInfo& boot) {
    if (boot.smmu.bytes < kRegisterBytes) return;
    map_device(kOffset, {boot.smmu.base}, kRegisterBytes);
    usable = start(registers());
    if (!usable) log("kernel: no DMA spaces with this SMMU\n");
}

Status attach(Space* space, u64 stream) {
    if (stream >= kStreams) return {Error::bad_arg, 3};
    Space*& owner = owners[stream].space;
    bool settled = true;
    if (space) {
        if (owner && (owner != space || !streams[stream].word[0])) return {Error::occupied, 3};
        if (!space->context) make_context(*space);
        owner = space;
        constexpr u64 kValid = 1, kTranslate = 5 << 1;  // stage 1, no stage 2
        constexpr u64 kWalks = 3 << 6 | 1 << 4 | 1 << 2, kSharedAsComes = u64{1} << 44;
        streams[stream].word[1] = kSharedAsComes | kWalks;
        settled = change(stream, physical(space->context) | kTranslate | kValid);
    } else if (owner) {
        settled = detach(stream);
    }
    return settled ? Status{} : unfinished();
}

bool flush(const Space& space, u64& progress) {
    return !space.context || settle(progress, forget_context(asid(space)), kSync);
}

bool forget(Space& space) {
    while (space.context) {
        if (!detach(first_of(space)) || should_pause()) break;
    }
    return !space.context;
}

DmaFault next_fault() {
    constexpr u32 kOverflow = u32{1} << 31;
    const u32 producer = registers().read(kEventProducer);
    if (Events::position(producer) == next_event) return {};
    dsb_sy();
    const Event& event = events[Events::index(next_event)];
    const DmaFault fault = {static_cast<u32>(event.word[0] >> 32), static_cast<u8>(event.word[0]), event.word[2]};
    dsb_sy();
    next_event = Events::position(next_event + 1);
    registers().write(kEventConsumer, next_event | (producer & kOverflow));  // what was lost is acknowledged too
    return fault;
}

}  // namespace twain::kernel::smmu
