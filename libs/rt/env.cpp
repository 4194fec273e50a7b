// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "rt/env.hpp"

#include "rt/panic.hpp"
#include "system/init/tables.hpp"

namespace twain::rt {
namespace {

const EnvHeader* header() {
    const auto* env = reinterpret_cast<const EnvHeader*>(tables::kEnvAddress);
    return env->magic == kEnvMagic ? env : nullptr;
}

const char* text(const EnvHeader& env, std::uint64_t offset) {
    return offset < env.bytes ? reinterpret_cast<const char*>(&env) + offset : "";
}

const EnvEntry* find(EnvEntry::Kind kind, std::string_view name) {
    const EnvHeader* env = header();
    if (env == nullptr) {
        return nullptr;
    }
    const auto* entries = reinterpret_cast<const EnvEntry*>(env + 1);
    for (const EnvEntry& entry : std::span{entries, env->count}) {
        if (entry.kind == kind && name == text(*env, entry.name)) {
            return &entry;
        }
    }
    return nullptr;
}

}  // namespace

std::optional<std::uint32_t> find_slot(std::string_view name) {
    const EnvEntry* entry = find(EnvEntry::Kind::capability, name);
    return entry != nullptr ? std::optional{static_cast<std::uint32_t>(entry->value)} : std::nullopt;
}

std::uint32_t slot(std::string_view name) {
    const auto found = find_slot(name);
    if (!found) {
        panic("the environment has no capability ", name);
    }
    return *found;
}

std::optional<Region> find_region(std::string_view name) {
    const EnvEntry* entry = find(EnvEntry::Kind::region, name);
    return entry != nullptr ? std::optional{Region{entry->value, entry->bytes}} : std::nullopt;
}

Region region(std::string_view name) {
    const auto found = find_region(name);
    if (!found) {
        panic("the environment has no region ", name);
    }
    return *found;
}

std::string_view setting(std::string_view key, std::string_view otherwise) {
    const EnvEntry* entry = find(EnvEntry::Kind::setting, key);
    return entry != nullptr ? std::string_view{text(*header(), entry->value)} : otherwise;
}

std::string_view process_name() {
    const EnvHeader* env = header();
    return env != nullptr ? std::string_view{text(*env, env->process_name)} : std::string_view{"root"};
}

std::span<const std::uint8_t> seed() {
    const EnvHeader* env = header();
    return env != nullptr && env->seed_bytes <= sizeof env->seed ? std::span{env->seed, env->seed_bytes}
                                                                 : std::span<const std::uint8_t>{};
}

}  // namespace twain::rt
