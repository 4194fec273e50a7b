// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// tests/unit/kernel/machine.hpp with cores that really run at the same time: each is a thread. An interrupt is a flag that
// the core looks at in user mode and while it is idle. Core 0 is the thread that makes the machine.
//
// An interrupt orders nothing, and barrier() is a fence that ThreadSanitizer does not see: so what the kernel's own atomic
// accesses do not order is a race.
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include "kernel/core/irq.hpp"
#include "kernel/core/scheduler.hpp"
#include "kernel/core/space.hpp"
#include "machine.hpp"
#include "parallel.hpp"

namespace twain::kernel {

namespace {

fake::Machine machine_state;  // only what does not change while cores run
std::byte* arena = nullptr;
u64 arena_bytes = 0;
std::unique_ptr<Cpu> cpus[abi::kMaxCores];
struct alignas(64) Lines {
    std::atomic<bool> interrupted{false};
};
Lines lines[abi::kMaxCores];
std::atomic<Ticks> ticks{1000};
std::atomic<unsigned> irqs{0};

struct Self {
    CpuId core = 0;
    Ticks timer = abi::kForever;
};
thread_local Self self;

}  // namespace

namespace fake {

Machine& state() { return machine_state; }
std::span<u64> memory() { return {reinterpret_cast<u64*>(arena), arena_bytes / sizeof(u64)}; }

void reset(CpuId cores, u64 ram) {
    machine_state = Machine{};
    machine_state.cores = cores;
    if (arena) munmap(arena, arena_bytes);
    arena_bytes = ram;
    void* fresh = mmap(nullptr, ram, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED) std::abort();
    arena = static_cast<std::byte*>(fresh);
    for (CpuId id = 0; id < abi::kMaxCores; ++id) {
        cpus[id] = std::make_unique<Cpu>();
        cpus[id]->id = id;
        cpus[id]->online = id == 0;
        lines[id].interrupted = false;
    }
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) Irq::of(intid) = nullptr;
    self = {};
}

}  // namespace fake

namespace parallel {

void become(CpuId core) { self = {.core = core, .timer = abi::kForever}; }

void take_interrupts(Cpu& cpu) {
    if (lines[self.core].interrupted.exchange(false, std::memory_order_relaxed)) serve_other_cores(cpu);
    if (machine::now() >= self.timer) {
        self.timer = abi::kForever;
        on_timer(cpu);
    }
}

}  // namespace parallel

namespace machine {

void* to_virt(Phys at) { return arena + (at.value - fake::kRamBase); }
Phys to_phys(const void* at) { return {fake::kRamBase + static_cast<u64>(static_cast<const std::byte*>(at) - arena)}; }
void zero(void* at, u64 bytes) { std::memset(at, 0, bytes); }
bool is_device(Phys, u64) { return false; }

Cpu& cpu() { return *cpus[self.core]; }
Cpu& cpu(CpuId id) { return *cpus[id]; }
CpuId cores() { return machine_state.cores; }
void interrupt(CpuId core) { lines[core].interrupted.store(true, std::memory_order_relaxed); }
void relax() { std::this_thread::yield(); }
void barrier() { __sync_synchronize(); }
bool preemption_pending() { return lines[self.core].interrupted.load(std::memory_order_relaxed); }
void idle(Cpu& cpu) {
    if (parallel::finished()) throw fake::Idle{};
    std::this_thread::yield();
    parallel::take_interrupts(cpu);
}

Ticks now() { return ticks.fetch_add(1, std::memory_order_relaxed); }
Ticks counter() { return now(); }
void set_timer(Ticks deadline) { self.timer = deadline; }
Ticks ticks_per_second() { return 62'500'000; }
Ticks ns_to_ticks(u64) { return 100; }  // a slice is so many looks at the clock

void write_descriptor(u64& entry, u64 value) { __atomic_store_n(&entry, value, __ATOMIC_RELAXED); }
void flush_walks() {}
bool flush_space(Space&, u64&) { return true; }
bool forget_space(Space&) { return true; }
void activate(Space&) {}
void switch_thread(Cpu&, Thread*, Thread&) {}
void leave_thread(Cpu&, Thread&) {}
void settle_thread(Thread&) {}
void forget_thread(Thread&) {}

u32 irq_end() { return 256; }
void configure_irq(u32, bool, CpuId) {}
void enable_irq(u32) {}
void disable_irq(u32) {}
void deactivate_irq(u32) { ++irqs; }
Phys virtual_interface() { return {}; }
void uart_write(const char*, u64) {}
void uart_enable(bool) {}
bool power(u64) { return false; }
u64 boot_flags() { return 0; }
[[noreturn]] void halt() { std::abort(); }

}  // namespace machine
}  // namespace twain::kernel
