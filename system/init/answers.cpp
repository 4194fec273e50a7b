// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The supervisor's answers that only look: ps, caps, stat, log.
#include <type_traits>

#include "sys/counter.hpp"
#include "system/init/names.hpp"
#include "system/init/supervisor.hpp"
#include "vmm/machine/counters.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::Kind;
using tables::kNone;

constexpr sys::System kSystemObject{abi::kRootSystem};
constexpr sys::CSpace kOwnSlots{abi::kRootCSpace};

// Of the state page, from its counters on.
struct VcpuExits {
    std::uint64_t all, vmm, irq, wfi;
};
static_assert(offsetof(abi::VcpuPage, exits_wfi) - offsetof(abi::VcpuPage, exits) == offsetof(VcpuExits, wfi));

// What a VMM has of its vCPU, by its name there: vcpu0.page
Index vcpu_object(const tables::Process& vmm, unsigned vcpu, std::string_view what) {
    for (const tables::Capability& each : vmm.capabilities) {
        std::string_view name{each.name};
        if (name.starts_with("vcpu") && name.size() > 5 && name[4] == static_cast<char>('0' + vcpu) &&
            name.substr(5) == what) {
            return each.object;
        }
    }
    return kNone;
}

}  // namespace

void Supervisor::ps_process(Line& line, Index process) {
    const tables::Process& p = builder_.system().processes[process];
    const ProcessStatus& status = builder_.status(process);
    line.begin_object();
    line.text("name", p.name);
    line.text("role", role_name(p.role));
    line.text("guest", p.guest);
    line.text("program", p.program);
    line.text("state", state_name(status.state));
    line.number("faults", status.faults);
    line.number("restarts", status.restarts);
    tell_restart(line, process);
    line.number("memory", builder_.memory_bytes(process));
    if (const auto pool = builder_.pool(process).stat()) {
        line.number("pool", pool->bytes);
        line.number("pool_free", pool->free);
    }
    if (status.faults != 0) {
        line.begin_object("fault");
        line.text("reason", fault_name(status.fault));
        line.text("thread", status.fault_thread);
        line.hex("address", status.fault_address);
        line.hex("pc", status.fault_pc);
        line.hex("esr", status.fault_esr);
        line.end_object();
    }
    line.begin_array("threads");
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const tables::Object& o = builder_.system().objects[i];
        if (o.owner != process || o.kind != Kind::thread) {
            continue;
        }
        if (const auto state = sys::Thread{builder_.object_slot(static_cast<Index>(i))}.state()) {
            line.begin_object();
            line.text("name", o.name);
            line.text("state", thread_state_name(state->state));
            line.hex("pc", state->pc);
            line.number("ticks", state->used);
            line.end_object();
        }
    }
    line.end_array();
    line.end_object();
}

void Supervisor::ps() {
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", "ps");
    line.text("system", builder_.system().name);
    line.begin_array("processes");
    for (std::size_t i = 0; i < builder_.system().processes.size(); ++i) {
        ps_process(line, static_cast<Index>(i));
    }
    line.end_array();
}

void Supervisor::caps_of(Line& line, sys::CSpace space, std::uint32_t slots) {
    line.begin_array("caps");
    for (abi::Slot slot = 1; slot < slots; ++slot) {
        const auto info = space.inspect(slot);
        if (!info || info->type == abi::Type::null) {
            continue;
        }
        line.begin_object();
        line.number("slot", slot);
        line.text("type", type_name(info->type));
        line.text("object", builder_.object_name(*info));
        line.begin_array("rights");
        for_each_right(info->type, info->rights, [&](std::string_view name) { line.text({}, name); });
        line.end_array();
        line.number("badge", info->badge);
        line.number("id", info->object);
        if (info->type == abi::Type::memory) {
            line.hex("base", info->base);
            line.number("bytes", info->bytes);
            line.boolean("device", (info->flags & abi::cspace::kInspectDevice) != 0);
        }
        line.end_object();
    }
    line.end_array();
}

// The mapping capabilities lie in init's own space; what they map is the process's.
void Supervisor::maps_of(Line& line, Index process) {
    const tables::Process& p = builder_.system().processes[process];
    line.begin_array("maps");
    const std::size_t own = builder_.own_mappings(process);
    for (std::size_t i = 0; i < builder_.mappings(process); ++i) {
        const auto info = kOwnSlots.inspect(builder_.mapping_slot(process, i));
        if (!info || info->type != abi::Type::mapping) {
            continue;
        }
        line.begin_object();
        line.text("object", i >= own                 ? builder_.system().objects[p.maps[i - own].object].name
                            : i < p.segments.size()  ? "program"
                            : i == p.segments.size() ? "stack"
                                                     : "environment");
        line.hex("address", info->address);
        line.hex("base", info->base);
        line.number("bytes", info->bytes);
        line.begin_array("rights");
        for_each_right(abi::Type::memory, info->rights, [&](std::string_view name) { line.text({}, name); });
        line.end_array();
        line.number("space", info->object);
        line.end_object();
    }
    line.end_array();
}

void Supervisor::caps(std::string_view name) {
    const Index only = builder_.find(name);
    if (!name.empty() && only == kNone) {
        answer_error("caps", "there is no process or guest of this name", name);
        return;
    }
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", "caps");
    line.text("system", builder_.system().name);
    line.text("config_sha256", builder_.system().config_sha256);
    line.text("claims_sha256", builder_.system().claims_sha256);
    line.begin_array("processes");
    for (std::size_t i = 0; i < builder_.system().processes.size(); ++i) {
        const Index process = static_cast<Index>(i);
        if (only != kNone && process != only) {
            continue;
        }
        line.begin_object();
        line.text("name", builder_.system().processes[i].name);
        line.text("state", state_name(builder_.status(process).state));
        caps_of(line, builder_.cspace(process), abi::cspace::kSlots);
        maps_of(line, process);
        line.end_object();
    }
    line.end_array();
}

void Supervisor::stat_threads(Line& line) {
    line.begin_array("threads");
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const tables::Object& o = builder_.system().objects[i];
        if (o.kind != Kind::thread || o.owner == tables::kSystemOwner) {
            continue;
        }
        const auto state = sys::Thread{builder_.object_slot(static_cast<Index>(i))}.state();
        if (!state) {
            continue;
        }
        line.begin_object();
        line.text("name", o.name);
        line.text("process", builder_.system().processes[o.owner].name);
        line.number("ticks", state->used);
        if (o.a != kNone) {
            if (const auto sched = sys::Sched{builder_.object_slot(static_cast<Index>(o.a))}.stat()) {
                line.number("core", sched->core);
                line.number("priority", sched->priority);
                line.number("budget", sched->budget);
                line.number("period", sched->period);
            }
        }
        line.end_object();
    }
    line.end_array();
}

// Shared memory of a VMM, mapped for a moment, read only: a copy of the T that lies at `offset`.
template <typename T>
bool Supervisor::look(Index object, std::uint64_t offset, T& copy) {
    if (object == kNone) {
        return false;
    }
    const Piece& piece = builder_.memory(object);
    if (piece.bytes < offset + sizeof(T) || offset % sizeof(std::uint64_t) != 0) {
        return false;
    }
    const char* bytes = builder_.map_window(piece.slot, piece.base, kPage, abi::rights::mem_read);
    if (bytes == nullptr) {
        return false;
    }
    static_assert(sizeof(T) % sizeof(std::uint64_t) == 0 && std::is_trivially_copyable_v<T>);
    std::uint64_t words[sizeof(T) / sizeof(std::uint64_t)];
    const auto* from = reinterpret_cast<const volatile std::uint64_t*>(bytes + offset);
    for (std::uint64_t& word : words) {
        word = *from++;
    }
    builder_.unmap_window();
    __builtin_memcpy(&copy, words, sizeof words);
    return true;
}

// The VMM's counters first, then the kernel's, then the clock: what is a part of another is not more than that.
void Supervisor::stat_vcpu(Line& line, const tables::Process& vmm, Index stats, unsigned number,
                           std::uint64_t started) {
    vmm::VcpuCounters counters{};
    VcpuExits exits{};
    (void)look(stats, sizeof(vmm::StatsHead) + number * sizeof counters, counters);
    (void)look(vcpu_object(vmm, number, ".page"), offsetof(abi::VcpuPage, exits), exits);
    const Index thread = vcpu_object(vmm, number, ".thread");
    const auto state = sys::Thread{thread == kNone ? abi::Slot{0} : builder_.object_slot(thread)}.state();
    const std::uint64_t now = sys::now();
    line.begin_object();
    line.number("vcpu", number);
    line.number("exits", exits.all);
    line.number("exits_vmm", exits.vmm);
    line.number("exits_irq", exits.irq);
    line.number("exits_wfi", exits.wfi);
    line.begin_object("causes");
    for (std::size_t i = 0; i < vmm::kCauses.size(); ++i) {
        line.begin_object(vmm::kCauses[i].name);
        line.text("part", vmm::kParts[static_cast<unsigned>(vmm::kCauses[i].part)]);
        line.number("exits", counters.cause[i].exits);
        line.number("ticks", counters.cause[i].ticks);
        line.end_object();
    }
    line.end_object();
    line.begin_object("events");
    for (std::size_t i = 0; i < vmm::kEvents.size(); ++i) {
        line.number(vmm::kEvents[i], counters.event[i]);
    }
    line.end_object();
    const vmm::Times times = vmm::times_of(counters, state ? state->used : 0, now > started ? now - started : 0);
    line.begin_object("time");
    line.number("native", times.native);
    for (std::size_t i = 0; i < times.part.size(); ++i) {
        line.number(vmm::kParts[i], times.part[i]);
    }
    line.number("suspended", times.suspended);
    line.number("wall", times.wall);
    line.end_object();
    line.end_object();
}

// What a VMM counts is its own word; it can lie about its guest, and about nobody else.
void Supervisor::stat_guests(Line& line) {
    line.begin_array("guests");
    for (std::size_t i = 0; i < builder_.system().processes.size(); ++i) {
        const tables::Process& process = builder_.system().processes[i];
        if (builder_.status(static_cast<Index>(i)).state != ProcessState::running) {
            continue;  // what it has left behind counts no more
        }
        for (const tables::Map& map : process.maps) {
            vmm::StatsHead head;
            if (std::string_view(map.name) != "stats" || !look(map.object, 0, head) ||
                head.magic != vmm::StatsHead::kMagic || head.vcpus > vmm::kMaxVcpus) {
                continue;
            }
            line.begin_object();
            line.text("guest", process.guest);
            line.number("boots", head.boots);
            line.number("console_dropped", head.console_dropped);
            line.begin_array("vcpus");
            for (unsigned v = 0; v < head.vcpus; ++v) {
                stat_vcpu(line, process, map.object, v, head.started);
            }
            line.end_array();
            line.end_object();
        }
    }
    line.end_array();
}

void Supervisor::stat() {
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", "stat");
    line.text("system", builder_.system().name);
    line.number("ticks", sys::now());
    std::uint64_t cores = 1;
    for (std::uint64_t core = 0; core < cores; ++core) {
        const auto info = kSystemObject.info(static_cast<unsigned>(core));
        if (!info) {
            break;
        }
        if (core == 0) {
            cores = info->cores < abi::kMaxCores ? info->cores : abi::kMaxCores;
            line.number("ticks_per_second", info->ticks_per_second);
            line.number("kernel_version", info->version);
            line.number("exception_level", info->exception_level);
            line.number("free_memory", builder_.free_memory());
            line.begin_array("cores");
        }
        line.begin_object();
        line.number("core", core);
        line.number("idle_ticks", info->idle_ticks);
        line.end_object();
        if (core + 1 == cores) {
            line.end_array();
        }
    }
    std::uint64_t own = 0;
    for (const abi::Slot slot : {abi::kRootThread, Builder::kSupervisorThread}) {
        const auto state = sys::Thread{slot}.state();
        own += state ? state->used : 0;
    }
    line.number("init_ticks", own);
    stat_threads(line);
    stat_guests(line);
}

void Supervisor::log() {
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", "log");
    line.begin_text("text");
    std::uint64_t position = 0;
    constexpr unsigned kMostPieces = 8192;
    for (unsigned i = 0; i < kMostPieces; ++i) {
        const auto piece = kSystemObject.log_read(position);
        if (!piece || piece->bytes == 0) {
            break;
        }
        line.more_text({piece->text, piece->bytes});
        position = piece->next;
    }
    line.end_text();
}

}  // namespace twain::init
