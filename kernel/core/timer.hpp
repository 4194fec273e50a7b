// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Deadlines of one core, as a leftist heap: the earliest is at the root; insert and remove walk right spines
// and parent links whose length is at most log2 of the number of timers.
#pragma once

#include <utility>

#include "kernel/core/types.hpp"

namespace twain::kernel {

class Timer {
public:
    enum class Kind : u8 { thread, notification, sched };

    explicit constexpr Timer(Kind kind) : kind_(kind) {}
    Kind kind() const { return kind_; }
    Ticks deadline() const { return deadline_; }
    bool armed() const { return rank_ != 0; }
    static constexpr std::size_t kRankOffset = 32;  // for assembly

private:
    friend class TimerQueue;
    Ticks deadline_ = 0;
    Timer* left_ = nullptr;
    Timer* right_ = nullptr;
    Timer* parent_ = nullptr;
    u16 rank_ = 0;  // shortest way to a missing child; 0: not in a queue
    Kind kind_;
};

// The base class of what has a deadline. Not a constructor of the object itself: T() then zeroes all of T first.
template <Timer::Kind K>
class TimerOf : public Timer {
protected:
    constexpr TimerOf() : Timer(K) {}
};

static_assert(sizeof(Timer) == Timer::kRankOffset + 8);

class TimerQueue {
public:
    Ticks next() const { return root_ ? root_->deadline_ : abi::kForever; }

    void insert(Timer& timer, Ticks deadline) {
        timer.deadline_ = deadline;
        timer.left_ = timer.right_ = timer.parent_ = nullptr;
        timer.rank_ = 1;
        root_ = meld(root_, &timer);
        root_->parent_ = nullptr;
    }

    void remove(Timer& timer) {
        if (!timer.armed()) return;
        Timer* parent = timer.parent_;
        Timer* rest = meld(timer.left_, timer.right_);
        if (rest) rest->parent_ = parent;
        if (!parent) {
            root_ = rest;
        } else {
            (parent->left_ == &timer ? parent->left_ : parent->right_) = rest;
            balance(parent);
        }
        timer.rank_ = 0;
    }

    // Takes out the earliest timer if it is due.
    Timer* pop_due(Ticks now) {
        Timer* first = root_;
        if (!first || first->deadline_ > now) return nullptr;
        remove(*first);
        return first;
    }

private:
    static u16 rank(const Timer* timer) { return timer ? timer->rank_ : u16{0}; }

    // Walks up and restores "left at least as high as right" until nothing changes.
    static void balance(Timer* timer) {
        for (; timer; timer = timer->parent_) {
            if (rank(timer->left_) < rank(timer->right_)) std::swap(timer->left_, timer->right_);
            const u16 now = static_cast<u16>(rank(timer->right_) + 1);
            if (timer->rank_ == now) return;
            timer->rank_ = now;
        }
    }

    static Timer* meld(Timer* a, Timer* b) {
        if (!a) return b;
        if (!b) return a;
        if (b->deadline_ < a->deadline_) std::swap(a, b);
        Timer* const root = a;
        // Go down a's right spine; the tree with the earlier deadline takes the place of the right child.
        while (a->right_) {
            Timer* right = a->right_;
            if (b->deadline_ < right->deadline_) {
                a->right_ = b;
                b->parent_ = a;
                b = right;
                right = a->right_;
            }
            a = right;
        }
        a->right_ = b;
        b->parent_ = a;
        settle(a, root);
        return root;
    }

    // After a meld the ranks along the spine are old; every one is looked at once.
    static void settle(Timer* timer, const Timer* root) {
        for (;;) {
            if (rank(timer->left_) < rank(timer->right_)) std::swap(timer->left_, timer->right_);
            timer->rank_ = static_cast<u16>(rank(timer->right_) + 1);
            if (timer == root) return;
            timer = timer->parent_;
        }
    }

    Timer* root_ = nullptr;
};

}  // namespace twain::kernel
