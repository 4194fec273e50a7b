// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/range_set.hpp"

namespace twain::loader {
namespace {

constexpr std::uint64_t kPage = 4096;

bool wraps(std::uint64_t base, std::uint64_t bytes) { return base + bytes < base; }
std::uint64_t end(const abi::Range& range) { return range.base + range.bytes; }

}  // namespace

bool RangeSet::insert(std::size_t at, abi::Range range) {
    if (count_ == kCapacity) {
        return false;
    }
    for (std::size_t i = count_; i > at; --i) {
        ranges_[i] = ranges_[i - 1];
    }
    ranges_[at] = range;
    ++count_;
    return true;
}

void RangeSet::erase(std::size_t at) {
    --count_;
    for (std::size_t i = at; i < count_; ++i) {
        ranges_[i] = ranges_[i + 1];
    }
}

bool RangeSet::add(std::uint64_t base, std::uint64_t bytes) {
    if (wraps(base, bytes)) {
        return false;
    }
    if (bytes == 0) {
        return true;
    }
    std::uint64_t low = base;
    std::uint64_t high = base + bytes;
    std::size_t at = 0;
    while (at < count_) {
        const abi::Range& range = ranges_[at];
        if (end(range) < low) {
            ++at;
        } else if (range.base > high) {
            break;
        } else {  // overlaps or touches: becomes part of the new one
            low = range.base < low ? range.base : low;
            high = end(range) > high ? end(range) : high;
            erase(at);
        }
    }
    return insert(at, {low, high - low});
}

bool RangeSet::remove(std::uint64_t base, std::uint64_t bytes) {
    if (wraps(base, bytes)) {
        return false;
    }
    const std::uint64_t high = base + bytes;
    std::size_t at = 0;
    while (at < count_) {
        const abi::Range range = ranges_[at];
        if (bytes == 0 || end(range) <= base || range.base >= high) {
            ++at;
            continue;
        }
        erase(at);
        if (range.base < base && !insert(at++, {range.base, base - range.base})) {
            return false;
        }
        if (end(range) > high && !insert(at++, {high, end(range) - high})) {
            return false;
        }
    }
    return true;
}

void RangeSet::trim_to_pages() {
    std::size_t at = 0;
    while (at < count_) {
        const abi::Range range = ranges_[at];
        const std::uint64_t low = (range.base + kPage - 1) & ~(kPage - 1);
        const std::uint64_t high = end(range) & ~(kPage - 1);
        if (low < range.base || low >= high) {
            erase(at);
        } else {
            ranges_[at++] = {low, high - low};
        }
    }
}

bool RangeSet::contains(std::uint64_t base, std::uint64_t bytes) const {
    for (const abi::Range& range : ranges()) {
        if (base >= range.base && bytes <= range.bytes && base - range.base <= range.bytes - bytes) {
            return true;
        }
    }
    return false;
}

std::uint64_t RangeSet::total() const {
    std::uint64_t sum = 0;
    for (const abi::Range& range : ranges()) {
        sum += range.bytes;
    }
    return sum;
}

}  // namespace twain::loader
