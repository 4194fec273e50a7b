// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The GICv3 CPU interface (Arm IHI 0069H chapter 4, 12.2) in software, for a vCPU without list registers. It takes over
// from the kernel with EL2 the other end of the state page's words: it takes `posted` and `recalled`, and gives
// `retired`, `pending` and `active`. Entry i is interrupt i; the virtual timer is entry 27, and its line comes from outside.
//
// Group 1 only, 32 priorities. Used by the vCPU's own thread while the vCPU does not run.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/gic/gic.hpp"
#include "vmm/sysreg/name.hpp"

namespace twain::vmm {

class CpuInterface {
public:
    explicit CpuInterface(abi::VcpuPage& page) : page_(page) {}

    void reset() {
        pending_ = active_ = 0;
        depth_ = 0;
        mask_ = 0;
        binary_point_ = 0;
        control_ = 0;
        enabled_ = false;
        timer_line_ = false;
    }

    bool has_news() const {
        return (__atomic_load_n(&page_.posted, __ATOMIC_RELAXED) |
                __atomic_load_n(&page_.recalled, __ATOMIC_RELAXED)) != 0;
    }

    // Takes what the GIC has posted.
    void take() {
        std::uint64_t back = __atomic_exchange_n(&page_.recalled, std::uint64_t{0}, __ATOMIC_ACQUIRE);
        pending_ &= ~back;
        retire(back & ~active_);
        std::uint64_t fresh = __atomic_exchange_n(&page_.posted, std::uint64_t{0}, __ATOMIC_ACQUIRE);
        pending_ |= fresh;
        for (; fresh != 0; fresh &= fresh - 1) {
            const unsigned i = static_cast<unsigned>(__builtin_ctzll(fresh));
            priority_[i] = static_cast<std::uint8_t>(__atomic_load_n(&page_.virq[i], __ATOMIC_RELAXED) >> 16);
        }
        publish();
    }

    void set_timer_line(bool level) { timer_line_ = level; }
    bool timer_waits() const { return timer_line_ && bit(page_.vtimer, 8) && !bit(active_, kVirtualTimer); }

    // Is an interrupt signalled to the processor?
    bool signals() const { return best() != kNone; }

    std::uint64_t acknowledge() {
        const unsigned i = best();
        if (i == kNone) {
            return kSpurious;
        }
        running_[depth_++] = priority_of(i);
        pending_ &= ~mask_of(i);
        active_ |= mask_of(i);
        publish();
        return i;
    }
    void end(std::uint64_t intid) {
        if (depth_ != 0) {
            --depth_;
        }
        if (!bit(control_, 1)) {
            deactivate(intid);
        }
    }
    void deactivate(std::uint64_t intid) {
        if (intid >= kIntids || !bit(active_, static_cast<unsigned>(intid))) {
            return;
        }
        const std::uint64_t m = mask_of(static_cast<unsigned>(intid));
        active_ &= ~m;
        if (intid != kVirtualTimer && (pending_ & m) == 0) {
            retire(m);
        }
        publish();
    }
    std::uint64_t highest_pending() const {
        const unsigned i = best();
        return i == kNone ? kSpurious : i;
    }
    std::uint64_t running_priority() const { return depth_ == 0 ? 0xff : running_[depth_ - 1]; }

    // ICC_*_EL1, ISR_EL1. False: another register, or one that is not here.
    bool access(Sysreg r, bool read, std::uint64_t& value) {
        const auto gives = [&](std::uint64_t what) {
            value = read ? what : value;
            return true;
        };
        switch (r.key) {
            case sysreg(3, 0, 12, 1, 0).key: return read && gives(signals() ? 0x80 : 0);  // ISR_EL1
            case sysreg(3, 0, 12, 12, 0).key: return read && gives(acknowledge());        // ICC_IAR1_EL1
            case sysreg(3, 0, 12, 12, 1).key:                                             // ICC_EOIR1_EL1
                end(value & 0xff'ffff);
                return !read;
            case sysreg(3, 0, 12, 11, 1).key:  // ICC_DIR_EL1
                deactivate(value & 0xff'ffff);
                return !read;
            case sysreg(3, 0, 4, 6, 0).key:  // ICC_PMR_EL1
                if (!read) {
                    set_mask(value);
                }
                return gives(mask());
            case sysreg(3, 0, 12, 12, 2).key: return read && gives(highest_pending());
            case sysreg(3, 0, 12, 11, 3).key: return read && gives(running_priority());
            case sysreg(3, 0, 12, 12, 3).key:  // ICC_BPR1_EL1
                if (!read) {
                    set_binary_point(value);
                }
                return gives(binary_point());
            case sysreg(3, 0, 12, 12, 4).key:  // ICC_CTLR_EL1
                if (!read) {
                    set_control(value);
                }
                return gives(control());
            case sysreg(3, 0, 12, 12, 7).key:  // ICC_IGRPEN1_EL1
                if (!read) {
                    set_enabled(bit(value, 0));
                }
                return gives(enabled() ? 1 : 0);
            case sysreg(3, 0, 12, 12, 6).key:  // ICC_IGRPEN0_EL1
            case sysreg(3, 0, 12, 8, 3).key:   // ICC_BPR0_EL1
            case sysreg(3, 0, 12, 8, 4).key:
            case sysreg(3, 0, 12, 8, 5).key:  // ICC_AP0R<n>_EL1
            case sysreg(3, 0, 12, 8, 6).key:
            case sysreg(3, 0, 12, 8, 7).key:
            case sysreg(3, 0, 12, 9, 0).key:
            case sysreg(3, 0, 12, 9, 1).key:  // ICC_AP1R<n>_EL1
            case sysreg(3, 0, 12, 9, 2).key:
            case sysreg(3, 0, 12, 9, 3).key: return gives(0);
            default: return false;
        }
    }

    std::uint64_t mask() const { return mask_; }
    void set_mask(std::uint64_t value) { mask_ = static_cast<std::uint8_t>(value & kPriorityBits); }
    std::uint64_t binary_point() const { return binary_point_; }
    void set_binary_point(std::uint64_t value) { binary_point_ = value & 7; }
    std::uint64_t control() const { return control_ | 4u << 8; }  // PRIbits: five
    void set_control(std::uint64_t value) { control_ = value & 3; }
    bool enabled() const { return enabled_; }
    void set_enabled(bool on) { enabled_ = on; }

private:
    static constexpr unsigned kNone = 64;
    static constexpr std::uint64_t kSpurious = 1023, kPriorityBits = 0xf8;

    static std::uint64_t mask_of(unsigned i) { return std::uint64_t{1} << i; }
    std::uint8_t priority_of(unsigned i) const {
        return (i == kVirtualTimer ? static_cast<std::uint8_t>(page_.vtimer) : priority_[i]) & kPriorityBits;
    }
    unsigned best() const {
        if (!enabled_) {
            return kNone;
        }
        unsigned found = kNone;
        unsigned limit = mask_;
        if (depth_ != 0 && running_[depth_ - 1] < limit) {
            limit = running_[depth_ - 1];
        }
        std::uint64_t candidates = pending_ & ~active_;
        if (timer_waits()) {
            candidates |= mask_of(kVirtualTimer);
        }
        for (; candidates != 0; candidates &= candidates - 1) {
            const unsigned i = static_cast<unsigned>(__builtin_ctzll(candidates));
            if (priority_of(i) < limit) {
                limit = priority_of(i);
                found = i;
            }
        }
        return found;
    }
    void retire(std::uint64_t bits) {
        if (bits != 0) {
            __atomic_fetch_or(&page_.retired, bits, __ATOMIC_RELEASE);
        }
    }
    void publish() {
        page_.pending = pending_;
        page_.active = active_;
    }

    abi::VcpuPage& page_;
    std::uint64_t pending_ = 0;
    std::uint64_t active_ = 0;
    std::array<std::uint8_t, kIntids> priority_{};
    std::array<std::uint8_t, kIntids> running_{};  // of what is acknowledged and not ended, rising in urgency
    unsigned depth_ = 0;  // never beyond kIntids: each acknowledgement has a priority above the one before
    std::uint8_t mask_ = 0;
    std::uint64_t binary_point_ = 0;
    std::uint64_t control_ = 0;
    bool enabled_ = false;
    bool timer_line_ = false;
};

}  // namespace twain::vmm
