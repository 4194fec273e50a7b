// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The protocol of a shared-memory ring with one producer and one consumer that do not trust each other.
//
//   data region   +0     ProducerPage   (producer: read, write; consumer: read only)
//                 +4096  `capacity` units, unit i of the stream at i % capacity; capacity is a power of two
//   head region   +0     ConsumerPage   (consumer: read, write; producer: read only)
//
// tail and head count units since the ring was made and never go back; tail - head is how many are in the ring.
// Each side keeps its own index in private memory and only publishes it; the peer's index is read once per operation
// and used only if it makes sense: tail - head > capacity means that the peer is broken (or hostile). The ring is
// then quarantined: nothing is produced or consumed until resync().
//
// Bells are avoided as follows: who is about to sleep sets its `waiting` flag and looks again; who publishes looks
// at the peer's flag afterwards. Store and load are sequentially consistent on both sides (STLR, then LDAR), so
// that at least one of the two sees the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace twain::ring {

inline constexpr std::size_t kHeaderBytes = 4096;

struct ProducerPage {
    std::uint64_t tail;
    std::uint32_t waiting;  // 1: ring me when there is space
    std::uint32_t reserved;
};

struct ConsumerPage {
    std::uint64_t head;
    std::uint32_t waiting;  // 1: ring me when there is something
    std::uint32_t reserved;
};

// Where the two regions of a ring lie. `data_bytes` includes the header page.
struct Memory {
    void* data = nullptr;
    std::size_t data_bytes = 0;
    void* head = nullptr;
    std::size_t head_bytes = 0;
};

// The largest power of two of units that fits; 0 if the regions are too small to be a ring.
constexpr std::uint64_t capacity_of(std::size_t data_bytes, std::size_t head_bytes, std::size_t unit_bytes) {
    if (data_bytes < kHeaderBytes + unit_bytes || head_bytes < sizeof(ConsumerPage)) {
        return 0;
    }
    const std::uint64_t units = (data_bytes - kHeaderBytes) / unit_bytes;
    std::uint64_t capacity = 1;
    while (capacity <= units / 2) {
        capacity *= 2;
    }
    return capacity;
}

// Copies once: what the peer writes into the source afterwards is not seen, whatever the compiler would like.
inline void copy_once(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
    asm volatile("" ::: "memory");
}

class ProducerIndex {
public:
    ProducerIndex() = default;
    ProducerIndex(void* producer_page, const void* consumer_page, std::uint64_t capacity)
        : mine_(static_cast<ProducerPage*>(producer_page)),
          peer_(static_cast<const ConsumerPage*>(consumer_page)),
          capacity_(capacity) {}

    // Goes on where a predecessor stopped, so that a consumer in the middle of its output notices nothing. If what it
    // left is nonsense, begins anew.
    void resume() {
        if (capacity_ == 0) {
            return;
        }
        tail_ = __atomic_load_n(&mine_->tail, __ATOMIC_RELAXED);
        __atomic_store_n(&mine_->waiting, 0u, __ATOMIC_RELAXED);
        if (tail_ - __atomic_load_n(&peer_->head, __ATOMIC_ACQUIRE) > capacity_) {
            resync();
        }
    }

    // Begins anew where the consumer is: the way out of quarantine.
    void resync() {
        if (capacity_ == 0) {
            return;
        }
        tail_ = __atomic_load_n(&peer_->head, __ATOMIC_ACQUIRE);
        broken_ = false;
        waiting_ = false;
        __atomic_store_n(&mine_->waiting, 0u, __ATOMIC_RELAXED);
        __atomic_store_n(&mine_->tail, tail_, __ATOMIC_SEQ_CST);
    }

    bool broken() const { return broken_; }
    std::uint64_t capacity() const { return capacity_; }
    std::uint64_t tail() const { return tail_; }

    // Units that can be produced now; 0 if the ring is full, quarantined or not there.
    std::uint64_t space() {
        if (capacity_ == 0 || broken_) {
            return 0;
        }
        const std::uint64_t used = tail_ - __atomic_load_n(&peer_->head, __ATOMIC_ACQUIRE);
        if (used > capacity_) {
            broken_ = true;
            return 0;
        }
        return capacity_ - used;
    }

    // Makes `units` visible (at most what space() gave). True: the consumer wants the bell.
    bool publish(std::uint64_t units) {
        tail_ += units;
        if (waiting_) {
            waiting_ = false;
            __atomic_store_n(&mine_->waiting, 0u, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&mine_->tail, tail_, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&peer_->waiting, __ATOMIC_SEQ_CST) != 0;
    }

    // Asks for a bell when there is space. True: there is none, sleep. False: look again, there may be some.
    // In quarantine too the peer is asked to ring: that is when to resync().
    bool wait_for_space() {
        if (capacity_ == 0) {
            return true;
        }
        waiting_ = true;
        __atomic_store_n(&mine_->waiting, 1u, __ATOMIC_SEQ_CST);
        return broken_ || tail_ - __atomic_load_n(&peer_->head, __ATOMIC_SEQ_CST) == capacity_;
    }

private:
    ProducerPage* mine_ = nullptr;
    const ConsumerPage* peer_ = nullptr;
    std::uint64_t capacity_ = 0;
    std::uint64_t tail_ = 0;
    bool broken_ = false;
    bool waiting_ = false;
};

class ConsumerIndex {
public:
    ConsumerIndex() = default;
    ConsumerIndex(const void* producer_page, void* consumer_page, std::uint64_t capacity)
        : mine_(static_cast<ConsumerPage*>(consumer_page)),
          peer_(static_cast<const ProducerPage*>(producer_page)),
          capacity_(capacity) {}

    // Begins anew where the producer is, dropping what is in the ring: the way out of quarantine. True: the producer
    // sleeps until there is space: ring its bell.
    bool resync() {
        if (capacity_ == 0) {
            return false;
        }
        head_ = __atomic_load_n(&peer_->tail, __ATOMIC_ACQUIRE);
        broken_ = false;
        waiting_ = false;
        __atomic_store_n(&mine_->waiting, 0u, __ATOMIC_RELAXED);
        __atomic_store_n(&mine_->head, head_, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&peer_->waiting, __ATOMIC_SEQ_CST) != 0;
    }

    // Goes on where a predecessor stopped. If what it left is nonsense, the first look quarantines the ring.
    void resume() {
        if (capacity_ != 0) {
            head_ = __atomic_load_n(&mine_->head, __ATOMIC_RELAXED);
        }
    }

    bool broken() const { return broken_; }
    std::uint64_t capacity() const { return capacity_; }
    std::uint64_t head() const { return head_; }

    // Units that can be consumed now; 0 if the ring is empty, quarantined or not there.
    std::uint64_t available() {
        if (capacity_ == 0 || broken_) {
            return 0;
        }
        if (waiting_) {
            waiting_ = false;
            __atomic_store_n(&mine_->waiting, 0u, __ATOMIC_RELAXED);
        }
        const std::uint64_t filled = __atomic_load_n(&peer_->tail, __ATOMIC_ACQUIRE) - head_;
        if (filled > capacity_) {
            broken_ = true;
            return 0;
        }
        return filled;
    }

    // Gives `units` back (at most what available() gave). True: the producer wants the bell.
    bool release(std::uint64_t units) {
        head_ += units;
        __atomic_store_n(&mine_->head, head_, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&peer_->waiting, __ATOMIC_SEQ_CST) != 0;
    }

    // Asks for a bell when something comes. True: there is nothing, sleep. False: look again.
    // In quarantine too the peer is asked to ring: that is when to resync().
    bool wait_for_data() {
        if (capacity_ == 0) {
            return true;
        }
        waiting_ = true;
        __atomic_store_n(&mine_->waiting, 1u, __ATOMIC_SEQ_CST);
        return broken_ || __atomic_load_n(&peer_->tail, __ATOMIC_SEQ_CST) == head_;
    }

private:
    ConsumerPage* mine_ = nullptr;
    const ProducerPage* peer_ = nullptr;
    std::uint64_t capacity_ = 0;
    std::uint64_t head_ = 0;
    bool broken_ = false;
    bool waiting_ = false;
};

}  // namespace twain::ring
