// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A kernel that is told of a write to a page that its tables protect will most often copy the page, and then invalidate its
// translation. The VMM, which tells it, forgets the translation at once, and the stub of TLBI VALE1IS (stub.hpp) finds in a word
// what need not be asked for again: until something is filled into the lower half, for whichever vCPU.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/shadow/stub.hpp"
#include "vmm/shadow/stub_word.hpp"

namespace twain::vmm {

// All under the guest's lock.
class Flushed {
public:
    explicit Flushed(std::span<abi::VcpuPage* const> pages) : word_(pages, kFlushedOffset) {}

    // What TLBI VALE1IS of this page in this address space does has been done.
    void add(VcpuIndex v, Gva page, std::uint64_t asid) {
        word_.tell(v, (page.value >> 12 & 0xfff'ffff'ffff) | asid << 48);
        told_ = true;
    }
    // The tables will be walked, to fill what they say into the lower half.
    void filling() {
        if (told_) {
            forget_all();
            StubWord::taken_back();
        }
    }
    void forget_all() {
        for (VcpuIndex v = 0; v < word_.vcpus(); ++v) {
            word_.tell(v, StubWord::kNone);
        }
        told_ = false;
    }

private:
    StubWord word_;
    bool told_ = false;  // a word says something
};

}  // namespace twain::vmm
