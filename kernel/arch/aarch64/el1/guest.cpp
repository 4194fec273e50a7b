// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Guests without EL2.
#include "kernel/core/guest.hpp"

#include "asid.hpp"
#include "kernel/arch/aarch64/boot.hpp"

namespace twain::kernel {

void sys_vcpu_run(Cpu& cpu) { cpu.current->set_result(Status(Error::unsupported).tag()); }
void guest_enter(Cpu&, Thread&) {}
void guest_leave(Cpu&) {}
void guest_wake(Cpu&, Thread&) {}
void guest_abandon(Cpu&, Thread&) {}
void guest_timer_interrupt(Cpu&) {}
void guest_maintenance(Cpu&) {}
void guest_refresh(Cpu&) {}
void guest_trap(Cpu&, u64) {}
Status guest_kick(Cpu&, Vcpu&, u64) { return Error::unsupported; }
Status guest_sync(Vcpu&, u64) { return Error::unsupported; }
void guest_bind_page(Vcpu&, Phys) {}
void guest_destroy(Vcpu&) {}
void guest_lose_reference(Slot&) {}

namespace machine {
void drop_shadows(Space&) {}
void free_shadows(Space&) {}
}  // namespace machine

}  // namespace twain::kernel
