// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "kernel/core/cpu.hpp"
#include "kernel/core/irq.hpp"
#include "kernel/core/space.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

fake::Machine& machine_state = fake::state();

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

void keep() {
    const auto arena = std::as_bytes(memory());
    const auto bytes = static_cast<ssize_t>(arena.size());
    const int file = memfd_create("kept", 0);
    const bool written = file >= 0 && ftruncate(file, bytes) == 0 && write(file, arena.data(), arena.size()) == bytes;
    if (!written ||
        mmap(memory().data(), arena.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED) {
        std::abort();
    }
    close(file);
    kept.machine = machine_state;
    for (CpuId id = 0; id < abi::kMaxCores; ++id)
        std::memcpy(kept.cpus[id], static_cast<void*>(&machine::cpu(id)), sizeof(Cpu));
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) kept.irqs[intid - Irq::kFirst] = Irq::of(intid);
}

void revert() {
    if (madvise(memory().data(), memory().size_bytes(), MADV_DONTNEED) != 0) std::abort();
    machine_state = kept.machine;
    for (CpuId id = 0; id < abi::kMaxCores; ++id)
        std::memcpy(static_cast<void*>(&machine::cpu(id)), kept.cpus[id], sizeof(Cpu));
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) Irq::of(intid) = kept.irqs[intid - Irq::kFirst];
}

void reset(CpuId cores, u64 ram) {
    begin(cores, ram);
    for (CpuId id = 0; id < abi::kMaxCores; ++id) {
        Cpu& cpu = machine::cpu(id);
        cpu.online = id < cores;
        cpu.since = machine_state.clock;
        machine_state.timer[id] = abi::kForever;
    }
}

}  // namespace fake

namespace machine {

void zero(void* at, u64 bytes) {
    std::memset(at, 0, bytes);
    machine_state.zeroed += bytes;
}
bool is_device(Phys base, u64 bytes) {
    return base.value + bytes <= fake::kRamBase || base.value >= fake::kRamBase + fake::memory().size_bytes();
}

Cpu& cpu() { return cpu(machine_state.core); }
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
        Cpu& other = cpu(core);
        if (other.passing) {
            other.passing = false;
            return;
        }
        if (!other.request) continue;
        fake::on(core, [&] {
            if (machine_state.mail_while_waiting && core != 0) {
                machine_state.interrupted[core] = false;
                serve_other_cores(other);
            } else {
                serve_request_only(other);
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

bool confines_dma() { return machine_state.smmu; }
bool dma_gave_up() { return std::exchange(machine_state.smmu_gave_up, false); }
Status attach_stream(Space* space, u64 stream) {
    if (stream >= fake::Machine::kStreams) return {Error::bad_arg, 3};
    Space*& owner = machine_state.streams[stream];
    if (space && owner && owner != space) return {Error::occupied, 3};
    owner = space;
    return {};
}
bool flush_dma(const Space&, u64&) {
    if (!machine_state.smmu_answers) machine_state.smmu_gave_up = true;
    return machine_state.smmu_answers;
}
bool forget_dma(Space& space) {
    u64 progress = 0;
    if (!flush_dma(space, progress)) return false;
    for (Space*& owner : machine_state.streams) {
        if (owner == &space) owner = nullptr;
    }
    return true;
}
DmaFault next_dma_fault() { return {1, 0x10, 0x1000}; }

void enter_thread(Cpu&, Thread&) {}
void leave_thread(Cpu&, Thread&) {}
void settle_thread(Thread&) {}
void forget_thread(Thread& thread) {
    if (!thread.fpu) return;
    thread.pool->free(thread.fpu, Pool::order_of<FpuState>());
    thread.fpu = nullptr;
}

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
smccc::Conduit firmware() { return machine_state.conduit; }
void call_firmware(u64 (&x)[6]) {
    machine_state.firmware_calls.push_back(x[0]);
    for (u64& each : x) ++each;
}
u64 boot_flags() { return 2; }

}  // namespace machine
}  // namespace twain::kernel
