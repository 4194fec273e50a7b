// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A ring of fixed-size entries (requests, completions). An entry is copied once; the receiver checks its copy.
#pragma once

#include <optional>
#include <type_traits>

#include "ring/index.hpp"

namespace twain::ring {

template <typename Entry>
concept Copyable = std::is_trivially_copyable_v<Entry>;

template <Copyable Entry>
class EntryProducer {
public:
    EntryProducer() = default;
    explicit EntryProducer(const Memory& m)
        : index_(m.data, m.head, capacity_of(m.data_bytes, m.head_bytes, sizeof(Entry))),
          bytes_(static_cast<char*>(m.data) + (index_.capacity() != 0 ? kHeaderBytes : 0)) {
        index_.resume();
    }

    enum class Push { done, bell, full };  // bell: done, and the consumer wants its bell rung
    Push push(const Entry& entry) {
        if (index_.space() == 0) {
            return Push::full;
        }
        std::memcpy(bytes_ + static_cast<std::size_t>(index_.tail() & (index_.capacity() - 1)) * sizeof(Entry), &entry,
                    sizeof(Entry));
        return index_.publish(1) ? Push::bell : Push::done;
    }

    std::uint64_t space() { return index_.space(); }
    bool wait_for_space() { return index_.wait_for_space(); }
    bool valid() const { return index_.capacity() != 0; }
    bool broken() const { return index_.broken(); }
    void resync() { index_.resync(); }

private:
    ProducerIndex index_;
    char* bytes_ = nullptr;
};

template <Copyable Entry>
class EntryConsumer {
public:
    EntryConsumer() = default;
    explicit EntryConsumer(const Memory& m)
        : index_(m.data, m.head, capacity_of(m.data_bytes, m.head_bytes, sizeof(Entry))),
          bytes_(static_cast<const char*>(m.data) + (index_.capacity() != 0 ? kHeaderBytes : 0)) {
        index_.resume();
    }

    // The next entry; `bell` is set if the producer waits for space.
    std::optional<Entry> pop(bool& bell) {
        bell = false;
        if (index_.available() == 0) {
            return std::nullopt;
        }
        Entry entry;
        copy_once(&entry, bytes_ + static_cast<std::size_t>(index_.head() & (index_.capacity() - 1)) * sizeof(Entry),
                  sizeof(Entry));
        bell = index_.release(1);
        return entry;
    }

    std::uint64_t available() { return index_.available(); }
    bool wait_for_data() { return index_.wait_for_data(); }
    bool valid() const { return index_.capacity() != 0; }
    bool broken() const { return index_.broken(); }
    bool resync() { return index_.resync(); }

private:
    ConsumerIndex index_;
    const char* bytes_ = nullptr;
};

}  // namespace twain::ring
