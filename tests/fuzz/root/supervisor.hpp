// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The root task's own capabilities, and how it says what it sees.
#pragma once

#include <string_view>

#include "arena.hpp"

namespace twain::fuzz {

inline constexpr sys::System kSystem{abi::kRootSystem};
inline constexpr sys::CSpace kSelf{abi::kRootCSpace};
inline constexpr sys::Space kSpace{abi::kRootSpace};
inline constexpr sys::Pool kObjects{40};  // of the supervisor's and the workers' own objects

void need(sys::Status status, const char* file = __builtin_FILE(), unsigned line = __builtin_LINE());

// One line of the kernel log.
class Line {
public:
    ~Line();
    Line& operator<<(std::string_view text);
    Line& operator<<(u64 number);
    Line& hex(u64 number);

private:
    char text_[400];
    std::size_t used_ = 0;
};

}  // namespace twain::fuzz
