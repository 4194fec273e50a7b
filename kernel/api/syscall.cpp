// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/api/syscall.hpp"

#include "kernel/core/guest.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/log.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

void sys_log(Cpu& cpu) {
    Thread& self = *cpu.current;
    const Capability cap = self.cspace->load(self.frame.x[0]);
    const u64 bytes = self.frame.x[1];
    if (!cap.has(abi::Type::system, abi::rights::sys_log)) {
        self.set_result(Status(cap.head ? Error::rights : Error::bad_slot).tag());
        return;
    }
    if (bytes > 48) {
        self.set_result(Status(Error::bad_arg, 1).tag());
        return;
    }
    char text[48];
    for (unsigned i = 0; i < bytes; ++i) text[i] = static_cast<char>(self.frame.x[2 + i / 8] >> (i % 8 * 8));
    log_text(text, bytes);
    self.set_result(0);
}

void sys_yield(Cpu& cpu) {
    Thread& self = *cpu.current;
    self.set_result(0);
    leave_current(cpu);
    make_ready(cpu, self);
}

}  // namespace

void handle_syscall(Cpu& cpu, u64 number) {
    switch (static_cast<abi::Sys>(number)) {
        case abi::Sys::call: return sys_call(cpu);
        case abi::Sys::reply_wait: return sys_reply_wait(cpu);
        case abi::Sys::wait: return sys_wait(cpu);
        case abi::Sys::signal: return sys_signal(cpu);
        case abi::Sys::vcpu_run: return sys_vcpu_run(cpu);
        case abi::Sys::invoke: return sys_invoke(cpu);
        case abi::Sys::yield: return sys_yield(cpu);
        case abi::Sys::log: return sys_log(cpu);
    }
    fault(cpu, abi::FaultKind::svc, number, 0);
}

}  // namespace twain::kernel
