// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the measurements of this root task share: markers, slots, partners. Each interval between begin() and end() is
// one sample, and series<N>() says of what: tools/twainlib/bench/kernel.py has the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel/api/abi.hpp"
#include "sys/sys.hpp"

namespace twain::bench {

inline constexpr unsigned kSamples = 64;
inline constexpr std::uint64_t kPage = 0x1000;
inline constexpr std::uint8_t kOwnPriority = 20, kPartnerPriority = 40;

enum Slots : abi::Slot {
    kRam = abi::kRootFree,  // what memory is derived from
    kPool,
    kCode,   // a page with the partners' code
    kSpare,  // a page to map, unmap and share
    kSpareMapping,
    kQuiet,       // a notification for which nobody waits
    kFree,        // empty between measurements
    kFirst = 64,  // and upwards: by next_slot()
};

inline constexpr sys::System kSystem{abi::kRootSystem};
inline constexpr sys::CSpace kSelf{abi::kRootCSpace};
inline constexpr sys::Space kSpace{abi::kRootSpace};
inline constexpr sys::Pool kObjects{kPool};

template <unsigned kSeries>
[[gnu::always_inline]] inline void series() {
    asm volatile("hint %0" ::"i"(66 + kSeries));
}
[[gnu::always_inline]] inline void begin() { asm volatile("hint #64" ::: "memory"); }
[[gnu::always_inline]] inline void end() { asm volatile("hint #65" ::: "memory"); }

// Ends the run with a message if the status is an error.
void need(sys::Status status, std::string_view what);

abi::Slot next_slot();
sys::Notification notification();
sys::Endpoint endpoint();

// Pages of its own RAM, and where this task sees them.
inline constexpr std::uint64_t kWindow = 0x2'0000'0000;
sys::Memory memory(std::uint64_t pages);
void* map(sys::Memory memory, std::uint64_t pages, sys::Rights rights = abi::rights::mem_read | abi::rights::mem_write);
// Copies code and makes it visible to instruction fetches.
void copy_code(void* to, const std::byte* begin, const std::byte* end);

// A process that runs one piece of partners.S with copies of two capabilities: x0 and x1 name them there. It has the
// higher priority, and waits when this returns.
sys::Thread start_partner(const std::byte* entry, abi::Slot first, abi::Slot second = 0, sys::Endpoint fault = {});

void measure_ipc();
void measure_signals();
void measure_capabilities();
void measure_faults();
void measure_interrupts();
void measure_vcpu();

}  // namespace twain::bench

extern "C" const std::byte bench_partners_begin[], bench_partners_end[], bench_server[], bench_sleeper[], bench_echo[],
    bench_faulter[];
extern "C" const std::byte bench_guest_begin[], bench_guest_end[];
