// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A process faults: its other threads are stopped, and whoever looks at the log or the console learns which, where and why.
#include <cstring>

#include "rt/panic.hpp"
#include "system/init/log.hpp"
#include "system/init/names.hpp"
#include "system/init/supervisor.hpp"

namespace twain::init {

using tables::Index;
using tables::Kind;

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

    log_text("init: ");
    log_text(name);
    log_text(" stopped: ");
    log_text(fault_name(status.fault));
    log_text(" fault at ");
    log_hex(status.fault_address);
    log_text(", pc ");
    log_hex(status.fault_pc);
    log_text(", esr ");
    log_hex(status.fault_esr);
    log_text(words.bytes != 0 ? ": " : "");
    log_text(words.view());
    log_text("\n");

    take_uart_back(process);
    plan_restart(process, Death::natural);
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
    tell_restart(line, process);
}

}  // namespace twain::init
