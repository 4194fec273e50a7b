// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What things are called in the supervisor's answers; rights as in the system description's table.
#pragma once

#include <cstdint>
#include <iterator>
#include <string_view>

#include "kernel/api/abi.hpp"
#include "system/init/builder.hpp"
#include "system/init/tables.hpp"

namespace twain::init {

constexpr std::string_view type_name(abi::Type type) {
    constexpr std::string_view kNames[] = {"null",  "pool",     "cspace", "memory",       "mapping", "space", "thread",
                                           "sched", "endpoint", "reply",  "notification", "irq",     "vcpu",  "system"};
    const auto number = static_cast<std::size_t>(type);
    return number < sizeof kNames / sizeof kNames[0] ? kNames[number] : "unknown";
}

constexpr std::string_view role_name(tables::Role role) {
    switch (role) {
        case tables::Role::driver: return "driver";
        case tables::Role::server: return "server";
        case tables::Role::vmm: return "vmm";
    }
    return "unknown";
}

constexpr std::string_view state_name(ProcessState state) {
    switch (state) {
        case ProcessState::absent: return "absent";
        case ProcessState::running: return "running";
        case ProcessState::faulted: return "faulted";
        case ProcessState::killed: return "killed";
        case ProcessState::failed: return "failed";
    }
    return "unknown";
}

constexpr std::string_view thread_state_name(abi::ThreadState state) {
    constexpr std::string_view kNames[] = {"stopped", "ready",    "calling", "receiving",
                                           "waiting", "replying", "faulted", "guest"};
    const auto number = static_cast<std::size_t>(state);
    return number < sizeof kNames / sizeof kNames[0] ? kNames[number] : "unknown";
}

constexpr std::string_view fault_name(abi::FaultKind kind) {
    constexpr std::string_view kNames[] = {"none", "data", "instruction", "alignment", "undefined", "svc", "other"};
    const auto number = static_cast<std::size_t>(kind);
    return number < sizeof kNames / sizeof kNames[0] ? kNames[number] : "unknown";
}

// Names of the rights of a type, lowest bit first; "" ends the row.
struct RightNames {
    abi::Type type;
    std::string_view names[5];
};
inline constexpr RightNames kRightNames[] = {
    {abi::Type::pool, {"create"}},
    {abi::Type::cspace, {"insert", "remove", "inspect"}},
    {abi::Type::memory, {"read", "write", "exec", "own"}},
    {abi::Type::mapping, {"protect"}},
    {abi::Type::space, {"map", "use"}},
    {abi::Type::thread, {"control", "regs"}},
    {abi::Type::sched, {"bind", "configure"}},
    {abi::Type::endpoint, {"call", "receive", "pass"}},
    {abi::Type::reply, {"use"}},
    {abi::Type::notification, {"signal", "wait", "arm"}},
    {abi::Type::irq, {"bind", "ack"}},
    {abi::Type::vcpu, {"run", "kick", "configure"}},
    {abi::Type::system, {"mint", "power", "log", "info", "firmware"}},
};

// Calls take(name) for each right in `rights` that the type has.
template <typename Take>
constexpr void for_each_right(abi::Type type, std::uint8_t rights, Take take) {
    for (const RightNames& row : kRightNames) {
        for (unsigned bit = 0; row.type == type && bit < std::size(row.names) && !row.names[bit].empty(); ++bit) {
            if ((rights >> bit & 1) != 0) {
                take(row.names[bit]);
            }
        }
    }
}

}  // namespace twain::init
