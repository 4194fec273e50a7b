// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
#include "kernel/core/inbox.hpp"

#include "kernel/core/spin_lock.hpp"

namespace twain::kernel {

namespace {

void leave(Post& post) {
    Queue<Post>::remove(post);
    post.inside = nullptr;
}

}  // namespace

bool Inbox::put(InboxQueue& to, Post& post, Thread& thread) {
    const SpinLock lock(to.taken);
    if (post.inside) return false;
    post.inside = &to;
    post.thread = &thread;
    post.number = ++to.came;
    to.posts.push_back(post);
    return true;
}

Thread* Inbox::take_first(InboxQueue& from) {
    const SpinLock lock(from.taken);
    Post* const first = from.posts.front();
    if (!first) return nullptr;
    leave(*first);
    return first->thread;
}

void Inbox::remove(InboxQueue& from, Post& post) {
    const SpinLock lock(from.taken);
    if (post.inside == &from) leave(post);
}

bool Inbox::served(InboxQueue& queue, u64& since) {
    const SpinLock lock(queue.taken);
    if (!since) since = queue.came + 1;
    const Post* const first = queue.posts.front();
    return !first || first->number >= since;
}

}  // namespace twain::kernel
