// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Hundreds of threads and timers at once: whoever may make so many makes no path through the kernel longer. That they all
// come to their end is checked here; how long the longest path is meanwhile, by tests/fuzz (-k longest).
#include "test.hpp"

namespace twain::test {

namespace {

using State = abi::ThreadState;

constexpr unsigned kCrowd = 500;

// Threads without a stack. The first calls the endpoint in x0; the second takes a call from it, then calls the one in x1.
asm(R"(
    .text
crowd_call:
    svc     #0
    brk     #0
crowd_pass_on:
    mov     x19, x1
    mov     x1, #-1
    svc     #2
    mov     x0, x19
    mov     x1, #1
    svc     #0
    brk     #0
)");
extern "C" char crowd_call[], crowd_pass_on[];

struct Crowd {
    Crowd(Scratch& scratch, unsigned core) {
        for (sys::Thread& each : threads) {
            each = scratch.thread();
            need(each.configure(kSelf, kSpace, {}, scratch.sched(10, core), {}));
        }
    }
    bool all(State state) const {
        return wait_for([&] {
            for (const sys::Thread& each : threads) {
                if (each.state()->state != state) return false;
            }
            return true;
        });
    }
    sys::Thread threads[kCrowd];
};

u64 address(const char* code) { return reinterpret_cast<u64>(code); }

// They call an endpoint that goes.
void callers() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    const Crowd crowd(scratch, 0);
    for (const sys::Thread& each : crowd.threads) need(each.start(address(crowd_call), 0, endpoint.slot, 1));
    check("endpoint.remove/hundreds_of_callers", crowd.all(State::calling));
    expect_ok("endpoint.remove/hundreds_of_callers", kSelf.remove(endpoint.slot));
    check("endpoint.remove/hundreds_of_callers", crowd.all(State::faulted));  // at the instruction behind
}

// Time is lent on from server to server; then whose it is is stopped, and all the others with it.
void chain() {
    Scratch scratch;
    static sys::Endpoint endpoints[kCrowd + 1];
    for (sys::Endpoint& each : endpoints) each = scratch.endpoint();
    const Crowd crowd(scratch, 0);
    for (unsigned i = 0; i < kCrowd; ++i)
        need(crowd.threads[i].start(address(crowd_pass_on), 0, endpoints[i].slot, endpoints[i + 1].slot));
    check("thread.stop/hundreds_of_loans", crowd.all(State::receiving));
    const sys::Thread first = scratch.thread();
    need(first.configure(kSelf, kSpace, {}, scratch.sched(10), {}));
    need(first.start(address(crowd_call), 0, endpoints[0].slot, 1));
    check("thread.stop/hundreds_of_loans", crowd.all(State::calling));
    expect_ok("thread.stop/hundreds_of_loans", first.stop());
    expect_ok("thread.stop/hundreds_of_loans", crowd.threads[kCrowd / 2].stop());
    expect_ok("thread.stop/hundreds_of_loans", kSelf.remove(endpoints[kCrowd].slot));
    check("thread.stop/hundreds_of_loans",
          wait_for([&] { return crowd.threads[kCrowd - 1].state()->state == State::faulted; }));
}

// Their deadline is the same.
void timers() {
    Scratch scratch;
    static sys::Notification notes[kCrowd];
    for (sys::Notification& each : notes) each = scratch.notification();
    const u64 deadline = sys::after_ns(2'000'000);
    for (const sys::Notification& each : notes) need(each.arm(deadline));
    bool all = true;
    for (const sys::Notification& each : notes) all = each.wait(abi::kForever).ok() && all;
    check("notification.arm/hundreds_at_once", all && sys::now() >= deadline);
}

// Those of another core are on their way to one endpoint here while another one goes.
void mail() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint(), other = scratch.endpoint();
    const sys::Notification never = scratch.notification();
    const Crowd crowd(scratch, 1);
    Worker before(scratch,
                  [](Worker& self) {
                      while (!self.word[0]) relax();
                      (void)sys::Notification{self.slots[0]}.wait(abi::kForever);
                  },
                  {.priority = 20, .core = 1});
    before.slots[0] = never.slot;
    need(before.start());
    for (const sys::Thread& each : crowd.threads) need(each.start(address(crowd_call), 0, endpoint.slot, 1));
    before.word[0] = 1;
    expect_ok("endpoint.remove/hundreds_on_their_way", kSelf.remove(other.slot));
    check("endpoint.remove/hundreds_on_their_way", crowd.all(State::calling));
    expect_ok("endpoint.remove/hundreds_on_their_way", kSelf.remove(endpoint.slot));
    check("endpoint.remove/hundreds_on_their_way", crowd.all(State::faulted));
}

}  // namespace

void test_crowd() {
    callers();
    chain();
    timers();
    if (cores() < 2) {
        skip("endpoint.remove/hundreds_on_their_way", "one core");
        return;
    }
    mail();
}

}  // namespace twain::test
