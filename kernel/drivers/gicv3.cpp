// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/drivers/gicv3.hpp"

#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/drivers/gic.hpp"

namespace twain::kernel::gic {

namespace {

constexpr u64 kRouter = 0x6000;
// Redistributor: two frames of 64 KiB, control and private interrupts
constexpr u64 kWaker = 0x14, kRdTyper = 0x8, kPrivate = 0x10000, kFrame = 0x20000;
constexpr u64 kLast = 1 << 4;
constexpr u64 kMpidrAffinity = 0xff'00ff'ffff;
u32 frames;
u64 sgi_targets[abi::kMaxCores];  // what ICC_SGI1R_EL1 takes to send one to each core

}  // namespace

void Gicv3::init_distributor(const abi::BootInfo& boot) {
    const u64 bytes = boot.gicr.bytes < abi::kMaxCores * kFrame ? boot.gicr.bytes : abi::kMaxCores * kFrame;
    frames = static_cast<u32>(bytes / kFrame);
    map_device(kGicdBytes, {boot.gicr.base}, bytes);
    distributor().write(kCtlr, 1 << 4 | 1 << 1 | 1 << 0);  // ARE, group 1 (secure view: group 1 non-secure is bit 1)
}

Mmio Gicv3::prepare_core(CpuId core) {
    const u64 mpidr = machine::cpu(core).mpidr;
    const u64 aff0 = mpidr & 0xff, aff1 = mpidr >> 8 & 0xff, aff2 = mpidr >> 16 & 0xff, aff3 = mpidr >> 32 & 0xff;
    sgi_targets[core] =
        aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | u64{kIpi} << 24 | aff1 << 16 | u64{1} << (aff0 & 15);
    const u64 affinity = (mpidr & 0xffffff) | aff3 << 24;
    Mmio own;
    for (u32 i = 0; i < frames; ++i) {
        const Mmio frame = distributor() + kGicdBytes + i * kFrame;
        const u64 typer = frame.read64(kRdTyper);
        if (typer >> 32 == affinity) own = frame;
        if (typer & kLast) break;
    }
    own.write(kWaker, own.read(kWaker) & ~2u);
    while (own.read(kWaker) & 4) machine::relax();
    return own + kPrivate;
}

void Gicv3::enable_core() {
    Regime::enable_gic();
    reg::ICC_SRE_EL1::write(0x7);
    isb();
    reg::ICC_PMR_EL1::write(0xff);
    reg::ICC_CTLR_EL1::write(1 << 1);  // EOI mode 1
    reg::ICC_IGRPEN1_EL1::write(1);
    isb();
}

void Gicv3::send_ipi(CpuId core) {
    reg::ICC_SGI1R_EL1::write(sgi_targets[core]);
    isb();
}

void Gicv3::route(u32 intid, CpuId core) {
    distributor().write64(kRouter + 8 * u64{intid}, machine::cpu(core).mpidr & kMpidrAffinity);
}

}  // namespace twain::kernel::gic
