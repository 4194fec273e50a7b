// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A virtual machine of one vCPU whose program is one of those in guest.S.
#pragma once

#include "test.hpp"

extern "C" const std::byte guest_begin[], guest_end[], guest_calls[], guest_loads[], guest_steps[], guest_timer[],
    guest_interrupts[], guest_sleeps[], guest_hostile[], guest_spins[], guest_registers[], guest_floats[],
    guest_traps[], guest_access[];

namespace twain::test {

class Guest {
public:
    static constexpr u64 kRam = 0x4000'0000, kHole = 0x5000'0000, kInterface = 0x0801'0000;
    // EC of ESR_EL2 (Arm ARM D17.2.37)
    static constexpr u64 kHvc = 0x16, kSmc = 0x17, kSysreg = 0x18, kDataAbort = 0x24, kFetchAbort = 0x20;

    explicit Guest(Scratch& scratch) : space(scratch.space(abi::SpaceKind::guest)), vcpu(scratch.slot()) {
        memory = scratch.memory(2 * kPage);
        ram_ = scratch.map(memory, kPage);
        page_ = scratch.map(sys::Memory{part(scratch, kPage)}, kPage);
        need(
            space.map(memory, 0, kRam, kPage, rights::mem_read | rights::mem_write | rights::mem_exec, scratch.slot()));
        copy_program();
        page() = abi::VcpuPage{};
        need(kObjects.create_vcpu(vcpu.slot, space, 0));
        need(vcpu.page(memory, kPage));
        if (page().gic == 2) {
            need(space.map_interface(kInterface, scratch.slot()));
            page().x[27] = kInterface;
        }
        page().pstate = 0x3c5;  // EL1h, all masked
        page().vtimer = 0x80;
        page().loaded = abi::kGroupAll;
    }

    abi::VcpuPage& page() const { return *reinterpret_cast<abi::VcpuPage*>(page_); }
    volatile u64& ram(u64 offset) const { return *reinterpret_cast<volatile u64*>(ram_ + offset); }
    void enter_at(const std::byte* program) const { page().pc = kRam + static_cast<u64>(program - guest_begin); }
    u64 ec() const { return page().esr >> 26; }
    // Runs until the next exit. Is it HVC number n?
    bool hvc(unsigned n) const {
        const auto exit = vcpu.run();
        return exit.ok() && *exit == abi::Exit::trap && ec() == kHvc && (page().esr & 0xffff) == n;
    }
    void post(unsigned entry, std::uint32_t intid, std::uint32_t priority = 0x80, std::uint32_t flags = 0) const {
        page().virq[entry] = intid | priority << 16 | flags;
        __atomic_fetch_or(&page().posted, u64{1} << entry, __ATOMIC_RELEASE);
    }

    sys::Space space;
    sys::Vcpu vcpu;
    sys::Memory memory;  // the guest's page, then the state page

private:
    Slot part(Scratch& scratch, u64 offset) const {
        const Slot made = scratch.slot();
        need(memory.derive(offset, kPage, made, kReadWrite));
        return made;
    }
    void copy_program() const {
        const auto* from = reinterpret_cast<const std::uint32_t*>(guest_begin);
        for (u64 at = 0; at < static_cast<u64>(guest_end - guest_begin); at += 4) {
            *reinterpret_cast<volatile std::uint32_t*>(ram_ + at) = from[at / 4];
            asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0" ::"r"(ram_ + at) : "memory");
        }
        asm volatile("dsb ish\n isb" ::: "memory");
    }

    u64 ram_, page_;
};

}  // namespace twain::test
