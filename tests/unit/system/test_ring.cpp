// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Rings: order, wrap-around, bells, and peers that lie about their index.
#include <catch2/catch.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ring/byte_ring.hpp"
#include "ring/entry_ring.hpp"

using namespace twain::ring;

namespace {

// The two regions of a ring, each exactly as large as announced, so that ASan sees a byte too far.
struct Fixture {
    explicit Fixture(std::size_t bytes = 64, std::size_t head_bytes = sizeof(ConsumerPage))
        : data(kHeaderBytes + bytes), head(head_bytes) {}
    Memory memory() { return {data.data(), data.size(), head.data(), head.size()}; }
    ProducerPage& producer() { return *reinterpret_cast<ProducerPage*>(data.data()); }
    ConsumerPage& consumer() { return *reinterpret_cast<ConsumerPage*>(head.data()); }
    std::vector<char> data;
    std::vector<char> head;
};

std::string drain(ByteConsumer& ring) {
    std::string all;
    std::array<char, 7> piece{};
    for (;;) {
        const auto got = ring.read(piece);
        if (got.bytes == 0) {
            return all;
        }
        all.append(piece.data(), got.bytes);
    }
}

}  // namespace

TEST_CASE("ring: the capacity is the largest power of two that fits") {
    CHECK(capacity_of(kHeaderBytes + 64, 4096, 1) == 64);
    CHECK(capacity_of(kHeaderBytes + 65, 4096, 1) == 64);
    CHECK(capacity_of(kHeaderBytes + 127, 4096, 1) == 64);
    CHECK(capacity_of(kHeaderBytes + 1, 4096, 1) == 1);
    CHECK(capacity_of(kHeaderBytes, 4096, 1) == 0);
    CHECK(capacity_of(0, 4096, 1) == 0);
    CHECK(capacity_of(kHeaderBytes + 64, 8, 1) == 0);
    CHECK(capacity_of(kHeaderBytes + 24 * 5, 4096, 24) == 4);
}

TEST_CASE("ring: a ring without memory takes and gives nothing") {
    ByteProducer producer;
    ByteConsumer consumer;
    std::array<char, 4> buffer{};
    CHECK_FALSE(producer.valid());
    CHECK(producer.write("x").bytes == 0);
    CHECK(consumer.read(buffer).bytes == 0);
    CHECK(producer.wait_for_space());
    CHECK(consumer.wait_for_data());
    producer.resync();
    CHECK_FALSE(consumer.resync());
}

TEST_CASE("ring: bytes arrive once and in order across the wrap") {
    Fixture f;
    ByteProducer producer(f.memory());
    ByteConsumer consumer(f.memory());
    std::string sent;
    std::string received;
    unsigned next = 0;
    for (unsigned round = 0; round < 500; ++round) {
        std::string text;
        for (unsigned i = 0; i < round % 80; ++i) {
            text.push_back(static_cast<char>('a' + next++ % 26));
        }
        const std::size_t taken = producer.write(text).bytes;
        CHECK(taken == std::min<std::size_t>(text.size(), 64));
        sent += text.substr(0, taken);
        received += drain(consumer);
    }
    CHECK(received == sent);
}

TEST_CASE("ring: a full ring takes no more and loses nothing") {
    Fixture f;
    ByteProducer producer(f.memory());
    ByteConsumer consumer(f.memory());
    CHECK(producer.write(std::string(100, 'x')).bytes == 64);
    CHECK(producer.write("y").bytes == 0);
    CHECK(drain(consumer) == std::string(64, 'x'));
    CHECK(producer.write("y").bytes == 1);
}

TEST_CASE("ring: the bell rings only for a peer that sleeps") {
    Fixture f;
    ByteProducer producer(f.memory());
    ByteConsumer consumer(f.memory());
    CHECK_FALSE(producer.write("a").bell);
    CHECK_FALSE(consumer.wait_for_data());  // there is something
    CHECK(drain(consumer) == "a");
    CHECK(consumer.wait_for_data());
    CHECK(producer.write("b").bell);
    CHECK(drain(consumer) == "b");
    CHECK_FALSE(producer.write("c").bell);  // it is awake again

    CHECK_FALSE(producer.wait_for_space());
    CHECK(drain(consumer) == "c");
    CHECK(producer.write(std::string(64, 'x')).bytes == 64);
    CHECK(producer.wait_for_space());
    std::array<char, 1> one{};
    CHECK(consumer.read(one).bell);
    CHECK(producer.write("y").bytes == 1);
    CHECK_FALSE(consumer.read(one).bell);
}

TEST_CASE("ring: a producer whose tail runs ahead or backwards is quarantined") {
    const std::uint64_t lie = GENERATE(as<std::uint64_t>{}, 65, 1000, 0x8000'0000'0000'0000, ~std::uint64_t{0});
    Fixture f;
    ByteConsumer consumer(f.memory());
    std::array<char, 128> buffer{};
    f.producer().tail = lie;
    CHECK(consumer.read(buffer).bytes == 0);
    CHECK(consumer.broken());
    f.producer().tail = 3;  // repenting does not help ...
    CHECK(consumer.read(buffer).bytes == 0);
    consumer.resync();  // ... only its owner lets it out
    CHECK_FALSE(consumer.broken());
    f.producer().tail = 5;
    CHECK(consumer.read(buffer).bytes == 2);
}

TEST_CASE("ring: a consumer whose head lies is quarantined and the producer never writes too far") {
    const std::uint64_t lie = GENERATE(as<std::uint64_t>{}, 11, 1000, 0x8000'0000'0000'0000, ~std::uint64_t{0} - 100);
    Fixture f;
    ByteProducer producer(f.memory());
    CHECK(producer.write("0123456789").bytes == 10);
    f.consumer().head = lie;
    CHECK(producer.write("x").bytes == 0);
    CHECK(producer.broken());
    CHECK(producer.wait_for_space());
    producer.resync();
    CHECK(producer.write(std::string(200, 'x')).bytes == 64);
}

TEST_CASE("ring: indices wrap at 2^64") {
    Fixture f;
    f.producer().tail = f.consumer().head = ~std::uint64_t{0} - 20;
    ByteProducer producer(f.memory());
    ByteConsumer consumer(f.memory());
    for (unsigned i = 0; i < 10; ++i) {
        CHECK(producer.write("0123456789").bytes == 10);
        CHECK(drain(consumer) == "0123456789");
    }
}

TEST_CASE("ring: a new producer goes on where the old one stopped") {
    Fixture f;
    ByteConsumer consumer(f.memory());
    {
        ByteProducer old(f.memory());
        CHECK(old.write("last words").bytes == 10);
    }
    ByteProducer producer(f.memory());
    CHECK(producer.write(" first words").bytes == 12);
    CHECK(drain(consumer) == "last words first words");
}

TEST_CASE("ring: a new producer after one that left nonsense begins anew") {
    Fixture f;
    f.producer().tail = 123456;
    f.consumer().head = 7;
    ByteProducer producer(f.memory());
    ByteConsumer consumer(f.memory());
    CHECK(producer.write("ok").bytes == 2);
    CHECK(drain(consumer) == "ok");
}

TEST_CASE("ring: a new consumer goes on where the old one stopped") {
    Fixture f;
    ByteProducer producer(f.memory());
    {
        ByteConsumer old(f.memory());
        CHECK(producer.write("abcdef").bytes == 6);
        std::array<char, 3> three{};
        CHECK(old.read(three).bytes == 3);
    }
    ByteConsumer consumer(f.memory());
    CHECK(drain(consumer) == "def");
}

TEST_CASE("ring: entries keep their shape") {
    struct Entry {
        std::uint64_t a;
        std::uint32_t b;
        std::uint32_t c;
    };
    Fixture f(sizeof(Entry) * 4);
    EntryProducer<Entry> producer(f.memory());
    EntryConsumer<Entry> consumer(f.memory());
    using Push = EntryProducer<Entry>::Push;
    bool bell = false;
    for (std::uint32_t i = 0; i < 50; ++i) {
        CHECK(producer.push({i, i + 1, i + 2}) == Push::done);
        CHECK(producer.push({i, i, i}) == Push::done);
        const auto first = consumer.pop(bell);
        REQUIRE(first);
        CHECK((first->a == i && first->b == i + 1 && first->c == i + 2));
        CHECK(consumer.pop(bell));
        CHECK_FALSE(consumer.pop(bell));
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
        CHECK(producer.push({i, 0, 0}) == Push::done);
    }
    CHECK(producer.push({9, 0, 0}) == Push::full);
    CHECK(producer.wait_for_space());
    CHECK(consumer.pop(bell));
    CHECK(bell);
    f.producer().tail += 100;
    CHECK_FALSE(consumer.pop(bell));
    CHECK(consumer.broken());
}

TEST_CASE("ring: two threads, every byte once, and nobody sleeps for ever", "[stress]") {
    Fixture f(256);
    constexpr std::size_t kTotal = 300'000;
    // Bells as counters: waiting for one that never comes would hang the test.
    int data_bell = 0;
    int space_bell = 0;
    const auto sleep_on = [](int& bell) {
        while (__atomic_exchange_n(&bell, 0, __ATOMIC_ACQ_REL) == 0) {
            std::this_thread::yield();
        }
    };
    std::thread writer([&] {
        ByteProducer producer(f.memory());
        std::size_t sent = 0;
        while (sent < kTotal) {
            std::array<char, 97> piece{};
            const std::size_t want = std::min(piece.size(), kTotal - sent);
            for (std::size_t i = 0; i < want; ++i) {
                piece[i] = static_cast<char>((sent + i) % 251);
            }
            const auto done = producer.write({piece.data(), want});
            sent += done.bytes;
            if (done.bell) {
                __atomic_store_n(&data_bell, 1, __ATOMIC_RELEASE);
            }
            if (done.bytes == 0 && producer.wait_for_space()) {
                sleep_on(space_bell);
            }
        }
    });
    ByteConsumer consumer(f.memory());
    std::size_t received = 0;
    bool same = true;
    while (received < kTotal) {
        std::array<char, 61> piece{};
        const auto got = consumer.read(piece);
        for (std::size_t i = 0; i < got.bytes; ++i) {
            same = same && piece[i] == static_cast<char>((received + i) % 251);
        }
        received += got.bytes;
        if (got.bell) {
            __atomic_store_n(&space_bell, 1, __ATOMIC_RELEASE);
        }
        if (got.bytes == 0 && consumer.wait_for_data()) {
            sleep_on(data_bell);
        }
    }
    writer.join();
    CHECK(same);
    CHECK(received == kTotal);
    CHECK_FALSE(consumer.broken());
}

TEST_CASE("ring: a peer that scribbles all the time never leads outside", "[stress]") {
    Fixture f(64);
    int stop = 0;
    std::thread liar([&] {
        std::uint64_t x = 88172645463325252u;
        while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            __atomic_store_n(&f.producer().tail, (x & 1) != 0 ? x : x % 128, __ATOMIC_RELAXED);
        }
    });
    ByteConsumer consumer(f.memory());
    std::array<char, 200> buffer{};
    std::size_t quarantined = 0;
    for (unsigned i = 0; i < 20'000 || quarantined == 0; ++i) {
        const auto got = consumer.read(buffer);
        if (got.bytes > 64) {
            FAIL("more than the ring holds");
        }
        if (consumer.broken()) {
            ++quarantined;
            consumer.resync();
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    liar.join();
    CHECK(quarantined > 0);
}
