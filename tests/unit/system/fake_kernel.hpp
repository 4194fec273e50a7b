// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A model of the kernel that is good enough for init: capabilities with their derivation, exclusive memory, mappings
// (those of init itself are real: a memory file mapped where init asks), threads that are only remembered.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernel/api/abi.hpp"
#include "sys/result.hpp"
#include "sys/svc.hpp"

namespace twain::fake {

struct Cap {
    abi::Type type = abi::Type::null;
    std::uint8_t rights = 0;
    std::uint64_t badge = 0;
    std::uint64_t object = 0;
    std::uint64_t base = 0, bytes = 0, address = 0;
    bool device = false;
    std::uint64_t id = 0, parent = 0;
};

struct ThreadModel {
    std::uint64_t cspace = 0, space = 0, fault = 0, sched = 0, note = 0;  // objects
    std::uint64_t fault_badge = 0;
    std::uint64_t pc = 0, sp = 0, x0 = 0;
    std::uint64_t registers[5] = {};
    bool started = false;
};

class Kernel {
public:
    Kernel(std::uint64_t ram_base, std::uint64_t ram_bytes);
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    static Kernel* current;

    sys::Regs svc(abi::Sys call, const sys::Regs& in);

    // Physical memory, as the machine sees it.
    char* physical(std::uint64_t address) { return ram_ + (address - ram_base_); }
    using Slots = std::map<std::uint32_t, Cap>;
    Slots& slots(std::uint64_t cspace_object) { return cspaces_[cspace_object]; }
    Slots& root() { return cspaces_[kRootCSpaceObject]; }
    const Cap* find(std::uint32_t slot) const;
    std::vector<Cap> mappings_of(std::uint64_t space_object) const;
    std::size_t count() const;  // of all capabilities
    void give_archive(std::uint64_t base, std::uint64_t bytes);
    void give_ram(std::uint32_t slot, std::uint64_t base, std::uint64_t bytes);

    std::map<std::uint64_t, ThreadModel> threads;
    std::string log;
    std::optional<std::uint64_t> power;
    int uart_kernel = 1;
    std::uint64_t armed = abi::kForever;  // deadline of the last timer that was set
    std::uint64_t invokes = 0;
    std::uint64_t fail_at = 0;  // the number of the invoke that fails (1..)
    std::uint64_t next_wait_bits = 0;

    static constexpr std::uint64_t kRootCSpaceObject = 1, kRootSpaceObject = 2;

private:
    sys::Regs invoke(const sys::Regs& in);
    sys::Status pool(const Cap& cap, const sys::Regs& in, sys::Regs& out);
    sys::Status cspace(const Cap& cap, const sys::Regs& in, sys::Regs& out);
    sys::Status memory(const Cap& cap, const sys::Regs& in);
    sys::Status space(const Cap& cap, const sys::Regs& in);
    sys::Status thread(const Cap& cap, const sys::Regs& in, sys::Regs& out);
    sys::Status system(const Cap& cap, const sys::Regs& in, sys::Regs& out);
    sys::Status arm(const Cap& cap, const sys::Regs& in);
    sys::Status put(Slots& slots, std::uint64_t slot, Cap cap, const Cap& parent, unsigned argument);
    bool has_children(std::uint64_t id) const;
    void revoke(std::uint64_t id);
    void destroy(const Cap& cap);
    static void inspect(const Cap& cap, bool exclusive, sys::Regs& out);

    std::uint64_t ram_base_;
    std::uint64_t ram_bytes_;
    int file_ = -1;
    char* ram_ = nullptr;
    std::uint64_t next_id_ = 100;
    std::uint64_t next_object_ = 100;
    std::map<std::uint64_t, Slots> cspaces_;
};

}  // namespace twain::fake
