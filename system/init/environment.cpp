// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/environment.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace twain::init {

namespace {

using rt::EnvEntry;
using rt::EnvHeader;

bool named(const char* name) { return name != nullptr && *name != 0; }

// Calls add(kind, name, value, bytes, text) for each entry; a setting's value is its text.
template <typename Add>
void for_each_entry(const tables::Process& process, Add add) {
    for (const tables::Capability& c : process.capabilities) {
        if (named(c.name)) {
            add(EnvEntry::Kind::capability, c.name, c.slot, 0, nullptr);
        }
    }
    for (const tables::Map& m : process.maps) {
        if (named(m.name)) {
            add(EnvEntry::Kind::region, m.name, m.address, m.bytes, nullptr);
        }
    }
    for (const tables::Setting& s : process.settings) {
        add(EnvEntry::Kind::setting, s.key, 0, 0, s.value);
    }
}

}  // namespace

std::size_t environment_bytes(const tables::System& system, const tables::Process& process) {
    std::size_t bytes = sizeof(EnvHeader) + std::strlen(process.name) + 1 + std::strlen(system.name) + 1;
    for_each_entry(process, [&](EnvEntry::Kind, const char* name, std::uint64_t, std::uint64_t, const char* text) {
        bytes += sizeof(EnvEntry) + std::strlen(name) + 1 + (text != nullptr ? std::strlen(text) + 1 : 0);
    });
    return bytes;
}

bool write_environment(std::span<char> page, const tables::System& system, const tables::Process& process,
                       std::span<const std::uint8_t> seed) {
    const std::size_t bytes = environment_bytes(system, process);
    if (bytes > page.size()) {
        return false;
    }
    std::uint32_t count = 0;
    for_each_entry(process, [&](EnvEntry::Kind, const char*, std::uint64_t, std::uint64_t, const char*) { ++count; });

    std::size_t next = sizeof(EnvHeader) + count * sizeof(EnvEntry);
    const auto string = [&](const char* text) {
        const std::size_t at = next;
        const std::size_t length = std::strlen(text) + 1;
        std::memcpy(page.data() + at, text, length);
        next += length;
        return static_cast<std::uint32_t>(at);
    };
    EnvHeader header{};
    header.magic = rt::kEnvMagic;
    header.count = count;
    header.bytes = static_cast<std::uint32_t>(bytes);
    header.process_name = string(process.name);
    header.system_name = string(system.name);
    header.seed_bytes = static_cast<std::uint32_t>(std::min(seed.size(), sizeof header.seed));
    std::copy_n(seed.begin(), header.seed_bytes, header.seed);
    std::memcpy(page.data(), &header, sizeof header);

    std::size_t at = sizeof header;
    for_each_entry(
        process, [&](EnvEntry::Kind kind, const char* name, std::uint64_t value, std::uint64_t size, const char* text) {
            const EnvEntry entry{kind, string(name), text != nullptr ? string(text) : value, size};
            std::memcpy(page.data() + at, &entry, sizeof entry);
            at += sizeof entry;
        });
    return true;
}

}  // namespace twain::init
