// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/tree.hpp"

#include <libfdt.h>

#include "loader/node.hpp"

namespace twain::loader {
namespace {

constexpr std::uint64_t kAffinity = 0xff00ffffff;  // MPIDR_EL1 Aff3..Aff0
constexpr std::uint64_t kPage = 4096;
constexpr std::uint32_t kVersion = 17;  // specification 5.2

// Specification 3.4: children of the root whose device_type is "memory".
const char* read_ram(const void* tree, RangeSet& ram) {
    int child = 0;
    fdt_for_each_subnode(child, tree, 0) {
        const Node node{tree, child};
        if (node.text("device_type") != "memory" || !node.enabled()) {
            continue;
        }
        for (unsigned i = 0; const auto range = node.reg(i); ++i) {
            if (!ram.add(range->base, range->bytes)) {
                return "too many memory ranges";
            }
        }
    }
    return nullptr;
}

bool reserve(RangeSet& ram, std::uint64_t base, std::uint64_t bytes) {
    if (bytes == 0) {
        return true;
    }
    const std::uint64_t low = base & ~(kPage - 1);
    const std::uint64_t high = (base + bytes + kPage - 1) & ~(kPage - 1);
    return high > low && ram.remove(low, high - low);
}

// The memory reservation block (5.3) and /reserved-memory (3.5).
const char* remove_reserved(const void* tree, RangeSet& ram) {
    const int entries = fdt_num_mem_rsv(tree);
    for (int i = 0; i < entries; ++i) {
        std::uint64_t base = 0;
        std::uint64_t bytes = 0;
        if (fdt_get_mem_rsv(tree, i, &base, &bytes) != 0 || !reserve(ram, base, bytes)) {
            return "a memory reservation is damaged";
        }
    }
    const int reserved = fdt_path_offset(tree, "/reserved-memory");
    if (reserved < 0) {
        return nullptr;
    }
    int child = 0;
    fdt_for_each_subnode(child, tree, reserved) {
        const Node node{tree, child};
        if (!node.enabled()) {
            continue;
        }
        for (unsigned i = 0; const auto range = node.reg(i); ++i) {
            if (!reserve(ram, range->base, range->bytes)) {
                return "a range of /reserved-memory is damaged";
            }
        }
    }
    return nullptr;
}

// Specification 3.8. Cores beyond kMaxCores are left alone.
const char* read_cores(const void* tree, std::uint64_t boot_mpidr, Machine& machine) {
    const Node cpus{tree, fdt_path_offset(tree, "/cpus")};
    const auto cells = cpus.exists() ? cpus.address_cells() : std::nullopt;
    if (!cells || *cells == 0) {
        return "no /cpus";
    }
    machine.mpidr[0] = boot_mpidr & kAffinity;
    bool boot_core_listed = false;
    std::uint32_t others = 0;
    int child = 0;
    fdt_for_each_subnode(child, tree, cpus.offset()) {
        const Node node{tree, child};
        const Cells reg = node.cells("reg");
        // "disabled" only says that the core is not running yet.
        if (node.text("device_type") != "cpu" || reg.count() < *cells || node.text("status").starts_with("fail")) {
            continue;
        }
        const std::uint64_t mpidr = reg.number(0, *cells) & kAffinity;
        if (mpidr == machine.mpidr[0]) {
            boot_core_listed = true;
        } else if (others + 1 < abi::kMaxCores && node.text("enable-method") == "psci") {
            machine.mpidr[++others] = mpidr;
        }
    }
    machine.core_count = others + 1;
    return boot_core_listed ? nullptr : "the boot core is not among /cpus";
}

// Bindings arm,gic.yaml and arm,gic-v3.yaml.
const char* read_gic(const void* tree, Gic& gic) {
    Node node = find_compatible(tree, {"arm,gic-v3"});
    gic.version = 3;
    if (!node.exists()) {
        node = find_compatible(tree, {"arm,cortex-a15-gic", "arm,gic-400"});
        gic.version = 2;
    }
    if (!node.exists()) {
        return "no GICv2 or GICv3";
    }
    const auto distributor = node.reg(0);
    const auto second = node.reg(1);
    if (!distributor || !second) {
        return "the interrupt controller has no registers";
    }
    gic.distributor = *distributor;
    gic.redistributors = *second;
    if (gic.version == 3) {
        const Cells regions = node.cells("#redistributor-regions");
        if (regions.count() > 0 && regions.at(0) != 1) {
            return "the GICv3 has several redistributor regions";
        }
    } else {
        gic.virtual_control = node.reg(2).value_or(abi::Range{});
        gic.virtual_cpu = node.reg(3).value_or(abi::Range{});
    }
    gic.maintenance_intid = node.intid(0);
    return nullptr;
}

// Binding arm,arch_timer.yaml: in the order secure, physical, virtual, hypervisor, unless named.
const char* read_timer(const void* tree, Machine& machine) {
    const Node node = find_compatible(tree, {"arm,armv8-timer"});
    if (!node.exists()) {
        return "no arm,armv8-timer";
    }
    const auto index = [&](const char* name, int otherwise) {
        const int found = fdt_stringlist_search(tree, node.offset(), "interrupt-names", name);
        return static_cast<unsigned>(found >= 0 ? found : otherwise);
    };
    machine.timer_phys_intid = node.intid(index("phys", 1));
    machine.timer_virt_intid = node.intid(index("virt", 2));
    machine.timer_hyp_intid = node.intid(index("hyp-phys", 3));
    return machine.timer_virt_intid != 0 ? nullptr : "the timer has no interrupts";
}

// Binding psci.yaml; version 0.1 numbers its functions in the tree and is not supported.
void read_psci(const void* tree, Machine& machine) {
    const Node node = find_compatible(tree, {"arm,psci-1.0", "arm,psci-0.2"});
    if (node.exists()) {
        const std::string_view method = node.text("method");
        machine.psci = method == "smc" ? Conduit::smc : method == "hvc" ? Conduit::hvc : Conduit::none;
    }
}

// Binding arm,smmu-v3.yaml.
void read_smmu(const void* tree, Machine& machine) {
    const Node node = find_compatible(tree, {"arm,smmu-v3"});
    if (node.exists()) {
        machine.smmu = node.reg(0).value_or(abi::Range{});
    }
}

// /chosen (3.6): stdout-path is a path or an alias, options follow a colon.
void read_uart(const void* tree, Machine& machine) {
    const int chosen = fdt_path_offset(tree, "/chosen");
    if (chosen < 0) {
        return;
    }
    std::string_view path = Node{tree, chosen}.text("stdout-path");
    path = path.substr(0, path.find(':'));
    if (path.empty()) {
        return;
    }
    const Node node{tree, fdt_path_offset_namelen(tree, path.data(), static_cast<int>(path.size()))};
    if (!node.exists() || !node.is_compatible("arm,pl011")) {
        return;
    }
    if (const auto reg = node.reg(0)) {
        machine.uart = *reg;
        machine.uart_intid = node.intid(0);
    }
}

// /chosen/bootargs (3.6): words with a blank between them; those that we do not know are for others.
void read_bootargs(const void* tree, Machine& machine) {
    const int chosen = fdt_path_offset(tree, "/chosen");
    std::string_view left = chosen < 0 ? std::string_view{} : Node{tree, chosen}.text("bootargs");
    while (!left.empty()) {
        const std::size_t end = left.find(' ');
        if (left.substr(0, end) == "shadow=naive") {
            machine.flags |= abi::kBootNaiveShadow;
        }
        left = end == left.npos ? std::string_view{} : left.substr(end + 1);
    }
}

// Devicetree schema chosen.yaml: bytes that the firmware drew for whoever it starts.
void read_seed(const void* tree, Machine& machine) {
    int bytes = 0;
    const void* seed = fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), "rng-seed", &bytes);
    if (seed != nullptr && bytes > 0) {
        machine.seed = {static_cast<const std::uint8_t*>(seed), static_cast<std::size_t>(bytes)};
    }
}

}  // namespace

const char* check_tree(const void* tree, std::size_t limit) {
    const auto address = reinterpret_cast<std::uintptr_t>(tree);
    if (tree == nullptr) {
        return "there is no device tree (x0 is 0)";
    }
    if (address % 8 != 0) {
        return "the device tree is not aligned to 8 bytes";
    }
    if (limit < FDT_V17_SIZE || fdt_magic(tree) != FDT_MAGIC) {
        return "what x0 points at is not a device tree (bad magic)";
    }
    if (fdt_totalsize(tree) > limit) {
        return "the device tree is too large";
    }
    // Older formats lack the sizes of the blocks, and libfdt's checks trust them more than they deserve.
    if (fdt_version(tree) < kVersion || fdt_last_comp_version(tree) > kVersion) {
        return "the device tree has a version other than 17";
    }
    // libfdt reads these with aligned loads.
    if (fdt_off_dt_struct(tree) % 4 != 0 || fdt_off_mem_rsvmap(tree) % 8 != 0) {
        return "the device tree is damaged (misaligned blocks)";
    }
    if (fdt_check_header(tree) != 0 || fdt_check_full(tree, fdt_totalsize(tree)) != 0) {
        return "the device tree is damaged";
    }
    return nullptr;
}

const char* read_tree(const void* tree, std::uint64_t boot_mpidr, Machine& machine) {
    const Node root{tree, 0};
    machine.compatible = root.text("compatible").empty() ? "" : root.text("compatible").data();
    const char* problem = read_ram(tree, machine.ram);
    if (problem == nullptr) {
        problem = remove_reserved(tree, machine.ram);
    }
    machine.ram.trim_to_pages();
    if (problem == nullptr && machine.ram.ranges().empty()) {
        problem = "no memory";
    }
    if (problem == nullptr) {
        problem = read_cores(tree, boot_mpidr, machine);
    }
    if (problem == nullptr) {
        problem = read_gic(tree, machine.gic);
    }
    if (problem == nullptr) {
        problem = read_timer(tree, machine);
    }
    read_psci(tree, machine);
    read_smmu(tree, machine);
    read_uart(tree, machine);
    read_bootargs(tree, machine);
    read_seed(tree, machine);
    return problem;
}

const char* check_gic(const Gic& gic, unsigned level) {
    constexpr std::uint64_t kInterface = 0x2000;  // GICC, GICV: Arm IHI 0048B 4.1.3, the second page has GICC_DIR
    if (gic.version == 2 && gic.redistributors.bytes < kInterface) {
        return "the GICv2's CPU interface has only one page (GICC_DIR is on the second)";
    }
    if (level == 1) {
        return nullptr;
    }
    if (gic.maintenance_intid == 0) {
        return "the interrupt controller has no maintenance interrupt";
    }
    if (gic.version == 2 && (gic.virtual_control.bytes < kPage || gic.virtual_cpu.bytes < kInterface ||
                             gic.virtual_cpu.base % kPage != 0)) {
        return "the GICv2 has no virtual CPU interface (GICH, GICV)";
    }
    return nullptr;
}

bool is_compatible(const void* tree, const char* name) { return Node{tree, 0}.is_compatible(name); }

}  // namespace twain::loader
