// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/expect.hpp"

namespace twain::loader {

Mismatches compare(const Expectation& expect, const void* tree, const Machine& machine) {
    using enum Mismatch::Unit;
    Mismatches found;
    if (expect.compatible[0] != '\0' && !is_compatible(tree, expect.compatible)) {
        found.add({"board", name, 0, 0, expect.compatible, machine.compatible});
    }
    if (expect.gic_versions != 0 && (expect.gic_versions >> machine.gic.version & 1) == 0) {
        found.add({"GIC version", choice, expect.gic_versions, std::uint64_t{1} << machine.gic.version});
    }
    if (expect.uart_base != 0 && machine.uart.base != expect.uart_base) {
        found.add({"console (PL011)", address, expect.uart_base, machine.uart.base});
    }
    if (machine.core_count < expect.min_cores) {
        found.add({"cores, at least", number, expect.min_cores, machine.core_count});
    }
    if (machine.ram.total() < expect.min_ram) {
        found.add({"RAM, at least", bytes, expect.min_ram, machine.ram.total()});
    }
    return found;
}

}  // namespace twain::loader
