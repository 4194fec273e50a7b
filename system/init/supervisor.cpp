// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/supervisor.hpp"

#include <cstring>

#include "system/init/names.hpp"
#include "sys/counter.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::kNone;
using tables::Kind;

constexpr sys::System kSystemObject{abi::kRootSystem};
constexpr sys::CSpace kOwnSlots{abi::kRootCSpace};
constexpr std::uint32_t kStaysStopped = 1;  // label of the answer to a fault

ring::Memory ring_memory(const tables::Map* data, const tables::Map* head) {
    if (data == nullptr || head == nullptr) {
        return {};
    }
    return {reinterpret_cast<void*>(data->address), data->bytes, reinterpret_cast<void*>(head->address), head->bytes};
}

void klog_number(std::uint64_t number, bool hex) {
    char digits[20];
    std::size_t at = sizeof digits;
    const std::uint64_t base = hex ? 16 : 10;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    if (hex) {
        sys::klog(kSystemObject, "0x");
    }
    sys::klog(kSystemObject, {digits + at, sizeof digits - at});
}

}  // namespace

void log_failure(const Failure& failure) {
    sys::klog(kSystemObject, "init: ");
    sys::klog(kSystemObject, failure.step);
    if (*failure.name != 0) {
        sys::klog(kSystemObject, " ");
        sys::klog(kSystemObject, failure.name);
    }
    sys::klog(kSystemObject, ": ");
    sys::klog(kSystemObject, sys::error_name(failure.status.error()));
    sys::klog(kSystemObject, " (argument ");
    klog_number(failure.status.argument(), false);
    sys::klog(kSystemObject, ")\n");
}

// --- processes -------------------------------------------------------------------------------

void Supervisor::report(const Failure& failure, Index process) {
    log_failure(failure);
    channel_.begin();
    Line line{channel_};
    line.text("event", "failed");
    line.text("process", builder_.system().processes[process].name);
    line.text("step", failure.step);
    line.text("object", failure.name);
    line.text("reason", sys::error_name(failure.status.error()));
    line.number("argument", failure.status.argument());
}

bool Supervisor::start(Index process) {
    const bool uart = builder_.drives_kernel_uart(process);
    if (uart) {
        (void)kSystemObject.release_uart();
    }
    const Failure failure = builder_.build(process);
    if (!failure) {
        return true;
    }
    if (uart) {
        (void)kSystemObject.reclaim_uart();
    }
    report(failure, process);
    return false;
}

void Supervisor::stop(Index process) {
    if (const Failure failure = builder_.dismantle(process)) {
        report(failure, process);
    }
    if (builder_.drives_kernel_uart(process)) {
        (void)kSystemObject.reclaim_uart();
    }
}

void Supervisor::start_all() {
    for (std::size_t i = 0; i < builder_.system().processes.size(); ++i) {
        (void)start(static_cast<Index>(i));
    }
}

void Supervisor::attach() {
    const sys::Notification events{builder_.init_capability("events")};
    channel_ = Channel{ring_memory(builder_.init_map("supervisor.out.data"), builder_.init_map("supervisor.out.head")),
                       sys::Notification{builder_.init_capability("supervisor.out.bell")}, events};
    commands_ = ring::ByteConsumer{ring_memory(builder_.init_map("supervisor.in.data"), builder_.init_map("supervisor.in.head"))};
    command_bell_ = sys::Notification{builder_.init_capability("supervisor.in.bell")};
}

void Supervisor::fault(std::uint64_t badge, const sys::Message& message) {
    if (badge == 0 || badge > builder_.system().processes.size()) {
        return;
    }
    const Index process = static_cast<Index>(badge - 1);
    const char* name = builder_.system().processes[process].name;
    ProcessStatus& status = builder_.status(process);
    const char* thread = "";
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const tables::Object& o = builder_.system().objects[i];
        if (o.owner != process || o.kind != Kind::thread) {
            continue;
        }
        if (builder_.object_id(static_cast<Index>(i)) == message.word[4]) {
            thread = o.name;
        } else {
            (void)sys::Thread{builder_.object_slot(static_cast<Index>(i))}.stop();  // the process stops as a whole
        }
    }
    status.state = ProcessState::faulted;
    ++status.faults;
    status.fault = static_cast<abi::FaultKind>(message.label());
    status.fault_esr = message.word[0];
    status.fault_address = message.word[1];
    status.fault_pc = message.word[2];
    status.fault_thread = thread;

    sys::klog(kSystemObject, "init: ");
    sys::klog(kSystemObject, name);
    sys::klog(kSystemObject, " stopped: ");
    sys::klog(kSystemObject, fault_name(status.fault));
    sys::klog(kSystemObject, " fault at ");
    klog_number(status.fault_address, true);
    sys::klog(kSystemObject, ", pc ");
    klog_number(status.fault_pc, true);
    sys::klog(kSystemObject, ", esr ");
    klog_number(status.fault_esr, true);
    sys::klog(kSystemObject, "\n");

    if (builder_.drives_kernel_uart(process)) {
        (void)kSystemObject.reclaim_uart();
    }
    channel_.begin();
    Line line{channel_};
    line.text("event", "fault");
    line.text("process", name);
    line.text("thread", thread);
    line.text("reason", fault_name(status.fault));
    line.hex("address", status.fault_address);
    line.hex("pc", status.fault_pc);
    line.hex("sp", message.word[3]);
    line.hex("esr", status.fault_esr);
}

// --- commands --------------------------------------------------------------------------------

void Supervisor::answer_error(std::string_view command, std::string_view error, std::string_view argument) {
    Line line{channel_};
    line.boolean("ok", false);
    line.text("cmd", command);
    if (!argument.empty()) {
        line.text("name", argument);
    }
    line.text("error", error);
}

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
            if (other.size() != name.size() + 5 || other.substr(0, name.size()) != name || other.substr(name.size()) != ".page" ||
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
    stat_threads(line);
    stat_vcpus(line);
}

void Supervisor::kill(std::string_view name, bool again) {
    const std::string_view command = again ? "reboot" : "kill";
    const Index process = builder_.find(name);
    if (process == kNone) {
        answer_error(command, "there is no process or guest of this name", name);
        return;
    }
    stop(process);
    if (again) {
        ++builder_.status(process).restarts;
        if (!start(process)) {
            channel_.begin();
            answer_error(command, "it could not be made again; see the event before", name);
            return;
        }
    }
    channel_.begin();
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", command);
    line.text("process", builder_.system().processes[process].name);
    line.text("state", state_name(builder_.status(process).state));
    line.number("restarts", builder_.status(process).restarts);
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

void Supervisor::off() {
    {
        Line line{channel_};
        line.boolean("ok", true);
        line.text("cmd", "off");
    }
    channel_.drain();
    (void)sys::Notification{builder_.init_capability("events")}.wait(sys::after_ms(20));  // the driver's FIFO
    const sys::Status status = kSystemObject.power(abi::system::kPowerOff);
    log_failure({"switching off", "", status});
    channel_.begin();
    answer_error("off", sys::error_name(status.error()));
}

void Supervisor::obey(std::string_view text) {
    const Command command = parse_command(text);
    channel_.begin();
    switch (command.verb) {
        case Verb::ps: ps(); break;
        case Verb::caps: caps(command.argument); break;
        case Verb::stat: stat(); break;
        case Verb::kill: kill(command.argument, false); break;
        case Verb::reboot: kill(command.argument, true); break;
        case Verb::log: log(); break;
        case Verb::off: off(); break;
        case Verb::help: {
            Line line{channel_};
            line.boolean("ok", true);
            line.text("cmd", "help");
            line.text("commands", "ps caps [NAME] stat kill NAME reboot NAME log off help");
            break;
        }
        case Verb::bad: answer_error(command.word, command.error); break;
    }
}

void Supervisor::take_commands() {
    if (commands_.broken()) {
        (void)commands_.resync();
    }
    // A bounded piece at a time; faults come between.
    char bytes[64];
    do {
        const auto read = commands_.read(bytes);
        if (read.bell) {
            (void)command_bell_.signal();
        }
        for (std::size_t i = 0; i < read.bytes; ++i) {
            if (const auto line = reader_.put(bytes[i])) {
                if (reader_.too_long()) {
                    channel_.begin();
                    answer_error("", "the command line is too long");
                } else {
                    obey(*line);
                }
            }
        }
    } while (!commands_.wait_for_data());
}

void Supervisor::run() {
    const sys::Endpoint faults{Builder::kFaultEndpoint};
    take_commands();
    sys::Received received = faults.wait();
    for (;;) {
        if (received.is_note()) {
            take_commands();
            received = faults.wait();
        } else if (received.ok()) {
            fault(received.badge, received.message);
            received = faults.reply_wait(sys::message(kStaysStopped));
        } else {
            log_failure({"waiting for faults", "", received.status()});
            received = faults.wait();
        }
    }
}

}  // namespace twain::init
