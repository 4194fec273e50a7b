// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exceptions that are neither system calls nor interrupts: faults of processes, traps of guests.
#include "boot.hpp"
#include "fpu.hpp"
#include "kernel/api/syscall.hpp"
#include "kernel/core/guest.hpp"
#include "machine.hpp"

namespace twain::kernel {

extern "C" void handle_trap(Cpu& cpu, u64 syndrome);
extern "C" void resolve_hazards_entry(Cpu& cpu);

namespace {

enum class Ec : u8 {  // ESR_ELx.EC, Arm ARM D17.2.37
    unknown = 0x00,
    fp = 0x07,
    svc = 0x15,
    instruction_abort = 0x20,
    pc_alignment = 0x22,
    data_abort = 0x24,
    sp_alignment = 0x26,
};

abi::FaultKind kind_of(Ec ec) {
    switch (ec) {
        case Ec::data_abort: return abi::FaultKind::data;
        case Ec::instruction_abort: return abi::FaultKind::instruction;
        case Ec::pc_alignment:
        case Ec::sp_alignment: return abi::FaultKind::alignment;
        case Ec::unknown: return abi::FaultKind::undefined;
        default: return abi::FaultKind::other;
    }
}

Ec class_of(u64 syndrome) { return static_cast<Ec>(syndrome >> 26 & 0x3f); }

inline void tell(Cpu& cpu, u64 syndrome) {
    if (cpu.guest_mode) return guest_trap(cpu, syndrome);
    if (class_of(syndrome) == Ec::svc) return handle_syscall(cpu, syndrome & 0xffff);
    fault(cpu, kind_of(class_of(syndrome)), syndrome, Regime::Far::read());
}

void fp_trap(Cpu& cpu) {
    if (!fpu_take(cpu)) tell(machine::cpu(), Regime::Esr::read());  // so that nothing is kept for this
}

}  // namespace

void handle_trap(Cpu& cpu, u64 syndrome) { class_of(syndrome) == Ec::fp ? fp_trap(cpu) : tell(cpu, syndrome); }

void resolve_hazards_entry(Cpu& cpu) { resolve_hazards(cpu); }

}  // namespace twain::kernel
