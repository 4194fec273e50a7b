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

// Calls about translations of a guest without EL2 take tables from its space's pool in advance, even if they fail then.
bool stocks(const Call& call, Type type) {
    return !at_el2() && type == Type::vcpu && call.x[1] - abi::vcpu::fill <= abi::vcpu::drop - abi::vcpu::fill;
}

}  // namespace

// Where they differ: `changed`.
bool Worker::same(const Picture& before, const Picture& after, bool but_for_pools) {
    for (unsigned i = 0; i < kSlots; ++i) {
        if (before.slot[i] == after.slot[i]) continue;
        if (but_for_pools && kInside.inspect(kFirst + i)->type == Type::pool) continue;
        changed = i;
        return false;
    }
    return true;
}

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

// Nobody else works in the arena any more: the supervisor has stopped the other workers, but a call may have let one go
// on, or started a thread, perhaps from a slot that only hostile arguments name.
void Worker::quieten() {
    const auto stop = [&](Slot slot) {
        const auto info = kInside.inspect(slot);
        if (info->type == Type::thread && info->object != object) (void)sys::Thread{slot}.stop();
    };
    for (Slot slot = kFirst; slot < kFirst + kSlots; ++slot) stop(slot);
    for (const Slot slot : kFarSlots) stop(slot);
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
        if (!check) return;  // this took too long: others are at work
        if (error != Error::none && !same(before, after, stocks(call, type))) {
            complain("a failed call has changed something", outcome.regs);
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
