// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Writes a process's environment (libs/rt/env.hpp): header, entries, strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rt/env.hpp"
#include "system/init/tables.hpp"

namespace twain::init {

// Bytes that the environment of `process` takes.
std::size_t environment_bytes(const tables::System& system, const tables::Process& process);

// Fills `page` (zeroed, aligned to 8). False: it is too small. `seed`: random bytes for this process alone; empty: none.
bool write_environment(std::span<char> page, const tables::System& system, const tables::Process& process,
                       std::span<const std::uint8_t> seed = {});

}  // namespace twain::init
