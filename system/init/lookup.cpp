// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Finding things in the tables and naming what the kernel describes.
#include "system/init/builder.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::Kind;
using tables::kNone;

constexpr abi::Type type_of(Kind kind) {
    switch (kind) {
        case Kind::ram:
        case Kind::file:
        case Kind::device: return abi::Type::memory;
        case Kind::endpoint: return abi::Type::endpoint;
        case Kind::notification: return abi::Type::notification;
        case Kind::reply: return abi::Type::reply;
        case Kind::irq: return abi::Type::irq;
        case Kind::sched: return abi::Type::sched;
        case Kind::guest_space: return abi::Type::space;
        case Kind::vcpu: return abi::Type::vcpu;
        case Kind::thread: return abi::Type::thread;
        case Kind::cspace: return abi::Type::cspace;
        case Kind::log: return abi::Type::system;
    }
    return abi::Type::null;
}

}  // namespace

Index Builder::find(std::string_view name) const {
    for (std::size_t i = 0; i < system_.processes.size(); ++i) {
        const tables::Process& p = system_.processes[i];
        if (!name.empty() && (name == p.name || (p.role == tables::Role::vmm && name == p.guest))) {
            return static_cast<Index>(i);
        }
    }
    return kNone;
}

bool Builder::drives_kernel_uart(Index process) const {
    for (const tables::Object& o : system_.objects) {
        if (o.owner == process && o.kind == Kind::device && boot_.uart.bytes != 0 && boot_.uart.base >= o.a &&
            boot_.uart.base - o.a < o.b) {
            return true;
        }
    }
    return false;
}

const char* Builder::object_name(const sys::CSpace::Info& info) const {
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (type_of(o.kind) != info.type) {
            continue;
        }
        if (info.type == abi::Type::memory) {
            if (exists(static_cast<Index>(i)) && memory_[i].base == info.base && memory_[i].bytes == info.bytes) {
                return o.name;
            }
        } else if (info.type == abi::Type::system || (ids_[i] != 0 && ids_[i] == info.object)) {
            return o.name;
        }
    }
    return "";
}

std::uint64_t Builder::memory_bytes(Index process) const {
    std::uint64_t sum = processes_[process].pool_memory.bytes + processes_[process].image.bytes;
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        if (system_.objects[i].owner == process && system_.objects[i].kind == Kind::ram) {
            sum += memory_[i].bytes;
        }
    }
    return sum;
}

abi::Slot Builder::init_capability(std::string_view name) const {
    for (std::size_t i = 0; i < system_.init.size(); ++i) {
        if (name == system_.init[i].name) {
            return init_slots_[i];
        }
    }
    return 0;
}

const tables::Map* Builder::init_map(std::string_view name) const {
    for (const tables::Map& m : system_.init_maps) {
        if (name == m.name) {
            return &m;
        }
    }
    return nullptr;
}

}  // namespace twain::init
