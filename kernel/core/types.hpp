// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Integers that must not be mixed up, and the result of an operation that may fail.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include "kernel/api/abi.hpp"

namespace twain::kernel {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// An address of one kind; kinds do not convert into each other.
template <typename Tag>
struct Address {
    u64 value = 0;
    constexpr auto operator<=>(const Address&) const = default;
    constexpr Address operator+(u64 bytes) const { return {value + bytes}; }
    constexpr u64 operator-(Address other) const { return value - other.value; }
    constexpr bool aligned(u64 to) const { return (value & (to - 1)) == 0; }
};
using Phys = Address<struct PhysTag>;
using Virt = Address<struct VirtTag>;  // of a host space; of a guest space: the intermediate physical address

// What a translation base register holds: the address space's number in the TLB ([55:48], see tags.hpp) and its table. One
// word, so that no core ever reads the one without the other.
class Tag {
public:
    static constexpr unsigned kShift = 48;
    static constexpr u64 kStale = u64{1} << 63;  // the number may be another space's by now

    u64 word() const { return __atomic_load_n(&word_, __ATOMIC_RELAXED); }
    u64 base() const { return word() & ~kStale; }  // stale or not
    u64 number() const { return base() >> kShift; }

private:
    friend class Tags;
    void set(u64 word) { __atomic_store_n(&word_, word, __ATOMIC_RELEASE); }
    u64 word_ = kStale;
};

using CpuId = u32;
using Ticks = u64;

inline constexpr u64 kPage = 4096;
constexpr u64 align_up(u64 value, u64 to) { return (value + to - 1) & ~(to - 1); }
constexpr u64 align_down(u64 value, u64 to) { return value & ~(to - 1); }

// True if [offset, offset + bytes) lies inside [0, size), whatever the numbers are.
constexpr bool inside(u64 offset, u64 bytes, u64 size) { return offset <= size && bytes <= size - offset; }

using abi::Error;

// An error and the register number of the argument it is about (0: none in particular), as the caller gets them: a tag.
class [[nodiscard]] Status {
public:
    constexpr Status() = default;
    constexpr Status(Error error, unsigned argument = 0)
        : tag_(u64{static_cast<u8>(error)} << abi::kTagErrorShift | u64{argument & 0xff} << abi::kTagArgShift) {}
    constexpr bool ok() const { return error() == Error::none; }
    constexpr Error error() const { return abi::tag_error(tag_); }
    constexpr bool operator==(const Status&) const = default;
    constexpr u64 tag() const { return tag_; }

private:
    u64 tag_ = 0;
};

// What a method returns when it was interrupted at a consistent state: the call is made again.
inline constexpr Status kAgain{Error::none, 0xff};
constexpr bool again(Status status) { return status == kAgain; }

template <typename T>
class [[nodiscard]] Result {
public:
    constexpr Result(T value) : value_(value) {}
    constexpr Result(Status status) : status_(status) {}
    constexpr Result(Error error, unsigned argument = 0) : status_(error, argument) {}
    constexpr bool ok() const { return status_.ok(); }
    constexpr Status status() const { return status_; }
    constexpr T value() const { return value_; }

private:
    T value_{};
    Status status_{};
};

// A word that one core at a time changes while others may look at it. No order, unless acquire() or release() is said.
template <typename T>
class Shared {
public:
    operator T() const { return load(__ATOMIC_RELAXED); }
    T operator->() const { return load(__ATOMIC_RELAXED); }
    void operator=(T value) { __atomic_store(&value_, &value, __ATOMIC_RELAXED); }
    T acquire() const { return load(__ATOMIC_ACQUIRE); }
    void release(T value) { __atomic_store(&value_, &value, __ATOMIC_RELEASE); }
    T add_bits(T bits) { return __atomic_fetch_or(&value_, bits, __ATOMIC_ACQ_REL); }
    T exchange(T value) { return __atomic_exchange_n(&value_, value, __ATOMIC_ACQ_REL); }
    bool replace(T before, T value) {
        return __atomic_compare_exchange_n(&value_, &before, value, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }

private:
    T load(int order) const {
        T value;
        __atomic_load(&value_, &value, order);
        return value;
    }
    T value_;
};

}  // namespace twain::kernel
