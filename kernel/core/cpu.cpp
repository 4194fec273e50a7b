// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/cpu.hpp"

#include "kernel/core/inbox.hpp"
#include "kernel/core/ipc.hpp"

namespace twain::kernel {

namespace {

void serve_request(Cpu& cpu) {
    Request* request = __atomic_load_n(&cpu.request, __ATOMIC_ACQUIRE);
    if (!request) return;
    if (request->run) request->run(request->argument);
    __atomic_store_n(&cpu.request, nullptr, __ATOMIC_RELEASE);
}

void pass(Cpu& cpu) {
    if (!__atomic_load_n(&cpu.passing, __ATOMIC_ACQUIRE)) return;
    if (cpu.halting) {
        __atomic_store_n(&cpu.online, false, __ATOMIC_RELEASE);
        machine::halt();
    }
    __atomic_store_n(&cpu.passing, false, __ATOMIC_RELEASE);
}

}  // namespace

void wait_in_kernel() {
    pass(machine::cpu());
    machine::relax();
}

void pass_all_cores() {
    const CpuId self = machine::cpu().id;
    for (CpuId core = 0; core < machine::cores(); ++core) {
        Cpu& other = machine::cpu(core);
        if (core == self || !__atomic_load_n(&other.online, __ATOMIC_ACQUIRE)) continue;
        __atomic_store_n(&other.passing, true, __ATOMIC_RELEASE);
        machine::interrupt(core);
        while (__atomic_load_n(&other.passing, __ATOMIC_ACQUIRE)) wait_in_kernel();
    }
}

void halt_other_cores() {
    for (CpuId core = 0; core < abi::kMaxCores; ++core) {
        Cpu& other = machine::cpu(core);
        if (&other == &machine::cpu() || !__atomic_load_n(&other.online, __ATOMIC_ACQUIRE)) continue;
        other.halting = true;
        __atomic_store_n(&other.passing, true, __ATOMIC_RELEASE);
        machine::interrupt(core);
        for (u32 turn = 0; turn < kPatience && __atomic_load_n(&other.online, __ATOMIC_ACQUIRE); ++turn)
            machine::relax();
    }
}

void StructureLock::wait(u32 mine, bool call) {
    Cpu& cpu = machine::cpu();
    cpu.call_waits = call;
    while (!served(mine)) {
        serve_request(cpu);
        wait_in_kernel();
    }
    cpu.call_waits = false;
}

bool should_pause() { return machine::preemption_pending() || StructureLock::wanted(); }

void run_on(CpuId core, void (*run)(void*), void* argument) {
    Cpu& target = machine::cpu(core);
    if (core == machine::cpu().id) {
        if (run) run(argument);
        return;
    }
    if (!__atomic_load_n(&target.online, __ATOMIC_ACQUIRE)) return;
    Request request{run, argument};
    __atomic_store_n(&target.request, &request, __ATOMIC_RELEASE);
    machine::interrupt(core);
    while (__atomic_load_n(&target.request, __ATOMIC_ACQUIRE)) wait_in_kernel();
}

void synchronize() {
    for (CpuId core = 0; core < machine::cores(); ++core) {
        if (core != machine::cpu().id) run_on(core, nullptr, nullptr);
    }
}

bool serve_other_cores(Cpu& cpu) {
    pass(cpu);
    serve_request(cpu);
    const bool mail = kMail.serve(cpu, [&](Thread& thread) { receive_mail(cpu, thread); });
    const bool knocks = kKnocks.serve(cpu, [&](Thread& thread) { receive_knock(cpu, thread); });
    if (mail && knocks) return true;
    machine::interrupt(cpu.id);
    return false;
}

}  // namespace twain::kernel
