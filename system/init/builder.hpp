// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Carries out the lowered tables: memory, objects, mappings, capabilities, threads; takes a process apart again
// and rebuilds it. Knows no policy: when to do what is the supervisor's business.
//
// Memory of a process: a pool (every kernel object, page table and capability slot of it), an image (its program's
// segments, stack and environment) and the ram objects that it owns. These are exclusive pieces that init
// keeps for it, so taking a process apart is: revoke them. Shared objects belong to the system and stay.
//
// Slots of init's capability space: the kernel's gifts below kRootFree, kFixed*, then one slot for each object,
// then some for each process, then those that splitting memory takes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/api/abi.hpp"
#include "random/random.hpp"
#include "sys/handle.hpp"
#include "system/init/stock.hpp"
#include "system/init/tables.hpp"

namespace twain::init {

inline constexpr std::size_t kMaxObjects = 1024;
inline constexpr std::size_t kMaxProcesses = 32;
inline constexpr std::size_t kMaxInitCapabilities = 128;
inline constexpr std::uint64_t kSystemPoolBytes = std::uint64_t{1} << 20;

// Where init maps memory for a moment, to fill or read it.
struct Windows {
    std::uint64_t memory = 0x20'0000'0000;
    std::uint64_t file = 0x30'0000'0000;
};

// What went wrong: the step, the table's name for the thing, the kernel's answer.
struct Failure {
    const char* step = nullptr;
    const char* name = "";
    sys::Status status;
    constexpr explicit operator bool() const { return step != nullptr; }
};

constexpr Failure check(sys::Status status, const char* step, const char* name) {
    return status ? Failure{} : Failure{step, name, status};
}

// Objects that are physical memory: they stay when their owner is taken apart.
constexpr bool is_memory(tables::Kind kind) {
    return kind == tables::Kind::ram || kind == tables::Kind::file || kind == tables::Kind::device;
}

enum class ProcessState : std::uint8_t { absent, running, faulted, killed, failed };

struct ProcessStatus {
    ProcessState state = ProcessState::absent;
    std::uint32_t faults = 0;
    std::uint32_t restarts = 0;
    abi::FaultKind fault = abi::FaultKind::none;  // the last one
    std::uint64_t fault_address = 0;
    std::uint64_t fault_pc = 0;
    std::uint64_t fault_esr = 0;
    const char* fault_thread = "";
};

class Builder {
public:
    Builder(const tables::System& system, const abi::BootInfo& boot, Windows windows = {});

    // Once: checks the tables' bounds, carves all memory, makes what belongs to the system.
    Failure create_system();
    // Makes the process from nothing and starts its first thread.
    Failure build(tables::Index process);
    // Takes it apart: stops its threads and takes back everything it has. Works in every state.
    Failure dismantle(tables::Index process);

    const tables::System& system() const { return system_; }
    ProcessStatus& status(tables::Index process) { return processes_[process].status; }
    // A process by its name or, for a VMM, by its guest's. kNone: there is none.
    tables::Index find(std::string_view name) const;
    // The process whose device is the UART that the kernel prints on.
    bool drives_kernel_uart(tables::Index process) const;

    abi::Slot object_slot(tables::Index object) const { return slots_[object]; }
    std::uint64_t object_id(tables::Index object) const { return ids_[object]; }
    const Piece& memory(tables::Index object) const { return memory_[object]; }
    // The table's name of what inspect() describes; "" if it is nobody's.
    const char* object_name(const sys::CSpace::Info& info) const;

    sys::CSpace cspace(tables::Index process) const { return sys::CSpace{processes_[process].cspace}; }
    sys::Pool pool(tables::Index process) const { return sys::Pool{processes_[process].pool}; }
    std::uint64_t memory_bytes(tables::Index process) const;
    // Slots of the process's mappings in init's own space: its program's, stack's, environment's, then the table's.
    abi::Slot mapping_slot(tables::Index process, std::size_t number) const {
        return processes_[process].first_mapping + static_cast<abi::Slot>(number);
    }
    std::size_t own_mappings(tables::Index process) const { return system_.processes[process].segments.size() + 2; }
    std::size_t mappings(tables::Index process) const {
        return own_mappings(process) + system_.processes[process].maps.size();
    }

    abi::Slot init_capability(std::string_view name) const;  // 0: there is none
    const tables::Map* init_map(std::string_view name) const;
    std::uint64_t free_memory() const { return stock_.free_bytes(); }

    static constexpr abi::Slot kFaultEndpoint = abi::kRootFree;
    static constexpr abi::Slot kSupervisorThread = abi::kRootFree + 1;
    static constexpr abi::Slot kSupervisorSched = abi::kRootFree + 2;
    static constexpr abi::Slot kParkingNote = abi::kRootFree + 3;
    static constexpr abi::Slot kSystemPool = abi::kRootFree + 4;
    static constexpr abi::Slot kWindowMapping = abi::kRootFree + 5;
    static constexpr abi::Slot kFileMapping = abi::kRootFree + 6;
    static constexpr abi::Slot kFirstDynamic = abi::kRootFree + 16;

    // Maps a piece of memory at a window until unmap_window(). nullptr: the kernel refused (see last_status()).
    char* map_window(abi::Slot memory, std::uint64_t base, std::uint64_t bytes, sys::Rights rights);
    void unmap_window();
    // Copies from the process's program or stack, for a post mortem. The number of bytes: `address` may be anything.
    std::size_t read_process(tables::Index process, std::uint64_t address, std::span<char> to);
    sys::Status last_status() const { return last_; }

private:
    struct Process {
        Piece pool_memory;
        Piece image;
        abi::Slot pool = 0;
        abi::Slot cspace = 0;
        abi::Slot space = 0;
        abi::Slot fault = 0;
        abi::Slot first_mapping = 0;
        ProcessStatus status;
    };
    struct Splitter {
        Builder* builder;
        sys::Status split(abi::Slot memory, std::uint64_t keep, abi::Slot rest) {
            return sys::Memory{memory}.split(keep, rest);
        }
        abi::Slot next_slot() { return builder->next_slot_++; }
    };

    Failure check_bounds() const;
    void assign_slots();
    Failure take_ram();
    Failure carve();
    Failure carve_object(tables::Index object);
    Failure make_system_objects();
    Failure make_init_view();
    Failure make_object(tables::Index object, sys::Pool pool);
    Failure make_objects(tables::Index owner, sys::Pool pool);
    Failure clear(const Piece& piece, const char* name);
    Failure load(tables::Index process);
    Failure copy_segments(const tables::Process& process, char* image);
    Failure map_image(tables::Index process);
    Failure map_regions(tables::Index process);
    Failure configure_threads(tables::Index process);
    Failure give_capabilities(tables::Index process);
    Failure build_steps(tables::Index process);
    const abi::Module* find_module(const char* name) const;
    void close_windows();
    void learn_id(tables::Index object);
    bool exists(tables::Index object) const { return memory_[object].bytes != 0; }

    const tables::System& system_;
    const abi::BootInfo& boot_;
    Windows windows_;
    Stock<Splitter> stock_;
    abi::Slot next_slot_ = kFirstDynamic;
    sys::Status last_;
    Random random_;  // of which each process gets its own seed
    bool window_open_ = false;
    bool file_open_ = false;
    std::uint64_t frequency_ = 0;
    std::array<abi::Slot, kMaxObjects> slots_{};
    std::array<std::uint64_t, kMaxObjects> ids_{};
    std::array<Piece, kMaxObjects> memory_{};  // ram, file, device
    std::array<Process, kMaxProcesses> processes_{};
    std::array<abi::Slot, kMaxInitCapabilities> init_slots_{};
};

// Bytes of a process's image in memory, and where its parts lie in it.
struct ImageLayout {
    std::uint64_t stack = 0;
    std::uint64_t environment = 0;
    std::uint64_t environment_bytes = 0;
    std::uint64_t bytes = 0;
};
ImageLayout image_layout(const tables::System& system, const tables::Process& process);

}  // namespace twain::init
