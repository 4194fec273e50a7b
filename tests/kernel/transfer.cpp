// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Capabilities that travel with messages, and answers that are given later.
#include "test.hpp"

namespace twain::test {

namespace {

void caller(Worker& self) {
    sys::Message message = sys::message(1, 2, 3);
    if (self.slots[1]) message.attach(self.slots[1]);
    const sys::Message answer = sys::Endpoint{self.slots[0]}.call(message);
    self.word[0] = answer.tag;
    self.word[1] = answer.word[5];
    self.word[2] = answer.word[0];
}

// One call with a capability attached, received into `into`; what arrived.
sys::Received pass(Slot what, Slot into, Slot answer_cap = 0, Worker* given = nullptr) {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    Worker own(scratch, caller);
    Worker& sender = given ? *given : own;
    sender.slots[0] = endpoint.slot;
    sender.slots[1] = what;
    const sys::Thread self{abi::kRootThread};
    need(self.receive(into));
    need(sender.start());
    const sys::Received in = endpoint.wait(sys::after_ms(50));
    sys::Message answer = sys::message(0, 9);
    if (answer_cap) answer.attach(answer_cap);
    Worker closer(scratch, [](Worker& each) { (void)sys::Endpoint{each.slots[0]}.call(sys::message(99)); });
    closer.slots[0] = endpoint.slot;
    need(closer.start());
    (void)endpoint.reply_wait(answer);
    (void)wait_for([&] { return sender.done(); });
    need(self.receive(0));
    return in;
}

void capabilities() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const Slot badged = scratch.copy(note.slot, rights::note_signal, 0x42);
    const Slot into = scratch.slot();
    const sys::Received in = pass(badged, into);
    check("call/passes_capability", in.ok() && in.message.has_cap() && in.message.cap_slot() == into);
    const auto arrived = kSelf.inspect(into);
    check("call/passes_capability", arrived->badge == 0x42 && arrived->rights == rights::note_signal);
    need(sys::Notification{into}.signal());
    check("call/passes_capability", note.poll() == 0x42);
    // The slot is taken now.
    check("call/receive_slot_taken", !pass(badged, into).message.has_cap());
    need(kSelf.remove(badged));
    expect("call/passed_is_derived", Error::bad_slot, kSelf.remove(into));
    check("call/no_receive_slot", !pass(note.slot, 0).message.has_cap());
    const Slot empty = scratch.slot();
    check("call/passes_nothing", !pass(empty, into).message.has_cap() && kSelf.inspect(into)->type == abi::Type::null);
    check("call/passes_nothing", !pass(abi::cspace::kSlots, into).message.has_cap());
    const sys::Memory page = scratch.memory();
    (void)scratch.map(page);
    check("call/mapping_stays", !pass(page.slot + 1, into).message.has_cap());
}

void with_the_answer() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const Slot into = scratch.slot();
    Worker sender(scratch, caller);
    need(sender.thread.receive(into));
    (void)pass(0, 0, note.slot, &sender);
    check("reply_wait/passes_capability", sender.done() && (sender.word[0] & abi::kTagCap) && sender.word[1] == into);
    expect_ok("reply_wait/passes_capability", sys::Notification{into}.signal());
}

}  // namespace

void test_transfer() {
    capabilities();
    with_the_answer();
}

void test_reply() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Reply reply = scratch.reply(), other = scratch.reply();
    const sys::Reply nothing{scratch.copy(reply.slot, 0)};
    expect("reply.capture/rights", Error::rights, nothing.capture());
    expect("reply.send/rights", Error::rights, nothing.send(sys::message(0)));
    expect("reply.capture/busy", Error::busy, reply.capture());  // nobody has called
    expect("reply.send/busy", Error::busy, reply.send(sys::message(0)));
    expect("reply.method/bad_method", Error::bad_method, status(reply.slot, kNoMethod));
    Worker one(scratch, caller), two(scratch, caller), three(scratch, caller);
    for (Worker* each : {&one, &two, &three}) each->slots[0] = endpoint.slot;
    need(one.start());
    check("reply.capture/caller", endpoint.wait(sys::after_ms(50)).ok());
    expect_ok("reply.capture/caller", reply.capture());
    need(two.start());
    check("reply.capture/next_caller", endpoint.wait(sys::after_ms(50)).ok());
    expect("reply.capture/busy", Error::busy, reply.capture());  // it holds somebody already
    expect_ok("reply.capture/next_caller", other.capture());
    // Answered in the other order.
    expect_ok("reply.send/five_words", other.send(sys::message(8, 88, 2, 3, 4, 5)));
    check("reply.send/five_words", wait_for([&] { return two.done(); }) && two.word[0] == 8 && two.word[2] == 88);
    check("reply.send/sixth_is_zero", two.word[1] == 0);
    check("reply.send/other_waits", !one.done());
    expect("reply.send/busy", Error::busy, other.send(sys::message(0)));
    expect_ok("reply.remove/caller_waits", kSelf.remove(reply.slot));
    check("reply.remove/caller_waits",
          wait_for([&] { return one.done(); }) && abi::tag_error(one.word[0]) == Error::cancelled);
    need(three.start());
    check("reply.send/caller_stopped", endpoint.wait(sys::after_ms(50)).ok());
    need(other.capture());
    need(three.thread.stop());
    expect("reply.send/caller_stopped", Error::busy, other.send(sys::message(0)));
}

}  // namespace twain::test
