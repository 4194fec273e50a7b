// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/supervisor.hpp"

#include <cstring>

#include "rt/panic.hpp"
#include "sys/counter.hpp"
#include "system/init/names.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::Kind;
using tables::kNone;

constexpr sys::System kSystemObject{abi::kRootSystem};
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
    commands_ = ring::ByteConsumer{
        ring_memory(builder_.init_map("supervisor.in.data"), builder_.init_map("supervisor.in.head"))};
    command_bell_ = sys::Notification{builder_.init_capability("supervisor.in.bell")};
}

Supervisor::LastWords Supervisor::last_words(Index process, sys::Thread thread, std::uint64_t pc) {
    LastWords words;
    std::uint32_t instruction = 0;
    char bytes[sizeof instruction] = {};
    std::uint64_t registers[5] = {};
    const bool read = builder_.read_process(process, pc, bytes) == sizeof bytes;
    std::memcpy(&instruction, bytes, sizeof instruction);
    if (!read || instruction != rt::kPanicUdf || !thread.read(0, registers)) {
        return words;
    }
    for (const unsigned i : {0u, 2u}) {
        const std::size_t room = words.text.size() - words.bytes;
        const std::size_t size = registers[i + 1] < room ? static_cast<std::size_t>(registers[i + 1]) : room;
        words.bytes += builder_.read_process(process, registers[i], {words.text.data() + words.bytes, size});
    }
    return words;
}

void Supervisor::fault(std::uint64_t badge, const sys::Message& message) {
    if (badge == 0 || badge > builder_.system().processes.size()) {
        return;
    }
    const Index process = static_cast<Index>(badge - 1);
    const char* name = builder_.system().processes[process].name;
    ProcessStatus& status = builder_.status(process);
    const char* thread = "";
    LastWords words;
    for (std::size_t i = 0; i < builder_.system().objects.size(); ++i) {
        const tables::Object& o = builder_.system().objects[i];
        if (o.owner != process || o.kind != Kind::thread) {
            continue;
        }
        if (builder_.object_id(static_cast<Index>(i)) == message.word[4]) {
            thread = o.name;
            words = last_words(process, sys::Thread{builder_.object_slot(static_cast<Index>(i))}, message.word[2]);
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
    sys::klog(kSystemObject, words.bytes != 0 ? ": " : "");
    sys::klog(kSystemObject, words.view());
    sys::klog(kSystemObject, "\n");

    if (builder_.drives_kernel_uart(process)) {
        (void)kSystemObject.reclaim_uart();
    }
    channel_.begin();
    Line line{channel_};
    line.text("event", "fault");
    line.text("process", name);
    line.text("thread", thread);
    line.text("reason", words.bytes != 0 ? "panic" : fault_name(status.fault));
    if (words.bytes != 0) {
        line.text("message", words.view());
    }
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
