// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// tests/unit/kernel/machine.hpp with cores that really run at the same time: each is a thread. An interrupt is a flag that
// the core looks at in user mode and while it is idle. Core 0 is the thread that makes the machine.
//
// An interrupt orders nothing, and barrier() is a fence that ThreadSanitizer does not see: so what the kernel's own atomic
// accesses do not order is a race.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernel/core/irq.hpp"
#include "kernel/core/scheduler.hpp"
#include "kernel/core/space.hpp"
#include "machine.hpp"
#include "parallel.hpp"

namespace twain::kernel {

namespace {

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

void reset(CpuId cores, u64 ram) {
    begin(cores, ram);
    for (CpuId id = 0; id < abi::kMaxCores; ++id) {
        machine::cpu(id).online = id == 0;
        lines[id].interrupted = false;
    }
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

void zero(void* at, u64 bytes) { std::memset(at, 0, bytes); }
bool is_device(Phys, u64) { return false; }

Cpu& cpu() { return cpu(self.core); }
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
Ticks ns_to_ticks(u64) { return 100; }  // a slice is so many looks at the clock

void write_descriptor(u64& entry, u64 value) { __atomic_store_n(&entry, value, __ATOMIC_RELAXED); }
void flush_walks() {}
bool flush_space(Space&, u64&) { return true; }
bool forget_space(Space&) { return true; }
bool confines_dma() { return false; }
Status attach_stream(Space*, u64) { return {}; }
bool flush_dma(const Space&, u64&) { return true; }
bool forget_dma(Space&) { return true; }
bool dma_gave_up() { return false; }
DmaFault next_dma_fault() { return {}; }
void activate(Space&) {}
void enter_thread(Cpu&, Thread&) {}
void leave_thread(Cpu&, Thread&) {}
void settle_thread(Thread&) {}
void forget_thread(Thread&) {}

void configure_irq(u32, bool, CpuId) {}
void enable_irq(u32) {}
void disable_irq(u32) {}
void deactivate_irq(u32) { ++irqs; }
Phys virtual_interface() { return {}; }
void uart_write(const char*, u64) {}
void uart_enable(bool) {}
bool power(u64) { return false; }
smccc::Conduit firmware() { return smccc::Conduit::none; }
void call_firmware(u64 (&)[6]) {}
u64 boot_flags() { return 0; }
[[noreturn]] void halt() { std::abort(); }

}  // namespace machine
}  // namespace twain::kernel
