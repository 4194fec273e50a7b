// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The rings of libs/ with both ends at work: what comes out is what went in, nobody sleeps through a bell, and the indices
// alone order what lies in between.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "ring/byte_ring.hpp"
#include "ring/entry_ring.hpp"

namespace twain::ring::test {

namespace {

constexpr std::uint64_t kUnits = 20'000;

struct Regions {
    explicit Regions(std::size_t bytes) : data((kHeaderBytes + bytes) / 8), head(sizeof(ConsumerPage) / 8) {}
    Memory memory() { return {data.data(), data.size() * 8, head.data(), head.size() * 8}; }
    std::vector<std::uint64_t> data, head;
};

// A doorbell: who sleeps is woken by the ring after it has looked, or does not sleep.
class Bell {
public:
    void ring() {
        rung_.store(true);
        rung_.notify_one();
    }
    void sleep() {
        rung_.wait(false);
        rung_.store(false);
    }

private:
    std::atomic<bool> rung_{false};
};

struct Entry {
    std::uint64_t number, twice, thrice;
};

}  // namespace

TEST_CASE("entries arrive whole and in order, whoever is faster") {
    // Who sleeps and is woken is ordered by that: the indices alone are at work where both sides only look again.
    for (const auto& [capacity, sleeps] :
         {std::pair<std::size_t, bool>{1, true}, {4, true}, {64, true}, {1, false}, {64, false}}) {
        const auto rest = [sleeps = sleeps](Bell& bell) { sleeps ? bell.sleep() : std::this_thread::yield(); };
        Regions regions(capacity * 32);
        EntryProducer<Entry> producer(regions.memory());
        EntryConsumer<Entry> consumer(regions.memory());
        Bell to_consumer, to_producer;
        bool whole = true;
        std::thread receiver([&, sleeps = sleeps] {
            for (std::uint64_t next = 0; next < kUnits;) {
                bool bell = false;
                if (const auto entry = consumer.pop(bell)) {
                    whole &= entry->number == next && entry->twice == 2 * next && entry->thrice == 3 * next;
                    ++next;
                } else if (!sleeps || consumer.wait_for_data()) {
                    rest(to_consumer);
                }
                if (bell) to_producer.ring();
            }
        });
        for (std::uint64_t next = 0; next < kUnits;) {
            const auto pushed = producer.push({next, 2 * next, 3 * next});
            if (pushed == EntryProducer<Entry>::Push::full) {
                if (!sleeps || producer.wait_for_space()) rest(to_producer);
                continue;
            }
            ++next;
            if (pushed == EntryProducer<Entry>::Push::bell) to_consumer.ring();
        }
        receiver.join();
        REQUIRE(whole);
        REQUIRE_FALSE(producer.broken());
        REQUIRE_FALSE(consumer.broken());
    }
}

TEST_CASE("bytes arrive in order in pieces of all sizes") {
    Regions regions(64);
    ByteProducer producer(regions.memory());
    ByteConsumer consumer(regions.memory());
    Bell to_consumer, to_producer;
    bool in_order = true;
    std::thread receiver([&] {
        char piece[32];
        for (std::uint64_t next = 0; next < kUnits;) {
            const auto read = consumer.read(std::span(piece).first(1 + next % 31));
            for (std::size_t i = 0; i < read.bytes; ++i) in_order &= piece[i] == static_cast<char>(next++);
            if (read.bell) to_producer.ring();
            if (read.bytes == 0 && consumer.wait_for_data()) to_consumer.sleep();
        }
    });
    for (std::uint64_t next = 0; next < kUnits;) {
        char piece[48];
        const std::size_t bytes = std::min<std::size_t>(1 + next % 47, kUnits - next);
        for (std::size_t i = 0; i < bytes; ++i) piece[i] = static_cast<char>(next + i);
        const auto written = producer.write({piece, bytes});
        next += written.bytes;
        if (written.bell) to_consumer.ring();
        if (written.bytes == 0 && producer.wait_for_space()) to_producer.sleep();
    }
    receiver.join();
    REQUIRE(in_order);
}

}  // namespace twain::ring::test
