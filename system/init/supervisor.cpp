// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/supervisor.hpp"

#include "sys/counter.hpp"
#include "system/init/log.hpp"
#include "system/init/names.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::kNone;

constexpr sys::System kSystemObject{abi::kRootSystem};
constexpr std::uint32_t kStaysStopped = 1;  // label of the answer to a fault

ring::Memory ring_memory(const tables::Map* data, const tables::Map* head) {
    if (data == nullptr || head == nullptr) {
        return {};
    }
    return {reinterpret_cast<void*>(data->address), data->bytes, reinterpret_cast<void*>(head->address), head->bytes};
}

}  // namespace

void Supervisor::attach() {
    const sys::Notification events{builder_.init_capability("events")};
    channel_ = Channel{ring_memory(builder_.init_map("supervisor.out.data"), builder_.init_map("supervisor.out.head")),
                       sys::Notification{builder_.init_capability("supervisor.out.bell")}, events};
    commands_ = ring::ByteConsumer{
        ring_memory(builder_.init_map("supervisor.in.data"), builder_.init_map("supervisor.in.head"))};
    command_bell_ = sys::Notification{builder_.init_capability("supervisor.in.bell")};
    timer_ = sys::Notification{builder_.init_capability("timer")};
}

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
    if (!again) {
        stop(process);
        plan_restart(process, Death::violent);
    } else if (!restart(process)) {
        channel_.begin();
        answer_error(command, "it could not be made again; see the event before", name);
        return;
    }
    channel_.begin();
    Line line{channel_};
    line.boolean("ok", true);
    line.text("cmd", command);
    line.text("process", builder_.system().processes[process].name);
    line.text("state", state_name(builder_.status(process).state));
    line.number("restarts", builder_.status(process).restarts);
    tell_restart(line, process);
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
    for (;;) {
        restart_due();
        const sys::Received received = faults.reply_wait(sys::message(kStaysStopped));
        if (received.is_note()) {
            take_commands();
        } else if (received.ok()) {
            fault(received.badge, received.message);
        } else {
            log_failure({"waiting for faults", "", received.status()});
        }
    }
}

}  // namespace twain::init
