// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The memory-mapped registers (IHI 0069H, 12.9 GICD_*, 12.11 GICR_*), by a table: where a range of registers
// begins and ends, which widths it takes, how it is read and written.
#include <array>
#include <iterator>
#include <optional>

#include "vmm/gic/gic.hpp"

namespace twain::vmm {

// Gives the register functions access to the model's state.
struct GicRegisters {
    using Bank = Gic::Bank;

    // One register access. `at` is the offset from the start of the register's range. A bank register belongs to the
    // SPIs (owner kNoVcpu), or to the SGIs and PPIs of `owner`.
    struct Call {
        Gic& gic;
        Bank& bank;
        VcpuIndex owner;
        unsigned at;
        unsigned bytes;
        VcpuIndex self;
    };

    using Read = std::uint64_t (*)(const Call&);
    using Write = void (*)(const Call&, std::uint64_t, Kicks&);
    static constexpr unsigned kWord = 4, kDouble = 8, kByte = 1;

    struct Range {
        unsigned first, bytes;  // offsets
        unsigned widths;        // sum of the permitted widths
        Read read;
        Write write;
    };

    static void ignore(const Call&, std::uint64_t, Kicks&) {}

    template <std::uint32_t kValue>
    static std::uint64_t constant(const Call&) {
        return kValue;
    }

    static constexpr std::uint32_t kAre = 1u << 4, kSingleState = 1u << 6, kGroup1 = 1u << 1;

    static std::uint64_t read_ctlr(const Call& c) {
        return kAre | kSingleState | (c.gic.group1_enabled_ ? kGroup1 : 0);
    }
    static void write_ctlr(const Call& c, std::uint64_t value, Kicks& kicks) {
        const bool on = (value & kGroup1) != 0;
        if (on != c.gic.group1_enabled_) {
            c.gic.group1_enabled_ = on;
            c.gic.evaluate_all(c.self, kicks);
        }
    }

    // Bits of a bank: enable, pending, active. All are pairs of a setting and a clearing register.
    static std::uint64_t read_enabled(const Call& c) { return c.bank.enabled; }
    static void changed(const Call& c, std::uint32_t mask, Kicks& kicks) {
        c.gic.evaluate_bank(c.bank, c.owner, mask, c.self, kicks);
        if (c.owner != kNoVcpu && bit(mask, kVirtualTimer)) {
            c.gic.update_timer(c.owner, c.self, kicks);
        }
    }
    static void set_enabled(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & ~c.bank.enabled;
        c.bank.enabled |= mask;
        changed(c, mask, kicks);
    }
    static void clear_enabled(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & c.bank.enabled;
        c.bank.enabled &= ~mask;
        changed(c, mask, kicks);
    }

    static std::uint64_t read_pending(const Call& c) {
        return c.bank.latch | (c.bank.level & ~c.bank.edge) | c.gic.flight_bits(c.bank, c.owner, false);
    }
    static void set_pending(const Call& c, std::uint64_t value, Kicks& kicks) {
        std::uint32_t mask = static_cast<std::uint32_t>(value);
        if (c.owner != kNoVcpu) {
            mask &= ~(1u << kVirtualTimer);  // its state is the kernel's
        }
        c.bank.latch |= mask;
        changed(c, mask, kicks);
    }
    static void clear_pending(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & (c.bank.latch | c.bank.flight_latch);
        c.bank.latch &= ~mask;
        c.bank.flight_latch &= ~mask;
        changed(c, mask, kicks);
    }

    static std::uint64_t read_active(const Call& c) {
        return c.bank.soft_active | c.gic.flight_bits(c.bank, c.owner, true);
    }
    static void set_active(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & ~c.bank.soft_active;
        c.bank.soft_active |= mask;
        changed(c, mask, kicks);
    }
    // What is active in a list register ends by the guest's own deactivation only.
    static void clear_active(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & c.bank.soft_active;
        c.bank.soft_active &= ~mask;
        changed(c, mask, kicks);
    }

    // Five bits of priority, as the virtual CPU interface has.
    static constexpr std::uint8_t kPriorityMask = 0xf8;
    static std::uint64_t read_priority(const Call& c) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < c.bytes; ++i) {
            value |= std::uint64_t{c.bank.priority[c.at + i]} << (8 * i);
        }
        return value;
    }
    static void write_priority(const Call& c, std::uint64_t value, Kicks& kicks) {
        for (unsigned i = 0; i < c.bytes; ++i) {
            c.bank.priority[c.at + i] = static_cast<std::uint8_t>(value >> (8 * i)) & kPriorityMask;
        }
        if (c.owner != kNoVcpu) {
            c.gic.update_timer(c.owner, c.self, kicks);
        }
    }

    // Two bits per interrupt, the upper says edge. Those of the SGIs are read-only.
    static std::uint64_t read_config(const Call& c) {
        const unsigned first = c.at * 4;
        std::uint64_t value = 0;
        for (unsigned i = 0; i < 16; ++i) {
            value |= std::uint64_t{bit(c.bank.edge, first + i)} << (2 * i + 1);
        }
        return value;
    }
    static void write_config(const Call& c, std::uint64_t value, Kicks& kicks) {
        const unsigned first = c.at * 4;
        if (c.owner != kNoVcpu && first == 0) {
            return;
        }
        for (unsigned i = 0; i < 16; ++i) {
            const std::uint32_t mask = 1u << (first + i);
            c.bank.edge = bit(value, 2 * i + 1) ? c.bank.edge | mask : c.bank.edge & ~mask;
        }
        changed(c, 0xffffu << first, kicks);
    }

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

    // Peripheral and component identification, the last twelve words of a frame.
    template <std::uint8_t kPart>
    static std::uint64_t identification(const Call& c) {
        constexpr std::array<std::uint8_t, 12> kWords{0x44, 0, 0, 0, kPart, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1};
        return kWords[c.at / 4];
    }

    static constexpr std::uint32_t kTyper = (kIntids / 32 - 1) | (9u << 19) | (1u << 25);  // IDbits 10, No1N
    static constexpr std::uint32_t kImplementer = 0x0000'043b;                              // Arm, product 0

    static constexpr Range kDistributor[] = {
        {0x0000, 4, kWord, read_ctlr, write_ctlr},
        {0x0004, 4, kWord, constant<kTyper>, ignore},
        {0x0008, 4, kWord, constant<kImplementer>, ignore},
        {0x0084, 4, kWord, constant<0xffff'ffff>, ignore},  // IGROUPR1
        {0x0104, 4, kWord, read_enabled, set_enabled},
        {0x0184, 4, kWord, read_enabled, clear_enabled},
        {0x0204, 4, kWord, read_pending, set_pending},
        {0x0284, 4, kWord, read_pending, clear_pending},
        {0x0304, 4, kWord, read_active, set_active},
        {0x0384, 4, kWord, read_active, clear_active},
        {0x0420, 32, kWord | kByte, read_priority, write_priority},
        {0x0c08, 8, kWord, read_config, write_config},
        {0x6100, 256, kWord | kDouble, read_router, write_router},
        {0xffd0, 48, kWord, identification<0x92>, ignore},
    };
    static constexpr Range kRedistributor[] = {
        {0x00004, 4, kWord, constant<kImplementer>, ignore},
        {0x00008, 8, kWord | kDouble, read_redistributor_type, ignore},
        {0x00014, 4, kWord, read_waker, write_waker},
        {0x0ffd0, 48, kWord, identification<0x93>, ignore},
        {0x10080, 4, kWord, constant<0xffff'ffff>, ignore},  // IGROUPR0
        {0x10100, 4, kWord, read_enabled, set_enabled},
        {0x10180, 4, kWord, read_enabled, clear_enabled},
        {0x10200, 4, kWord, read_pending, set_pending},
        {0x10280, 4, kWord, read_pending, clear_pending},
        {0x10300, 4, kWord, read_active, set_active},
        {0x10380, 4, kWord, read_active, clear_active},
        {0x10400, 32, kWord | kByte, read_priority, write_priority},
        {0x10c00, 8, kWord, read_config, write_config},
        {0x1ffd0, 48, kWord, constant<0>, ignore},
    };

    template <std::size_t kCount>
    static const Range* find(const Range (&table)[kCount], std::uint64_t offset, unsigned bytes) {
        for (const Range& r : table) {
            if (offset - r.first < r.bytes) {
                return (r.widths & bytes) != 0 && (offset & (bytes - 1)) == 0 ? &r : nullptr;
            }
        }
        return nullptr;
    }
};

std::uint64_t Gic::read_distributor(const Access& a) {
    const GicRegisters::Range* r = GicRegisters::find(GicRegisters::kDistributor, a.offset, a.bytes);
    return r == nullptr
               ? 0
               : r->read({*this, shared_, kNoVcpu, static_cast<unsigned>(a.offset - r->first), a.bytes, a.vcpu});
}

void Gic::write_distributor(const Access& a, std::uint64_t value, Kicks& kicks) {
    const GicRegisters::Range* r = GicRegisters::find(GicRegisters::kDistributor, a.offset, a.bytes);
    if (r != nullptr) {
        r->write({*this, shared_, kNoVcpu, static_cast<unsigned>(a.offset - r->first), a.bytes, a.vcpu}, value, kicks);
    }
}

std::uint64_t Gic::read_redistributor(const Access& a) {
    const VcpuIndex owner = static_cast<VcpuIndex>(a.offset / kRedistributorBytes);
    const std::uint64_t offset = a.offset % kRedistributorBytes;
    const GicRegisters::Range* r = GicRegisters::find(GicRegisters::kRedistributor, offset, a.bytes);
    if (r == nullptr || owner >= vcpus()) {
        return 0;
    }
    return r->read({*this, private_[owner], owner, static_cast<unsigned>(offset - r->first), a.bytes, a.vcpu});
}

void Gic::write_redistributor(const Access& a, std::uint64_t value, Kicks& kicks) {
    const VcpuIndex owner = static_cast<VcpuIndex>(a.offset / kRedistributorBytes);
    const std::uint64_t offset = a.offset % kRedistributorBytes;
    const GicRegisters::Range* r = GicRegisters::find(GicRegisters::kRedistributor, offset, a.bytes);
    if (r != nullptr && owner < vcpus()) {
        r->write({*this, private_[owner], owner, static_cast<unsigned>(offset - r->first), a.bytes, a.vcpu}, value,
                 kicks);
    }
}

}  // namespace twain::vmm
