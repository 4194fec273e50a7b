// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// From an access to the register that it reaches. What is not there, or not that wide, reads as zero and ignores writes.
#include "vmm/gic/registers.hpp"

namespace twain::vmm {

template <typename Use>
void Gic::distributor_register(const Access& a, Use use) {
    using R = GicRegisters;
    const auto reach = [&](const R::Found& found, Bank& bank, VcpuIndex owner) {
        if (found.range == nullptr) {
            return false;
        }
        use(*found.range, R::Call{*this, bank, owner, static_cast<unsigned>(a.offset - found.first), a.bytes, a.vcpu});
        return true;
    };
    if (!reach(R::find(R::distributor(version_), a.offset, a.bytes), shared_, kNoVcpu) &&
        !reach(R::find(R::kBank, a.offset, a.bytes, 1), shared_, kNoVcpu) && version_ == GicVersion::v2 &&
        a.vcpu < vcpus()) {
        (void)reach(R::find(R::kBank, a.offset, a.bytes, 0), private_[a.vcpu], a.vcpu);
    }
}

template <typename Use>
void Gic::redistributor_register(const Access& a, Use use) {
    using R = GicRegisters;
    const VcpuIndex owner = static_cast<VcpuIndex>(a.offset / kRedistributorBytes);
    const std::uint64_t offset = a.offset % kRedistributorBytes;
    if (owner >= vcpus()) {
        return;
    }
    R::Found found = R::find(R::version3_redistributor(), offset, a.bytes);
    std::uint64_t at = offset - found.first;
    if (found.range == nullptr && offset >= kSgiFrame) {
        found = R::find(R::kBank, offset - kSgiFrame, a.bytes);
        at = offset - kSgiFrame - found.first;
    }
    if (found.range != nullptr) {
        use(*found.range, R::Call{*this, private_[owner], owner, static_cast<unsigned>(at), a.bytes, a.vcpu});
    }
}

std::uint64_t Gic::read_distributor(const Access& a) {
    std::uint64_t value = 0;
    distributor_register(a,
                         [&](const GicRegisters::Range& r, const GicRegisters::Call& call) { value = r.read(call); });
    return value;
}

void Gic::write_distributor(const Access& a, std::uint64_t value, Kicks& kicks) {
    distributor_register(
        a, [&](const GicRegisters::Range& r, const GicRegisters::Call& call) { r.write(call, value, kicks); });
}

std::uint64_t Gic::read_redistributor(const Access& a) {
    std::uint64_t value = 0;
    redistributor_register(a,
                           [&](const GicRegisters::Range& r, const GicRegisters::Call& call) { value = r.read(call); });
    return value;
}

void Gic::write_redistributor(const Access& a, std::uint64_t value, Kicks& kicks) {
    redistributor_register(
        a, [&](const GicRegisters::Range& r, const GicRegisters::Call& call) { r.write(call, value, kicks); });
}

}  // namespace twain::vmm
