// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What init itself has to say, in the kernel's log: it is there before the console and after it.
#pragma once

#include <cstdint>
#include <string_view>

#include "system/init/builder.hpp"

namespace twain::init {

void log_text(std::string_view text);
void log_number(std::uint64_t number);
void log_hex(std::uint64_t number);
// "init: making uart.irq: occupied (argument 3)".
void log_failure(const Failure& failure);

}  // namespace twain::init
