// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Which shadow root of the kernel's (abi::vcpu::fill, view, drop) stands for which of the guest's tables. The shadow is
// a TLB: it may forget anything at any time, and forgets what the guest's TLBI says. One for all vCPUs, under a lock of
// the caller's that is also held over a walk and the fill that it leads to, so that no TLBI comes between.
//
// P has fill(vcpu, n) -> abi::Error, view(vcpu, view, lower, upper), drop(vcpu, root, address, bytes).
#pragma once

#include <array>
#include <cstdint>

#include "vmm/shadow/translation.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

template <typename P>
class ShadowTables {
public:
    explicit ShadowTables(P& platform) : platform_(platform) { upper_of_.fill(kUndefined); }

    struct Choice {
        unsigned lower = 0;  // root
        unsigned upper = 0;  // root; 0: the translation is off
    };

    // The roots for the guest's registers; from now on they are in use by the vCPU.
    Choice choose(VcpuIndex vcpu, const abi::El1State& el1) {
        const bool on = bit(el1.sctlr_el1, 0);
        const std::uint64_t ttbr0 = el1.ttbr0_el1 & kTable;
        const Choice c{take(kFirstLower, abi::kShadowRoots, vcpu, on ? ttbr0 | asid(el1) << 48 : kOff),
                       on ? take(kFirstUpper, kFirstLower, vcpu, el1.ttbr1_el1 & kTable) : 0};
        used_[vcpu] = c;
        if (upper_of_[c.lower] != c.upper) {
            platform_.view(vcpu, view(c.lower, false), c.lower, 0);
            platform_.view(vcpu, view(c.lower, true), c.lower, c.upper);
            upper_of_[c.lower] = c.upper;
        }
        return c;
    }
    static unsigned view(unsigned lower, bool privileged) { return 2 * lower + (privileged ? 1 : 0); }

    // Pages that only virtual EL1 may use are in this lower root: not for virtual EL0.
    bool privileged(unsigned root) const { return roots_[root].privileged; }
    void set_privileged(unsigned root) { roots_[root].privileged = true; }
    void set_giant(unsigned root) { roots_[root].giant = true; }

    void forget(VcpuIndex vcpu, unsigned root) {
        platform_.drop(vcpu, root, 0, 0);
        roots_[root].privileged = roots_[root].giant = false;
        ++generation_;
    }
    void forget_all(VcpuIndex vcpu) {
        for (unsigned r = kFirstUpper; r < abi::kShadowRoots; ++r) {
            if (roots_[r].used) {
                forget(vcpu, r);
            }
        }
    }
    void forget_asid(VcpuIndex vcpu, std::uint64_t asid) {
        for (unsigned r = kFirstLower; r < abi::kShadowRoots; ++r) {
            if (roots_[r].used && roots_[r].key != kOff && roots_[r].key >> 48 == asid) {
                forget(vcpu, r);
            }
        }
    }
    // TLBI by address; any: of all ASIDs.
    void forget_page(VcpuIndex vcpu, Gva at, std::uint64_t asid, bool any) {
        const bool upper = bit(at.value, 55);
        for (unsigned r = upper ? kFirstUpper : kFirstLower; r < (upper ? kFirstLower : abi::kShadowRoots); ++r) {
            const Root& root = roots_[r];
            if (!root.used || (!upper && !any && root.key >> 48 != asid)) {
                continue;
            }
            if (root.giant) {
                forget(vcpu, r);
            } else {
                platform_.drop(vcpu, r, at.value & ~std::uint64_t{4095}, 4096);
            }
        }
        ++generation_;
    }
    // Changes whenever something was forgotten.
    std::uint64_t generation() const { return generation_; }

    static std::uint64_t asid(const abi::El1State& el1) {
        const std::uint64_t value = (bit(el1.tcr_el1, 22) ? el1.ttbr1_el1 : el1.ttbr0_el1) >> 48;
        return bit(el1.tcr_el1, 36) ? value : value & 0xff;
    }

private:
    static constexpr unsigned kFirstUpper = 1, kFirstLower = 5;
    static constexpr std::uint64_t kTable = 0x0000'ffff'ffff'fffe, kOff = ~std::uint64_t{0};
    static constexpr unsigned kUndefined = ~0u;

    struct Root {
        std::uint64_t key = 0;
        std::uint64_t last = 0;
        bool used = false;
        bool privileged = false;
        bool giant = false;  // holds a part of a block beyond 2 MiB
    };

    unsigned take(unsigned first, unsigned end, VcpuIndex vcpu, std::uint64_t key) {
        unsigned oldest = first;
        for (unsigned r = first; r < end; ++r) {
            Root& root = roots_[r];
            if (root.used && root.key == key) {
                root.last = ++clock_;
                return r;
            }
            if (in_use(r, vcpu)) {
                oldest += oldest == r ? 1 : 0;
            } else if (!root.used ? roots_[oldest].used : root.last < roots_[oldest].last && roots_[oldest].used) {
                oldest = r;
            }
        }
        oldest = oldest < end ? oldest : end - 1;
        if (roots_[oldest].used) {
            forget(vcpu, oldest);
        }
        roots_[oldest] = {key, ++clock_, true, false, false};
        return oldest;
    }
    bool in_use(unsigned r, VcpuIndex but) const {
        for (VcpuIndex v = 0; v < kMaxVcpus; ++v) {
            if (v != but && (used_[v].lower == r || used_[v].upper == r)) {
                return true;
            }
        }
        return false;
    }

    P& platform_;
    std::array<Root, abi::kShadowRoots> roots_{};
    std::array<unsigned, abi::kShadowRoots> upper_of_{};
    std::array<Choice, kMaxVcpus> used_{};
    std::uint64_t clock_ = 0;
    std::uint64_t generation_ = 0;
};

}  // namespace twain::vmm
