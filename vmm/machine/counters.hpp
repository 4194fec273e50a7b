// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a machine counts, in the region `stats` if the process has one: written by the VMM, read by whoever holds the
// region. The tables here are all that there is: `stat` prints them, docs/stat.md explains them.
//
// An exit is a return from vcpu_run. It has one cause, and costs what is done from the kernel's first look at it to the next
// entry (VcpuPage::away); both are counted when it is over. Each vCPU's counters are written by its own thread only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "vmm/types.hpp"

namespace twain::vmm {

enum class Cause : unsigned {
    start,
    call,
    sysreg,
    hint,
    undefined,
    eoi,
    kicked,
    mmio,
    aborted,
    // only without EL2:
    field,
    eret,
    exception,
    table,
    filled,
    reflected,
    tlbi,
    cache,
};
// What the time of a guest goes to, besides its own instructions.
enum class Part : unsigned { cpu, memory, io };

struct CauseName {
    std::string_view name;
    Part part;
};
inline constexpr std::array kCauses = {
    CauseName{"start", Part::cpu},    CauseName{"call", Part::cpu},      CauseName{"sysreg", Part::cpu},
    CauseName{"hint", Part::cpu},     CauseName{"undefined", Part::cpu}, CauseName{"eoi", Part::cpu},
    CauseName{"kicked", Part::cpu},   CauseName{"mmio", Part::io},       CauseName{"aborted", Part::memory},
    CauseName{"field", Part::cpu},    CauseName{"eret", Part::cpu},      CauseName{"exception", Part::cpu},
    CauseName{"table", Part::memory}, CauseName{"filled", Part::memory}, CauseName{"reflected", Part::memory},
    CauseName{"tlbi", Part::memory},  CauseName{"cache", Part::memory},
};
inline constexpr std::array<std::string_view, 3> kParts = {"cpu", "memory", "io"};

// What happens in exits, any number of times.
enum class Event : unsigned { sgi, decoded, fills, prefills };
inline constexpr std::array<std::string_view, 4> kEvents = {"sgi", "decoded", "fills", "prefills"};
static_assert(kCauses.size() == static_cast<unsigned>(Cause::cache) + 1);
static_assert(kEvents.size() == static_cast<unsigned>(Event::prefills) + 1);

struct CauseCounter {
    std::uint64_t exits;
    std::uint64_t ticks;
};

struct VcpuCounters {
    std::array<CauseCounter, kCauses.size()> cause;
    std::array<std::uint64_t, kEvents.size()> event;
    const CauseCounter& operator[](Cause c) const { return cause[static_cast<unsigned>(c)]; }
    std::uint64_t operator[](Event e) const { return event[static_cast<unsigned>(e)]; }
};

enum class MachineState : std::uint32_t { starting, running, resetting, stopping, off, failed };

struct StatsHead {
    static constexpr std::uint64_t kMagic = 0x3254'4154'534d'4d56;  // "VMMSTAT2"
    std::uint64_t magic;
    MachineState state;
    std::uint32_t vcpus;
    std::uint64_t started;  // ticks: when the VMM was
    std::uint64_t boots;    // of the guest
    std::uint64_t console_dropped;
};
struct Stats : StatsHead {
    VcpuCounters vcpu[kMaxVcpus];
};
static_assert(sizeof(Stats) == sizeof(StatsHead) + kMaxVcpus * sizeof(VcpuCounters) && sizeof(Stats) <= 4096);

// Where the time of a vCPU has gone: the parts and nothing else make up `wall`. What its thread has not used is nobody's: it
// slept, or others ran. What its exits have not taken is the guest's own.
struct Times {
    std::uint64_t native;
    std::array<std::uint64_t, kParts.size()> part;
    std::uint64_t suspended;
    std::uint64_t wall;
};
constexpr Times times_of(const VcpuCounters& counters, std::uint64_t used, std::uint64_t wall) {
    Times t{used < wall ? used : wall, {}, 0, wall};
    t.suspended = wall - t.native;
    for (std::size_t i = 0; i < kCauses.size(); ++i) {
        const std::uint64_t ticks = counters.cause[i].ticks < t.native ? counters.cause[i].ticks : t.native;
        t.part[static_cast<unsigned>(kCauses[i].part)] += ticks;
        t.native -= ticks;
    }
    return t;
}

// A vCPU's counters, as its thread writes them.
class Meter {
public:
    void attach(VcpuCounters& to) {
        to_ = &to;
        because(Cause::start);
    }
    // Why the vCPU is outside its guest. The last word holds.
    void because(Cause c) { exit_ = &to_->cause[static_cast<unsigned>(c)]; }
    // The guest has run again: the exit before has taken so many ticks.
    void over(std::uint64_t ticks) {
        const CauseCounter before = *exit_;
        *exit_ = {before.exits + 1, before.ticks + ticks};
    }
    void count(Event e, std::uint64_t n = 1) { to_->event[static_cast<unsigned>(e)] += n; }

private:
    VcpuCounters* to_ = nullptr;
    CauseCounter* exit_ = nullptr;
};

}  // namespace twain::vmm
