// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Executes a decoded memory access on a vCPU's registers. Memory is reached through a Port:
//
//     bool load(Gva, unsigned bytes, std::uint64_t& value);    // 1, 2, 4 or 8 bytes
//     bool store(Gva, unsigned bytes, std::uint64_t value);
//
// which translates, and reaches RAM or a device. False: the access aborts; then no register has changed, though an
// earlier element of a store may have been written, as the architecture allows.
//
// The page's EL1 group (stack pointer), and for SIMD&FP instructions its FP group, must be valid.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "vmm/emul/instruction.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

inline constexpr unsigned kZeroBlockBytes = 64;

struct Executed {
    enum class Result : std::uint8_t { done, aborted, unsupported };
    Result result = Result::done;
    Gva at;              // of the element that aborted
    bool write = false;  // it was a store
};

template <typename P>
concept MemoryPort = requires(P& p, Gva at, std::uint64_t& v) {
    { p.load(at, 8u, v) } -> std::same_as<bool>;
    { p.store(at, 8u, v) } -> std::same_as<bool>;
};

template <MemoryPort Port>
class Executor {
public:
    Executor(abi::VcpuPage& page, Port& port) : page_(page), port_(port) {}

    Executed run(const Instruction& i) {
        using Op = Instruction::Op;
        switch (i.op) {
            case Op::load:
            case Op::load_exclusive: return i.structure == Instruction::Structure::none ? load(i) : structure(i);
            case Op::store:
            case Op::store_exclusive: return i.structure == Instruction::Structure::none ? store(i) : structure(i);
            case Op::atomic:
            case Op::swap: return read_modify_write(i);
            case Op::compare_swap: return compare_swap(i);
            case Op::zero_block: return zero_block(i);
            case Op::prefetch: return {};
            case Op::none: break;
        }
        return {Executed::Result::unsupported, {}, false};
    }

private:
    struct Quad {
        std::uint64_t low = 0, high = 0;
    };

    std::uint64_t x(unsigned r) const { return r == 31 ? 0 : page_.x[r]; }
    void set_x(unsigned r, std::uint64_t value) {
        if (r != 31) {
            page_.x[r] = value;
        }
    }

    // Register 31 as a base is the stack pointer that PSTATE selects: SP_EL1 at EL1h, else SP_EL0.
    std::uint64_t base(const Instruction& i) const {
        if (i.literal) {
            return page_.pc;
        }
        return i.rn != 31 ? page_.x[i.rn] : (page_.pstate & 0xf) == 5 ? page_.el1.sp_el1 : page_.sp_el0;
    }
    void write_back(const Instruction& i, std::uint64_t address) {
        if (i.index == Instruction::Index::offset) {
            return;
        }
        const std::uint64_t step = i.by_register ? x(i.rm) : static_cast<std::uint64_t>(i.offset);
        const std::uint64_t value = i.index == Instruction::Index::pre ? address : address + step;
        if (i.rn != 31) {
            page_.x[i.rn] = value;
        } else if ((page_.pstate & 0xf) == 5) {
            page_.el1.sp_el1 = value;
            page_.loaded |= abi::kGroupEl1;
        } else {
            page_.sp_el0 = value;
        }
    }

    std::uint64_t address(const Instruction& i) const {
        const std::uint64_t from = base(i);
        if (i.index == Instruction::Index::post) {
            return from;
        }
        if (!i.by_register) {
            return from + static_cast<std::uint64_t>(i.offset);
        }
        std::uint64_t offset = x(i.rm);
        if (i.option == 2) {
            offset &= 0xffff'ffff;
        } else if (i.option == 6) {
            offset = sign_extend(offset, 32);
        }
        return from + (offset << i.shift);
    }

    Executed aborted(std::uint64_t at, bool write) { return {Executed::Result::aborted, {at}, write}; }

    bool read(std::uint64_t at, unsigned bytes, Quad& q) {
        return bytes <= 8 ? port_.load({at}, bytes, q.low)
                          : port_.load({at}, 8, q.low) && port_.load({at + 8}, 8, q.high);
    }
    bool write(std::uint64_t at, unsigned bytes, const Quad& q) {
        return bytes <= 8 ? port_.store({at}, bytes, truncate(q.low, bytes))
                          : port_.store({at}, 8, q.low) && port_.store({at + 8}, 8, q.high);
    }

    Executed load(const Instruction& i) {
        const std::uint64_t at = address(i);
        std::array<Quad, 2> value{};
        for (unsigned n = 0; n < i.count; ++n) {
            if (!read(at + n * i.bytes, i.bytes, value[n])) {
                return aborted(at + n * i.bytes, false);
            }
        }
        write_back(i, at);
        for (unsigned n = 0; n < i.count; ++n) {
            const unsigned r = n == 0 ? i.rt : i.rt2;
            if (i.simd) {
                set_v(r, value[n]);
                continue;
            }
            std::uint64_t v = value[n].low;
            if (i.sign) {
                v = sign_extend(v, 8u * i.bytes);
                v = i.wide ? v : truncate(v, 4);
            }
            set_x(r, v);
        }
        return {};
    }

    Executed store(const Instruction& i) {
        const std::uint64_t at = address(i);
        for (unsigned n = 0; n < i.count; ++n) {
            const unsigned r = n == 0 ? i.rt : i.rt2;
            if (!write(at + n * i.bytes, i.bytes, i.simd ? v(r) : Quad{x(r), 0})) {
                return aborted(at + n * i.bytes, true);
            }
        }
        write_back(i, at);
        if (i.op == Instruction::Op::store_exclusive) {
            set_x(i.rs, 0);
        }
        return {};
    }

    static std::uint64_t combine(Instruction::Atomic op, std::uint64_t old, std::uint64_t operand, unsigned bytes) {
        using Atomic = Instruction::Atomic;
        const auto so = static_cast<std::int64_t>(sign_extend(old, 8 * bytes));
        const auto sv = static_cast<std::int64_t>(sign_extend(operand, 8 * bytes));
        const std::uint64_t v = truncate(operand, bytes);
        switch (op) {
            case Atomic::add: return old + v;
            case Atomic::clear: return old & ~v;
            case Atomic::exclusive_or: return old ^ v;
            case Atomic::set: return old | v;
            case Atomic::smax: return so > sv ? old : v;
            case Atomic::smin: return so < sv ? old : v;
            case Atomic::umax: return old > v ? old : v;
            case Atomic::umin: return old < v ? old : v;
        }
        return old;
    }

    Executed read_modify_write(const Instruction& i) {
        const std::uint64_t at = address(i);
        Quad old;
        if (!read(at, i.bytes, old)) {
            return aborted(at, false);
        }
        const std::uint64_t value =
            i.op == Instruction::Op::swap ? x(i.rs) : combine(i.atomic, old.low, x(i.rs), i.bytes);
        if (!write(at, i.bytes, {value, 0})) {
            return aborted(at, true);
        }
        set_x(i.rt, old.low);
        return {};
    }

    Executed compare_swap(const Instruction& i) {
        const std::uint64_t at = address(i);
        std::array<Quad, 2> old{};
        bool equal = true;
        for (unsigned n = 0; n < i.count; ++n) {
            if (!read(at + n * i.bytes, i.bytes, old[n])) {
                return aborted(at + n * i.bytes, false);
            }
            equal = equal && old[n].low == truncate(x(i.rs + n), i.bytes);
        }
        for (unsigned n = 0; equal && n < i.count; ++n) {
            if (!write(at + n * i.bytes, i.bytes, {x(i.rt + n), 0})) {
                return aborted(at + n * i.bytes, true);
            }
        }
        for (unsigned n = 0; n < i.count; ++n) {
            set_x(i.rs + n, old[n].low);
        }
        return {};
    }

    Executed zero_block(const Instruction& i) {
        const std::uint64_t at = x(i.rn) & ~std::uint64_t{kZeroBlockBytes - 1};
        for (unsigned n = 0; n < kZeroBlockBytes; n += 8) {
            if (!port_.store({at + n}, 8, 0)) {
                return aborted(at + n, true);
            }
        }
        return {};
    }

    // SIMD&FP registers: v[2r] is the low half.
    Quad v(unsigned r) const { return {page_.v[2 * r], page_.v[2 * r + 1]}; }
    void set_v(unsigned r, const Quad& q) {
        page_.v[2 * r] = q.low;
        page_.v[2 * r + 1] = q.high;
        page_.loaded |= abi::kGroupFp;
    }
    std::uint64_t lane(unsigned r, unsigned n, unsigned bytes) const {
        const unsigned bit_offset = 8 * bytes * n;
        return truncate(page_.v[2 * r + bit_offset / 64] >> (bit_offset % 64), bytes);
    }
    void set_lane(unsigned r, unsigned n, unsigned bytes, std::uint64_t value) {
        const unsigned bit_offset = 8 * bytes * n;
        std::uint64_t& half = page_.v[2 * r + bit_offset / 64];
        const std::uint64_t mask = truncate(~std::uint64_t{0}, bytes) << (bit_offset % 64);
        half = (half & ~mask) | ((value << (bit_offset % 64)) & mask);
        page_.loaded |= abi::kGroupFp;
    }

    // LD1..LD4, ST1..ST4: elements of `selem` registers alternate in memory.
    Executed structure(const Instruction& i) {
        using Structure = Instruction::Structure;
        const std::uint64_t at = base(i);
        const bool is_load = i.op == Instruction::Op::load;
        const unsigned lanes = i.structure == Structure::multiple ? i.lanes : 1u;
        std::array<std::uint64_t, 64> values{};
        unsigned n = 0;
        for (unsigned r = 0; r < i.repeat; ++r) {
            for (unsigned e = 0; e < lanes; ++e) {
                for (unsigned s = 0; s < i.selem; ++s, ++n) {
                    const unsigned which = i.structure == Structure::multiple ? e : i.lane;
                    const std::uint64_t element = at + n * i.bytes;
                    const bool ok = is_load
                                        ? port_.load({element}, i.bytes, values[n])
                                        : port_.store({element}, i.bytes, lane((i.rt + r + s) % 32, which, i.bytes));
                    if (!ok) {
                        return aborted(element, !is_load);
                    }
                }
            }
        }
        if (is_load) {
            commit(i, lanes, values);
        }
        write_back(i, at);
        return {};
    }

    void commit(const Instruction& i, unsigned lanes, const std::array<std::uint64_t, 64>& values) {
        using Structure = Instruction::Structure;
        unsigned n = 0;
        for (unsigned r = 0; r < i.repeat; ++r) {
            for (unsigned s = 0; s < i.selem && i.structure != Structure::single; ++s) {
                set_v((i.rt + r + s) % 32, {});  // the upper half of a 64-bit vector becomes zero
            }
            for (unsigned e = 0; e < lanes; ++e) {
                for (unsigned s = 0; s < i.selem; ++s, ++n) {
                    const unsigned reg = (i.rt + r + s) % 32;
                    if (i.structure == Structure::replicate) {
                        for (unsigned l = 0; l < i.lanes; ++l) {
                            set_lane(reg, l, i.bytes, values[n]);
                        }
                    } else {
                        set_lane(reg, i.structure == Structure::multiple ? e : i.lane, i.bytes, values[n]);
                    }
                }
            }
        }
    }

    abi::VcpuPage& page_;
    Port& port_;
};

}  // namespace twain::vmm
