// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The supervisor's end of the control channel: JSON lines out through a ring of the console server, which need not be
// alive: a reader that does not read for a while is given up on, never waited for.
#pragma once

#include <cstdint>
#include <string_view>

#include "ring/byte_ring.hpp"
#include "sys/counter.hpp"
#include "sys/handle.hpp"

namespace twain::init {

class Channel {
public:
    static constexpr std::uint64_t kPatienceMs = 1000;

    Channel() = default;
    Channel(ring::Memory memory, sys::Notification bell, sys::Notification events)
        : ring_(memory), bell_(bell), events_(events) {}

    // Begins a line. If the last one was cut off and the reader has not moved since, this one is lost too.
    void begin() {
        if (ring_.broken()) {
            ring_.resync();
        }
        lost_ = !ring_.valid() || (cut_ && ring_.space() == 0);
        if (cut_ && !lost_) {
            cut_ = false;
            write("\n");
        }
    }

    void write(std::string_view text) {
        while (!text.empty() && !lost_) {
            const auto done = ring_.write(text);
            text.remove_prefix(done.bytes);
            if (done.bell) {
                (void)bell_.signal();
            }
            if (text.empty() || !ring_.wait_for_space()) {
                continue;
            }
            if (ring_.broken() || !events_.wait(sys::after_ms(kPatienceMs))) {
                lost_ = true;
                cut_ = true;
            }
        }
    }

    // Waits, for a moment, until the reader has taken all.
    void drain() {
        for (unsigned i = 0; i < kDrainSteps && ring_.valid() && ring_.space() < ring_.capacity(); ++i) {
            (void)events_.wait(sys::after_ms(kDrainStepMs));
        }
    }

private:
    static constexpr unsigned kDrainSteps = 50;
    static constexpr std::uint64_t kDrainStepMs = 10;

    ring::ByteProducer ring_;
    sys::Notification bell_;
    sys::Notification events_;
    bool lost_ = true;  // the rest of this line goes nowhere
    bool cut_ = false;  // the last line has no end
};

}  // namespace twain::init
