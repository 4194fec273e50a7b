// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/api/invocation.hpp"
#include "kernel/api/syscall.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

namespace rights = abi::rights;
using abi::Type;

Status structural(Invocation& call, u32 method) {
    switch (call.cap.type()) {
        case Type::pool: return invoke_pool(call, method);
        case Type::cspace: return invoke_cspace(call, method);
        case Type::memory: return invoke_memory(call, method);
        case Type::mapping: return invoke_mapping(call, method);
        case Type::space: return invoke_space(call, method);
        case Type::thread: return invoke_thread(call, method);
        case Type::sched: return invoke_sched(call, method);
        case Type::irq: return invoke_irq(call, method);
        case Type::vcpu: return invoke_vcpu(call, method);
        case Type::system: return invoke_system(call, method);
        default: return {Error::bad_method, 1};
    }
}

Status invoke_reply(Cpu& cpu, Thread& self, Capability cap, u32 method) {
    if (!(cap.rights() & rights::reply_use)) return {Error::rights, 0};
    auto& reply = cap.object<Reply>();
    if (method == abi::reply::send) return send_reply(cpu, reply, self);
    return method == abi::reply::capture ? capture(cpu, reply, self) : Status{Error::bad_method, 1};
}

Status arm_notification(Cpu& cpu, Thread& self, Capability cap) {
    if (!(cap.rights() & rights::note_arm)) return {Error::rights, 0};
    auto& note = cap.object<Notification>();
    const u32 mine = cpu.id + 1;
    if (!note.timer_owner.replace(0, mine) && note.timer_owner != mine) return {Error::busy, 0};
    note.timer_badge = cap.badge ? cap.badge : 1;
    if (self.frame.x[2] != abi::kForever) {
        arm(cpu, note, self.frame.x[2]);
    } else {
        disarm(cpu, note);
        note.timer_owner.release(0);
    }
    return {};
}

// Types with methods that need no structure lock.
bool may_be_light(Type type) { return type >= Type::reply && type <= Type::vcpu; }
static_assert(Type::reply < Type::notification && Type::notification < Type::irq && Type::irq < Type::vcpu);

// Those methods. False: not one of them.
bool light(Cpu& cpu, Thread& self, Capability cap, u32 method, Status& status) {
    switch (cap.type()) {
        case Type::reply: status = invoke_reply(cpu, self, cap, method); return true;
        case Type::notification:
            status = method == abi::notification::arm ? arm_notification(cpu, self, cap) : Status{Error::bad_method, 1};
            return true;
        case Type::irq: {
            if (method != abi::irq::ack) return false;
            auto& irq = cap.object<Irq>();
            status = cap.need(rights::irq_ack);
            if (status.ok() && irq.unacknowledged.exchange(false)) machine::deactivate_irq(irq.intid);
            return true;
        }
        case Type::vcpu:
            if (method >= abi::vcpu::fill && method <= abi::vcpu::drop) {
                if (!guest_stocked(cap.object<Vcpu>())) return false;
                status = cap.need(rights::vcpu_configure);
                if (status.ok()) status = guest_translate(cap.object<Vcpu>(), method, self.frame.x);
                return true;
            }
            if (method != abi::vcpu::kick) return false;
            status = cap.need(rights::vcpu_kick);
            if (status.ok()) status = guest_kick(cpu, cap.object<Vcpu>(), self.frame.x[2]);
            return true;
        default: return false;
    }
}

void finish(Cpu& cpu, Thread& self, u32 method, Status status) {
    if (!again(status)) [[likely]] {
        self.set_result(status.tag());
        return;
    }
    self.frame.pc -= 4;
    self.frame.x[1] = method;
    cpu.hazard |= kReschedule;
}

}  // namespace

void sys_invoke(Cpu& cpu) {
    Thread& self = *cpu.current;
    const u32 method = static_cast<u32>(self.frame.x[1]);
    Slot* const slot = self.cspace->find(self.frame.x[0]);
    if (!slot) [[unlikely]] {
        self.set_result(Status(Error::bad_slot, 0).tag());
        return;
    }
    Status status;
    if (may_be_light(slot->glance()) && light(cpu, self, slot->load(), method, status)) {
        finish(cpu, self, method, status);
        return;
    }
    const StructureLock lock(StructureLock::kCall);
    // While waiting for the lock it may have been stopped, and be gone. If not, its capability space is as it was.
    if (cpu.current != &self) return;
    if (slot->empty()) [[unlikely]] {
        self.set_result(Status(Error::bad_slot, 0).tag());
        return;
    }
    Invocation call(cpu, self, *slot);
    self.set_result(0);  // if it stops itself
    status = structural(call, method);
    if (cpu.current != &self) return;  // it has stopped or removed itself
    finish(cpu, self, method, status);
}

}  // namespace twain::kernel
