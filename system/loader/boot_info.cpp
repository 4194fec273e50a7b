// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/boot_info.hpp"

#include <algorithm>

namespace twain::loader {
namespace {

bool holds(const abi::Range& range, const abi::Range& part) {
    return part.base >= range.base && part.base - range.base + part.bytes <= range.bytes;
}

// The kernel takes kMaxRam ranges: the one with the image and the largest others, ascending.
void choose_ram(const RangeSet& ram, const abi::Range& image, abi::BootInfo& info) {
    const auto ranges = ram.ranges();
    bool chosen[RangeSet::kCapacity] = {};
    for (std::uint32_t picked = 0; picked < abi::kMaxRam && picked < ranges.size(); ++picked) {
        std::size_t best = ranges.size();
        for (std::size_t i = 0; i < ranges.size(); ++i) {
            const bool better = best == ranges.size() || holds(ranges[i], image) ||
                                (ranges[i].bytes > ranges[best].bytes && !holds(ranges[best], image));
            if (!chosen[i] && better) {
                best = i;
            }
        }
        chosen[best] = true;
    }
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        if (chosen[i]) {
            info.ram[info.ram_count++] = ranges[i];
        }
    }
}

}  // namespace

const char* fill_boot_info(const Packed& packed, const PackedKernel& kernel, const Machine& machine, std::uint64_t base,
                           abi::BootInfo& info) {
    info = {};
    info.magic = abi::kBootMagic;
    info.version = abi::kVersion;
    info.bytes = sizeof info;
    for (std::size_t i = 0; i + 1 < sizeof info.build_id; ++i) {
        info.build_id[i] = packed.build_id[i];
    }
    info.image = {base, packed.image_bytes};
    if (!machine.ram.contains(info.image.base, info.image.bytes)) {
        return "the image does not lie in free RAM as a whole";
    }
    choose_ram(machine.ram, info.image, info);

    info.core_count = machine.core_count;
    for (std::size_t i = 0; i < abi::kMaxCores; ++i) {
        info.mpidr[i] = machine.mpidr[i];
    }
    info.gic_version = machine.gic.version;
    info.maintenance_intid = machine.gic.maintenance_intid;
    info.gicd = machine.gic.distributor;
    info.gicr = machine.gic.redistributors;
    info.gich = machine.gic.virtual_control;
    info.gicv = machine.gic.virtual_cpu;
    info.timer_hyp_intid = machine.timer_hyp_intid;
    info.timer_virt_intid = machine.timer_virt_intid;
    info.timer_phys_intid = machine.timer_phys_intid;
    info.smmu = machine.smmu;
    info.uart = machine.uart;
    info.uart_intid = machine.uart_intid;
    info.psci_conduit = static_cast<std::uint32_t>(machine.psci);
    info.flags = packed.flags | machine.flags;

    info.kernel = {base + kernel.offset, kernel.memory_bytes};
    info.archive = {base + packed.archive_offset, packed.archive_bytes};
    info.root_entry = packed.root_entry;
    info.root_count = packed.root_count;
    for (std::size_t i = 0; i < packed.root_count && i < abi::kMaxSegments; ++i) {
        const PackedSegment& segment = packed.root[i];
        info.root[i] = {segment.address, base + segment.offset, segment.bytes, segment.rights};
    }
    info.module_count = packed.module_count;
    for (std::size_t i = 0; i < packed.module_count && i < abi::kMaxModules; ++i) {
        const PackedModule& module = packed.modules[i];
        for (std::size_t c = 0; c < sizeof module.name; ++c) {
            info.modules[i].name[c] = module.name[c];
        }
        info.modules[i].phys = base + module.offset;
        info.modules[i].bytes = module.bytes;
    }
    for (const std::uint8_t byte : machine.seed.first(std::min<std::size_t>(machine.seed.size(), abi::kMaxSeed))) {
        info.seed[info.seed_bytes++] = byte;
    }
    return nullptr;
}

}  // namespace twain::loader
