// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "kernel/core/cpu.hpp"
#include "kernel/core/irq.hpp"
#include "kernel/core/space.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

fake::Machine machine_state;
std::byte* arena = nullptr;
u64 arena_bytes = 0;
std::unique_ptr<Cpu> cpus[abi::kMaxCores];

struct Kept {
    fake::Machine machine;
    alignas(Cpu) std::byte cpus[abi::kMaxCores][sizeof(Cpu)];
    Irq* irqs[Irq::kEnd - Irq::kFirst];
};
Kept kept;  // its memory is the file behind the arena

void serve_request_only(Cpu& cpu) {  // what a core does that waits for the structure lock
    Request* request = cpu.request;
    if (!request) return;
    if (request->run) request->run(request->argument);
    cpu.request = nullptr;
}

}  // namespace

namespace fake {

Machine& state() { return machine_state; }
std::span<u64> memory() { return {reinterpret_cast<u64*>(arena), arena_bytes / sizeof(u64)}; }

void keep() {
    const int file = memfd_create("kept", 0);
    const bool written = file >= 0 && ftruncate(file, static_cast<off_t>(arena_bytes)) == 0 &&
                         write(file, arena, arena_bytes) == static_cast<ssize_t>(arena_bytes);
    if (!written || mmap(arena, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED) {
        std::abort();
    }
    close(file);
    kept.machine = machine_state;
    for (CpuId id = 0; id < abi::kMaxCores; ++id)
        std::memcpy(kept.cpus[id], static_cast<void*>(cpus[id].get()), sizeof(Cpu));
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) kept.irqs[intid - Irq::kFirst] = Irq::of(intid);
}

void revert() {
    if (madvise(arena, arena_bytes, MADV_DONTNEED) != 0) std::abort();
    machine_state = kept.machine;
    for (CpuId id = 0; id < abi::kMaxCores; ++id)
        std::memcpy(static_cast<void*>(cpus[id].get()), kept.cpus[id], sizeof(Cpu));
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) Irq::of(intid) = kept.irqs[intid - Irq::kFirst];
}

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
        cpus[id]->online = id < cores;
        cpus[id]->since = machine_state.clock;
        machine_state.timer[id] = abi::kForever;
    }
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) Irq::of(intid) = nullptr;
}

}  // namespace fake

namespace machine {

void* to_virt(Phys at) { return arena + (at.value - fake::kRamBase); }
Phys to_phys(const void* at) { return {fake::kRamBase + static_cast<u64>(static_cast<const std::byte*>(at) - arena)}; }
void zero(void* at, u64 bytes) {
    std::memset(at, 0, bytes);
    machine_state.zeroed += bytes;
}
bool is_device(Phys base, u64 bytes) {
    return base.value + bytes <= fake::kRamBase || base.value >= fake::kRamBase + arena_bytes;
}

Cpu& cpu() { return *cpus[machine_state.core]; }
Cpu& cpu(CpuId id) { return *cpus[id]; }
CpuId cores() { return machine_state.cores; }
void interrupt(CpuId core) {
    machine_state.interrupted[core] = true;
    ++machine_state.interrupts;
}

void relax() {
    if (auto work = std::move(machine_state.while_waiting)) {
        machine_state.while_waiting = nullptr;
        work();
        return;
    }
    for (CpuId core = 0; core < machine_state.cores; ++core) {
        if (cpus[core]->passing) {
            cpus[core]->passing = false;
            return;
        }
        if (!cpus[core]->request) continue;
        fake::on(core, [&] {
            if (machine_state.mail_while_waiting && core != 0) {
                machine_state.interrupted[core] = false;
                serve_other_cores(*cpus[core]);
            } else {
                serve_request_only(*cpus[core]);
            }
        });
        return;
    }
    std::fprintf(stderr, "the kernel waits for something that never comes\n");
    std::abort();
}

void halt() { throw fake::Halted{}; }
void barrier() {
    if (auto work = std::exchange(machine_state.at_barrier, nullptr)) work();
}
bool preemption_pending() { return machine_state.preempt && machine_state.preempt(); }
void idle(Cpu&) { throw fake::Idle{}; }

Ticks now() { return machine_state.clock; }
Ticks counter() { return now(); }
void set_timer(Ticks deadline) { machine_state.timer[machine_state.core] = deadline; }
Ticks ticks_per_second() { return 62'500'000; }
Ticks ns_to_ticks(u64 ns) { return ns / 16; }

void write_descriptor(u64& entry, u64 value) { entry = value; }
void flush_walks() { ++machine_state.flushed_walks; }
bool flush_space(Space& space, u64& progress) {
    while (progress < machine_state.flush_steps) {
        ++progress;
        if (preemption_pending()) return false;
    }
    ++space.tag.flushes;
    ++machine_state.flushed_spaces;
    return true;
}
bool forget_space(Space& space) {
    space.tag.gone = true;
    ++machine_state.forgotten_spaces;
    return true;
}
void activate(Space&) {}

void switch_thread(Cpu&, Thread*, Thread&) {}
void leave_thread(Cpu&, Thread&) {}
void settle_thread(Thread&) {}
void forget_thread(Thread& thread) {
    if (!thread.fpu) return;
    thread.pool->free(thread.fpu, Pool::order_of<FpuState>());
    thread.fpu = nullptr;
}

u32 irq_end() { return 256; }
void configure_irq(u32, bool, CpuId) {}
void enable_irq(u32 intid) { machine_state.enabled[intid] = true; }
void disable_irq(u32 intid) { machine_state.enabled[intid] = false; }
void deactivate_irq(u32) { ++machine_state.deactivated; }
Phys virtual_interface() { return {0x0804'0000}; }

void uart_write(const char* text, u64 bytes) {
    if (auto work = std::move(machine_state.while_writing)) {
        machine_state.while_writing = nullptr;
        work();
    }
    if (machine_state.uart_owned) machine_state.uart.append(text, bytes);
}
void uart_enable(bool own) { machine_state.uart_owned = own; }
bool power(u64 what) {
    machine_state.powered.push_back(what);
    return what <= abi::system::kPowerReset;
}
u64 boot_flags() { return 2; }

}  // namespace machine
}  // namespace twain::kernel
