// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A process's end of a byte ring, found by its name in the environment: regions R.data and R.head, the
// peer's bell R.bell, and the bit R.event by which the peer rings this process's own events.
#pragma once

#include <string_view>

#include "ring/byte_ring.hpp"
#include "rt/env.hpp"
#include "sys/handle.hpp"

namespace twain::ring {

// "<ring><suffix>" without a heap.
class PortName {
public:
    PortName(std::string_view ring, std::string_view suffix) {
        append(ring);
        append(suffix);
    }
    std::string_view view() const { return {text_, length_}; }

private:
    void append(std::string_view part) {
        for (const char c : part) {
            if (length_ < sizeof text_) {
                text_[length_++] = c;
            }
        }
    }
    char text_[64] = {};
    std::size_t length_ = 0;
};

inline Memory port_memory(std::string_view ring) {
    const rt::Region data = rt::region(PortName{ring, ".data"}.view());
    const rt::Region head = rt::region(PortName{ring, ".head"}.view());
    return {reinterpret_cast<void*>(data.address), data.bytes, reinterpret_cast<void*>(head.address), head.bytes};
}

inline sys::Notification port_bell(std::string_view ring) {
    return sys::Notification{rt::slot(PortName{ring, ".bell"}.view())};
}

// The mask of this ring's bit in the process's events; 0 if the peer never rings.
inline std::uint64_t port_event(std::string_view ring) {
    unsigned bit = 0;
    const std::string_view text = rt::setting(PortName{ring, ".event"}.view());
    for (const char c : text) {
        bit = bit < 64 && c >= '0' && c <= '9' ? bit * 10 + static_cast<unsigned>(c - '0') : 64;
    }
    return !text.empty() && bit < 64 ? std::uint64_t{1} << bit : 0;
}

class OutPort {
public:
    OutPort() = default;
    explicit OutPort(std::string_view name) : ring(port_memory(name)), bell(port_bell(name)), event(port_event(name)) {}

    // Writes what fits and rings the bell if the peer sleeps. The number of bytes written.
    std::size_t write(std::string_view text) {
        const ByteProducer::Written done = ring.write(text);
        if (done.bell) {
            (void)bell.signal();
        }
        return done.bytes;
    }

    ByteProducer ring;
    sys::Notification bell;
    std::uint64_t event = 0;
};

class InPort {
public:
    InPort() = default;
    explicit InPort(std::string_view name) : ring(port_memory(name)), bell(port_bell(name)), event(port_event(name)) {}

    // Reads what is there and rings the bell if the peer waits for space. The number of bytes read.
    std::size_t read(std::span<char> buffer) {
        const ByteConsumer::Read done = ring.read(buffer);
        if (done.bell) {
            (void)bell.signal();
        }
        return done.bytes;
    }
    // Drops what is in the ring (a quarantined ring begins anew).
    void resync() {
        if (ring.resync()) {
            (void)bell.signal();
        }
    }

    ByteConsumer ring;
    sys::Notification bell;
    std::uint64_t event = 0;
};

}  // namespace twain::ring
