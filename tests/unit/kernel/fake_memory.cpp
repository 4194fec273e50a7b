// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Of every machine that tests play: its memory, and what the kernel keeps for each core.
#include <sys/mman.h>

#include <cstdlib>
#include <memory>

#include "kernel/core/cpu.hpp"
#include "kernel/core/irq.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

fake::Machine machine_state;
std::byte* arena = nullptr;
u64 arena_bytes = 0;
std::unique_ptr<Cpu> cpus[abi::kMaxCores];

}  // namespace

namespace fake {

Machine& state() { return machine_state; }
std::span<u64> memory() { return {reinterpret_cast<u64*>(arena), arena_bytes / sizeof(u64)}; }

void begin(CpuId cores, u64 ram) {
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
    }
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) Irq::of(intid) = nullptr;
}

}  // namespace fake

namespace machine {

void* to_virt(Phys at) { return arena + (at.value - fake::kRamBase); }
Phys to_phys(const void* at) { return {fake::kRamBase + static_cast<u64>(static_cast<const std::byte*>(at) - arena)}; }

Cpu& cpu(CpuId id) { return *cpus[id]; }
CpuId cores() { return machine_state.cores; }

Ticks ticks_per_second() { return 62'500'000; }
u32 irq_end() { return 256; }

}  // namespace machine
}  // namespace twain::kernel
