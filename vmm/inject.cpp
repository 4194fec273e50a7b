// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/inject.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kModeEl1h = 0x5;
constexpr std::uint64_t kMaskAll = 0x3c0;         // D, A, I, F
constexpr std::uint64_t kKeptBits = 0xf040'0000;  // NZCV, PAN

bool from_lower_level(const abi::VcpuPage& page) { return bits(page.pstate, 3, 2) == 0; }

}  // namespace

void inject_synchronous(abi::VcpuPage& page, std::uint64_t esr) {
    std::uint64_t offset = 0x400;
    if (bit(page.pstate, 4)) {
        offset = 0x600;  // AArch32
    } else if (!from_lower_level(page)) {
        offset = bit(page.pstate, 0) ? 0x200 : 0x000;
    }
    page.el1.elr_el1 = page.pc;
    page.el1.spsr_el1 = page.pstate;
    page.el1.esr_el1 = esr;
    page.pstate = (page.pstate & kKeptBits) | kMaskAll | kModeEl1h;
    page.pc = (page.el1.vbar_el1 & ~std::uint64_t{0x7ff}) + offset;
    page.loaded |= abi::kGroupEl1;
}

void inject_undefined(abi::VcpuPage& page) { inject_synchronous(page, make_syndrome(ExceptionClass::unknown, 0)); }

void inject_data_abort(abi::VcpuPage& page, Gva far, bool write, unsigned fault_status) {
    const ExceptionClass c =
        from_lower_level(page) ? ExceptionClass::data_abort_lower : ExceptionClass::data_abort_same;
    page.el1.far_el1 = far.value;
    inject_synchronous(page, make_syndrome(c, fault_status | (write ? 1u << 6 : 0u)));
}

void inject_instruction_abort(abi::VcpuPage& page, Gva far, unsigned fault_status) {
    const ExceptionClass c =
        from_lower_level(page) ? ExceptionClass::instruction_abort_lower : ExceptionClass::instruction_abort_same;
    page.el1.far_el1 = far.value;
    inject_synchronous(page, make_syndrome(c, fault_status));
}

}  // namespace twain::vmm
