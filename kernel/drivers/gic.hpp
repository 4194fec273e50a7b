// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Generic interrupt controller, version 2 (Arm IHI 0048B) or 3 (IHI 0069): which of them, the boot information says.
// What both have in common is in gic.cpp: the distributor, and a core's private interrupts, whose registers version 2
// banks and version 3 keeps in a redistributor. The rest is in gicv2.* and gicv3.*.
//
// Ending an interrupt lowers the running priority (EOIR) and no more (EOI mode 1, split): what a driver or a guest
// handles stays active until it is deactivated. All interrupts are in the one group that this security state has.
#pragma once

#include "kernel/drivers/gicv2.hpp"
#include "kernel/drivers/gicv3.hpp"

namespace twain::kernel::gic {

inline constexpr u32 kIpi = 0;  // SGI
inline constexpr u32 kSpurious = 1020;

// Set once, at start.
struct Setup {
    u32 version;
    u32 maintenance, timer, guest_timer;  // private interrupts, by the device tree
    u32 lists;                            // list registers
};
inline Setup setup;

inline bool is_v2() { return setup.version == 2; }

// The processor's side of the controller, chosen once for a whole piece of work: Gicv2 or Gicv3.
template <typename Use>
inline void with_interface(Use use) {
    if (is_v2()) [[unlikely]] {
        use(Gicv2{});
    } else {
        use(Gicv3{});
    }
}

void init_distributor(const abi::BootInfo& boot);
void init_core(CpuId core);

void send_ipi(CpuId core);
// Ends a private interrupt of the calling core, or a shared one that any core has acknowledged.
inline void deactivate(u32 intid) {
    with_interface([&](auto gic) { gic.deactivate(intid); });
}

u32 spi_end();
void configure_spi(u32 intid, bool edge, CpuId core);
void enable_spi(u32 intid, bool on);

// The calling core's private interrupts.
void enable_private(u32 intid, bool on);
void set_private_active(u32 intid, bool active);

}  // namespace twain::kernel::gic
