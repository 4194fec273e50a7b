// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Calls on one core: messages, badges, queues, and what happens when a partner goes away.
#include "test.hpp"

namespace twain::test {

void test_fastpath();  // fastpath.cpp

namespace {

using State = abi::ThreadState;

// Answers each message with its words plus one, the badge as label; slots[0] is the endpoint.
void echo(Worker& self) {
    const sys::Endpoint endpoint{self.slots[0]};
    sys::Received in = endpoint.wait();
    for (;;) {
        if (!in.ok()) {
            self.word[0] = in.message.tag;
            return;
        }
        sys::Message out{in.badge, {}};
        for (unsigned i = 0; i < sys::kWords; ++i) out.word[i] = in.message.word[i] + 1;
        self.word[1].fetch_add(1);
        in = endpoint.reply_wait(out);
    }
}

// Calls once; word[0] is the tag of the answer, word[1] its first word.
void call_once(Worker& self) {
    const sys::Message answer = sys::Endpoint{self.slots[0]}.call(sys::message(7, self.word[2]));
    self.word[0] = answer.tag;
    self.word[1] = answer.word[0];
}

Error error_of(const Worker& worker) { return abi::tag_error(worker.word[0]); }

void arguments() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Endpoint caller{scratch.copy(endpoint.slot, rights::ep_call)};
    const sys::Endpoint receiver{scratch.copy(endpoint.slot, rights::ep_receive)};
    const sys::Notification note = scratch.notification();
    const sys::Notification signaller{scratch.copy(note.slot, rights::note_signal)};
    const sys::Notification waiter{scratch.copy(note.slot, rights::note_wait)};
    const sys::Endpoint empty{scratch.slot()}, far{abi::cspace::kSlots}, wrong{kPool};
    const sys::Message hello = sys::message(1);
    expect("call/bad_slot", Error::bad_slot, empty.call(hello).status());
    expect("call/bad_slot", Error::bad_slot, far.call(hello).status());
    expect("call/bad_slot", Error::bad_slot, sys::Endpoint{~0u}.call(hello).status());
    expect("call/bad_type", Error::bad_type, wrong.call(hello).status());
    expect("call/rights", Error::rights, receiver.call(hello).status());
    sys::Message with_cap = hello;
    with_cap.attach(kPool);
    expect("call/rights", Error::rights, caller.call(with_cap).status());  // it may call but not pass
    expect("reply_wait/bad_slot", Error::bad_slot, empty.reply_wait(hello).status());
    expect("reply_wait/bad_slot", Error::bad_slot, far.reply_wait(hello).status());
    expect("reply_wait/bad_type", Error::bad_type, wrong.reply_wait(hello).status());
    expect("reply_wait/rights", Error::rights, caller.reply_wait(hello).status());
    expect("wait/bad_slot", Error::bad_slot, empty.wait(abi::kPoll).status());
    expect("wait/bad_slot", Error::bad_slot, far.wait(abi::kPoll).status());
    expect("wait/bad_type", Error::bad_type, wrong.wait(abi::kPoll).status());
    expect("wait/rights", Error::rights, sys::Endpoint{signaller.slot}.wait(abi::kPoll).status());
    check("wait/rights", !caller.wait(abi::kPoll).ok());
    expect("wait/timeout", Error::timeout, receiver.wait(abi::kPoll).status());
    expect("wait/timeout", Error::timeout, receiver.wait(sys::after_ms(1)).status());
    expect("wait/past_deadline", Error::timeout, receiver.wait(1).status());
    expect("signal/bad_slot", Error::bad_slot, sys::Notification{empty.slot}.signal());
    expect("signal/bad_slot", Error::bad_slot, sys::Notification{far.slot}.signal());
    expect("signal/bad_type", Error::bad_type, sys::Notification{kPool}.signal());
    expect("signal/rights", Error::rights, waiter.signal());
    expect("endpoint.method/bad_method", Error::bad_method, status(endpoint.slot, 0));
}

void messages() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Endpoint badged{scratch.copy(endpoint.slot, rights::ep_call, 0xb4d6e)};
    Worker server(scratch, echo, {.priority = 63});
    server.slots[0] = endpoint.slot;
    need(server.start());
    pause();
    check("call/server_waits", server.state() == State::receiving);
    const sys::Message answer = badged.call(sys::message(5, 10, 20, 30, 40, 50, 60));
    expect_ok("call/six_words", answer.status());
    check("call/six_words", answer.word[0] == 11 && answer.word[1] == 21 && answer.word[2] == 31 &&
                                answer.word[3] == 41 && answer.word[4] == 51 && answer.word[5] == 61);
    expect_equal("call/badge", 0xb4d6e, answer.tag);
    expect_equal("reply_wait/label_only", 0, endpoint.call(sys::message(0)).tag);
    // What a sender writes into the kernel's part of the tag does not arrive.
    sys::Message forged = sys::message(9, 1);
    forged.tag |= u64{3} << abi::kTagErrorShift | u64{9} << abi::kTagArgShift | abi::kTagNote;
    expect_ok("call/forged_tag", endpoint.call(forged).status());
    check("call/forged_tag", server.word[1] == 3 && server.state() == State::receiving);
    // A server below its caller works with the caller's priority.
    need(server.sched.configure(0, 0, {1, 0, false}));
    Worker busy(scratch,
                [](Worker& self) {
                    for (;; relax()) self.word[0].fetch_add(1);
                },
                {.priority = 30});
    need(busy.start());
    expect_ok("call/donates_priority", endpoint.call(sys::message(0)).status());
    check("call/donates_priority", busy.word[0] == 0);
}

// Callers that come before the server wait their turn.
void queue() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    Worker first(scratch, call_once), second(scratch, call_once), third(scratch, call_once);
    Worker* const callers[] = {&first, &second, &third};
    u64 number = 100;
    for (Worker* each : callers) {
        each->slots[0] = endpoint.slot;
        each->word[2] = number++;
        need(each->start());
        pause();
    }
    check("call/queued", first.state() == State::calling && third.state() == State::calling);
    expect_ok("thread.stop/queued_caller", second.thread.stop());
    sys::Received in = endpoint.wait(abi::kPoll);
    check("call/queue_order", in.ok() && in.message.label() == 7 && in.message.word[0] == 100);
    expect("wait/busy", Error::busy, endpoint.wait(abi::kPoll).status());  // it owes an answer
    in = endpoint.reply_wait(sys::message(1, 1000));
    check("call/queue_order", in.ok() && in.message.word[0] == 102);
    check("call/answered", wait_for([&] { return first.done(); }) && first.word[0] == 1 && first.word[1] == 1000);
    // The caller whose turn it is goes away; its server learns nothing and goes on.
    need(third.thread.stop());
    expect("thread.stop/served_caller", Error::timeout, endpoint.wait(abi::kPoll).status());
    // They go on: their calls are over, and their own messages do not look like answers.
    for (Worker* each : {&second, &third}) {
        need(each->thread.resume());
        check("thread.resume/call_is_over",
              wait_for([&] { return each->done(); }) && error_of(*each) == Error::cancelled);
    }
}

void partners_go_away() {
    const auto with = [](auto test) {
        Scratch scratch;
        const sys::Endpoint endpoint = scratch.endpoint();
        Worker caller(scratch, call_once, {.priority = 10});
        caller.slots[0] = endpoint.slot;
        test(scratch, endpoint, caller);
    };
    with([](Scratch&, sys::Endpoint endpoint, Worker& caller) {
        need(caller.start());
        pause();
        expect_ok("endpoint.remove/queued_caller", kSelf.remove(endpoint.slot));
        check("call/cancelled", wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
    });
    with([](Scratch& scratch, sys::Endpoint endpoint, Worker& caller) {
        Worker server(scratch, [](Worker& self) {
            self.word[0] = sys::Endpoint{self.slots[0]}.wait().message.tag;
            for (;;) self.word[1].fetch_add(1);
        });
        server.slots[0] = endpoint.slot;
        need(server.start());
        pause();
        need(caller.start());
        pause();
        check("call/served", server.word[1] > 0 && caller.state() == State::calling);
        expect_ok("thread.stop/server", server.thread.stop());
        check("call/cancelled", wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
    });
    with([](Scratch&, sys::Endpoint, Worker& caller) {
        need(caller.start());
        pause();
        expect_ok("thread.remove/caller", kSelf.remove(caller.thread.slot));
    });
    with([](Scratch& scratch, sys::Endpoint endpoint, Worker&) {
        Worker server(scratch, echo);
        server.slots[0] = endpoint.slot;
        need(server.start());
        pause();
        expect_ok("endpoint.remove/receiver", kSelf.remove(endpoint.slot));
        check("wait/cancelled", wait_for([&] { return server.done(); }) && error_of(server) == Error::cancelled);
    });
    with([](Scratch& scratch, sys::Endpoint endpoint, Worker&) {
        Worker server(scratch, echo, {.priority = 63});
        server.slots[0] = endpoint.slot;
        need(server.start());
        pause();
        need(endpoint.call(sys::message(1)).status());
        expect_ok("endpoint.remove/receiver", kSelf.remove(endpoint.slot));
        check("reply_wait/cancelled", wait_for([&] { return server.done(); }) && error_of(server) == Error::cancelled);
    });
}

// Works for as long as it is told, on the caller's time. word[1]: whether it could put its caller into a reply object.
void toil(Worker& self) {
    const sys::Endpoint endpoint{self.slots[0]};
    sys::Received in = endpoint.wait();
    for (;;) {
        self.word[1] = static_cast<u64>(sys::Reply{self.slots[1]}.capture().error());
        const u64 end = sys::now() + in.message.word[0];
        while (sys::now() < end) relax();
        in = endpoint.reply_wait(sys::message(in.is_note() ? 9 : 1));
    }
}

// A server that loses its scheduling context while it waits for calls goes on on its callers' time, and on no other.
void passive() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Notification note = scratch.notification();
    const u64 millisecond = sys::after_ms(1) - sys::after_ms(0);
    Worker server(scratch, toil, {.note = note.slot}), caller(scratch, call_once, {.priority = 12});
    server.slots[0] = caller.slots[0] = endpoint.slot;
    server.slots[1] = scratch.reply().slot;
    need(server.start());
    pause();
    need(kSelf.remove(server.sched.slot));
    check("sched.remove/of_receiver", server.state() == State::receiving);
    need(note.signal());
    pause();
    check("signal/passive_server_sleeps", server.state() == State::receiving);
    for (unsigned i = 0; i < 2; ++i) {
        need(caller.start());
        check("call/passive_server", wait_for([&] { return caller.done(); }) && caller.word[0] == 1);
        check("reply.capture/no_server", static_cast<Error>(server.word[1].load()) == Error::no_server);
    }
    // The budget ends while it works: it waits until there is some again, 2 ms in every 20.
    Worker limited(scratch, call_once, {.sched = scratch.sched(12, 0, 2 * millisecond, 20 * millisecond, true).slot});
    limited.slots[0] = endpoint.slot;
    limited.word[2] = 50 * millisecond;
    need(limited.start());
    check("call/passive_waits_for_budget", wait_for([&] { return limited.sched.stat()->used > millisecond; }));
    check("call/passive_waits_for_budget", wait_for([&] { return limited.done(); }) && limited.word[0] == 1);
    check("call/passive_waits_for_budget", limited.sched.stat()->used < 10 * millisecond);
    // Its caller is stopped while it works: it stands still until it is given time.
    caller.word[2] = 20 * millisecond;
    need(caller.start());
    pause();
    need(caller.thread.stop());
    pause(40'000);
    check("thread.stop/caller_of_passive_server",
          server.state() == State::ready && endpoint.wait(abi::kPoll).status().error() == Error::timeout);
    need(server.thread.stop());
    expect_ok("thread.configure/passive_server", server.thread.configure({}, {}, {}, scratch.sched(20), {}));
    server.slots[1] = 0;  // it could defer its answers now
    need(server.thread.resume());
    check("thread.configure/passive_server", wait_for([&] { return server.state() == State::receiving; }));
    caller.word[2] = 0;
    need(caller.start());
    check("thread.configure/passive_server", wait_for([&] { return caller.done(); }) && caller.word[0] == 1);
}

// Nobody lends it time who calls from another core, so it takes no such calls, neither when it waits nor later.
void passive_and_remote() {
    if (cores() < 2) return skip("call/no_server", "one core");
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint(1);
    Worker server(scratch, toil, {.core = 1}), near(scratch, call_once, {.core = 1});
    server.slots[0] = near.slots[0] = endpoint.slot;
    server.slots[1] = scratch.reply().slot;
    need(server.start());
    check("call/no_server", wait_for([&] { return server.state() == State::receiving; }));
    need(kSelf.remove(server.sched.slot));
    expect("call/no_server", Error::no_server, endpoint.call(sys::message(0)).status());
    near.word[2] = sys::after_ms(20) - sys::after_ms(0);
    need(near.start());
    check("call/no_server", wait_for([&] { return server.state() == State::ready; }));
    expect("call/no_server", Error::no_server, endpoint.call(sys::message(0)).status());
    check("call/passive_server", wait_for([&] { return near.done(); }) && near.word[0] == 1);
}

// A chain of servers on the first caller's time.
void nested() {
    Scratch inner;
    const sys::Endpoint front = inner.endpoint(), back = inner.endpoint();
    const auto relay = [](Worker& self) {
        const sys::Endpoint in{self.slots[0]}, out{self.slots[1]};
        sys::Received got = in.wait();
        for (;;) got = in.reply_wait(out.call(got.message));
    };
    Worker middle(inner, relay), last(inner, echo), source(inner, call_once, {.priority = 12});
    middle.slots[0] = front.slot;
    middle.slots[1] = back.slot;
    last.slots[0] = back.slot;
    source.slots[0] = front.slot;
    source.word[2] = 41;
    need(last.start());
    need(middle.start());
    pause();
    const u64 before = middle.sched.stat()->used + last.sched.stat()->used;
    need(source.start());
    check("call/nested", wait_for([&] { return source.done(); }) && source.word[1] == 42);
    check("call/donates_time",
          middle.sched.stat()->used + last.sched.stat()->used == before && source.sched.stat()->used > 0);
}

void no_server() {
    Scratch scratch;
    if (cores() > 1) {
        const sys::Endpoint remote = scratch.endpoint(1);
        expect("reply_wait/no_server", Error::no_server, remote.reply_wait(sys::message(0)).status());
        expect("wait/no_server", Error::no_server, remote.wait(abi::kPoll).status());
    } else {
        skip("reply_wait/no_server", "one core");
        skip("wait/no_server", "one core");
    }
}

// A receiver with a bound notification gets both.
void bound() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Notification note = scratch.notification();
    Worker server(scratch,
                  [](Worker& self) {
                      sys::Received in = sys::Endpoint{self.slots[0]}.wait();
                      for (;;) {
                          if (in.is_note()) {
                              self.word[0] = in.bits();
                              in = sys::Endpoint{self.slots[0]}.wait();
                          } else {
                              in = sys::Endpoint{self.slots[0]}.reply_wait(sys::message(3));
                          }
                      }
                  },
                  {.note = note.slot});
    server.slots[0] = endpoint.slot;
    need(server.start());
    pause();
    need(sys::Notification{scratch.copy(note.slot, rights::all, 0x60)}.signal());
    check("reply_wait/bound_notification", wait_for([&] { return server.word[0] == 0x60; }));
    check("reply_wait/bound_notification", endpoint.call(sys::message(1)).label() == 3);
    need(note.signal());
    check("signal/unbadged_is_one", wait_for([&] { return server.word[0] == 1; }));
    expect("wait/busy", Error::busy, note.wait(abi::kPoll).status());  // somebody is bound to it
    // Unbound because the notification goes away: calls are still served.
    need(kSelf.remove(note.slot));
    check("notification.remove/bound", endpoint.call(sys::message(1)).label() == 3);
}

}  // namespace

void test_ipc() {
    arguments();
    messages();
    queue();
    partners_go_away();
    passive();
    passive_and_remote();
    nested();
    no_server();
    bound();
    test_fastpath();
}

}  // namespace twain::test
