// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A word behind the shared registers of each vCPU, by which the VMM tells a stub what it need not come for. The guest may write
// to it: it deceives itself only, so nobody reads it here.
#pragma once

#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

class StubWord {
public:
    // No address that a guest has: the last page belongs to the kernel.
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};

    // With each state page comes the page of shared registers. `offset`: from these on.
    StubWord(std::span<abi::VcpuPage* const> pages, std::uint64_t offset) : pages_(pages), offset_(offset) {}

    VcpuIndex vcpus() const { return static_cast<VcpuIndex>(pages_.size()); }
    void tell(VcpuIndex v, std::uint64_t value) {
        char* const shared = reinterpret_cast<char*>(pages_[v]) + 4096 + abi::kSharedOffset;
        __atomic_store_n(reinterpret_cast<std::uint64_t*>(shared + offset_), value, __ATOMIC_RELAXED);
    }
    // Behind what takes words back, and before what makes them untrue: who looks has a DSB between its own writes and the look,
    // so one of the two sees what the other has done.
    static void taken_back() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

private:
    std::span<abi::VcpuPage* const> pages_;
    std::uint64_t offset_;
};

}  // namespace twain::vmm
