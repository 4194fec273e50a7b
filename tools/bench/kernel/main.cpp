// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Root task that measures kernel primitives: each interval between two markers is one sample, and the series
// says of what (tools/twainlib/bench.py has the same numbers). One core; the partner is a process of its own.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel/api/abi.hpp"
#include "sys/sys.hpp"

extern "C" const std::byte bench_partners_begin[], bench_partners_end[], bench_server[], bench_sleeper[], bench_echo[];

namespace {

using namespace twain;

constexpr unsigned kSamples = 64;
constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kPoolBytes = 0x10'0000;
constexpr std::uint64_t kWindow = 0x2'0000'0000;   // where this task sees the partners' code
constexpr std::uint64_t kCode = 0x40'0000;         // where they see it
constexpr std::uint64_t kScratch = 0x3'0000'0000;  // for mapping and unmapping
constexpr std::uint64_t kWarm = 0x3'0000'1000;     // keeps the page tables around kScratch
constexpr std::uint8_t kOwnPriority = 20, kPartnerPriority = 40;

enum Slots : abi::Slot {
    kRam = abi::kRootFree,
    kPool,
    kCodeMemory,
    kDataMemory,
    kWindowMapping,
    kWarmMapping,
    kEndpoint,
    kQuiet,
    kWake,
    kPing,
    kPong,
    kCopy,
    kScratchMapping,
    kPartners = 100,  // and upwards, ten each
};

const sys::System kSystem{abi::kRootSystem};

void say(std::string_view text) { kSystem.log(text); }

void finish(std::string_view text) {
    say(text);
    say("\n");
    (void)kSystem.power(abi::system::kPowerOff);
}

void need(sys::Status status, std::string_view what) {
    if (!status) {
        say("bench failed: ");
        say(what);
        say(" ");
        finish(sys::error_name(status.error()));
    }
}

template <unsigned kSeries>
[[gnu::always_inline]] inline void series() {
    asm volatile("hint %0" ::"i"(66 + kSeries));
}
[[gnu::always_inline]] inline void begin() { asm volatile("hint #64" ::: "memory"); }
[[gnu::always_inline]] inline void end() { asm volatile("hint #65" ::: "memory"); }

// A process that runs one piece of partners.S: capability space, space, scheduling context and thread of its own.
void start_partner(unsigned number, const std::byte* entry, abi::Slot first, abi::Slot second) {
    const abi::Slot base = kPartners + 10 * number;
    const sys::Pool pool{kPool};
    const sys::CSpace cspace{base};
    const sys::Space space{base + 1};
    const sys::Thread thread{base + 2};
    const sys::Sched sched{base + 3};
    need(pool.create_cspace(cspace.slot), "cspace");
    need(pool.create_space(space.slot, abi::SpaceKind::host), "space");
    need(pool.create_thread(thread.slot), "thread");
    need(kSystem.make_sched(pool, sched.slot, 0, 0, {kPartnerPriority, 0, false}), "sched");
    need(space.map(sys::Memory{kCodeMemory}, 0, kCode, kPage, abi::rights::mem_read | abi::rights::mem_exec, base + 4),
         "map code");
    need(cspace.copy(1, first), "copy");
    if (second != 0) {
        need(cspace.copy(2, second), "copy");
    }
    need(thread.configure(cspace, space, {}, sched, {}), "configure");
    const auto offset = static_cast<std::uint64_t>(entry - bench_partners_begin);
    need(thread.start(kCode + offset, 0, 1, 2), "start");
    sys::yield();  // it has the higher priority and waits by now
}

void prepare() {
    need(sys::Sched{abi::kRootSched}.configure(0, 0, {kOwnPriority, 0, false}), "own priority");
    const sys::Memory ram{abi::kRootRam};
    need(ram.split(kPoolBytes, kRam), "split");
    need(ram.make_pool(kPool), "make_pool");
    const auto all = abi::rights::mem_read | abi::rights::mem_write | abi::rights::mem_exec;
    need(sys::Memory{kRam}.derive(0, kPage, kCodeMemory, all), "derive code");
    need(sys::Memory{kRam}.derive(kPage, kPage, kDataMemory, all), "derive data");
    const sys::Space own{abi::kRootSpace};
    const auto writable = abi::rights::mem_read | abi::rights::mem_write;
    need(own.map(sys::Memory{kCodeMemory}, 0, kWindow, kPage, writable, kWindowMapping), "map window");
    need(own.map(sys::Memory{kDataMemory}, 0, kWarm, kPage, writable, kWarmMapping), "map warm");
    const auto bytes = static_cast<std::size_t>(bench_partners_end - bench_partners_begin);
    std::memcpy(reinterpret_cast<void*>(kWindow), bench_partners_begin, bytes);
    for (std::uint64_t at = kWindow; at < kWindow + bytes; at += 16) {
        asm volatile("dc cvau, %0" ::"r"(at) : "memory");
    }
    asm volatile("dsb ish" ::: "memory");
    const sys::Pool pool{kPool};
    need(pool.create_endpoint(kEndpoint, 0), "endpoint");
    for (const abi::Slot note : {kQuiet, kWake, kPing, kPong}) {
        need(pool.create_notification(note), "notification");
    }
}

void measure_ipc() {
    start_partner(0, bench_server, kEndpoint, 0);
    const sys::Endpoint endpoint{kEndpoint};
    const sys::Message empty = sys::message(1);
    const sys::Message full = sys::message(1, 1, 2, 3, 4, 5, 6);
    (void)endpoint.call(empty);
    series<1>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        const sys::Message answer = endpoint.call(empty);
        end();
        need(answer.status(), "call");
    }
    series<2>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        const sys::Message answer = endpoint.call(full);
        end();
        need(answer.status(), "call");
    }
}

void measure_signals() {
    const sys::Notification quiet{kQuiet};
    series<3>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        const sys::Status status = quiet.signal();
        end();
        need(status, "signal");
    }
    start_partner(1, bench_sleeper, kWake, 0);
    const sys::Notification wake{kWake};
    series<4>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        need(wake.signal(), "signal");  // the interval ends in the sleeper
    }
    start_partner(2, bench_echo, kPing, kPong);
    const sys::Notification ping{kPing};
    const sys::Notification pong{kPong};
    series<5>();
    for (unsigned i = 0; i < kSamples; ++i) {
        begin();
        (void)ping.signal();
        const sys::Result<std::uint64_t> bits = pong.wait();
        end();
        need(bits.status(), "wait");
    }
}

void measure_capabilities() {
    const sys::CSpace own{abi::kRootCSpace};
    const sys::Space space{abi::kRootSpace};
    for (unsigned i = 0; i < kSamples; ++i) {
        series<6>();
        begin();
        const sys::Status mapped = space.map(sys::Memory{kDataMemory}, 0, kScratch, kPage, abi::rights::mem_read, kScratchMapping);
        end();
        need(mapped, "map");
        series<7>();
        begin();
        const sys::Status unmapped = own.remove(kScratchMapping);
        end();
        need(unmapped, "unmap");
        series<8>();
        begin();
        const sys::Status copied = own.copy(kCopy, kQuiet);
        end();
        need(copied, "copy");
        series<9>();
        begin();
        const sys::Status removed = own.remove(kCopy);
        end();
        need(removed, "remove");
    }
}

}  // namespace

int main() {
    prepare();
    measure_ipc();
    measure_signals();
    measure_capabilities();
    finish("bench done");
    return 0;
}
