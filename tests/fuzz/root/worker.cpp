// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "worker.hpp"

namespace twain::fuzz {

namespace {

constexpr unsigned kChecked = 8;
constexpr u64 kLongestWait = 2500;  // ticks: longer than any deadline that is not far away (call.cpp)

void spin(u64 ticks) {
    const u64 end = sys::now() + ticks;
    while (sys::now() < end) asm volatile("yield");
}

}  // namespace

void Worker::complain(const char* what, const sys::Regs& regs) {
    answer = regs;
    complaint = what;
    for (;;) sys::yield();
}

void Worker::one() {
    if (random_.chance(3)) {
        make_something(random_);
        return;
    }
    call = random_call(random_, true);
    const Outcome outcome = make_call(call);
    calls.fetch_add(1, std::memory_order_relaxed);
    const Error error = abi::tag_error(outcome.regs.x1);
    errors[static_cast<unsigned>(error) % kErrors].fetch_add(1, std::memory_order_relaxed);
    if (nonsense(call, outcome))
        complain(outcome.leaked ? "an address of the kernel's in a register" : "no such answer", outcome.regs);
}

// Nobody works in the arena any more, as far as capabilities in it reach. (The supervisor has stopped the other workers.)
void Worker::quieten() {
    for (Slot slot = kFirst + kFixed; slot < kFirst + kSlots; ++slot) {
        if (kInside.inspect(slot)->type == Type::thread) (void)sys::Thread{slot}.stop();
    }
    spin(kLongestWait);
}

// Calls that do not block, while all is quiet: one that fails has changed nothing.
void Worker::checked() {
    quieten();
    Picture before = take_picture();
    for (unsigned i = 0; i < kChecked; ++i) {
        call = random_call(random_, false);
        const Type type =
            call.x[0] < abi::cspace::kSlots ? kInside.inspect(static_cast<Slot>(call.x[0]))->type : Type::null;
        const Outcome outcome = make_call(call);
        calls.fetch_add(1, std::memory_order_relaxed);
        const Error error = abi::tag_error(outcome.regs.x1);
        errors[static_cast<unsigned>(error) % kErrors].fetch_add(1, std::memory_order_relaxed);
        if (nonsense(call, outcome)) complain("no such answer", outcome.regs);
        if (!documented(call, type, outcome)) complain("an error that is not documented", outcome.regs);
        if (error == Error::none) quieten();  // it may have set somebody going
        const Picture after = take_picture();
        if (error != Error::none && after != before) {
            // Unless somebody is at work whom nobody could stop: then it goes on changing.
            spin(kLongestWait);
            if (take_picture() == after) {
                while (after.slot[changed] == before.slot[changed]) ++changed;
                complain("a failed call has changed something", outcome.regs);
            }
        }
        if (error != Error::none) checks.fetch_add(1, std::memory_order_relaxed);
        before = after;
    }
}

void Worker::run(void* self) {
    auto& worker = *static_cast<Worker*>(self);
    for (;;) {
        if (worker.check) {
            worker.checked();
            worker.check = false;
        }
        worker.one();
        if (worker.random_.chance(30)) asm volatile("yield");  // another core's turn, where QEMU runs them in turns
    }
}

}  // namespace twain::fuzz
