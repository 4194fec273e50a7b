// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Which shadow roots of the kernel's (abi::vcpu::fill, view, drop) stand for which of the guest's tables. The shadow is
// a TLB: it may forget anything at any time, and forgets what the guest's TLBI says. One for all vCPUs, under a lock of
// the caller's that is also held over a walk and the fill that it leads to, so that no TLBI comes between.
//
// An address space (TTBR0_EL1 with its ASID) has a lower root, which virtual EL0 and EL1 share. If its tables map what only
// virtual EL1 may use (an identity map), virtual EL1 gets a second one of its own for all of it.
//
// P has view(vcpu, view, lower, upper), drop(vcpu, root, address, bytes).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmm/shadow/translation.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

template <typename P>
class ShadowTables {
public:
    ShadowTables(P& platform, std::span<abi::VcpuPage* const> pages) : platform_(platform), pages_(pages) {}

    // The address space that the guest's registers name, for a vCPU that does not run: its page is made ready to enter it,
    // and the kernel may enter it later by itself.
    void choose(VcpuIndex vcpu, const abi::El1State& el1) {
        const bool on = bit(el1.sctlr_el1, 0);
        const unsigned lower =
            take(kFirstLower, abi::kShadowRoots, vcpu, on ? (el1.ttbr0_el1 & kTable) | asid(el1) << 48 : kOff, kShared);
        const unsigned upper = on ? take(kFirstUpper, kFirstLower, vcpu, el1.ttbr1_el1 & kTable, kShared) : 0;
        Root& root = roots_[lower];
        if (!root.viewed || root.upper != upper) {
            unlist(lower);
            root.viewed = true;
            root.upper = upper;
            define(vcpu, lower);
        }
        abi::ShadowState& shadow = pages_[vcpu]->shadow;
        shadow.view[0] = 2 * lower;
        shadow.view[1] = 2 * lower + 1;
        shadow.moved = 0;
        if (on) {
            list(shadow, el1, lower);
        }
    }
    // A vCPU begins, or its control registers have changed: TTBRn_EL1 do not mean what they did.
    void begin(VcpuIndex vcpu) {
        for (abi::ShadowSpace& space : pages_[vcpu]->shadow.space) {
            space.ttbr0 = kOff;
        }
    }

    // Roots that a vCPU uses, which does not run.
    unsigned upper(VcpuIndex vcpu) const { return roots_[lower_of(vcpu)].upper; }  // 0: the translation is off
    unsigned lower(VcpuIndex vcpu, bool at_el0) const {
        const unsigned shared = lower_of(vcpu), own = roots_[shared].privileged;
        return at_el0 || own == 0 ? shared : own;
    }

    // Pages that only virtual EL1 may use will be in the lower half. The root where they may be.
    unsigned separate(VcpuIndex vcpu) {
        const unsigned shared = lower_of(vcpu);
        if (roots_[shared].privileged == 0) {
            roots_[shared].privileged = take(kFirstLower, abi::kShadowRoots, vcpu, roots_[shared].key, kPrivileged);
            define(vcpu, shared);
        }
        return roots_[shared].privileged;
    }
    void set_giant(unsigned root) { roots_[root].giant = true; }

    void forget(VcpuIndex vcpu, unsigned root) {
        platform_.drop(vcpu, root, 0, 0);
        roots_[root].giant = roots_[root].filled = false;
        ++generation_;
    }
    // Something has been filled in.
    void set_filled(unsigned root) { roots_[root].filled = true; }

    void forget_all(VcpuIndex vcpu) {
        for (unsigned r = kFirstUpper; r < abi::kShadowRoots; ++r) {
            if (roots_[r].filled) {
                forget(vcpu, r);
            }
        }
    }
    void forget_asid(VcpuIndex vcpu, std::uint64_t asid) {
        for (unsigned r = kFirstLower; r < abi::kShadowRoots; ++r) {
            if (roots_[r].filled && roots_[r].key != kOff && roots_[r].key >> 48 == asid) {
                forget(vcpu, r);
            }
        }
    }
    // TLBI by address; any: of all ASIDs.
    void forget_page(VcpuIndex vcpu, Gva at, std::uint64_t asid, bool any) {
        const bool upper = bit(at.value, 55);
        for (unsigned r = upper ? kFirstUpper : kFirstLower; r < (upper ? kFirstLower : abi::kShadowRoots); ++r) {
            const Root& root = roots_[r];
            if (!root.filled || (!upper && !any && (root.key == kOff || root.key >> 48 != asid))) {
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
    static constexpr unsigned kFirstUpper = 1, kFirstLower = 13;  // more than vCPUs
    static constexpr std::uint64_t kTable = 0x0000'ffff'ffff'fffe, kOff = ~std::uint64_t{0};
    enum Use : std::uint8_t { kShared, kPrivileged };

    struct Root {
        std::uint64_t key = 0;
        std::uint64_t last = 0;
        Use use = kShared;
        bool used = false;
        bool filled = false;
        bool giant = false;  // holds a part of a block beyond 2 MiB
        // of a shared lower root
        bool viewed = false;  // its views are defined, with
        unsigned upper = 0;
        unsigned privileged = 0;  // virtual EL1's own root; 0: it shares this one
    };

    unsigned lower_of(VcpuIndex vcpu) const { return pages_[vcpu]->shadow.view[0] / 2 % abi::kShadowRoots; }

    void define(VcpuIndex vcpu, unsigned lower) {
        const Root& root = roots_[lower];
        platform_.view(vcpu, 2 * lower, lower, 0);
        platform_.view(vcpu, 2 * lower + 1, root.privileged != 0 ? root.privileged : lower, root.upper);
    }

    void list(abi::ShadowState& shadow, const abi::El1State& el1, unsigned lower) {
        abi::ShadowSpace* const set = &shadow.space[abi::shadow_space(el1.ttbr0_el1, el1.ttbr1_el1)];
        unsigned way = static_cast<unsigned>(clock_) % abi::kShadowWays;
        for (unsigned w = 0; w < abi::kShadowWays; ++w) {
            if (set[w].ttbr0 == kOff || (set[w].ttbr0 == el1.ttbr0_el1 && set[w].ttbr1 == el1.ttbr1_el1)) {
                way = w;
                break;
            }
        }
        set[way] = {el1.ttbr0_el1, el1.ttbr1_el1, {2 * lower, 2 * lower + 1}};
    }

    // No vCPU's kernel goes to this address space by itself any more.
    void unlist(unsigned lower) {
        for (abi::VcpuPage* page : pages_) {
            for (abi::ShadowSpace& space : page->shadow.space) {
                if (space.view[0] == 2 * lower) {
                    __atomic_store_n(&space.ttbr0, kOff, __ATOMIC_RELAXED);
                }
            }
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  // the kernel looks the other way round
    }

    unsigned take(unsigned first, unsigned end, VcpuIndex vcpu, std::uint64_t key, Use use) {
        for (unsigned r = first; r < end; ++r) {
            Root& root = roots_[r];
            if (root.used && root.key == key && root.use == use) {
                root.last = ++clock_;
                return r;
            }
        }
        unsigned victim = oldest(first, end);
        while (roots_[victim].used) {
            if (first == kFirstLower) {
                unlist(victim);
            }
            if (!in_use(victim)) {
                evict(vcpu, victim);
                break;
            }
            roots_[victim].last = ++clock_;  // a vCPU has just gone there
            victim = oldest(first, end);
        }
        roots_[victim] = {};
        roots_[victim].key = key;
        roots_[victim].last = ++clock_;
        roots_[victim].use = use;
        roots_[victim].used = true;
        return victim;
    }
    unsigned oldest(unsigned first, unsigned end) const {
        unsigned found = 0;
        for (unsigned r = first; r < end; ++r) {
            if (!roots_[r].used) {
                return r;
            }
            if ((found == 0 || roots_[r].last < roots_[found].last) && !in_use(r)) {
                found = r;
            }
        }
        return found;  // there are more roots than vCPUs use
    }
    void evict(VcpuIndex vcpu, unsigned victim) {
        forget(vcpu, victim);
        for (unsigned r = kFirstLower; r < abi::kShadowRoots; ++r) {
            Root& root = roots_[r];
            if (root.privileged == victim || root.upper == victim) {
                unlist(r);
                root.viewed = false;
                root.privileged = root.privileged == victim ? 0 : root.privileged;
            }
        }
    }
    // Part of the address space that a vCPU uses.
    bool in_use(unsigned r) const {
        for (VcpuIndex v = 0; v < pages_.size(); ++v) {
            const unsigned lower =
                __atomic_load_n(&pages_[v]->shadow.view[0], __ATOMIC_RELAXED) / 2 % abi::kShadowRoots;
            const Root& root = roots_[lower];
            if (lower != 0 && (lower == r || root.upper == r || root.privileged == r)) {
                return true;
            }
        }
        return false;
    }

    P& platform_;
    std::span<abi::VcpuPage* const> pages_;
    std::array<Root, abi::kShadowRoots> roots_{};
    std::uint64_t clock_ = 0;
    std::uint64_t generation_ = 0;
};

}  // namespace twain::vmm
