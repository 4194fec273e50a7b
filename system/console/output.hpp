// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What is on its way to the terminal. Bounded: whoever writes asks space() first.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

namespace twain::console {

class Output {
public:
    static constexpr std::size_t kBytes = 32768;

    std::size_t space() const { return kBytes - (end_ - begin_); }
    std::string_view view() const { return {bytes_ + begin_, end_ - begin_}; }

    void consume(std::size_t count) {
        begin_ += count < end_ - begin_ ? count : end_ - begin_;
        if (begin_ == end_) {
            begin_ = end_ = 0;
        }
    }

    // What does not fit is cut off.
    void put(std::string_view text) {
        if (text.size() > kBytes - end_) {
            std::memmove(bytes_, bytes_ + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        const std::size_t count = text.size() < kBytes - end_ ? text.size() : kBytes - end_;
        std::memcpy(bytes_ + end_, text.data(), count);
        end_ += count;
    }
    void put(char c) { put(std::string_view{&c, 1}); }
    void put_number(std::uint64_t number) {
        char digits[20];
        std::size_t at = sizeof digits;
        do {
            digits[--at] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        put(std::string_view{digits + at, sizeof digits - at});
    }

private:
    char bytes_[kBytes] = {};
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace twain::console
