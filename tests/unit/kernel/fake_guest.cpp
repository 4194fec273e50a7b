// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests without registers: who runs which vCPU, who sleeps and who is kicked, as kernel/arch/aarch64/el2/guest.cpp.
#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

void finish(Cpu& cpu, Thread& thread, u64 tag) {
    Vcpu& vcpu = *thread.vcpu;
    thread.vcpu = nullptr;
    vcpu.runner = nullptr;
    thread.frame.x[0] = 0;
    thread.set_result(tag);
    cpu.frame = &thread.frame;
}

void take_off(Vcpu& vcpu) {
    if (vcpu.live == Vcpu::kNowhere) return;
    run_on(
        vcpu.live,
        [](void* argument) {
            Cpu& cpu = machine::cpu();
            if (cpu.loaded == argument) {
                cpu.loaded->live = Vcpu::kNowhere;
                cpu.loaded = nullptr;
            }
        },
        &vcpu);
}

}  // namespace

void sys_vcpu_run(Cpu& cpu) {
    Thread& self = *cpu.current;
    const Capability cap = self.cspace->load(self.frame.x[0]);
    if (!cap.has(abi::Type::vcpu, abi::rights::vcpu_run)) {
        self.set_result(Status(!cap.head                       ? Error::bad_slot
                               : cap.type() == abi::Type::vcpu ? Error::rights
                                                               : Error::bad_type)
                            .tag());
        return;
    }
    Vcpu& vcpu = cap.object<Vcpu>();
    if (!vcpu.page || !vcpu.space || vcpu.runner) {
        self.set_result(Status(Error::busy).tag());
        return;
    }
    vcpu.runner = &self;
    self.vcpu = &vcpu;
    self.state = State::guest;
    guest_enter(cpu, self);
}

void guest_enter(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    if (vcpu.kick) {
        vcpu.kick = 0;
        finish(cpu, thread, static_cast<u64>(abi::Exit::kicked));
        return;
    }
    if (cpu.loaded && cpu.loaded != &vcpu) cpu.loaded->live = Vcpu::kNowhere;
    cpu.loaded = &vcpu;
    vcpu.live = cpu.id;
    cpu.guest_mode = 1;
    cpu.frame = reinterpret_cast<Frame*>(vcpu.page);
}

void guest_leave(Cpu& cpu) {
    cpu.guest_mode = 0;
    cpu.frame = &cpu.current->frame;
}

void guest_wake(Cpu& cpu, Thread& thread) {
    Vcpu& vcpu = *thread.vcpu;
    if (!vcpu.sleeping) return;
    vcpu.sleeping = false;
    disarm(cpu, thread);
    make_ready(cpu, thread);
}

void guest_abandon(Cpu&, Thread& thread) {
    thread.vcpu->sleeping = false;
    thread.vcpu->runner = nullptr;
    thread.vcpu = nullptr;
    thread.frame.x[0] = 0;
    thread.set_result(Status(Error::cancelled).tag());
}

Status guest_kick(Cpu& cpu, Vcpu& vcpu, u64 reason) {
    if (reason > abi::vcpu::kKickExit) return {Error::bad_arg, 2};
    if (reason == abi::vcpu::kKickExit) vcpu.kick = 1;
    if (!vcpu.runner) return {};
    if (vcpu.runner->core == cpu.id) {
        guest_wake(cpu, *vcpu.runner);
    } else {
        post_mail(*vcpu.runner);
    }
    return {};
}

Status guest_sync(Vcpu& vcpu, u64 groups) {
    if (groups & ~u64{abi::kGroupAll}) return {Error::bad_arg, 2};
    if (vcpu.runner || !vcpu.page) return {Error::busy, 0};
    take_off(vcpu);
    return {};
}

void guest_bind_page(Vcpu& vcpu, Phys at) {
    vcpu.page = static_cast<abi::VcpuPage*>(machine::to_virt(at));
    vcpu.page->version = abi::kVersion;
}

void guest_destroy(Vcpu& vcpu) {
    if (vcpu.runner) stop(*vcpu.runner);
    if (vcpu.page) take_off(vcpu);
}

void guest_lose_reference(Slot& slot) {
    constexpr u64 size = u64{1} << (Pool::order_of<Vcpu>() + Pool::kUnitShift);
    auto& vcpu = *reinterpret_cast<Vcpu*>(align_down(reinterpret_cast<u64>(&slot), size));
    if (vcpu.runner) stop(*vcpu.runner);
    if (vcpu.page) take_off(vcpu);
    if (&slot == &vcpu.refs[Vcpu::ref_page]) vcpu.page = nullptr;
    if (&slot == &vcpu.refs[Vcpu::ref_space]) vcpu.space = nullptr;
}

bool guest_stocked(const Vcpu&) { return true; }
void guest_stock(Vcpu&) {}
Status guest_translate(Vcpu&, u32, u64, u64, u64, u64&) { return Error::unsupported; }

}  // namespace twain::kernel
