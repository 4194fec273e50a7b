// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What call and reply_wait must not forget when nothing else is going on and the partner is ready: the way through
// fastpath.S, which goes from one address space straight to another.
#include <cstring>

#include "test.hpp"

extern "C" const std::byte fastpath_server[], fastpath_server_end[];

namespace twain::test {

namespace {

constexpr u64 kCode = 0x40'0000, kPointer = 0x1234'5678;

u64 thread_pointer() {
    u64 value = 0;
    asm volatile("mrs %0, tpidr_el0" : "=r"(value));
    return value;
}

// Same address, other memory: who reads it tells in which space it runs.
void other_space() {
    Scratch scratch;
    const sys::Memory code = scratch.memory(), theirs = scratch.memory(), ours = scratch.memory();
    const u64 window = scratch.map(code), their_word = scratch.map(theirs), word = scratch.map(ours);
    std::memcpy(reinterpret_cast<void*>(window), fastpath_server, static_cast<std::size_t>(fastpath_server_end - fastpath_server));
    __builtin___clear_cache(reinterpret_cast<char*>(window), reinterpret_cast<char*>(window + kPage));
    *reinterpret_cast<volatile u64*>(their_word) = 0xaaaa;
    *reinterpret_cast<volatile u64*>(word) = 0xbbbb;
    const sys::Space space = scratch.space();
    need(space.map(code, 0, kCode, kPage, kReadExec, scratch.slot()));
    need(space.map(theirs, 0, word, kPage, kRead, scratch.slot()));

    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Endpoint badged{scratch.copy(endpoint.slot, rights::ep_call, 0xb4d6e)};
    const sys::Thread thread = scratch.thread();
    need(thread.configure(kSelf, space, {}, scratch.sched(63), {}));
    const u64 pointer[] = {kPointer, 0, 0, 0};
    need(thread.write(34, 1, pointer));
    need(thread.start(kCode, 0, endpoint.slot, word));
    pause();
    const u64 own = thread_pointer();
    for (unsigned i = 0; i < 3; ++i) {
        const sys::Message answer = badged.call(sys::message(0));
        expect_ok("call/other_space", answer.status());
        expect_equal("call/other_space", 0xaaaa, answer.word[1]);
        expect_equal("reply_wait/other_space", 0xbbbb, *reinterpret_cast<volatile u64*>(word));
        expect_equal("call/thread_pointer", kPointer, answer.word[0]);
        expect_equal("reply_wait/thread_pointer", own, thread_pointer());
        expect_equal("call/badge", 0xb4d6e, answer.word[2]);
    }
    // A server that is ready is no reason to look less closely.
    const sys::Endpoint receiver{scratch.copy(endpoint.slot, rights::ep_receive)};
    expect("call/rights", Error::rights, receiver.call(sys::message(0)).status());
    expect("call/bad_slot", Error::bad_slot, sys::Endpoint{~0u}.call(sys::message(0)).status());
    expect_ok("call/other_space", badged.call(sys::message(0)).status());
    need(thread.stop());
}

// The wrong capability, with a caller that waits for the answer: it goes on waiting, and gets the right one.
void reply_with_a_caller() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Endpoint caller{scratch.copy(endpoint.slot, rights::ep_call)};
    Worker server(scratch, [](Worker& self) {
        const sys::Endpoint right{self.slots[0]}, wrong{self.slots[1]};
        (void)right.wait();
        self.word[0] = wrong.reply_wait(sys::message(1)).message.tag;
        (void)right.reply_wait(sys::message(2));
    }, {.priority = 63});
    server.slots[0] = endpoint.slot;
    server.slots[1] = caller.slot;
    need(server.start());
    pause();
    expect_equal("reply_wait/rights", 2, caller.call(sys::message(0)).label());
    check("reply_wait/rights", abi::tag_error(server.word[0]) == Error::rights);
    need(server.thread.stop());
}

// A signal that comes while the server works is there when it waits again; until then it disturbs nothing.
void signal_while_serving() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Notification note = scratch.notification();
    Worker server(scratch, [](Worker& self) {
        const sys::Endpoint in{self.slots[0]};
        (void)in.wait();
        self.word[1] = sys::Notification{self.slots[1]}.signal().ok() ? 1 : 0;
        const sys::Received next = in.reply_wait(sys::message(3));
        self.word[0] = next.is_note() ? next.bits() : 0;
    }, {.priority = 63, .note = note.slot});
    server.slots[0] = endpoint.slot;
    server.slots[1] = scratch.copy(note.slot, rights::note_signal, 0x40);
    need(server.start());
    pause();
    expect_equal("reply_wait/signal_meanwhile", 3, endpoint.call(sys::message(0)).label());
    check("reply_wait/signal_meanwhile", wait_for([&] { return server.done(); }) && server.word[0] == 0x40 && server.word[1] == 1);
}

}  // namespace

void test_fastpath() {
    other_space();
    reply_with_a_caller();
    signal_while_serving();
}

}  // namespace twain::test
