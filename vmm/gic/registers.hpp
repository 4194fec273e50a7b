// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Memory-mapped registers by table: where a range of registers begins and ends, which widths it takes, how it is read
// and written. Here: what versions 2 and 3 have in common, the registers of a bank of 32 interrupts (Arm IHI 0048B 4.3,
// IHI 0069H 12.9, 12.11). Bank 0 is a processor's own: version 2 finds it in the distributor, by who is reading, version 3
// in each redistributor. Bank 1 is the SPIs.
#pragma once

#include <array>
#include <cstddef>
#include <span>

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

    // Version 3 has all in Group 1, version 2 all in Group 0.
    static std::uint64_t read_groups(const Call& c) { return c.gic.version_ == GicVersion::v3 ? 0xffff'ffff : 0; }

    // What a pending register cannot set or clear: the virtual timer, whose state is the kernel's, and SGIs of version 2,
    // which are pending by sender.
    static std::uint32_t not_pended(const Call& c) {
        if (c.owner == kNoVcpu) {
            return 0;
        }
        return 1u << kVirtualTimer | (c.gic.version_ == GicVersion::v2 ? 0xffff : 0);
    }

    static std::uint64_t read_pending(const Call& c) {
        return c.bank.latch | (c.bank.level & ~c.bank.edge) | c.gic.flight_bits(c.bank, c.owner, false);
    }
    static void set_pending(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask = static_cast<std::uint32_t>(value) & ~not_pended(c);
        c.bank.latch |= mask;
        changed(c, mask, kicks);
    }
    static void clear_pending(const Call& c, std::uint64_t value, Kicks& kicks) {
        const std::uint32_t mask =
            static_cast<std::uint32_t>(value) & (c.bank.latch | c.bank.flight_latch) & ~not_pended(c);
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

    // Peripheral and component identification, the last twelve words of a frame.
    template <std::uint8_t kSize, std::uint8_t kPart, std::uint8_t kArchitecture>
    static std::uint64_t identification(const Call& c) {
        constexpr std::array<std::uint8_t, 12> kWords{kSize,         0, 0,    0,    kPart, 0xb4,
                                                      kArchitecture, 0, 0x0d, 0xf0, 0x05,  0xb1};
        return kWords[c.at / 4];
    }
    static constexpr std::uint32_t kImplementer = 0x0000'043b;  // Arm, product 0

    // Offsets of bank 0; those of bank n are n times the bytes further on.
    static constexpr Range kBank[] = {
        {0x080, 4, kWord, read_groups, ignore},         {0x100, 4, kWord, read_enabled, set_enabled},
        {0x180, 4, kWord, read_enabled, clear_enabled}, {0x200, 4, kWord, read_pending, set_pending},
        {0x280, 4, kWord, read_pending, clear_pending}, {0x300, 4, kWord, read_active, set_active},
        {0x380, 4, kWord, read_active, clear_active},   {0x400, 32, kWord | kByte, read_priority, write_priority},
        {0xc00, 8, kWord, read_config, write_config},
    };

    // A register of a table that an access may reach: null if its width or alignment is wrong, or nothing is there.
    // `first`: where the range begins.
    struct Found {
        const Range* range = nullptr;
        std::uint64_t first = 0;
    };
    static Found find(std::span<const Range> table, std::uint64_t offset, unsigned bytes, unsigned bank = 0) {
        for (const Range& r : table) {
            const std::uint64_t first = r.first + bank * r.bytes;
            if (offset - first < r.bytes) {
                return {(r.widths & bytes) != 0 && (offset & (bytes - 1)) == 0 ? &r : nullptr, first};
            }
        }
        return {};
    }

    // The distributor's and the redistributor's own registers, by version.
    static std::span<const Range> distributor(GicVersion version) {
        return version == GicVersion::v3 ? version3_distributor() : version2_distributor();
    }
    static std::span<const Range> version2_distributor();
    static std::span<const Range> version3_distributor();
    static std::span<const Range> version3_redistributor();
};

}  // namespace twain::vmm
