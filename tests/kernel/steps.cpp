// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Long calls make nobody else late. A thread of higher priority wakes up again and again while one of lower priority
// makes the longest calls that there are; how late it is bounds what the kernel does without looking for interrupts.
#include "test.hpp"

namespace twain::test {

namespace {

constexpr u64 kBlock = 0x20'0000, kAt = 0x30'0000'0000;
constexpr u64 kLate = 12;  // microseconds; what runs on the other cores counts too, where they share one clock

void watch(Worker& self) {
    const sys::Notification never{self.slots[0]};
    for (;;) {
        const u64 deadline = sys::after_ns(30'000);
        (void)never.wait(deadline);
        const u64 late = sys::now() - deadline;
        if (late > self.word[0]) self.word[0] = late;
        self.word[1].fetch_add(1);
    }
}

void in_time(std::string_view id, Scratch& scratch, Worker::Body body, std::initializer_list<Slot> slots,
             Where where = Where::here()) {
    Worker watcher(scratch, watch, {.priority = 61}), worker(scratch, body, {.priority = 20});
    watcher.slots[0] = scratch.notification().slot;
    unsigned n = 0;
    for (const Slot slot : slots) worker.slots[n++] = slot;
    need(watcher.start());
    pause();
    watcher.word[0] = watcher.word[1] = 0;
    need(worker.start());
    const bool done = wait_for([&] { return worker.done(); }, 1000);
    need(watcher.thread.stop());
    const u64 late = watcher.word[0] * 1'000'000 / sys::ticks_per_second();
    expect_equal(id, 0, done && worker.word[0] == 0 ? 0 : 1, where);
    expect_equal(id, 0, late <= kLate * cores() ? 0 : late, where);
}

Error failure(sys::Status status) { return status.error(); }

}  // namespace

void test_steps() {
    {
        // 300 tables, each with a page.
        Scratch scratch;
        const sys::Space space = scratch.space();
        const sys::Memory page = scratch.memory();
        for (u64 i = 0; i < 300; ++i) need(space.map(page, 0, kAt + i * kBlock, kPage, kRead, scratch.slot()));
        in_time("space.remove/in_steps", scratch,
                [](Worker& self) { self.word[0] = static_cast<u64>(failure(kSelf.remove(self.slots[0]))); },
                {space.slot});
    }
    {
        // A map of thousands of pages that fails at the last.
        Scratch scratch;
        const sys::Memory memory = scratch.memory(6 * kBlock);
        const u64 shift = (kBlock - kSelf.inspect(memory.slot)->base % kBlock) % kBlock + kPage;  // pages only
        need(kSpace.map(memory, 0, kAt + 4 * kBlock - kPage, kPage, kRead, scratch.slot()));
        static u64 offset;
        offset = shift;
        in_time("space.map/taken_back_in_steps", scratch,
                [](Worker& self) {
                    self.word[0] = failure(kSpace.map(sys::Memory{self.slots[0]}, offset, kAt, 4 * kBlock, kRead,
                                                      self.slots[1])) == Error::occupied
                                       ? 0
                                       : 1;
                },
                {memory.slot, scratch.slot()});
    }
    {
        // 60 callers.
        Scratch scratch;
        const sys::Endpoint endpoint = scratch.endpoint();
        static std::byte memory[60][sizeof(Worker)];
        for (auto& each : memory) {
            auto* caller = new (each) Worker(
                scratch, [](Worker& self) { self.word[0] = sys::Endpoint{self.slots[0]}.call(sys::message(1)).tag; },
                {.priority = 10});
            caller->slots[0] = endpoint.slot;
            need(caller->start());
        }
        pause();
        in_time("endpoint.remove/in_steps", scratch,
                [](Worker& self) { self.word[0] = static_cast<u64>(failure(kSelf.remove(self.slots[0]))); },
                {endpoint.slot});
        bool all = true;
        for (auto& each : memory) {
            auto& caller = *reinterpret_cast<Worker*>(each);
            all = wait_for([&] { return caller.done(); }) && abi::tag_error(caller.word[0]) == Error::cancelled && all;
            caller.~Worker();
        }
        check("endpoint.remove/in_steps", all);
    }
    {
        // Leaves with nothing in them, up to the last slot.
        Scratch scratch;
        const sys::CSpace many = scratch.cspace();
        const sys::Notification note = scratch.notification();
        for (Slot leaf = 0; leaf < abi::cspace::kSlots; leaf += 128) {
            need(many.copy(leaf + 1, note.slot));
            if (leaf + 128 < abi::cspace::kSlots) need(many.remove(leaf + 1));
        }
        in_time("cspace.remove/in_steps", scratch,
                [](Worker& self) { self.word[0] = static_cast<u64>(failure(kSelf.remove(self.slots[0]))); },
                {many.slot});
    }
    {
        // The largest piece of memory that there is becomes a pool, and memory again.
        Scratch scratch;
        in_time("memory.make_pool/any_size", scratch,
                [](Worker& self) {
                    self.word[0] = static_cast<u64>(failure(sys::Memory{self.slots[0]}.make_pool(self.slots[1]))) +
                                   static_cast<u64>(failure(kSelf.remove(self.slots[1])));
                },
                {kLarge, scratch.slot()});
    }
}

}  // namespace twain::test
