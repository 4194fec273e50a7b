// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The loader: reads the device tree, refuses a machine that the image was not built for, and starts the kernel.
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "loader/boot_info.hpp"
#include "loader/console.hpp"
#include "loader/expect.hpp"
#include "loader/packed.hpp"
#include "loader/tree.hpp"

extern "C" {

extern const std::byte loader_head[];
extern const std::byte loader_end[];
extern const std::uint64_t loader_packed_offset;

// start.S
void loader_clean(std::uint64_t address, std::uint64_t bytes);
[[noreturn]] void loader_enter(std::uint64_t kernel, const twain::abi::BootInfo* info);
std::uint64_t loader_firmware(std::uint64_t conduit, std::uint64_t function);

[[noreturn]] void loader_main(const void* tree, std::uint64_t base, unsigned level);
[[noreturn]] void loader_exception(std::uint64_t esr, std::uint64_t elr, std::uint64_t far);
}

namespace twain::loader {
namespace {

constexpr std::uint32_t kSystemOff = 0x8400'0008;  // PSCI 5.1.10

union alignas(4096) BootPage {
    abi::BootInfo info;
    std::byte page[4096];
};

BootPage boot_page;
Machine machine;
std::uint64_t console_base;  // for an exception

std::uint64_t boot_mpidr() {
    std::uint64_t value = 0;
    asm("mrs %0, mpidr_el1" : "=r"(value));
    return value;
}

[[noreturn]] void stop(Conduit psci) {
    if (psci != Conduit::none) {
        loader_firmware(static_cast<std::uint64_t>(psci), kSystemOff);
    }
    for (;;) {
        asm volatile("wfi");
    }
}

[[noreturn]] void refuse(const Console& console, const char* why) {
    console.text("twain: cannot start: ").text(why).text("\n");
    stop(machine.psci);
}

void tell(const Console& console, const Mismatch& mismatch) {
    const auto value = [&](std::uint64_t number, const char* text) {
        switch (mismatch.unit) {
            case Mismatch::Unit::name: console.text("\"").text(text).text("\""); break;
            case Mismatch::Unit::number: console.number(number); break;
            case Mismatch::Unit::choice: console.choice(number); break;
            case Mismatch::Unit::address: number != 0 ? console.hex(number) : console.text("none"); break;
            case Mismatch::Unit::bytes: console.mega(number); break;
        }
    };
    console.text("twain:   ").text(mismatch.what).text(": expected ");
    value(mismatch.expected, mismatch.expected_text);
    console.text(", found ");
    value(mismatch.found, mismatch.found_text);
    console.text("\n");
}

void require_expected(const Console& console, const Expectation& expect, const void* tree) {
    const Mismatches mismatches = compare(expect, tree, machine);
    if (mismatches.list().empty()) {
        return;
    }
    console.text("twain: this image was built for ").text(expect.board).text("; this machine is another:\n");
    for (const Mismatch& mismatch : mismatches.list()) {
        tell(console, mismatch);
    }
    stop(machine.psci);
}

[[noreturn]] void start(const void* tree, std::uint64_t base, unsigned level) {
    const auto& packed = *reinterpret_cast<const Packed*>(base + loader_packed_offset);
    // Until the tree says more, the console is where the image expects it.
    Console console{packed.expect.uart_base};
    console_base = packed.expect.uart_base;
    if (packed.magic != kPackedMagic || packed.version != kPackedVersion || packed.bytes != sizeof packed) {
        refuse(Console{0}, "the image is damaged");
    }
    if (const char* problem = check_tree(tree, kMaxTree)) {
        refuse(console, problem);
    }
    const char* problem = read_tree(tree, boot_mpidr(), machine);
    if (machine.uart.bytes != 0) {
        console = Console{machine.uart.base};
        console_base = machine.uart.base;
    }
    if (TWAIN_LOG_LEVEL > 0) {
        console.text("twain: loader at EL").number(level).text(", ").hex(base).text(", build ").text(packed.build_id);
        console.text("\n");
    }
    if (problem != nullptr) {
        refuse(console, problem);
    }
    require_expected(console, packed.expect, tree);
    const PackedKernel& kernel = packed.kernels[level - 1];
    if (kernel.offset == 0) {
        refuse(console,
               level == 1
                   ? "entered at EL1, but the image holds a kernel for EL2 only (QEMU: -M virt,virtualization=on)"
                   : "entered at EL2, but the image holds a kernel for EL1 only");
    }
    problem = check_gic(machine.gic, level);
    if (problem != nullptr) {
        refuse(console, problem);
    }
    problem = fill_boot_info(packed, kernel, machine, base, boot_page.info);
    if (problem != nullptr) {
        refuse(console, problem);
    }
    if ((packed.flags & 1) != 0) {
        console.text("twain: ")
            .number(machine.core_count)
            .text(" cores, ")
            .mega(machine.ram.total())
            .text(" RAM, GICv");
        console.number(machine.gic.version).text(", kernel at ").hex(boot_page.info.kernel.base).text("\n");
    }
    loader_clean(base, static_cast<std::uint64_t>(loader_end - loader_head));
    loader_enter(boot_page.info.kernel.base, &boot_page.info);
}

}  // namespace
}  // namespace twain::loader

void loader_main(const void* tree, std::uint64_t base, unsigned level) { twain::loader::start(tree, base, level); }

void loader_exception(std::uint64_t esr, std::uint64_t elr, std::uint64_t far) {
    const auto base = reinterpret_cast<std::uint64_t>(loader_head);
    twain::loader::Console{twain::loader::console_base}
        .text("twain: the loader failed: ESR ")
        .hex(esr)
        .text(" at +")
        .hex(elr - base)
        .text(", address ")
        .hex(far)
        .text("\n");
    twain::loader::stop(twain::loader::Conduit::none);
}
