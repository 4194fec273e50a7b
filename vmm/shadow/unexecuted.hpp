// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A page of text that virtual EL1 has never executed has no copy, so there is none that its IC IVAU would bring up to date. Of
// one such page for each vCPU the stub of IC IVAU (stub.hpp) knows, until a copy is made of it or the translation of its
// address changes. So a kernel that changes one instruction after the other comes to the VMM once for each page.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmm/shadow/stub.hpp"
#include "vmm/shadow/stub_word.hpp"

namespace twain::vmm {

// All under the guest's lock.
class Unexecuted {
public:
    explicit Unexecuted(std::span<abi::VcpuPage* const> pages) : word_(pages, kUnexecutedOffset) {}

    // vCPU `v` need not tell of IC IVAU in the page at this address of the upper half, which its guest translates to RAM by a
    // page or a block of 2 MiB, and of which there is no copy.
    void mark(VcpuIndex v, Gva at, Ipa page) {
        marks_[v] = {at.value & kPage, page.value & kPage};
        word_.tell(v, marks_[v].at);
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
        word_.tell(v, StubWord::kNone);
    }

private:
    static constexpr std::uint64_t kPage = ~std::uint64_t{4095};

    struct Mark {
        std::uint64_t at = StubWord::kNone;
        std::uint64_t page = StubWord::kNone;
    };

    template <typename Condition>
    void forget_if(Condition condition) {
        bool any = false;
        for (VcpuIndex v = 0; v < word_.vcpus(); ++v) {
            if (marks_[v].at != StubWord::kNone && condition(marks_[v])) {
                forget(v);
                any = true;
            }
        }
        if (any) {
            StubWord::taken_back();
        }
    }

    StubWord word_;
    std::array<Mark, kMaxVcpus> marks_{};
};

}  // namespace twain::vmm
