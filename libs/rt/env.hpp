// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The environment page: what init tells a process about itself. One read-only page (more if needed, contiguous)
// at kEnvAddress: a header, then entries, then a string area. A process finds its capabilities, memory
// regions and settings by name, so no number is shared between a program and a configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace twain::rt {

struct EnvEntry {
    enum class Kind : std::uint32_t { capability = 1, region = 2, setting = 3 };
    Kind kind;
    std::uint32_t name;   // offset of a zero-terminated string in the page
    std::uint64_t value;  // capability: slot; region: address; setting: offset of its text
    std::uint64_t bytes;  // region: its size
};

struct EnvHeader {
    std::uint64_t magic;  // kEnvMagic
    std::uint32_t count;
    std::uint32_t bytes;         // of the whole environment
    std::uint32_t process_name;  // string offset
    std::uint32_t system_name;
    std::uint32_t seed_bytes;  // 0: there is no source of random numbers
    std::uint32_t reserved;
    std::uint8_t seed[32];  // drawn for this life of this process, and for nobody else
    // EnvEntry entries[count] follow
};
inline constexpr std::uint64_t kEnvMagic = 0x31564e454e415754;  // "TWANENV1"

struct Region {
    std::uint64_t address;
    std::uint64_t bytes;
};

// Reads the page that lies at kEnvAddress. Each look-up is linear; programs call them once, at start.
std::uint32_t slot(std::string_view name);  // panics with the name if there is none
std::optional<std::uint32_t> find_slot(std::string_view name);
Region region(std::string_view name);  // panics with the name if there is none
std::optional<Region> find_region(std::string_view name);
std::string_view setting(std::string_view key, std::string_view otherwise = {});
std::string_view process_name();
std::span<const std::uint8_t> seed();  // empty: there is no source of random numbers

}  // namespace twain::rt
