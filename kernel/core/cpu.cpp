// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/cpu.hpp"

#include "kernel/core/inbox.hpp"
#include "kernel/core/ipc.hpp"

namespace twain::kernel {

namespace {

void serve_request(Cpu& cpu) {
    Request* const request = cpu.request.acquire();
    if (!request) return;
    if (request->run) request->run(request->argument);
    cpu.request.release(nullptr);
}

void pass(Cpu& cpu) {
    if (!cpu.passing.acquire()) return;
    if (cpu.halting) {
        cpu.online.release(false);
        machine::halt();
    }
    cpu.passing.release(false);
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
        if (core == self || !other.online.acquire()) continue;
        other.passing.release(true);
        machine::interrupt(core);
        while (other.passing.acquire()) wait_in_kernel();
    }
}

void halt_other_cores() {
    for (CpuId core = 0; core < abi::kMaxCores; ++core) {
        Cpu& other = machine::cpu(core);
        if (&other == &machine::cpu() || !other.online.acquire()) continue;
        other.halting = true;
        other.passing.release(true);
        machine::interrupt(core);
        for (u32 turn = 0; turn < kPatience && other.online.acquire(); ++turn) machine::relax();
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
    if (!target.online.acquire()) return;
    Request request{run, argument};
    target.request.release(&request);
    machine::interrupt(core);
    while (target.request.acquire()) wait_in_kernel();
}

void synchronize() {
    for (CpuId core = 0; core < machine::cores(); ++core) {
        if (core != machine::cpu().id) run_on(core, nullptr, nullptr);
    }
}

bool serve_mail(Cpu& cpu) {
    return kMail.serve(cpu, [&](Thread& thread) { receive_mail(cpu, thread); });
}

void serve_other_cores(Cpu& cpu) {
    pass(cpu);
    serve_request(cpu);
    const bool mail = serve_mail(cpu);
    const bool knocks = kKnocks.serve(cpu, [&](Thread& thread) { receive_knock(cpu, thread); });
    if (!mail || !knocks) machine::interrupt(cpu.id);
}

}  // namespace twain::kernel
