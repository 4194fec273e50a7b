// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The lowered system: what the configuration generator writes and init carries out, in order, and nothing
// else. The generator makes one `const System kSystem` (build/<name>/tables.cpp).
//
// Lifetime: an object belongs to a process (it comes from that process's pool or private memory and goes
// when the process is killed) or to the system (kSystemOwner: rings and endpoints that two processes
// share; they stay when one party dies, so the survivor never faults).
#pragma once

#include <cstdint>
#include <span>

namespace twain::tables {

using Index = std::uint16_t;
inline constexpr Index kSystemOwner = 0xffff;
inline constexpr Index kNone = 0xffff;

enum class Kind : std::uint8_t {
    ram,           // a bytes, b alignment (4K or 2M): zeroed private or shared memory
    file,          // module: the archive's file, read-only memory
    device,        // a physical base, b bytes
    endpoint,      // a home core
    notification,  // -
    reply,         // -
    irq,           // a INTID, b 1 = edge, core
    sched,         // a budget ticks (in ns: init converts), b period ns, core, priority; flags 1 = hard limit
    guest_space,   // -
    vcpu,          // a MPIDR affinity, b index of its guest_space object
    thread,        // a index of its sched object (kNone: passive); process in `owner`. The process's first
                   //   thread object is started by init at Process::entry; the others by the process itself
                   //   through the Thread capability that its table gives it.
    cspace,        // the capability space of process `owner` (for the supervisor's own table only)
    log,           // the kernel's System object (rights: sys_log or sys_info or sys_power or sys_mint)
};

struct Object {
    const char* name;  // unique, e.g. "ring.business.out.data"
    Kind kind;
    std::uint8_t priority;
    std::uint8_t core;
    std::uint8_t flags;
    Index owner;         // process index or kSystemOwner
    std::uint16_t line;  // of the config file
    std::uint64_t a;
    std::uint64_t b;
    const char* module;  // Kind::file
};

struct Capability {  // one entry of a process's capability space
    std::uint32_t slot;
    Index object;
    std::uint8_t rights;  // abi::rights
    std::uint64_t badge;
    const char* name;  // what the process looks it up by in its environment, e.g. "uart.irq"
    std::uint16_t line;
};

struct Map {  // memory mapped into a process before it starts
    Index object;
    std::uint64_t offset;
    std::uint64_t bytes;
    std::uint64_t address;
    std::uint8_t rights;  // abi::rights::mem_*; never write and exec
    const char* name;     // environment name, e.g. "guest.ram"; "" = none
};

struct Segment {  // of the process's program (computed from its ELF file at build time)
    std::uint64_t file_offset;
    std::uint64_t file_bytes;
    std::uint64_t address;
    std::uint64_t bytes;  // in memory; the rest is zero
    std::uint8_t rights;
};

struct Setting {  // text handed to the process: key and value
    const char* key;
    const char* value;
};

enum class Role : std::uint8_t { driver, server, vmm };

struct Process {
    const char* name;  // "uart", "serial", "vmm.business"
    Role role;
    const char* guest;    // name of the guest (vmm), else ""
    const char* program;  // module with the ELF file
    std::uint64_t entry;
    std::uint64_t stack_bytes;  // its top is at kStackTop
    std::uint64_t pool_bytes;   // kernel memory for everything the process owns
    Index thread;               // object index of its first thread
    std::span<const Segment> segments;
    std::span<const Capability> capabilities;
    std::span<const Map> maps;
    std::span<const Setting> settings;
};

struct System {
    const char* name;
    const char* config_sha256;
    const char* claims_sha256;
    std::span<const Object> objects;
    std::span<const Process> processes;  // in start order: drivers, servers, VMMs
    std::span<const Capability> init;    // what the supervisor itself uses of the objects (its console rings ...)
    std::span<const Map> init_maps;
};

// Fixed addresses in every process.
inline constexpr std::uint64_t kEnvAddress = 0x1000;      // libs/rt/env.hpp, one read-only page
inline constexpr std::uint64_t kStackTop = 0x3fff'f000;   // an unmapped guard page lies above and below
inline constexpr std::uint64_t kProgramBase = 0x40'0000;  // programs are linked here
inline constexpr std::uint64_t kMapBase = 0x1'0000'0000;  // regions are laid out from here
// Fixed slots in every process; table entries start at kFirstSlot.
inline constexpr std::uint32_t kSelfThread = 1;  // its own first thread: control only for `receive`
inline constexpr std::uint32_t kFirstSlot = 16;

extern const System kSystem;

}  // namespace twain::tables
