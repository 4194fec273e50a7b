// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Where the pieces of physical memory lie. The stock is a list of free ranges, each behind an exclusive memory
// capability; taking a piece splits capabilities off, so every piece is exclusive too and nothing is ever
// given twice. Deterministic: the lowest range in which the aligned piece fits, at its lowest address.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernel/api/abi.hpp"
#include "sys/result.hpp"

namespace twain::init {

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kBlock = std::uint64_t{2} << 20;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) & ~(to - 1); }

struct Piece {
    abi::Slot slot = 0;
    std::uint64_t base = 0;  // physical
    std::uint64_t bytes = 0;
};

// Splitter: sys::Status split(Slot memory, uint64 keep, Slot rest), which is Memory::split, and Slot next_slot().
template <typename Splitter>
class Stock {
public:
    static constexpr std::size_t kMaxRanges = 128;

    explicit Stock(Splitter splitter) : splitter_(splitter) {}

    // Free memory: `base` and `bytes` in whole pages.
    bool add(Piece piece) {
        if (count_ == kMaxRanges) {
            return false;
        }
        std::size_t at = count_++;
        for (; at > 0 && free_[at - 1].base > piece.base; --at) {
            free_[at] = free_[at - 1];
        }
        free_[at] = piece;
        return true;
    }

    // A piece of `bytes` (whole pages, not 0) at a multiple of `align` (a power of two, at least a page).
    sys::Result<Piece> take(std::uint64_t bytes, std::uint64_t align) {
        for (std::size_t i = 0; i < count_; ++i) {
            const std::uint64_t pad = round_up(free_[i].base, align) - free_[i].base;
            if (pad <= free_[i].bytes && bytes <= free_[i].bytes - pad) {
                return cut(i, pad, bytes);
            }
        }
        return sys::Status{abi::Error::no_memory};
    }

    std::uint64_t free_bytes() const {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            sum += free_[i].bytes;
        }
        return sum;
    }

private:
    // split() keeps the front part in the old slot and puts the rest into a new one.
    sys::Result<Piece> cut(std::size_t at, std::uint64_t pad, std::uint64_t bytes) {
        Piece piece = free_[at];
        if (count_ + 1 > kMaxRanges) {
            return sys::Status{abi::Error::no_memory};
        }
        if (pad != 0) {
            const abi::Slot rest = splitter_.next_slot();
            if (const sys::Status s = splitter_.split(piece.slot, pad, rest); !s) {
                return s;
            }
            free_[at].bytes = pad;
            piece = {rest, piece.base + pad, piece.bytes - pad};
        } else {
            remove(at);
        }
        if (piece.bytes > bytes) {
            const abi::Slot rest = splitter_.next_slot();
            if (const sys::Status s = splitter_.split(piece.slot, bytes, rest); !s) {
                add(piece);
                return s;
            }
            add({rest, piece.base + bytes, piece.bytes - bytes});
            piece.bytes = bytes;
        }
        return piece;
    }

    void remove(std::size_t at) {
        --count_;
        for (; at < count_; ++at) {
            free_[at] = free_[at + 1];
        }
    }

    Splitter splitter_;
    std::array<Piece, kMaxRanges> free_{};
    std::size_t count_ = 0;
};

}  // namespace twain::init
