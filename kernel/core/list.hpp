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

    void push_back(T& node) { insert(node, end_); }
    void push_front(T& node) { insert(node, *end_.next); }

    T* pop_front() {
        T* node = front();
        if (node) remove(*node);
        return node;
    }

    static void remove(T& node) {
        Link& link = node;
        link.prev->next = link.next;
        link.next->prev = link.prev;
        link.next = link.prev = nullptr;
    }

private:
    static void insert(Link& node, Link& before) {
        node.next = &before;
        node.prev = before.prev;
        before.prev->next = &node;
        before.prev = &node;
    }
    Link end_;
};

}  // namespace twain::kernel
