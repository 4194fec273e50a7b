// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A kernel that only tells what the loader told it, one "key value..." line each, and powers off.
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "loader/console.hpp"

extern "C" {
[[noreturn]] void fake_main(const twain::abi::BootInfo* info, std::uint64_t level, std::uint64_t sctlr,
                            std::uint64_t place);
[[noreturn]] void fake_power_off(std::uint64_t conduit);
}

namespace {

using twain::abi::Range;
using twain::loader::Console;

struct Teller {
    Console console;
    void line(const char* key, std::uint64_t value) const {
        console.text("@").text(key).text(" ").hex(value).text("\n");
    }
    void range(const char* key, const Range& range) const {
        console.text("@").text(key).text(" ").hex(range.base).text(" ").hex(range.bytes).text("\n");
    }
};

std::uint64_t sum(std::uint64_t address, std::uint64_t bytes) {
    std::uint64_t total = 0;
    for (std::uint64_t i = 0; i < bytes; ++i) {
        total += *reinterpret_cast<const volatile std::uint8_t*>(address + i) * (i % 251 + 1);
    }
    return total;
}

}  // namespace

void fake_main(const twain::abi::BootInfo* info, std::uint64_t level, std::uint64_t sctlr, std::uint64_t place) {
    const Teller tell{Console{info->uart.base}};
    tell.line("magic", info->magic);
    tell.line("version", info->version);
    tell.line("bytes", info->bytes);
    tell.console.text("@build_id ").text(info->build_id).text("\n");
    tell.line("el", level);
    tell.line("mmu_caches", sctlr & (1 | 1 << 2 | 1 << 12));
    tell.line("place", place);
    tell.line("info", reinterpret_cast<std::uint64_t>(info));
    for (std::uint32_t i = 0; i < info->ram_count; ++i) {
        tell.range("ram", info->ram[i]);
    }
    for (std::uint32_t i = 0; i < info->core_count; ++i) {
        tell.line("core", info->mpidr[i]);
    }
    tell.line("gic", info->gic_version);
    tell.range("gicd", info->gicd);
    tell.range("gicr", info->gicr);
    tell.range("gich", info->gich);
    tell.range("gicv", info->gicv);
    tell.line("maintenance", info->maintenance_intid);
    tell.line("timer_hyp", info->timer_hyp_intid);
    tell.line("timer_virt", info->timer_virt_intid);
    tell.line("timer_phys", info->timer_phys_intid);
    tell.range("uart", info->uart);
    tell.line("uart_intid", info->uart_intid);
    tell.line("psci", info->psci_conduit);
    tell.line("flags", info->flags);
    tell.line("seed_bytes", info->seed_bytes);
    tell.range("image", info->image);
    tell.range("kernel", info->kernel);
    tell.range("archive", info->archive);
    tell.line("root_entry", info->root_entry);
    for (std::uint32_t i = 0; i < info->root_count; ++i) {
        const auto& segment = info->root[i];
        tell.console.text("@root ").hex(segment.address).text(" ").hex(segment.bytes).text(" ").hex(segment.rights);
        tell.console.text(" ").hex(sum(segment.phys, segment.bytes)).text("\n");
    }
    for (std::uint32_t i = 0; i < info->module_count; ++i) {
        const auto& module = info->modules[i];
        tell.console.text("@module ").text(module.name).text(" ").hex(module.bytes).text(" ");
        tell.console.hex(sum(module.phys, (module.bytes + 4095) & ~std::uint64_t{4095})).text(" ");
        tell.console.hex(module.phys & 4095).text("\n");
    }
    fake_power_off(info->psci_conduit);
}
