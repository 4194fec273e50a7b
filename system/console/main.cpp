// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The console server: connects the console's logic with its rings. Wakes by bells only; when nothing moves it asks
// every peer for a bell, looks once more, and sleeps.
#include <array>
#include <cstdint>
#include <string_view>

#include "console/console.hpp"
#include "ring/port.hpp"
#include "rt/env.hpp"
#include "sys/sys.hpp"

namespace {

using namespace twain;
using namespace twain::console;

constexpr std::size_t kQuantum = 256;  // bytes of one source before the next has its turn

// What a source printed and the console has not yet taken.
struct Inlet {
    ring::InPort port;
    std::array<char, kQuantum> bytes{};
    std::size_t begin = 0;
    std::size_t end = 0;
};

class Server {
public:
    int run();

private:
    bool add_guests();
    bool pass_keys();
    bool pass_output(unsigned source);
    bool pass_terminal();
    void obey(const KeyResult& result);
    void send_command(std::string_view text);
    void mend(std::uint64_t bits);
    bool quiet();
    // Keys wait while their echo would have no place.
    bool deaf() { return console_.busy() || console_.output().space() < Output::kBytes / 2; }
    Milliseconds milliseconds() const { return sys::now() / ticks_per_ms_; }

    Console console_;
    unsigned sources_ = 0;  // supervisor and guests
    std::array<Inlet, kMaxGuests + 1> inlets_{};
    std::array<ring::OutPort, kMaxGuests + 1> keys_{};  // [0]: command lines to the supervisor
    ring::InPort uart_rx_;
    ring::OutPort uart_tx_;
    std::array<char, 64> typed_{};
    std::size_t typed_begin_ = 0;
    std::size_t typed_end_ = 0;
    std::uint64_t ticks_per_ms_ = 1;
};

bool Server::add_guests() {
    inlets_[0].port = ring::InPort{"supervisor.out"};
    keys_[0] = ring::OutPort{"supervisor.in"};
    sources_ = 1;
    std::string_view names = rt::setting("guests");
    while (!names.empty()) {
        const std::string_view name = names.substr(0, names.find(' '));
        names.remove_prefix(name.size() < names.size() ? name.size() + 1 : name.size());
        if (name.empty()) {
            continue;
        }
        const std::string_view label = rt::setting(ring::PortName{name, ".label"}.view(), name);
        if (!console_.add_guest(label, parse_color(rt::setting(ring::PortName{name, ".color"}.view())))) {
            return false;
        }
        inlets_[sources_].port = ring::InPort{ring::PortName{name, ".out"}.view()};
        keys_[sources_] = ring::OutPort{ring::PortName{name, ".in"}.view()};
        ++sources_;
    }
    return true;
}

void Server::send_command(std::string_view text) {
    std::array<char, 256> line{};
    const std::size_t count = text.copy(line.data(), line.size() - 1);
    line[count] = '\n';
    if (keys_[0].ring.space() > count) {
        (void)keys_[0].write({line.data(), count + 1});
    } else {
        console_.report(kSupervisor, "the supervisor does not listen");
    }
}

void Server::obey(const KeyResult& result) {
    switch (result.kind) {
        case KeyResult::Kind::none: break;
        case KeyResult::Kind::byte: (void)keys_[result.guest].write({&result.byte, 1}); break;  // full: the key is lost
        case KeyResult::Kind::command: send_command(result.command); break;
        case KeyResult::Kind::quit: send_command("off"); break;
    }
}

bool Server::pass_keys() {
    bool moved = false;
    while (!deaf()) {
        if (typed_begin_ == typed_end_) {
            typed_begin_ = 0;
            typed_end_ = uart_rx_.read(typed_);
            if (typed_end_ == 0) {
                break;
            }
        }
        obey(console_.key(typed_[typed_begin_++]));
        moved = true;
    }
    return moved;
}

bool Server::pass_output(unsigned source) {
    Inlet& inlet = inlets_[source];
    if (inlet.begin == inlet.end) {
        inlet.begin = 0;
        inlet.end = inlet.port.read(inlet.bytes);
    }
    const std::string_view text{inlet.bytes.data() + inlet.begin, inlet.end - inlet.begin};
    const std::size_t taken = console_.print(source, text, milliseconds());
    inlet.begin += taken;
    return taken != 0;
}

bool Server::pass_terminal() {
    const std::size_t written = uart_tx_.write(console_.output().view());
    console_.output().consume(written);
    return written != 0;
}

// A ring whose peer has published nonsense begins anew when that peer next rings, so that it costs nobody time.
void Server::mend(std::uint64_t bits) {
    for (unsigned i = 0; i < sources_; ++i) {
        if (inlets_[i].port.ring.broken() && (bits & inlets_[i].port.event) != 0) {
            inlets_[i].port.resync();
            console_.report(i, "its output ring was broken; some output is lost");
        }
        if (keys_[i].ring.broken() && (bits & keys_[i].event) != 0) {
            keys_[i].ring.resync();
        }
    }
    if (uart_rx_.ring.broken() && (bits & uart_rx_.event) != 0) {
        uart_rx_.resync();
    }
    if (uart_tx_.ring.broken() && (bits & uart_tx_.event) != 0) {
        uart_tx_.ring.resync();
    }
}

// Asks for all bells. True: nothing has come meanwhile.
bool Server::quiet() {
    bool sleep = deaf() || uart_rx_.ring.wait_for_data();
    for (unsigned i = 0; i < sources_; ++i) {
        if (inlets_[i].begin == inlets_[i].end) {
            sleep = inlets_[i].port.ring.wait_for_data() && sleep;
        }
    }
    if (!console_.output().view().empty()) {
        sleep = uart_tx_.ring.wait_for_space() && sleep;
    }
    return sleep;
}

int Server::run() {
    const sys::Notification events{rt::slot("events")};
    ticks_per_ms_ = sys::ticks_per_second() / 1000;
    ticks_per_ms_ += ticks_per_ms_ == 0 ? 1 : 0;
    uart_rx_ = ring::InPort{"uart.rx"};
    uart_tx_ = ring::OutPort{"uart.tx"};
    if (!add_guests()) {
        return 1;
    }
    console_.output().put("\r\x1b[K");  // what a predecessor has left unfinished on the terminal
    unsigned turn = 0;
    for (;;) {
        bool moved = pass_keys();
        moved = pass_output(kSupervisor) || moved;
        for (unsigned i = 1; i < sources_; ++i) {
            moved = pass_output(1 + (turn + i) % (sources_ - 1)) || moved;
        }
        ++turn;
        const Milliseconds next = console_.tick(milliseconds());
        moved = pass_terminal() || moved;
        if (moved || !quiet()) {
            mend(events.poll());
            continue;
        }
        const std::uint64_t deadline = next == 0 ? abi::kForever : sys::after_ms(next);
        const auto woken = events.wait(deadline);
        if (woken) {
            mend(*woken);
        } else if (woken.error() != abi::Error::timeout) {
            return 2;
        }
    }
}

// Not on the stack: a line buffer for each source.
constinit Server server;

}  // namespace

int main() { return server.run(); }
