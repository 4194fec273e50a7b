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
    std::memcpy(reinterpret_cast<void*>(window), fastpath_server,
                static_cast<std::size_t>(fastpath_server_end - fastpath_server));
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
    const u64 arguments[] = {endpoint.slot, word, 0, 0}, others[] = {0, kCode, 0, kPointer};
    need(thread.write(0, 4, arguments));
    need(thread.write(31, 4, others));
    need(thread.resume());
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
    Worker server(scratch,
                  [](Worker& self) {
                      const sys::Endpoint right{self.slots[0]}, wrong{self.slots[1]};
                      (void)right.wait();
                      self.word[0] = wrong.reply_wait(sys::message(1)).message.tag;
                      (void)right.reply_wait(sys::message(2));
                  },
                  {.priority = 63});
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
    Worker server(scratch,
                  [](Worker& self) {
                      const sys::Endpoint in{self.slots[0]};
                      (void)in.wait();
                      self.word[1] = sys::Notification{self.slots[1]}.signal().ok() ? 1 : 0;
                      const sys::Received next = in.reply_wait(sys::message(3));
                      self.word[0] = next.is_note() ? next.bits() : 0;
                  },
                  {.priority = 63, .note = note.slot});
    server.slots[0] = endpoint.slot;
    server.slots[1] = scratch.copy(note.slot, rights::note_signal, 0x40);
    need(server.start());
    pause();
    expect_equal("reply_wait/signal_meanwhile", 3, endpoint.call(sys::message(0)).label());
    check("reply_wait/signal_meanwhile",
          wait_for([&] { return server.done(); }) && server.word[0] == 0x40 && server.word[1] == 1);
}

// The answer to a fault touches no register of the thread that faulted, and does not let it go on unless its label is 0.
void fault_answered_at_once() {
    static constexpr u64 kNowhere = 0x20'0000'0000;
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    Worker pager(scratch,
                 [](Worker& self) {
                     const sys::Endpoint faults{self.slots[0]};
                     (void)faults.wait();
                     (void)kSpace.map(sys::Memory{self.slots[1]}, 0, kNowhere, kPage, kRead, self.slots[2]);
                     (void)faults.reply_wait(sys::message(0, 64, 64, 64, 64, 64, 64));
                     (void)faults.reply_wait(sys::message(1));
                 },
                 {.priority = 63});
    pager.slots[0] = endpoint.slot;
    pager.slots[1] = scratch.memory().slot;
    pager.slots[2] = scratch.slot();
    Worker worker(scratch,
                  [](Worker& self) {
                      u64 all = 0;
                      asm volatile(
                          "mov x2, #1\n mov x3, #2\n mov x4, #4\n mov x5, #8\n mov x6, #16\n mov x7, #32\n"
                          "ldr x9, [%1]\n"
                          "orr x2, x2, x3\n orr x4, x4, x5\n orr x6, x6, x7\n orr x2, x2, x4\n orr %0, x2, x6"
                          : "=r"(all)
                          : "r"(kNowhere)
                          : "x2", "x3", "x4", "x5", "x6", "x7", "x9", "memory");
                      self.word[0] = all;
                      (void)*reinterpret_cast<const volatile u64*>(kNowhere + kPage);
                  },
                  {.fault = endpoint.slot});
    need(pager.start());
    pause();
    need(worker.start());
    check("fault/keeps_registers", wait_for([&] { return worker.word[0] != 0; }) && worker.word[0] == 63);
    check("fault/reply_stops", wait_for([&] { return worker.state() == abi::ThreadState::faulted; }) && !pager.done());
    need(pager.thread.stop());
}

}  // namespace

void test_fastpath() {
    other_space();
    reply_with_a_caller();
    signal_while_serving();
    fault_answered_at_once();
}

}  // namespace twain::test
