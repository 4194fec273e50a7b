// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What the guest reaches by HVC and SMC: SMCCC 1.1 (Arm DEN0028E), PSCI 1.1 (DEN0022E), TRNG 1.0 (DEN0098).
//
// TRNG is offered only if the random source's seed is trusted: otherwise TRNG_VERSION says NOT_SUPPORTED, as a platform
// without an entropy source must.
#pragma once

#include <cstdint>

#include "kernel/api/abi.hpp"
#include "random/random.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/psci/power.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

class Firmware {
public:
    // What is left to do for whoever runs the vCPUs.
    enum class Action : std::uint8_t {
        none,        // results are in x0..x3
        start_vcpu,  // wake the thread of `target`; the result is in x0
        stop_vcpu,   // CPU_OFF: the caller does not return
        suspend,     // CPU_SUSPEND: sleep until an interrupt; the result is in x0
        power_off,   // the machine
        reset,       // the machine
    };
    struct Outcome {
        Action action = Action::none;
        VcpuIndex target = 0;
    };

    Firmware(PowerStates& power, const GuestMemory& memory, unsigned vcpus)
        : power_(power), memory_(memory), vcpus_(vcpus) {}

    // Performs the call in a vCPU's x0..x17; only x0..x3 change. Each vCPU thread has a random source of its own.
    Outcome call(abi::VcpuPage& page, Random& random) const;

private:
    struct Arguments {
        const abi::VcpuPage& page;
        bool wide;  // else only the lower halves count
        std::uint64_t operator[](unsigned n) const { return wide ? page.x[n] : truncate(page.x[n], 4); }
    };

    void trng(std::uint32_t function, const Arguments& a, abi::VcpuPage& page, Random& random) const;
    std::uint64_t cpu_on(const Arguments& a, Outcome& outcome) const;
    std::uint64_t affinity_info(const Arguments& a) const;
    std::uint64_t features(std::uint32_t function) const;

    PowerStates& power_;
    const GuestMemory& memory_;
    unsigned vcpus_;
};

}  // namespace twain::vmm
