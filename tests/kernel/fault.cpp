// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Faults: what the handler is told, and how a thread goes on.
#include "test.hpp"

namespace twain::test {

namespace {

using Kind = abi::FaultKind;
using State = abi::ThreadState;
constexpr u64 kNowhere = 0x30'0000'0000;

void misbehave(Worker& self) {
    switch (static_cast<Kind>(self.word[0].load())) {
        case Kind::data: self.word[2] = *reinterpret_cast<volatile u64*>(self.word[1].load()); break;
        case Kind::instruction: reinterpret_cast<void (*)()>(self.word[1].load())(); break;
        case Kind::alignment: {
            u64 target = self.word[1];
            asm volatile("br %0" ::"r"(target));
            break;
        }
        case Kind::undefined: asm volatile("udf #7"); break;
        case Kind::svc: asm volatile("svc #99" ::: "memory"); break;
        default: asm volatile("brk #3"); break;
    }
}

sys::Received fault_of(Scratch& scratch, Worker& worker, sys::Endpoint endpoint, Kind kind, u64 address) {
    (void)scratch;
    worker.word[0] = static_cast<u64>(kind);
    worker.word[1] = address;
    need(worker.start());
    return endpoint.wait(sys::after_ms(100));
}

void kinds() {
    struct Case {
        Kind kind;
        u64 address;
        unsigned ec;  // exception class in ESR; 0: the kernel's own word
    };
    constexpr Case kCases[] = {{Kind::data, kNowhere + 8, 0x24},
                               {Kind::instruction, kNowhere, 0x20},
                               {Kind::alignment, 0x40'0002, 0x22},
                               {Kind::undefined, 0, 0},
                               {Kind::svc, 0, 0},
                               {Kind::other, 0, 0x3c}};
    for (const Case& each : kCases) {
        Scratch scratch;
        const sys::Endpoint endpoint = scratch.endpoint();
        const Slot badged = scratch.copy(endpoint.slot, rights::ep_call, 0xfa);
        Worker worker(scratch, misbehave, {.fault = badged});
        const sys::Received in = fault_of(scratch, worker, endpoint, each.kind, each.address);
        check("fault/kind", in.ok() && in.message.label() == static_cast<u64>(each.kind));
        check("fault/badge", in.badge == 0xfa);
        check("fault/syndrome",
              each.kind == Kind::svc ? in.message.word[0] == 99 : in.message.word[0] >> 26 == each.ec);
        if (each.ec == 0x24 || each.ec == 0x20) expect_equal("fault/address", each.address, in.message.word[1]);
        check("fault/thread_id", in.message.word[4] == kSelf.inspect(worker.thread.slot)->object);
        check("fault/pc_sp", in.message.word[2] != 0 && in.message.word[3] % 16 == 0 && in.message.word[3] != 0);
        check("fault/is_a_call", worker.state() == State::calling);
    }
}

void handled() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    Worker worker(scratch, misbehave, {.fault = endpoint.slot});
    sys::Received in = fault_of(scratch, worker, endpoint, Kind::data, kNowhere);
    // The page comes, and the access is made again.
    const sys::Memory page = scratch.memory();
    const Slot mapping = scratch.slot();
    need(kSpace.map(page, 0, kNowhere, kPage, kReadWrite, mapping));
    *reinterpret_cast<volatile u64*>(kNowhere) = 0x77;
    const sys::Reply reply = scratch.reply();
    expect_ok("fault/deferred_reply", reply.capture());
    expect_ok("fault/reply_goes_on", reply.send(sys::message(0)));
    check("fault/reply_goes_on", wait_for([&] { return worker.done(); }) && worker.word[2] == 0x77);
    check("thread.state/no_fault_any_more", worker.thread.state()->fault == Kind::none);
    // Any other label leaves it stopped, for a supervisor to look at.
    need(kSelf.remove(mapping));
    in = fault_of(scratch, worker, endpoint, Kind::data, kNowhere + 16);
    need(reply.capture());
    expect_ok("fault/reply_stops", reply.send(sys::message(1)));
    pause();
    const auto state = worker.thread.state();
    check("fault/reply_stops",
          state->state == State::faulted && state->fault == Kind::data && state->fault_address == kNowhere + 16);
    check("thread.state/fault", state->pc == in.message.word[2]);
    u64 five[5];
    expect_ok("thread.read/faulted", worker.thread.read(31, five));
    check("thread.read/faulted", five[0] == in.message.word[3] && five[1] == state->pc);
    const u64 next[4] = {state->pc + 4, 0, 0, 0};
    expect_ok("thread.write/faulted", worker.thread.write(32, 1, next));
    expect_ok("thread.resume/faulted", worker.thread.resume());
    check("thread.resume/faulted", wait_for([&] { return worker.done(); }));
}

void unhandled() {
    Scratch scratch;
    Worker worker(scratch, misbehave);
    worker.word[0] = static_cast<u64>(Kind::undefined);
    need(worker.start());
    pause();
    check("fault/no_handler", worker.state() == State::faulted && worker.thread.state()->fault == Kind::undefined);
    // The handler's endpoint goes away, before and during the fault.
    const sys::Endpoint endpoint = scratch.endpoint();
    need(worker.thread.configure({}, {}, endpoint, {}, {}));
    need(worker.start());
    pause();
    check("fault/queued", worker.state() == State::calling);
    expect_ok("endpoint.remove/queued_fault", kSelf.remove(endpoint.slot));
    check("endpoint.remove/queued_fault", worker.state() == State::faulted);
    need(worker.start());
    pause();
    check("fault/handler_gone", worker.state() == State::faulted);
}

}  // namespace

void test_fault() {
    kinds();
    handled();
    unhandled();
}

}  // namespace twain::test
