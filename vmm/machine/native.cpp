// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/machine/native.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kCacheLine = 64;

template <typename Operation>
void each_line(const void* at, std::uint64_t bytes, Operation operation) {
    const std::uint64_t first = reinterpret_cast<std::uint64_t>(at) & ~(kCacheLine - 1);
    const std::uint64_t end = reinterpret_cast<std::uint64_t>(at) + bytes;
    for (std::uint64_t line = first; line < end; line += kCacheLine) {
        operation(line);
    }
}

}  // namespace

NativePlatform::NativePlatform(std::span<const VcpuHandles> vcpus, sys::Notification events, sys::Notification timer)
    : events_(events), timer_(timer), out_("console.out"), in_("console.in") {
    for (std::size_t i = 0; i < vcpus.size() && i < vcpus_.size(); ++i) {
        vcpus_[i] = vcpus[i];
    }
}

void NativePlatform::park(VcpuIndex v, std::uint64_t deadline) {
    if (saved_wake_[v] != 0) {
        saved_wake_[v] = 0;
        return;
    }
    (void)vcpus_[v].wake.wait(deadline);
}

void NativePlatform::poke() { (void)timer_.arm(sys::now()); }

// Both kinds of thread sleep on their own notification, and keep what else comes meanwhile.
void NativePlatform::rest(VcpuIndex who) {
    if (who == kNoVcpu) {
        saved_events_ |= events_.wait(abi::kForever).value_or(0);
    } else {
        saved_wake_[who] |= vcpus_[who].wake.wait(abi::kForever).value_or(0);
    }
}

std::uint64_t NativePlatform::wait_events(std::uint64_t deadline) {
    if (saved_events_ != 0) {
        const std::uint64_t bits = saved_events_;
        saved_events_ = 0;
        return bits;
    }
    return events_.wait(deadline).value_or(0);
}

void NativePlatform::zero(void* at, std::uint64_t bytes) {
    each_line(at, bytes, [](std::uint64_t line) {
        asm volatile(
            "stp xzr, xzr, [%0]\n\tstp xzr, xzr, [%0, #16]\n\tstp xzr, xzr, [%0, #32]\n\tstp xzr, xzr, [%0, #48]\n\t"
            "dc cvac, %0" ::"r"(line)
            : "memory");
    });
    asm volatile("dsb ish" ::: "memory");
}

// To the point of coherency, since the guest begins with its caches off; and no stale instructions.
void NativePlatform::publish(const void* at, std::uint64_t bytes) {
    each_line(at, bytes, [](std::uint64_t line) { asm volatile("dc cvac, %0" ::"r"(line) : "memory"); });
    asm volatile("dsb ish" ::: "memory");
    each_line(at, bytes, [](std::uint64_t line) { asm volatile("ic ivau, %0" ::"r"(line) : "memory"); });
    asm volatile("dsb ish\n\tisb" ::: "memory");
}

}  // namespace twain::vmm
