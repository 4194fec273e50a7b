// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A ring of bytes (consoles, command lines). See index.hpp for the protocol and what a broken peer means.
#pragma once

#include <span>
#include <string_view>

#include "ring/index.hpp"

namespace twain::ring {

class ByteProducer {
public:
    ByteProducer() = default;
    explicit ByteProducer(const Memory& m)
        : index_(m.data, m.head, capacity_of(m.data_bytes, m.head_bytes, 1)),
          bytes_(static_cast<char*>(m.data) + (index_.capacity() != 0 ? kHeaderBytes : 0)) {
        index_.resume();
    }

    struct Written {
        std::size_t bytes = 0;
        bool bell = false;  // ring the consumer's bell
    };
    // Writes as much of `text` as fits.
    Written write(std::string_view text) {
        const std::uint64_t space = index_.space();
        const std::size_t count = text.size() < space ? text.size() : static_cast<std::size_t>(space);
        if (count == 0) {
            return {};
        }
        const std::size_t at = static_cast<std::size_t>(index_.tail() & (index_.capacity() - 1));
        const std::size_t room = static_cast<std::size_t>(index_.capacity()) - at;
        const std::size_t first = count < room ? count : room;
        std::memcpy(bytes_ + at, text.data(), first);
        std::memcpy(bytes_, text.data() + first, count - first);
        return {count, index_.publish(count)};
    }

    std::uint64_t space() { return index_.space(); }
    std::uint64_t capacity() const { return index_.capacity(); }
    bool wait_for_space() { return index_.wait_for_space(); }  // true: full, sleep until the bell
    bool valid() const { return index_.capacity() != 0; }
    bool broken() const { return index_.broken(); }
    void resync() { index_.resync(); }

private:
    ProducerIndex index_;
    char* bytes_ = nullptr;
};

class ByteConsumer {
public:
    ByteConsumer() = default;
    explicit ByteConsumer(const Memory& m)
        : index_(m.data, m.head, capacity_of(m.data_bytes, m.head_bytes, 1)),
          bytes_(static_cast<const char*>(m.data) + (index_.capacity() != 0 ? kHeaderBytes : 0)) {
        index_.resume();
    }

    struct Read {
        std::size_t bytes = 0;
        bool bell = false;  // ring the producer's bell
    };
    // Copies at most buffer.size() bytes out of the ring.
    Read read(std::span<char> buffer) {
        const std::size_t count = peek(buffer);
        return {count, release(count)};
    }
    // The same, but they stay in the ring until they are released: what a consumer has not finished with when it dies is
    // there for its successor.
    std::size_t peek(std::span<char> buffer) {
        const std::uint64_t filled = index_.available();
        const std::size_t count = buffer.size() < filled ? buffer.size() : static_cast<std::size_t>(filled);
        if (count == 0) {
            return 0;
        }
        const std::size_t at = static_cast<std::size_t>(index_.head() & (index_.capacity() - 1));
        const std::size_t room = static_cast<std::size_t>(index_.capacity()) - at;
        const std::size_t first = count < room ? count : room;
        copy_once(buffer.data(), bytes_ + at, first);
        copy_once(buffer.data() + first, bytes_, count - first);
        return count;
    }
    // At most what was peeked at. True: ring the producer's bell.
    bool release(std::size_t count) { return count != 0 && index_.release(count); }

    std::uint64_t available() { return index_.available(); }
    bool wait_for_data() { return index_.wait_for_data(); }  // true: empty, sleep until the bell
    bool valid() const { return index_.capacity() != 0; }
    bool broken() const { return index_.broken(); }
    bool resync() { return index_.resync(); }

private:
    ConsumerIndex index_;
    const char* bytes_ = nullptr;
};

}  // namespace twain::ring
