// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/drivers/gicv2.hpp"

#include "kernel/arch/aarch64/kernel_tables.hpp"
#include "kernel/drivers/gic.hpp"

namespace twain::kernel::gic {

namespace {

constexpr u64 kTargets = 0x800, kSgi = 0xf00;
u8 masks[abi::kMaxCores];  // each core's bit in GICD_ITARGETSR and GICD_SGIR

}  // namespace

void Gicv2::init_distributor(const abi::BootInfo& boot) {
    map_device(kInterface, {boot.gicr.base}, kInterfaceBytes);
    if constexpr (Regime::kExceptionLevel == 2) map_device(kControl, {boot.gich.base}, kPage);
    distributor().write(kCtlr, 1);
}

// The bytes for private interrupts say who is reading. With one core there is nothing to say: they are zero.
Mmio Gicv2::prepare_core(CpuId core) {
    u32 mask = 0;
    for (u32 i = 0; i < 32 && !mask; i += 4) mask = distributor().read(kTargets + i);
    mask |= mask >> 16;
    mask |= mask >> 8;
    masks[core] = static_cast<u8>(mask);
    return distributor();
}

void Gicv2::enable_core() {
    if constexpr (Regime::kExceptionLevel == 2) set_control(0);
    interface().write(kPmr, 0xff);
    interface().write(kCtlr, 1 << 9 | 1);  // EOI mode 1 of this security state, enable
}

void Gicv2::send_ipi(CpuId core) { distributor().write(kSgi, u32{masks[core]} << 16 | kIpi); }

void Gicv2::route(u32 intid, CpuId core) {
    const u64 targets = kTargets + intid / 4 * 4;
    const u32 shift = intid % 4 * 8;
    distributor().write(targets, (distributor().read(targets) & ~(0xffu << shift)) | u32{masks[core]} << shift);
}

}  // namespace twain::kernel::gic
