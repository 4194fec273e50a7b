// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Root task that measures kernel primitives on core 0; the other cores are online and idle.
#include <cstring>

#include "bench.hpp"

namespace twain::bench {

namespace {

constexpr std::uint64_t kPoolBytes = 0x20'0000;
constexpr std::uint64_t kPartnerCode = 0x40'0000;  // where partners see their code

void say(std::string_view text) { kSystem.log(text); }

[[noreturn]] void finish(std::string_view text) {
    say(text);
    say("\n");
    for (;;) (void)kSystem.power(abi::system::kPowerOff);
}

std::uint64_t used_pages = 0, mapped_pages = 0;
abi::Slot used_slots = kFirst;

void prepare() {
    need(sys::Sched{abi::kRootSched}.configure(0, 0, {kOwnPriority, 0, false}), "own priority");
    const sys::Memory ram{abi::kRootRam};
    need(ram.split(kPoolBytes, kRam), "split");
    need(ram.make_pool(kPool), "make_pool");
    const sys::Memory code = memory(1);
    need(kSelf.copy(kCode, code.slot), "copy");
    copy_code(map(code, 1), bench_partners_begin, bench_partners_end);
    need(kSelf.copy(kSpare, memory(1).slot), "copy");
    need(kObjects.create_notification(kQuiet), "notification");
}

}  // namespace

void need(sys::Status status, std::string_view what) {
    if (!status) {
        say("bench failed: ");
        say(what);
        say(" ");
        finish(sys::error_name(status.error()));
    }
}

abi::Slot next_slot() { return used_slots++; }

sys::Notification notification() {
    const sys::Notification made{next_slot()};
    need(kObjects.create_notification(made.slot), "notification");
    return made;
}

sys::Endpoint endpoint() {
    const sys::Endpoint made{next_slot()};
    need(kObjects.create_endpoint(made.slot, 0), "endpoint");
    return made;
}

sys::Memory memory(std::uint64_t pages) {
    const sys::Memory made{next_slot()};
    need(sys::Memory{kRam}.derive(used_pages * kPage, pages * kPage, made.slot, abi::rights::all), "derive");
    used_pages += pages;
    return made;
}

void* map(sys::Memory memory, std::uint64_t pages, sys::Rights rights) {
    const std::uint64_t at = kWindow + mapped_pages * kPage;
    need(kSpace.map(memory, 0, at, pages * kPage, rights, next_slot()), "map");
    mapped_pages += pages;
    return reinterpret_cast<void*>(at);
}

void copy_code(void* to, const std::byte* begin, const std::byte* end) {
    const auto bytes = static_cast<std::size_t>(end - begin);
    std::memcpy(to, begin, bytes);
    for (auto at = reinterpret_cast<std::uint64_t>(to), last = at + bytes; at < last; at += 16) {
        asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0" ::"r"(at) : "memory");
    }
    asm volatile("dsb ish\n isb" ::: "memory");
}

sys::Thread start_partner(const std::byte* entry, abi::Slot first, abi::Slot second, sys::Endpoint fault) {
    const sys::CSpace cspace{next_slot()};
    const sys::Space space{next_slot()};
    const sys::Thread thread{next_slot()};
    const sys::Sched sched{next_slot()};
    need(kObjects.create_cspace(cspace.slot), "cspace");
    need(kObjects.create_space(space.slot, abi::SpaceKind::host), "space");
    need(kObjects.create_thread(thread.slot), "thread");
    need(kSystem.make_sched(kObjects, sched.slot, 0, 0, {kPartnerPriority, 0, false}), "sched");
    need(space.map(sys::Memory{kCode}, 0, kPartnerCode, kPage, abi::rights::mem_read | abi::rights::mem_exec,
                   next_slot()),
         "map code");
    need(cspace.copy(1, first), "copy");
    if (second != 0) {
        need(cspace.copy(2, second), "copy");
    }
    need(thread.configure(cspace, space, fault, sched, {}), "configure");
    const auto offset = static_cast<std::uint64_t>(entry - bench_partners_begin);
    need(thread.start(kPartnerCode + offset, 0, 1, 2), "start");
    sys::yield();
    return thread;
}

}  // namespace twain::bench

int main() {
    using namespace twain::bench;
    series<0>();  // what has been executed until here is the kernel's start
    prepare();
    measure_ipc();
    measure_signals();
    measure_capabilities();
    measure_faults();
    measure_interrupts();
    measure_vcpu();
    finish("bench done");
}
