// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The UART driver against a fake PL011, honest and not.
#include <catch2/catch.hpp>

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "drivers/pl011/pl011.hpp"

using namespace twain;
using namespace twain::pl011;

namespace {

struct Device {
    std::deque<std::uint32_t> input;
    std::string output;
    std::size_t fifo_space = 16;  // of the transmitter
    std::uint32_t mask = 0;
    bool all_ones = false;
    bool never_empty = false;
    unsigned data_reads = 0;
};

struct Bus {
    Device* device;
    std::uint32_t read(std::uint32_t offset) {
        if (device->all_ones) {
            return ~0u;
        }
        switch (offset) {
            case reg::kData: {
                ++device->data_reads;
                if (device->input.empty()) {
                    return 'X';
                }
                const std::uint32_t c = device->input.front();
                device->input.pop_front();
                return c;
            }
            case reg::kFlags:
                return (device->input.empty() && !device->never_empty ? kFlagReceiveEmpty : 0) |
                       (device->fifo_space == 0 ? kFlagTransmitFull : 0) |
                       (device->fifo_space == 16 ? kFlagTransmitEmpty : 0);
            case reg::kMasked: return device->input.empty() ? 0 : kIntReceive & device->mask;
            default: return 0;
        }
    }
    void write(std::uint32_t offset, std::uint32_t value) {
        if (offset == reg::kData) {
            REQUIRE(device->fifo_space > 0);
            --device->fifo_space;
            device->output.push_back(static_cast<char>(value));
        } else if (offset == reg::kMask) {
            device->mask = value;
        }
    }
};

struct Ring {
    explicit Ring(std::size_t bytes = 64) : data(ring::kHeaderBytes + bytes), head(sizeof(ring::ConsumerPage)) {}
    ring::Memory memory() { return {data.data(), data.size(), head.data(), head.size()}; }
    std::vector<char> data;
    std::vector<char> head;
};

std::string drain(ring::ByteConsumer& ring) {
    std::array<char, 256> buffer{};
    return {buffer.data(), ring.read(buffer).bytes};
}

}  // namespace

TEST_CASE("pl011: input goes into the ring, breaks do not") {
    Device device;
    Ring memory;
    ring::ByteProducer producer(memory.memory());
    ring::ByteConsumer consumer(memory.memory());
    Uart uart{Bus{&device}};
    uart.start();
    CHECK((device.mask & kIntReceive) != 0);
    CHECK_FALSE(uart.acknowledge());
    device.input = {'h', 'i', kDataBreak, kDataOverrun | '!'};
    CHECK(uart.acknowledge());
    CHECK(uart.receive(producer).moved);
    CHECK(drain(consumer) == "hi!");
    CHECK(uart.counters().overruns == 1);
    CHECK(uart.counters().received == 3);
}

TEST_CASE("pl011: a full ring masks the receiver until there is space") {
    Device device;
    Ring memory(8);
    ring::ByteProducer producer(memory.memory());
    ring::ByteConsumer consumer(memory.memory());
    Uart uart{Bus{&device}};
    uart.start();
    for (const char c : std::string("0123456789ab")) {
        device.input.push_back(static_cast<std::uint32_t>(c));
    }
    CHECK_FALSE(uart.receive(producer).again);
    CHECK((device.mask & kIntReceive) == 0);
    std::array<char, 100> buffer{};
    const auto read = consumer.read(buffer);
    CHECK(read.bytes == 8);
    CHECK(read.bell);
    uart.receive(producer);
    CHECK((device.mask & kIntReceive) != 0);
    CHECK(drain(consumer) == "89ab");
}

TEST_CASE("pl011: output waits for the transmit interrupt when the FIFO is full and nothing is lost") {
    Device device;
    Ring memory(128);
    ring::ByteProducer producer(memory.memory());
    ring::ByteConsumer consumer(memory.memory());
    Uart uart{Bus{&device}};
    uart.start();
    std::string text;
    for (unsigned i = 0; i < 100; ++i) {
        text.push_back(static_cast<char>('!' + i % 90));
    }
    CHECK(producer.write(text).bytes == 100);
    CHECK_FALSE(uart.transmit(consumer).again);
    CHECK((device.mask & kIntTransmit) != 0);
    for (unsigned i = 0; i < 20; ++i) {
        device.fifo_space = 16;
        while (uart.transmit(consumer).again) {
        }
    }
    CHECK(device.output == text);
    CHECK((device.mask & kIntTransmit) == 0);
}

TEST_CASE("pl011: what a driver that dies has not sent, its successor sends") {
    Device device;
    Ring memory(128);
    ring::ByteProducer producer(memory.memory());
    std::string text;
    for (unsigned i = 0; i < 90; ++i) {
        text.push_back(static_cast<char>('!' + i));
    }
    CHECK(producer.write(text).bytes == text.size());
    for (unsigned life = 0; life < 20; ++life) {
        ring::ByteConsumer consumer(memory.memory());
        Uart uart{Bus{&device}};
        uart.start();
        device.fifo_space = 16;
        while (uart.transmit(consumer).again) {
        }
    }
    CHECK(device.output == text);
}

TEST_CASE("pl011: a device that always has input is read a FIFO at a time") {
    Device device;
    device.never_empty = true;
    Ring memory(4096);
    ring::ByteProducer producer(memory.memory());
    Uart uart{Bus{&device}};
    uart.start();
    const auto work = uart.receive(producer);
    CHECK(work.again);
    CHECK(device.data_reads == kFifoDepth);
}

TEST_CASE("pl011: a device that reads all ones neither hangs nor sends") {
    Device device;
    device.all_ones = true;
    Ring in;
    Ring out;
    ring::ByteProducer rx(in.memory());
    ring::ByteProducer tx_peer(out.memory());
    ring::ByteConsumer tx(out.memory());
    Uart uart{Bus{&device}};
    uart.start();
    tx_peer.write("lost in a broken device");
    CHECK(uart.acknowledge());
    CHECK_FALSE(uart.receive(rx).moved);
    CHECK_FALSE(uart.transmit(tx).moved);
}

TEST_CASE("pl011: a receiver that lies about its head loses input, nothing else") {
    Device device;
    Ring memory;
    ring::ByteProducer producer(memory.memory());
    Uart uart{Bus{&device}};
    uart.start();
    reinterpret_cast<ring::ConsumerPage*>(memory.head.data())->head = 1000;
    device.input = {'a', 'b'};
    uart.receive(producer);
    CHECK(producer.broken());
    uart.receive(producer);
    CHECK(device.input.empty());
    CHECK(uart.counters().dropped == 2);
}
