// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The life of processes: made, taken apart, and, if they serve others, made again when they have died.
#include "sys/counter.hpp"
#include "system/init/log.hpp"
#include "system/init/supervisor.hpp"

namespace twain::init {

namespace {

using tables::Index;

constexpr sys::System kSystemObject{abi::kRootSystem};

constexpr std::uint64_t kNsPerMs = 1'000'000;

Milliseconds milliseconds() { return sys::to_ns(sys::now(), sys::ticks_per_second()) / kNsPerMs; }

}  // namespace

// Guests need drivers and servers. A VMM is its guest's alone: whether that guest starts anew is for its user to say.
bool Supervisor::serves_others(Index process) const {
    return builder_.system().processes[process].role != tables::Role::vmm;
}

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
        plan_.started(process, milliseconds());
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
    take_uart_back(process);
}

void Supervisor::take_uart_back(Index process) {
    if (builder_.drives_kernel_uart(process)) {
        (void)kSystemObject.reclaim_uart();
    }
}

bool Supervisor::restart(Index process) {
    stop(process);
    ++builder_.status(process).restarts;
    return start(process);
}

void Supervisor::plan_restart(Index process, Death death) {
    if (!serves_others(process)) {
        return;
    }
    if (death == Death::natural) {
        plan_.died(process, milliseconds());
    } else {
        plan_.ended(process, milliseconds());
    }
}

void Supervisor::tell_restart(Line& line, Index process) const {
    if (plan_.pending(process)) {
        line.number("restart_ms", plan_.left(process, milliseconds()));
    }
}

void Supervisor::restart_due() {
    for (Index process = 0; (process = plan_.due(milliseconds())) != tables::kNone;) {
        if (!restart(process)) {
            plan_.died(process, milliseconds());
            continue;
        }
        channel_.begin();
        Line line{channel_};
        line.text("event", "restarted");
        line.text("process", builder_.system().processes[process].name);
        line.number("restarts", builder_.status(process).restarts);
    }
    const Milliseconds next = plan_.next();
    if (next != armed_) {
        const Milliseconds now = milliseconds();
        const sys::Status armed =
            timer_.arm(next == RestartPlan::kNever ? abi::kForever : sys::after_ms(next > now ? next - now : 0));
        armed_ = armed ? next : RestartPlan::kNever;
    }
}

void Supervisor::start_all() {
    for (std::size_t i = 0; i < builder_.system().processes.size(); ++i) {
        (void)start(static_cast<Index>(i));
    }
}

}  // namespace twain::init
