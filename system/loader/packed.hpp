// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What tools/twainlib/pack.py writes behind the loader: where everything of the image is and which machine it is
// for. Offsets count from the start of the image; numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel/api/abi.hpp"

namespace twain::loader {

inline constexpr std::uint64_t kPackedMagic = 0x314b504e49415754;  // "TWAINPK1"
inline constexpr std::uint32_t kPackedVersion = 1;

struct PackedKernel {      // offset 0: there is none for this exception level
    std::uint64_t offset;  // multiple of 2 MB
    std::uint64_t file_bytes;
    std::uint64_t memory_bytes;
};

struct PackedSegment {
    std::uint64_t address;
    std::uint64_t offset;
    std::uint64_t bytes;
    std::uint64_t rights;
};

struct PackedModule {
    char name[48];
    std::uint64_t offset;
    std::uint64_t bytes;
};

// The machine that the image was built for: zero and the empty string mean any.
struct Expectation {
    std::uint32_t gic_versions;  // bit n: version n will do
    std::uint32_t min_cores;
    char board[32];         // name for people
    char compatible[64];    // one of the root node's `compatible` strings
    std::uint64_t min_ram;  // bytes, reserved ones not counted
    std::uint64_t uart_base;
};

struct Packed {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t bytes;
    char build_id[40];
    std::uint64_t image_bytes;  // in memory
    std::uint32_t flags;        // BootInfo::flags
    std::uint32_t root_count;
    Expectation expect;
    PackedKernel kernels[2];  // for EL1 and EL2
    std::uint64_t root_entry;
    PackedSegment root[abi::kMaxSegments];
    std::uint64_t archive_offset;
    std::uint64_t archive_bytes;
    std::uint32_t module_count;
    std::uint32_t reserved;
    PackedModule modules[abi::kMaxModules];
};
static_assert(offsetof(Packed, build_id) == 16 && offsetof(Packed, expect) == 72 && offsetof(Packed, kernels) == 192);
static_assert(offsetof(Packed, root) == 248 && offsetof(Packed, modules) == 400 && sizeof(Packed) == 2448);

}  // namespace twain::loader
