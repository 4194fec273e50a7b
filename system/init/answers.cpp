// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The supervisor's answers that only look: ps, caps, stat, log.
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
constexpr std::string_view kPageSuffix = ".page";    // of a vCPU's state page
constexpr std::string_view kStatsSuffix = ".stats";  // of what a VMM counts

struct NamedCounter {
    std::string_view name;
    std::uint64_t vmm::VcpuCounters::*counter;
};
constexpr NamedCounter kCounters[] = {
    {"calls", &vmm::VcpuCounters::hypercall},
    {"mmio", &vmm::VcpuCounters::mmio},
    {"mmio_decoded", &vmm::VcpuCounters::mmio_decoded},
    {"sysreg", &vmm::VcpuCounters::sysreg},
    {"sgi", &vmm::VcpuCounters::sgi},
    {"aborted", &vmm::VcpuCounters::aborted},
    {"undefined", &vmm::VcpuCounters::undefined},
    {"eoi", &vmm::VcpuCounters::eoi},
    {"kicked", &vmm::VcpuCounters::kicked},
    {"other", &vmm::VcpuCounters::other},
    {"reflected", &vmm::VcpuCounters::reflected},
    {"filled", &vmm::VcpuCounters::filled},
    {"prefilled", &vmm::VcpuCounters::prefilled},
    {"tlbi", &vmm::VcpuCounters::tlbi},
};

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

// A vCPU's counters lie in its state page, which is memory of its VMM: mapped for a moment, read only.
void Supervisor::stat_vcpus(Line& line) {
    line.begin_array("vcpus");
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const tables::Object& o = builder_.system().objects[i];
        if (o.kind != Kind::vcpu || builder_.object_id(static_cast<Index>(i)) == 0) {
            continue;
        }
        const std::string_view name{o.name};
        for (std::size_t j = 0; j < builder_.system().objects.size(); ++j) {
            const std::string_view other{builder_.system().objects[j].name};
            const Piece& piece = builder_.memory(static_cast<Index>(j));
            if (!other.starts_with(name) || other.substr(name.size()) != kPageSuffix ||
                piece.bytes < sizeof(abi::VcpuPage)) {
                continue;
            }
            const char* bytes = builder_.map_window(piece.slot, piece.base, kPage, abi::rights::mem_read);
            if (bytes == nullptr) {
                break;
            }
            const auto* page = reinterpret_cast<const volatile abi::VcpuPage*>(bytes);
            line.begin_object();
            line.text("name", name);
            line.number("exits", page->exits);
            line.number("exits_vmm", page->exits_vmm);
            line.number("exits_irq", page->exits_irq);
            line.number("exits_wfi", page->exits_wfi);
            line.end_object();
            builder_.unmap_window();
            break;
        }
    }
    line.end_array();
}

// What the VMMs count: their own word, each field read once.
void Supervisor::stat_machines(Line& line) {
    line.begin_array("machines");
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const std::string_view name{builder_.system().objects[i].name};
        const Piece& piece = builder_.memory(static_cast<Index>(i));
        if (!name.ends_with(kStatsSuffix) || piece.bytes < sizeof(vmm::Stats)) {
            continue;
        }
        const char* bytes = builder_.map_window(piece.slot, piece.base, kPage, abi::rights::mem_read);
        if (bytes == nullptr) {
            continue;
        }
        const auto* stats = reinterpret_cast<const volatile vmm::Stats*>(bytes);
        const std::uint32_t vcpus = stats->vcpus;
        if (stats->magic == vmm::Stats::kMagic && vcpus <= vmm::kMaxVcpus) {
            line.begin_object();
            line.text("guest", name.substr(0, name.size() - kStatsSuffix.size()));
            line.number("boots", stats->boots);
            line.number("console_dropped", stats->console_dropped);
            line.begin_array("vcpus");
            for (std::uint32_t v = 0; v < vcpus; ++v) {
                line.begin_object();
                line.number("vcpu", v);
                for (const NamedCounter& counter : kCounters) {
                    line.number(counter.name, stats->vcpu[v].*counter.counter);
                }
                line.end_object();
            }
            line.end_array();
            line.end_object();
        }
        builder_.unmap_window();
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
    stat_vcpus(line);
    stat_machines(line);
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
