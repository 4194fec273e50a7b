// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/drivers/gic.hpp"
#include "kernel/drivers/mmio.hpp"

namespace twain::kernel::gic {

namespace {

// Distributor
constexpr u64 kCtlr = 0x0, kTyper = 0x4, kGroup = 0x80, kSetEnable = 0x100, kClearEnable = 0x180, kClearPending = 0x280,
              kClearActive = 0x380, kSetActive = 0x300, kPriority = 0x400, kConfig = 0xc00, kRouter = 0x6000;
// Redistributor: two frames of 64 KiB, control and private interrupts
constexpr u64 kWaker = 0x14, kRdTyper = 0x8, kPrivate = 0x10000, kFrame = 0x20000;
constexpr u64 kLast = 1 << 4;
constexpr u64 kGicdBytes = 0x10000;
constexpr u32 kPriorities = 0xa0a0a0a0;

Mmio distributor;
Mmio redistributors[abi::kMaxCores];
u64 gicr_base;
u32 gicr_frames;
u32 spis_end;

constexpr u64 kMpidrAffinity = 0xff'00ff'ffff;

Mmio frames() { return Mmio(layout::kDevices + kGicdBytes); }
Mmio mine() { return redistributors[machine::cpu().id] + kPrivate; }

void wait_writes(Mmio gicd) {
    while (gicd.read(kCtlr) >> 31) machine::relax();
}

}  // namespace

void init_distributor(const abi::BootInfo& boot) {
    map_device(0, {boot.gicd.base}, kGicdBytes);
    gicr_base = boot.gicr.base;
    const u64 bytes = boot.gicr.bytes < abi::kMaxCores * kFrame ? boot.gicr.bytes : abi::kMaxCores * kFrame;
    gicr_frames = static_cast<u32>(bytes / kFrame);
    map_device(kGicdBytes, {boot.gicr.base}, bytes);
    distributor = Mmio(layout::kDevices);
    distributor.write(kCtlr, 0);
    wait_writes(distributor);
    spis_end = ((distributor.read(kTyper) & 0x1f) + 1) * 32;
    if (spis_end > 1020) spis_end = 1020;
    for (u32 i = 32; i < spis_end; i += 32) {
        distributor.write(kClearEnable + i / 8, ~0u);
        distributor.write(kClearPending + i / 8, ~0u);
        distributor.write(kClearActive + i / 8, ~0u);
        distributor.write(kGroup + i / 8, ~0u);
    }
    for (u32 i = 32; i < spis_end; i += 4) distributor.write(kPriority + i, kPriorities);
    distributor.write(kCtlr, 1 << 4 | 1 << 1 | 1 << 0);  // ARE, group 1 (secure view: group 1 non-secure is bit 1)
    wait_writes(distributor);
}

void init_core(CpuId core, u64 mpidr, const PrivateIntids& intids) {
    const u64 affinity = (mpidr & 0xffffff) | (mpidr >> 8 & 0xff000000);
    for (u32 i = 0; i < gicr_frames; ++i) {
        const Mmio frame = frames() + i * kFrame;
        const u64 typer = frame.read64(kRdTyper);
        if (typer >> 32 == affinity) redistributors[core] = frame;
        if (typer & kLast) break;
    }
    const Mmio frame = redistributors[core];
    frame.write(kWaker, frame.read(kWaker) & ~2u);
    while (frame.read(kWaker) & 4) machine::relax();
    const Mmio own = frame + kPrivate;
    own.write(kClearEnable, ~0u);
    own.write(kClearActive, ~0u);
    own.write(kClearPending, ~0u);
    own.write(kGroup, ~0u);
    for (u32 i = 0; i < 32; i += 4) own.write(kPriority + i, kPriorities);
    own.write(kSetEnable, 1u << kIpi | 1u << intids.maintenance | 1u << intids.timer | 1u << intids.guest_timer);
    Regime::enable_gic();
    reg::ICC_SRE_EL1::write(0x7);
    isb();
    reg::ICC_PMR_EL1::write(0xff);
    reg::ICC_CTLR_EL1::write(1 << 1);  // EOI mode 1
    reg::ICC_IGRPEN1_EL1::write(1);
    isb();
}

void send_ipi(u64 mpidr) {
    dsb_ish();
    const u64 aff0 = mpidr & 0xff, aff1 = mpidr >> 8 & 0xff, aff2 = mpidr >> 16 & 0xff, aff3 = mpidr >> 32 & 0xff;
    reg::ICC_SGI1R_EL1::write(aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | u64{kIpi} << 24 | aff1 << 16 |
                              u64{1} << (aff0 & 15));
    isb();
}

u32 spi_end() { return spis_end; }

void configure_spi(u32 intid, bool edge, u64 mpidr) {
    const u64 config = kConfig + intid / 16 * 4;
    const u32 bit = 2u << (intid % 16 * 2);
    distributor.write(config, edge ? distributor.read(config) | bit : distributor.read(config) & ~bit);
    distributor.write64(kRouter + 8 * u64{intid}, mpidr & kMpidrAffinity);
}

void enable_spi(u32 intid, bool on) {
    distributor.write((on ? kSetEnable : kClearEnable) + intid / 32 * 4, 1u << intid % 32);
    if (!on) {
        wait_writes(distributor);
        distributor.write(kClearActive + intid / 32 * 4, 1u << intid % 32);
    }
}

void enable_private(u32 intid, bool on) { mine().write(on ? kSetEnable : kClearEnable, 1u << intid); }

void set_private_active(u32 intid, bool active) { mine().write(active ? kSetActive : kClearActive, 1u << intid); }

}  // namespace twain::kernel::gic
