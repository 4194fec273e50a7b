// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests without registers: what kernel/core/guest.cpp needs of an architecture.
#include "kernel/core/guest.hpp"
#include "machine.hpp"

namespace twain::kernel {

void guest_enter(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    if (vcpu.kicks && vcpu.take_kicks()) {
        guest_finish(cpu, thread, static_cast<u64>(abi::Exit::kicked));
        return;
    }
    if (cpu.loaded && cpu.loaded != &vcpu) guest_unload(cpu);
    cpu.loaded = &vcpu;
    vcpu.live = cpu.id;
    cpu.guest_mode = 1;
    cpu.frame = reinterpret_cast<Frame*>(vcpu.page);
}

void guest_leave(Cpu& cpu) {
    cpu.guest_mode = 0;
    cpu.frame = &cpu.current->frame;
}

void guest_unload(Cpu& cpu) {
    cpu.loaded->live = Vcpu::kNowhere;
    cpu.loaded = nullptr;
}

void guest_bind_page(abi::VcpuPage&) {}

bool guest_stocked(const Vcpu&) { return true; }
bool guest_stock(Vcpu&) { return true; }
Status guest_translate(Vcpu&, u32, u64*) { return Error::unsupported; }

}  // namespace twain::kernel
