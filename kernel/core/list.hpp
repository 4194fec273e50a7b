// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// An intrusive doubly linked queue. A node is in at most one queue; whether it is in one shows in its link.
#pragma once

#include "kernel/core/types.hpp"

namespace twain::kernel {

struct Link {
    Link* next = nullptr;
    Link* prev = nullptr;
    bool linked() const { return next != nullptr; }
};

// Queue of T, which derives from Link. Circular, with the queue's own link as its end.
template <typename T>
class Queue {
public:
    Queue() { clear(); }
    void clear() { end_.next = end_.prev = &end_; }
    bool empty() const { return end_.next == &end_; }
    T* front() const { return empty() ? nullptr : static_cast<T*>(end_.next); }

    T& first() const { return static_cast<T&>(*end_.next); }  // there is one

    void push_back(T& node) { insert(node, *end_.prev, end_); }
    void push_front(T& node) { insert(node, end_, *end_.next); }

    T* pop_front() {
        T* node = front();
        if (node) remove(*node);
        return node;
    }

    static void remove(T& node) {
        Link& link = node;
        Link *const next = link.next, *const prev = link.prev;
        link = {};
        prev->next = next;
        next->prev = prev;
    }

private:
    static void insert(Link& node, Link& before, Link& after) {
        node = {&after, &before};
        before.next = after.prev = &node;
    }
    Link end_;
};

}  // namespace twain::kernel
