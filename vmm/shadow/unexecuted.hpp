// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A page of text that virtual EL1 has never executed has no copy, so there is none that its IC IVAU would bring up to date. The
// stub of IC IVAU (stub.hpp) asks here first: for each vCPU there is the address of one such page, in a word behind its
// shared registers. A kernel that changes one instruction after the other comes to the VMM once for each page.
//
// The word is true from when it is written until it is taken back, which is before a copy is made of the page, or the
// translation of the address changes. Who invalidates has a DSB between its writes and the look at the word, and executed() a
// fence between taking it back and reading the page for the copy: one of the two sees what the other has done.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"
#include "vmm/shadow/stub.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

// All under the guest's lock. The guest may write to the words: it deceives itself only.
class Unexecuted {
public:
    // With each state page comes the page of shared registers.
    explicit Unexecuted(std::span<abi::VcpuPage* const> pages) : pages_(pages) {}

    // vCPU `v` need not tell of IC IVAU in the page at this address of the upper half, which its guest translates to RAM by a
    // page or a block of 2 MiB, and of which there is no copy.
    void mark(VcpuIndex v, Gva at, Ipa page) {
        marks_[v] = {at.value & kPage, page.value & kPage};
        tell(v, marks_[v].at);
    }
    // The page will have a copy.
    void executed(Ipa page) {
        forget_if([&](const Mark& m) { return m.page == (page.value & kPage); });
    }
    // What the guest's tables say of an address has changed, and perhaps of the block that it is in.
    void translated(Gva at) {
        forget_if([&](const Mark& m) { return (m.at ^ at.value) >> 21 == 0; });
    }
    void forget_all() {
        forget_if([](const Mark&) { return true; });
    }
    void forget(VcpuIndex v) {
        marks_[v] = {};
        tell(v, kNone);
    }

private:
    static constexpr std::uint64_t kPage = ~std::uint64_t{4095};
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};  // in the hole, where nobody executes anything

    struct Mark {
        std::uint64_t at = kNone;
        std::uint64_t page = kNone;
    };

    template <typename Condition>
    void forget_if(Condition condition) {
        bool any = false;
        for (VcpuIndex v = 0; v < pages_.size(); ++v) {
            if (marks_[v].at != kNone && condition(marks_[v])) {
                forget(v);
                any = true;
            }
        }
        if (any) {
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
        }
    }
    void tell(VcpuIndex v, std::uint64_t at) {
        char* const shared = reinterpret_cast<char*>(pages_[v]) + 4096 + abi::kSharedOffset;
        __atomic_store_n(reinterpret_cast<std::uint64_t*>(shared + kUnexecutedOffset), at, __ATOMIC_RELAXED);
    }

    std::span<abi::VcpuPage* const> pages_;
    std::array<Mark, kMaxVcpus> marks_{};
};

}  // namespace twain::vmm
