// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/drivers/gic.hpp"

#include "kernel/arch/aarch64/kernel_tables.hpp"

namespace twain::kernel::gic {

namespace {

constexpr u32 kPriorities = 0xa0a0a0a0;
u32 spis_end;
Mmio privates[abi::kMaxCores];  // where a core's private interrupts are

// GICD_CTLR.RWP of version 3; version 2 has nothing to wait for, and reads as zero.
void wait_writes() {
    while (distributor().read(kCtlr) >> 31) machine::relax();
}

Mmio mine() { return privates[machine::cpu().id]; }

}  // namespace

void init_distributor(const abi::BootInfo& boot) {
    setup = {boot.gic_version, boot.maintenance_intid, boot.*Regime::kTimerIntid, boot.timer_virt_intid, 0};
    map_device(0, {boot.gicd.base}, is_v2() ? kPage : kGicdBytes);
    const Mmio gicd = distributor();
    gicd.write(kCtlr, 0);
    wait_writes();
    spis_end = ((gicd.read(kTyper) & 0x1f) + 1) * 32;
    if (spis_end > 1020) spis_end = 1020;
    with_interface([&](auto gic) {
        for (u32 i = 32; i < spis_end; i += 32) {
            gicd.write(kClearEnable + i / 8, ~0u);
            gicd.write(kClearPending + i / 8, ~0u);
            gicd.write(kClearActive + i / 8, ~0u);
            gicd.write(kGroup + i / 8, gic.kGroups);
        }
        for (u32 i = 32; i < spis_end; i += 4) gicd.write(kPriority + i, kPriorities);
        gic.init_distributor(boot);
    });
    wait_writes();
}

void init_core(CpuId core) {
    with_interface([&](auto gic) {
        const Mmio own = privates[core] = gic.prepare_core(core);
        own.write(kClearEnable, ~0u);
        own.write(kClearActive, ~0u);
        own.write(kClearPending, ~0u);
        own.write(kGroup, gic.kGroups);
        for (u32 i = 0; i < 32; i += 4) own.write(kPriority + i, kPriorities);
        own.write(kSetEnable, 1u << kIpi | 1u << setup.maintenance | 1u << setup.timer);
        gic.enable_core();
        if constexpr (Regime::kExceptionLevel == 2) {
            setup.lists = gic.list_count();
            for (unsigned list = 0; list < setup.lists; ++list) gic.write_list(list, 0);
        }
    });
}

void send_ipi(CpuId core) {
    dsb_ish();
    with_interface([&](auto gic) { gic.send_ipi(core); });
}

u32 spi_end() { return spis_end; }

void configure_spi(u32 intid, bool edge, CpuId core) {
    const u64 config = kConfig + intid / 16 * 4;
    const u32 bit = 2u << (intid % 16 * 2);
    const Mmio gicd = distributor();
    gicd.write(config, edge ? gicd.read(config) | bit : gicd.read(config) & ~bit);
    with_interface([&](auto gic) { gic.route(intid, core); });
}

void enable_spi(u32 intid, bool on) {
    dsb_ish();  // another core that takes it finds whom it is for
    distributor().write((on ? kSetEnable : kClearEnable) + intid / 32 * 4, 1u << intid % 32);
    if (!on) {
        wait_writes();
        distributor().write(kClearActive + intid / 32 * 4, 1u << intid % 32);
    }
}

void enable_private(u32 intid, bool on) { mine().write(on ? kSetEnable : kClearEnable, 1u << intid); }

void set_private_active(u32 intid, bool active) { mine().write(active ? kSetActive : kClearActive, 1u << intid); }

}  // namespace twain::kernel::gic
