// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Generic interrupt controller, version 3 (Arm IHI 0069). Affinity routing, group 1, EOI mode 1: ending an
// interrupt lowers the running priority (EOIR); what a driver or a guest handles stays active until it is
// deactivated.
#pragma once

#include "kernel/core/cpu.hpp"

namespace twain::kernel::gic {

inline constexpr u32 kIpi = 0;  // SGI
inline constexpr u32 kSpurious = 1020;

struct PrivateIntids {  // by the device tree
    u32 maintenance, timer, guest_timer;
};

void init_distributor(const abi::BootInfo& boot);
void init_core(CpuId core, u64 mpidr, const PrivateIntids& intids);

inline u32 acknowledge() {
    const u32 intid = static_cast<u32>(reg::ICC_IAR1_EL1::read()) & 0xffffff;
    dsb_sy();
    return intid;
}
inline void drop_priority(u32 intid) { reg::ICC_EOIR1_EL1::write(intid); }
inline void deactivate(u32 intid) { reg::ICC_DIR_EL1::write(intid); }
void send_ipi(u64 mpidr);

u32 spi_end();
void configure_spi(u32 intid, bool edge, u64 mpidr);
void enable_spi(u32 intid, bool on);

// The calling core's private interrupts.
void enable_private(u32 intid, bool on);
void set_private_active(u32 intid, bool active);

}  // namespace twain::kernel::gic
