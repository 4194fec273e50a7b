// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Messages: a tag (label and flags, see abi.hpp) and six words, which travel in registers.
#pragma once

#include <cstdint>

#include "sys/result.hpp"

namespace twain::sys {

inline constexpr unsigned kWords = 6;

struct Message {
    std::uint64_t tag = 0;
    std::uint64_t word[kWords] = {};

    constexpr std::uint32_t label() const { return abi::tag_label(tag); }
    constexpr Status status() const { return Status{tag}; }
    constexpr bool ok() const { return status().ok(); }
    // Received only: a capability has come with the message, into the receive slot.
    constexpr bool has_cap() const { return (tag & abi::kTagCap) != 0; }
    constexpr abi::Slot cap_slot() const { return static_cast<abi::Slot>(word[5]); }
    // To send: capability `slot` goes along as a derived copy.
    constexpr void attach(abi::Slot slot) {
        tag |= abi::kTagCap;
        word[5] = slot;
    }
};

constexpr Message message(std::uint32_t label, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
                          std::uint64_t d = 0, std::uint64_t e = 0, std::uint64_t f = 0) {
    return Message{label, {a, b, c, d, e, f}};
}

// What a waiting thread gets: a message with the badge of the capability it was sent through; or the bits of
// its notification; or an error (timeout, cancelled).
struct Received {
    std::uint64_t badge = 0;
    Message message;

    constexpr bool ok() const { return message.ok(); }
    constexpr Status status() const { return message.status(); }
    constexpr bool is_note() const { return (message.tag & abi::kTagNote) != 0; }
    constexpr std::uint64_t bits() const { return message.word[0]; }  // is_note() only
};

}  // namespace twain::sys
