// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Timers in the past, at the maximum, in a storm; WFI that ends.
#include "probe.hpp"

namespace probe {
namespace {

void virtual_timer(u64 compare) {
    asm volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb" ::"r"(compare), "r"(u64{1}));
}
void stop_virtual_timer() { asm volatile("msr cntv_ctl_el0, %0\n\tisb" ::"r"(u64{2})); }

void wfi() { asm volatile("dsb sy\n\twfi" ::: "memory"); }

}  // namespace

void probe_timers() {
    Interrupts& i = interrupts[self()];
    i.seen = 0;
    write32(own_interrupts() + 0x100, 1u << 27 | 1u << 30);
    enable_interrupts(true);
    virtual_timer(0);
    result("virtual timer in the past", wait_for(27), i.seen);
    i.seen = 0;
    virtual_timer(~u64{0});
    result("virtual timer at the maximum", !wait_for(27, 10'000), i.seen);
    stop_virtual_timer();
    u32 before = i.count;
    for (u32 n = 0; n < 200; ++n) {
        i.seen = 0;
        virtual_timer(counter());
        if (!wait_for(27)) {
            break;
        }
    }
    result("200 expired timers", i.count - before == 200, i.count - before);

    i.seen = 0;
    u64 start = counter();
    virtual_timer(start + 60'000);
    while ((i.seen & u64{1} << 27) == 0) {
        wfi();
    }
    result("WFI until the timer", counter() - start >= 60'000, counter() - start);
    enable_interrupts(false);
    i.seen = 0;
    before = i.count;
    start = counter();
    virtual_timer(start + 60'000);
    wfi();
    while (counter() < start + 60'000) {
        wfi();
    }
    result("WFI with interrupts masked", i.count == before && counter() - start >= 60'000, counter() - start);
    enable_interrupts(true);
    result("and taken afterwards", wait_for(27), i.seen);

    i.seen = 0;
    asm volatile("msr cntp_tval_el0, %0\n\tmsr cntp_ctl_el0, %1\n\tisb" ::"r"(u64{10'000}), "r"(u64{1}));
    result("physical timer", wait_for(30), i.seen);
    i.seen = 0;
    asm volatile("msr cntp_cval_el0, xzr\n\tmsr cntp_ctl_el0, %0\n\tisb" ::"r"(u64{1}));
    result("physical timer in the past", wait_for(30), i.seen);
    asm volatile("msr cntp_ctl_el0, xzr\n\tisb");

    i.seen = 0;
    write32(own_interrupts() + 0x180, 1u << 27);
    virtual_timer(0);
    result("a disabled timer is quiet", !wait_for(27, 10'000), i.seen);
    result("and does not stop anything", hvc(0x8400'0000).x0 != kNotSupported, 0);
    stop_virtual_timer();
    enable_interrupts(false);
}

}  // namespace probe
