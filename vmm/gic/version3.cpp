// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What only GICv3 has: affinity routing, redistributors (Arm IHI 0069H, 12.9 GICD_*, 12.11 GICR_*).
#include "vmm/gic/registers.hpp"

namespace twain::vmm {

struct Gicv3Registers : GicRegisters {
    static constexpr std::uint32_t kAre = 1u << 4, kSingleState = 1u << 6, kGroup1 = 1u << 1;

    static std::uint64_t read_ctlr(const Call& c) { return kAre | kSingleState | (c.gic.enabled_ ? kGroup1 : 0); }
    static void write_ctlr(const Call& c, std::uint64_t value, Kicks& kicks) {
        const bool on = (value & kGroup1) != 0;
        if (on != c.gic.enabled_) {
            c.gic.enabled_ = on;
            c.gic.evaluate_all(c.self, kicks);
        }
    }

    static constexpr std::uint32_t kTyper = (kIntids / 32 - 1) | (9u << 19) | (1u << 25);  // IDbits 10, No1N

    static constexpr std::uint64_t kRouterMask = 0xff'00ff'ffff;
    static std::uint64_t read_router(const Call& c) {
        const std::uint64_t value = c.gic.router_[c.at / 8];
        return c.bytes == 8 ? value : truncate(value >> (8 * (c.at % 8)), 4);
    }
    // Where an interrupt that is already pending on a vCPU goes does not change; the next one goes elsewhere.
    static void write_router(const Call& c, std::uint64_t value, Kicks& kicks) {
        std::uint64_t& router = c.gic.router_[c.at / 8];
        if (c.bytes == 8) {
            router = value & kRouterMask;
        } else if (c.at % 8 == 0) {
            router = ((router & ~std::uint64_t{0xffff'ffff}) | value) & kRouterMask;
        } else {
            router = ((router & 0xffff'ffff) | (value << 32)) & kRouterMask;
        }
        changed(c, 1u << (c.at / 8), kicks);
    }

    // Redistributor
    static std::uint64_t read_redistributor_type(const Call& c) {
        const std::uint64_t last = c.owner + 1 == c.gic.vcpus() ? 1u << 4 : 0;
        const std::uint64_t value = (std::uint64_t{c.owner} << 32) | (std::uint64_t{c.owner} << 8) | last;
        return c.bytes == 8 ? value : truncate(value >> (8 * c.at), 4);
    }
    static constexpr std::uint32_t kProcessorSleep = 1u << 1, kChildrenAsleep = 1u << 2;
    static std::uint64_t read_waker(const Call& c) {
        return c.gic.asleep_[c.owner] ? kProcessorSleep | kChildrenAsleep : 0;
    }
    static void write_waker(const Call& c, std::uint64_t value, Kicks&) {
        c.gic.asleep_[c.owner] = (value & kProcessorSleep) != 0;
    }

    static constexpr Range kDistributor[] = {
        {0x0000, 4, kWord, read_ctlr, write_ctlr},
        {0x0004, 4, kWord, constant<kTyper>, ignore},
        {0x0008, 4, kWord, constant<kImplementer>, ignore},
        {0x6100, 256, kWord | kDouble, read_router, write_router},
        {0xffd0, 48, kWord, identification<0x44, 0x92, 0x3b>, ignore},
    };
    static constexpr Range kRedistributor[] = {
        {0x00004, 4, kWord, constant<kImplementer>, ignore},
        {0x00008, 8, kWord | kDouble, read_redistributor_type, ignore},
        {0x00014, 4, kWord, read_waker, write_waker},
        {0x0ffd0, 48, kWord, identification<0x44, 0x93, 0x3b>, ignore},
    };
};

std::span<const GicRegisters::Range> GicRegisters::version3_distributor() { return Gicv3Registers::kDistributor; }
std::span<const GicRegisters::Range> GicRegisters::version3_redistributor() { return Gicv3Registers::kRedistributor; }

}  // namespace twain::vmm
