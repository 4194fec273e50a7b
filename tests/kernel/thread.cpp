// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Threads: configuring, starting, stopping, registers.
#include "test.hpp"

namespace twain::test {

namespace {

using State = abi::ThreadState;

void spin(Worker& self) {
    for (;; relax()) self.word[0].fetch_add(1);
}

void configure() {
    Scratch scratch;
    const sys::Thread thread = scratch.thread();
    const auto with = [&](Slot cspace, Slot space, Slot fault, Slot sched, Slot note) {
        return status(thread.slot, abi::thread::configure, cspace, space, fault, sched, note);
    };
    const sys::Sched sched = scratch.sched(10);
    const sys::Notification note = scratch.notification();
    const sys::Endpoint endpoint = scratch.endpoint();
    const Slot empty = scratch.slot();
    expect("thread.configure/rights", Error::rights,
           status(scratch.copy(thread.slot, rights::thread_regs), abi::thread::configure, kSelf.slot));
    expect("thread.configure/bad_slot", Error::bad_slot, with(empty, 0, 0, 0, 0));
    expect("thread.configure/bad_slot", Error::bad_slot, with(0, 0, 0, 0, abi::cspace::kSlots));
    expect("thread.configure/bad_type", Error::bad_type, with(kSpace.slot, 0, 0, 0, 0));
    expect("thread.configure/bad_type", Error::bad_type, with(0, kSelf.slot, 0, 0, 0));
    expect("thread.configure/bad_type", Error::bad_type, with(0, 0, note.slot, 0, 0));
    expect("thread.configure/bad_type", Error::bad_type, with(0, 0, 0, note.slot, 0));
    expect("thread.configure/bad_type", Error::bad_type, with(0, 0, 0, 0, endpoint.slot));
    expect("thread.configure/rights", Error::rights, with(0, scratch.copy(kSpace.slot, rights::space_map), 0, 0, 0));
    expect("thread.configure/rights", Error::rights, with(0, 0, scratch.copy(endpoint.slot, rights::ep_receive), 0, 0));
    expect("thread.configure/rights", Error::rights,
           with(0, 0, 0, scratch.copy(sched.slot, rights::sched_configure), 0));
    expect("thread.configure/rights", Error::rights, with(0, 0, 0, 0, scratch.copy(note.slot, rights::note_signal)));
    expect("thread.configure/bad_arg", Error::bad_arg, with(0, scratch.space(abi::SpaceKind::guest).slot, 0, 0, 0));
    expect("thread.configure/occupied", Error::occupied, with(0, 0, 0, abi::kRootSched, 0));
    expect("thread.configure/depth", Error::depth, with(0, 0, scratch.deepest(endpoint.slot), 0, 0));
    {
        Scratch inner;
        const sys::Notification taken = inner.notification();
        const sys::Thread other = inner.thread();
        need(other.configure({}, {}, {}, {}, taken));
        expect("thread.configure/occupied", Error::occupied, with(0, 0, 0, 0, taken.slot));
    }
    // All or nothing: the sched of a call that fails stays free.
    expect("thread.configure/all_or_nothing", Error::bad_slot, with(kSelf.slot, kSpace.slot, 0, sched.slot, empty));
    const sys::Thread second = scratch.thread();
    expect_ok("thread.configure/all_or_nothing", second.configure({}, {}, {}, sched, {}));
    expect("thread.start/bad_arg", Error::bad_arg, thread.start(0, 0));  // it has no spaces
    expect("thread.resume/bad_arg", Error::bad_arg, thread.resume());
    expect("thread.method/bad_method", Error::bad_method, status(thread.slot, kNoMethod));
}

void run() {
    Scratch scratch;
    Worker worker(scratch, spin);
    expect_ok("thread.start/runs", worker.start());
    pause();
    check("thread.start/runs", worker.word[0] > 0);
    expect("thread.start/busy", Error::busy, worker.start());
    expect("thread.resume/busy", Error::busy, worker.thread.resume());
    expect("thread.configure/busy", Error::busy, worker.thread.configure({}, {}, {}, {}, {}));
    const u64 values[4] = {};
    expect("thread.write/busy", Error::busy, worker.thread.write(0, 1, values));
    check("thread.state/ready", worker.state() == State::ready);
    check("thread.state/used", worker.thread.state()->used > 0);
    expect_ok("thread.stop/stops", worker.thread.stop());
    const u64 count = worker.word[0];
    pause();
    check("thread.stop/stops", worker.word[0] == count && worker.state() == State::stopped);
    expect_ok("thread.stop/twice", worker.thread.stop());
    expect_ok("thread.resume/goes_on", worker.thread.resume());
    pause();
    check("thread.resume/goes_on", worker.word[0] > count);
    expect_ok("thread.remove/running", kSelf.remove(worker.thread.slot));
    const u64 end = worker.word[0];
    pause();
    check("thread.remove/running", worker.word[0] == end);
}

void limited() {
    Scratch scratch;
    const sys::Thread thread = scratch.thread();
    const sys::Thread control{scratch.copy(thread.slot, rights::thread_control)};
    const sys::Thread registers{scratch.copy(thread.slot, rights::thread_regs)};
    u64 five[5];
    const u64 four[4] = {};
    expect("thread.start/rights", Error::rights, registers.start(0, 0));
    expect("thread.stop/rights", Error::rights, registers.stop());
    expect("thread.resume/rights", Error::rights, registers.resume());
    expect("thread.receive/rights", Error::rights, registers.receive(0));
    expect("thread.state/rights", Error::rights, registers.state().status());
    expect("thread.read/rights", Error::rights, control.read(0, five));
    expect("thread.write/rights", Error::rights, control.write(0, 1, four));
    expect("thread.receive/bad_slot", Error::bad_slot, thread.receive(abi::cspace::kSlots));
    expect_ok("thread.receive/none", thread.receive(0));
}

void registers() {
    Scratch scratch;
    Worker worker(scratch, [](Worker&) {});
    const sys::Thread& thread = worker.thread;
    u64 five[5];
    const u64 four[4] = {11, 22, 33, 44};
    expect("thread.read/bad_arg", Error::bad_arg, thread.read(35, five));
    expect("thread.write/bad_arg", Error::bad_arg, thread.write(0, 0, four));
    expect("thread.write/bad_arg", Error::bad_arg, thread.write(0, 5, four));
    expect("thread.write/bad_arg", Error::bad_arg, thread.write(32, 4, four));
    expect("thread.write/bad_arg", Error::bad_arg, thread.write(~0u, 1, four));
    expect_ok("thread.write/general", thread.write(27, 4, four));
    expect_ok("thread.read/general", thread.read(27, five));
    check("thread.read/general", five[0] == 11 && five[1] == 22 && five[2] == 33 && five[3] == 44);
    const u64 pstate[4] = {~u64{0}, 0, 0, 0};
    expect_ok("thread.write/pstate_sanitized", thread.write(33, 1, pstate));
    expect_ok("thread.read/past_the_end", thread.read(33, five));
    expect_equal("thread.write/pstate_sanitized", 0xf000'0000, five[0]);
    check("thread.read/past_the_end", five[2] == 0 && five[3] == 0 && five[4] == 0);
    const u64 thread_pointer[4] = {0x5500, 0, 0, 0};
    expect_ok("thread.write/thread_pointer", thread.write(34, 1, thread_pointer));
    need(thread.read(34, five));
    check("thread.write/thread_pointer", five[0] == 0x5500);
    // A fresh start has no registers of before.
    need(worker.start());
    need(thread.stop());
    need(thread.read(27, five));
    check("thread.start/registers_zero", five[0] == 0 && five[1] == 0 && five[2] == 0 && five[3] == 0);
    need(thread.read(34, five));
    check("thread.start/registers_zero", five[0] == 0);
}

// Whoever had the thread before leaves nothing in the FP registers either.
void fresh_fp_registers() {
    Scratch scratch;
    Worker worker(scratch, [](Worker& self) {
        u64 value = 0;
        asm volatile("fmov %0, d31\n fmov d31, %1" : "=&r"(value) : "r"(0x0123'4567'89ab'cdef) : "v31");
        self.word[0] = value;
    });
    for (int life = 0; life < 2; ++life) {
        worker.word[0] = 1;
        need(worker.start());
        check("thread.start/fp_registers_zero", wait_for([&] { return worker.word[0] != 1; }) && worker.word[0] == 0);
        need(worker.thread.stop());
    }
}

// Registers written into a stopped thread are what it goes on with.
void redirected() {
    Scratch scratch;
    Worker worker(scratch, spin);
    need(worker.start());
    pause();
    need(worker.thread.stop());
    static std::atomic<u64> seen;
    seen = 0;
    struct Elsewhere {
        static void run(u64 value) {
            seen = value;
            for (;;) sys::yield();
        }
    };
    const u64 x0[4] = {0xabcd, 0, 0, 0};
    const u64 pc[4] = {reinterpret_cast<u64>(&Elsewhere::run), 0, 0, 0};
    need(worker.thread.write(0, 1, x0));
    need(worker.thread.write(32, 1, pc));
    need(worker.thread.resume());
    check("thread.write/redirects", wait_for([] { return seen == 0xabcd; }));
}

// What a thread needs is taken away while it runs.
void bereft() {
    Scratch scratch;
    {
        Scratch inner;
        const sys::CSpace cspace = inner.cspace();
        Worker worker(inner, [](Worker& self) { spin(self); }, {.cspace = cspace.slot});
        need(worker.start());
        pause();
        expect_ok("cspace.remove/of_running_thread", kSelf.remove(cspace.slot));
        check("cspace.remove/of_running_thread", worker.state() == State::stopped);
        expect("cspace.remove/of_running_thread", Error::bad_arg, worker.thread.resume());
    }
    {
        Scratch inner;
        Worker worker(inner, spin);
        need(worker.start());
        pause();
        expect_ok("sched.remove/of_running_thread", kSelf.remove(worker.sched.slot));
        const u64 count = worker.word[0];
        pause();
        check("sched.remove/of_running_thread", worker.word[0] == count);
        need(worker.thread.configure({}, {}, {}, inner.sched(10), {}));
        expect_ok("sched.remove/another_one", worker.thread.resume());
        pause();
        check("sched.remove/another_one", worker.word[0] > count);
    }
    {
        Scratch inner;
        const sys::Space space = inner.space();
        const sys::Thread thread = inner.thread();
        need(thread.configure(kSelf, space, {}, inner.sched(10), {}));
        need(thread.start(0x1000, 0));  // faults at once
        pause();
        check("space.map/other_space_is_empty", thread.state()->state == State::faulted);
        expect_ok("space.remove/of_faulted_thread", kSelf.remove(space.slot));
        expect("space.remove/of_faulted_thread", Error::bad_arg, thread.resume());
    }
}

// Floating-point registers of two threads that take turns.
void floating_point() {
    Scratch scratch;
    const auto body = [](Worker& self) {
        bool good = true;
        for (u64 i = 0; i < 50; ++i) {
            const u64 value = self.word[1] + i;
            u64 back = 0;
            asm volatile("fmov d31, %1\n mov x0, xzr\n svc #6\n fmov %0, d31"
                         : "=&r"(back)
                         : "r"(value)
                         : "v31", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                           "x13", "x14", "x15", "x16", "x17", "x18", "memory", "cc");
            good = good && back == value;
        }
        self.word[0] = good ? 1 : 2;
    };
    Worker one(scratch, body), two(scratch, body);
    one.word[1] = 0x1111'0000;
    two.word[1] = 0x2222'0000;
    need(one.start());
    need(two.start());
    check("yield/keeps_fp_registers",
          wait_for([&] { return one.done() && two.done(); }) && one.word[0] == 1 && two.word[0] == 1);
}

}  // namespace

void test_thread() {
    configure();
    run();
    limited();
    registers();
    fresh_fp_registers();
    redirected();
    bereft();
    floating_point();
}

}  // namespace twain::test
