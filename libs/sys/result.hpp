// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a kernel call gives back: a status (error and the index of the offending argument) and, if all
// went well, a value. Both are plain values in registers; nothing is thrown and nothing allocated.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "kernel/api/abi.hpp"

namespace twain::sys {

using abi::Error;

// The word that the kernel writes into x1: error in [63:56], index of the argument (register number) in [55:48].
class [[nodiscard]] Status {
public:
    constexpr Status() = default;
    constexpr explicit Status(std::uint64_t tag) : tag_(tag) {}
    constexpr explicit Status(Error error, unsigned argument = 0)
        : tag_((static_cast<std::uint64_t>(error) << abi::kTagErrorShift) |
               (static_cast<std::uint64_t>(argument & 0xff) << abi::kTagArgShift)) {}

    constexpr bool ok() const { return error() == Error::none; }
    constexpr explicit operator bool() const { return ok(); }
    constexpr Error error() const { return abi::tag_error(tag_); }
    constexpr unsigned argument() const { return abi::tag_arg(tag_); }  // 0: the capability itself, n: register xn
    constexpr std::uint64_t tag() const { return tag_; }

private:
    std::uint64_t tag_ = 0;
};

// A value, or the reason why there is none. value() of a failed result is a default value, never undefined.
template <typename T>
class [[nodiscard]] Result {
public:
    constexpr Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
    constexpr Result(Status status) : status_(status) {}     // NOLINT(google-explicit-constructor)
    constexpr Result(Status status, T value) : status_(status), value_(std::move(value)) {}

    constexpr bool ok() const { return status_.ok(); }
    constexpr explicit operator bool() const { return ok(); }
    constexpr Status status() const { return status_; }
    constexpr Error error() const { return status_.error(); }
    constexpr unsigned argument() const { return status_.argument(); }
    constexpr const T& value() const { return value_; }
    constexpr const T& operator*() const { return value_; }
    constexpr const T* operator->() const { return &value_; }
    constexpr T value_or(T otherwise) const { return ok() ? value_ : otherwise; }

private:
    Status status_;
    T value_{};
};

// The name that docs/kernel-api.md gives the error.
constexpr std::string_view error_name(Error error) {
    switch (error) {
        case Error::none: return "none";
        case Error::bad_slot: return "bad_slot";
        case Error::bad_type: return "bad_type";
        case Error::rights: return "rights";
        case Error::bad_arg: return "bad_arg";
        case Error::occupied: return "occupied";
        case Error::no_memory: return "no_memory";
        case Error::busy: return "busy";
        case Error::cancelled: return "cancelled";
        case Error::timeout: return "timeout";
        case Error::bad_method: return "bad_method";
        case Error::no_server: return "no_server";
        case Error::depth: return "depth";
        case Error::dying: return "dying";
        case Error::unsupported: return "unsupported";
    }
    return "unknown";
}

}  // namespace twain::sys
