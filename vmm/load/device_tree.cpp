// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/load/device_tree.hpp"

#include <array>

#include <libfdt.h>

#include "vmm/gic/gic.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint32_t kGicHandle = 1, kClockHandle = 2;
constexpr std::uint32_t kSpi = 0, kPpi = 1, kLevelHigh = 4;
constexpr std::uint32_t kUartClockHz = 24'000'000;

// libfdt's sequential writer; the first error sticks and everything after it is skipped.
class Writer {
public:
    explicit Writer(std::span<std::byte> out) : tree_(out.data()) {
        error_ = fdt_create(tree_, static_cast<int>(out.size()));
        keep(error_ == 0 ? fdt_finish_reservemap(tree_) : 0);
    }

    template <typename Body>
    void node(const char* name, Body body) {
        keep(error_ == 0 ? fdt_begin_node(tree_, name) : 0);
        body();
        keep(error_ == 0 ? fdt_end_node(tree_) : 0);
    }
    void bytes(const char* name, const void* value, std::size_t size) {
        keep(error_ == 0 ? fdt_property(tree_, name, value, static_cast<int>(size)) : 0);
    }
    void flag(const char* name) { bytes(name, nullptr, 0); }
    void text(const char* name, std::string_view value) {  // the property ends with a zero byte
        void* at = nullptr;
        keep(error_ == 0 ? fdt_property_placeholder(tree_, name, static_cast<int>(value.size() + 1), &at) : 0);
        if (char* to = static_cast<char*>(at)) {
            for (const char c : value) {
                *to++ = c;
            }
            *to = 0;
        }
    }
    template <std::size_t kCount>
    void strings(const char* name, const char (&list)[kCount]) {  // "a\0b"
        bytes(name, list, kCount);
    }
    template <typename... Cells>
    void cells(const char* name, Cells... values) {
        const std::array<fdt32_t, sizeof...(values)> list{cpu_to_fdt32(static_cast<std::uint32_t>(values))...};
        bytes(name, list.data(), sizeof list);
    }
    template <typename... Words>
    void words(const char* name, Words... values) {  // 64-bit addresses and sizes
        const std::array<fdt64_t, sizeof...(values)> list{cpu_to_fdt64(values)...};
        bytes(name, list.data(), sizeof list);
    }

    std::size_t finish() {
        keep(error_ == 0 ? fdt_finish(tree_) : 0);
        return error_ == 0 ? fdt_totalsize(tree_) : 0;
    }

private:
    void keep(int error) { error_ = error_ != 0 ? error_ : error; }

    void* tree_;
    int error_ = 0;
};

// "name@hex"
class UnitName {
public:
    UnitName(const char* name, std::uint64_t address) {
        unsigned n = 0;
        for (; name[n] != 0; ++n) {
            text_[n] = name[n];
        }
        text_[n++] = '@';
        unsigned digits = 1;
        while (digits < 16 && (address >> (4 * digits)) != 0) {
            ++digits;
        }
        while (digits-- > 0) {
            text_[n++] = "0123456789abcdef"[(address >> (4 * digits)) & 15];
        }
    }
    const char* c_str() const { return text_.data(); }
    std::string_view view() const { return text_.data(); }

private:
    std::array<char, 40> text_{};
};

void chosen(Writer& w, const TreeInput& in, const UnitName& uart) {
    w.node("chosen", [&] {
        w.text("bootargs", in.command_line);
        std::array<char, 48> path{'/'};
        for (unsigned i = 0; i < uart.view().size(); ++i) {
            path[i + 1] = uart.view()[i];
        }
        w.text("stdout-path", path.data());
        if (in.initrd_bytes != 0) {
            w.words("linux,initrd-start", in.initrd.value);
            w.words("linux,initrd-end", in.initrd.value + in.initrd_bytes);
        }
        if (!in.rng_seed.empty()) {
            w.words("kaslr-seed", in.kaslr_seed);
            w.bytes("rng-seed", in.rng_seed.data(), in.rng_seed.size());
        }
    });
}

void processors(Writer& w, const TreeInput& in) {
    w.node("cpus", [&] {
        w.cells("#address-cells", 1);
        w.cells("#size-cells", 0);
        for (unsigned n = 0; n < in.vcpus; ++n) {
            w.node(UnitName("cpu", n).c_str(), [&] {
                w.text("device_type", "cpu");
                w.text("compatible", "arm,armv8");
                w.text("enable-method", "psci");
                w.cells("reg", n);
            });
        }
    });
    w.node("psci", [&] {
        w.strings("compatible", "arm,psci-1.0\0arm,psci-0.2");
        w.text("method", "hvc");
    });
    w.node("timer", [&] {
        w.text("compatible", "arm,armv8-timer");
        w.flag("always-on");
        // Version 2's binding (arm,gic.yaml) wants to know at which processors, too.
        const std::uint32_t flags = kLevelHigh | (in.gic == GicVersion::v2 ? ((1u << in.vcpus) - 1) << 8 : 0);
        // secure, physical, virtual, hypervisor
        w.cells("interrupts", kPpi, 13, flags, kPpi, kPhysicalTimer - 16, flags, kPpi, kVirtualTimer - 16, flags, kPpi,
                10, flags);
    });
}

void interrupt_controller(Writer& w, const TreeInput& in) {
    const BoardMap& board = in.board;
    w.node(UnitName("interrupt-controller", board.distributor.value).c_str(), [&] {
        w.cells("#interrupt-cells", 3);
        w.flag("interrupt-controller");
        if (in.gic == GicVersion::v3) {
            w.text("compatible", "arm,gic-v3");
            w.cells("#redistributor-regions", 1);
            w.words("reg", board.distributor.value, kDistributorBytes, board.redistributors.value,
                    kRedistributorBytes * in.vcpus);
        } else {
            w.strings("compatible", "arm,gic-400\0arm,cortex-a15-gic");
            w.words("reg", board.distributor.value, kDistributor2Bytes, board.cpu_interface.value, kCpuInterface2Bytes);
        }
        w.cells("phandle", kGicHandle);
    });
}

}  // namespace

std::size_t make_device_tree(const TreeInput& in, std::span<std::byte> out) {
    Writer w(out);
    const BoardMap& board = in.board;
    const UnitName uart("pl011", board.uart.value);
    w.node("", [&] {
        w.text("compatible", "linux,dummy-virt");
        w.text("model", "Twain virtual machine");
        w.cells("#address-cells", 2);
        w.cells("#size-cells", 2);
        w.cells("interrupt-parent", kGicHandle);
        chosen(w, in, uart);
        w.node(UnitName("memory", board.ram.value).c_str(), [&] {
            w.text("device_type", "memory");
            w.words("reg", board.ram.value, in.ram_bytes);
        });
        processors(w, in);
        interrupt_controller(w, in);
        w.node("apb-pclk", [&] {
            w.text("compatible", "fixed-clock");
            w.cells("#clock-cells", 0);
            w.cells("clock-frequency", kUartClockHz);
            w.text("clock-output-names", "clk24mhz");
            w.cells("phandle", kClockHandle);
        });
        w.node(uart.c_str(), [&] {
            w.strings("compatible", "arm,pl011\0arm,primecell");
            w.words("reg", board.uart.value, std::uint64_t{0x1000});
            w.cells("interrupts", kSpi, board.uart_spi, kLevelHigh);
            w.cells("clocks", kClockHandle, kClockHandle);
            w.strings("clock-names", "uartclk\0apb_pclk");
        });
    });
    return w.finish();
}

}  // namespace twain::vmm
