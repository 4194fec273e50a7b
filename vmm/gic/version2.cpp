// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What only GICv2 has: routing by a byte of targets, SGIs that are pending once for each sender (Arm IHI 0048B, 4.3).
#include <bit>

#include "vmm/gic/registers.hpp"

namespace twain::vmm {

struct Gicv2Registers : GicRegisters {
    static std::uint64_t read_ctlr(const Call& c) { return c.gic.enabled_ ? 1 : 0; }
    static void write_ctlr(const Call& c, std::uint64_t value, Kicks& kicks) {
        const bool on = (value & 1) != 0;
        if (on != c.gic.enabled_) {
            c.gic.enabled_ = on;
            c.gic.evaluate_all(c.self, kicks);
        }
    }
    static std::uint64_t read_typer(const Call& c) { return (kIntids / 32 - 1) | (c.gic.vcpus() - 1) << 5; }

    template <typename Byte>
    static std::uint64_t read_bytes(const Call& c, Byte byte) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < c.bytes; ++i) {
            value |= std::uint64_t{byte(c.at + i)} << (8 * i);
        }
        return value;
    }

    // GICD_ITARGETSR, 4.3.12: of one's own interrupts, oneself; with one processor, nothing.
    static std::uint64_t read_own_targets(const Call& c) {
        return read_bytes(c,
                          [&](unsigned) { return c.gic.vcpus() > 1 ? std::uint8_t(1u << c.self) : std::uint8_t{0}; });
    }
    static std::uint64_t read_targets(const Call& c) {
        return read_bytes(c, [&](unsigned n) { return static_cast<std::uint8_t>(c.gic.router_[n]); });
    }
    // Where an interrupt that is already pending on a vCPU goes does not change; the next one goes elsewhere.
    static void write_targets(const Call& c, std::uint64_t value, Kicks& kicks) {
        if (c.gic.vcpus() == 1) {
            return;
        }
        for (unsigned i = 0; i < c.bytes; ++i) {
            c.gic.router_[c.at + i] = value >> (8 * i) & c.gic.all_vcpus();
            changed(c, 1u << (c.at + i), kicks);
        }
    }

    // GICD_SGIR, 4.3.15
    static void write_sgir(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t self = 1u << c.self;
        std::uint32_t targets = 0;
        switch (bits(value, 25, 24)) {
            case 0: targets = static_cast<std::uint32_t>(bits(value, 23, 16)) & c.gic.all_vcpus(); break;
            case 1: targets = c.gic.all_vcpus() & ~self; break;
            case 2: targets = self; break;
            default: break;
        }
        for (; targets != 0; targets &= targets - 1) {
            c.gic.raise_sgi(static_cast<VcpuIndex>(std::countr_zero(targets)), static_cast<unsigned>(bits(value, 3, 0)),
                            c.self, kicks);
        }
    }

    // GICD_SPENDSGIR, GICD_CPENDSGIR, 4.3.16: a byte for each SGI of the reader's, a bit for each sender.
    static std::uint64_t read_senders(const Call& c) {
        Gic::Bank& own = c.gic.private_[c.self];
        const std::uint32_t held = own.flight_latch & c.gic.flight_bits(own, c.self, false);
        return read_bytes(c, [&](unsigned n) {
            const Gic::Senders& senders = c.gic.senders_[c.self][n];
            return static_cast<std::uint8_t>(senders.waiting | (bit(held, n) ? 1u << senders.in_flight : 0));
        });
    }
    static void set_senders(const Call& c, std::uint64_t value, Kicks& kicks) {
        for (unsigned i = 0; i < c.bytes; ++i) {
            const Gic::Irq irq = c.gic.private_irq(c.self, c.at + i);
            c.gic.add_senders(irq, static_cast<std::uint8_t>(value >> (8 * i) & c.gic.all_vcpus()));
            c.gic.evaluate(irq, c.self, kicks);
        }
    }
    static void clear_senders(const Call& c, std::uint64_t value, Kicks& kicks) {
        for (unsigned i = 0; i < c.bytes; ++i) {
            const Gic::Irq irq = c.gic.private_irq(c.self, c.at + i);
            c.gic.drop_senders(irq, static_cast<std::uint8_t>(value >> (8 * i)));
            c.gic.evaluate(irq, c.self, kicks);
        }
    }

    static constexpr Range kDistributor[] = {
        {0x000, 4, kWord, read_ctlr, write_ctlr},
        {0x004, 4, kWord, read_typer, ignore},
        {0x008, 4, kWord, constant<kImplementer>, ignore},
        {0x800, 32, kWord | kByte, read_own_targets, ignore},
        {0x820, 32, kWord | kByte, read_targets, write_targets},
        {0xf00, 4, kWord, constant<0>, write_sgir},
        {0xf10, 16, kWord | kByte, read_senders, clear_senders},
        {0xf20, 16, kWord | kByte, read_senders, set_senders},
        {0xfd0, 48, kWord, identification<0x04, 0x90, 0x2b>, ignore},
    };
};

std::span<const GicRegisters::Range> GicRegisters::version2_distributor() { return Gicv2Registers::kDistributor; }

}  // namespace twain::vmm
