// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Start of every core: the first builds what all share, then each turns into a scheduler.
#include <new>

#include "kernel/arch/aarch64/boot.hpp"
#include "kernel/arch/aarch64/psci.hpp"
#include "kernel/core/log.hpp"
#include "kernel/drivers/gic.hpp"
#include "kernel/drivers/smmuv3.hpp"

namespace twain::kernel {

extern "C" {
[[noreturn]] void kernel_main(u64 core, u64 boot_phys);
[[noreturn]] void enter_user(Cpu& cpu);
extern char secondary_start[];
}

namespace {

constexpr u64 kBootTimeoutNs = 2'000'000'000;

abi::BootInfo boot;
CpuId online;  // cores that have come up

void init_cpu(Cpu& cpu, CpuId id) {
    new (&cpu) Cpu();
    cpu.id = id;
    cpu.one = 1;
    cpu.mpidr = boot.mpidr[id];
    Regime::Cpu::write(reinterpret_cast<u64>(&cpu));
    gic::init_core(id);
    machine::set_timer(abi::kForever);
    cpu.since = machine::now();
    cpu.hazard = kReschedule;
    cpu.online.release(true);
}

void start_cores() {
    const Ticks limit = machine::now() + machine::ns_to_ticks(kBootTimeoutNs);
    for (CpuId core = 1; core < boot.core_count; ++core) {
        const u64 error =
            psci::call(boot.psci_conduit, psci::kCpuOn, boot.mpidr[core], physical(secondary_start), core);
        if (error) {
            log("kernel: core {} does not start: PSCI CPU_ON says {}\n", core, error);
            boot.core_count = core;
            break;
        }
        while (__atomic_load_n(&online, __ATOMIC_ACQUIRE) != core) {
            if (machine::now() > limit) panic("a core does not come up");
            machine::relax();
        }
    }
}

}  // namespace

const abi::BootInfo& boot_info() { return boot; }

void kernel_main(u64 core, u64 boot_phys) {
    Cpu& cpu = machine::cpu(static_cast<CpuId>(core));
    if (core) {
        init_cpu(cpu, static_cast<CpuId>(core));
        __atomic_store_n(&online, static_cast<CpuId>(core), __ATOMIC_RELEASE);
        enter_user(cpu);
    }
    boot = *static_cast<const abi::BootInfo*>(machine::to_virt(Phys{boot_phys}));
    machine::uart_start();
    if (boot.magic != abi::kBootMagic || boot.version != abi::kVersion) panic("boot information of another version");
    if (boot.core_count == 0 || boot.core_count > abi::kMaxCores) panic("number of cores");
    if (boot.gic_version != 2 && boot.gic_version != 3) panic("no GICv2 or GICv3");
    gic::init_distributor(boot);
    init_cpu(cpu, 0);
    log("twain: build {}, EL{}, {} cores\n", &boot.build_id[0], machine::kExceptionLevel, boot.core_count);
    smmu::init(boot);
    start_cores();
    drop_identity();
    start_root(cpu, Phys{boot_phys});
    enter_user(cpu);
}

}  // namespace twain::kernel
