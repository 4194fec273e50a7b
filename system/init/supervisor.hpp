// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What init does once the system runs: takes faults (only the process that faulted stops), makes drivers and servers again
// that have died (restart.hpp), and obeys the control channel, a command line in, one JSON line out:
//
//   ps             processes: state, faults, restarts, memory, threads
//   caps [NAME]    every capability and mapping of every process (or of one), as the kernel knows them
//   stat           time used by cores, processes, vCPUs; exits of the vCPUs
//   kill NAME      ends a process (or the VMM of guest NAME) and takes everything back; a VMM stays dead
//   reboot NAME    the same, then makes it again from the tables
//   log            the kernel's log
//   off            switches the machine off
//
// Answers: {"ok":true,"cmd":...} or {"ok":false,"cmd":...,"error":...}. Besides, on its own account:
// {"event":"fault",...}, {"event":"restarted",...} and {"event":"failed",...}. "restart_ms" in an answer or event: it will
// be made again after that time.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "ring/byte_ring.hpp"
#include "system/init/builder.hpp"
#include "system/init/channel.hpp"
#include "system/init/command.hpp"
#include "system/init/json.hpp"
#include "system/init/restart.hpp"

namespace twain::init {

class Supervisor {
public:
    explicit Supervisor(Builder& builder) : builder_(builder) {}

    // Starts all processes in the tables' order. A process that cannot be made is reported and left out.
    void start_all();
    // Connects the control channel; needs create_system().
    void attach();
    [[noreturn]] void run();

    // One step of each, for tests.
    void obey(std::string_view line);
    void fault(std::uint64_t badge, const sys::Message& message);
    void take_commands();
    void restart_due();

private:
    using Line = Json<Channel>;

    // What a program said when it gave up (libs/rt/panic.hpp); empty if the fault is none of that.
    struct LastWords {
        std::array<char, 160> text{};
        std::size_t bytes = 0;
        std::string_view view() const { return {text.data(), bytes}; }
    };
    LastWords last_words(tables::Index process, sys::Thread thread, std::uint64_t pc);

    enum class Death { natural, violent };  // violent: somebody ended it
    bool serves_others(tables::Index process) const;
    bool start(tables::Index process);
    void stop(tables::Index process);
    bool restart(tables::Index process);
    void plan_restart(tables::Index process, Death death);
    void tell_restart(Line& line, tables::Index process) const;
    void take_uart_back(tables::Index process);
    void report(const Failure& failure, tables::Index process);
    void answer_error(std::string_view command, std::string_view error, std::string_view argument = {});
    void ps();
    void ps_process(Line& line, tables::Index process);
    void caps(std::string_view name);
    void caps_of(Line& line, sys::CSpace space, std::uint32_t slots);
    void maps_of(Line& line, tables::Index process);
    void stat();
    void stat_threads(Line& line);
    void stat_guests(Line& line);
    void stat_vcpu(Line& line, const tables::Process& vmm, tables::Index stats, unsigned number, std::uint64_t started);
    template <typename T>
    bool look(tables::Index object, std::uint64_t offset, T& copy);
    void kill(std::string_view name, bool again);
    void log();
    void off();

    Builder& builder_;
    Channel channel_;
    ring::ByteConsumer commands_;
    sys::Notification command_bell_;
    LineReader reader_;
    RestartPlan plan_;
    sys::Notification timer_;
    Milliseconds armed_ = RestartPlan::kNever;  // what timer_ is set to
};

}  // namespace twain::init
