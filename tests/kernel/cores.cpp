// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Several cores: calls, signals, stopping and removing across them.
#include "guest.hpp"

namespace twain::test {

namespace {

using State = abi::ThreadState;

void spin(Worker& self) {
    for (;; relax()) self.word[0].fetch_add(1);
}

void serve(Worker& self) {
    sys::Received in = sys::Endpoint{self.slots[0]}.wait();
    while (in.ok()) {
        sys::Message out = in.message;
        ++out.word[0];
        out.word[1] = in.badge;
        in = sys::Endpoint{self.slots[0]}.reply_wait(out);
    }
    self.word[0] = in.message.tag;
}

void call_once(Worker& self) {
    const sys::Message answer = sys::Endpoint{self.slots[0]}.call(sys::message(1, self.word[2]));
    self.word[0] = answer.tag;
    self.word[1] = answer.word[0];
}

Error error_of(const Worker& worker) { return abi::tag_error(worker.word[0]); }

void calls(unsigned core) {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint(core);
    Worker server(scratch, serve, {.core = core});
    server.slots[0] = endpoint.slot;
    need(server.start());
    const Slot badged = scratch.copy(endpoint.slot, rights::ep_call, 0x1d);
    bool good = true;
    for (u64 i = 0; i < 100; ++i) {
        const sys::Message answer = sys::Endpoint{badged}.call(sys::message(3, i, 0, 3, 4, 5, 6));
        good = good && answer.tag == 3 && answer.word[0] == i + 1 && answer.word[1] == 0x1d && answer.word[5] == 6;
    }
    check("call/remote", good);
    check("call/remote_uses_the_servers_time", server.sched.stat()->used > 0);
    // Callers from all cores at once.
    Worker one(scratch, call_once, {.core = 0}), two(scratch, call_once, {.core = 1}),
        three(scratch, call_once, {.core = cores() - 1});
    u64 number = 10;
    for (Worker* each : {&one, &two, &three}) {
        each->slots[0] = endpoint.slot;
        each->word[2] = number += 10;
        need(each->start());
    }
    check("call/from_all_cores", wait_for([&] { return one.done() && two.done() && three.done(); }));
    check("call/from_all_cores", one.word[1] == 21 && two.word[1] == 31 && three.word[1] == 41);
    // Capabilities travel across.
    const sys::Notification note = scratch.notification();
    const Slot into = scratch.slot();
    need(server.thread.receive(into));
    sys::Message with = sys::message(1);
    with.attach(note.slot);
    need(endpoint.call(with).status());
    expect_ok("call/remote_passes_capability", sys::Notification{into}.signal());
    expect_ok("endpoint.remove/remote", kSelf.remove(endpoint.slot));
    check("endpoint.remove/remote", wait_for([&] { return server.done(); }) && error_of(server) == Error::cancelled);
}

void remote_partners_go() {
    Scratch scratch;
    {
        Scratch inner;
        const sys::Endpoint endpoint = inner.endpoint(1);
        Worker caller(inner, call_once, {.core = 0});
        caller.slots[0] = endpoint.slot;
        need(caller.start());
        pause();
        check("call/remote_queued", caller.state() == State::calling);
        expect_ok("endpoint.remove/remote_callers", kSelf.remove(endpoint.slot));
        check("endpoint.remove/remote_callers",
              wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
    }
    {
        Scratch inner;
        const sys::Endpoint endpoint = inner.endpoint(1);
        Worker caller(inner, call_once, {.core = 0});
        Worker server(inner,
                      [](Worker& self) {
                          self.word[0] = sys::Endpoint{self.slots[0]}.wait().message.tag;
                          self.word[1].fetch_add(1);
                          (void)sys::Notification{self.slots[1]}.wait();  // never
                      },
                      {.core = 1});
        caller.slots[0] = server.slots[0] = endpoint.slot;
        server.slots[1] = inner.notification().slot;
        need(server.start());
        need(caller.start());
        check("call/remote_served", wait_for([&] { return server.word[1] > 0; }));
        expect_ok("thread.stop/remote_caller", caller.thread.stop());
        need(caller.thread.resume());  // its call is over
        check("thread.stop/remote_caller",
              wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
        need(caller.start());
        pause();
        expect_ok("thread.stop/remote_server", server.thread.stop());
        check("thread.stop/remote_server", server.state() == State::stopped);
        need(server.start());
        check("call/remote_again", wait_for([&] { return server.word[1] > 1 && caller.state() == State::calling; }));
        expect_ok("thread.remove/remote_server", kSelf.remove(server.thread.slot));
        check("thread.remove/remote_server",
              wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
    }
    {
        // A deferred answer, given on another core than the caller's.
        Scratch inner;
        const sys::Endpoint endpoint = inner.endpoint(0);
        const sys::Reply reply = inner.reply();
        Worker caller(inner, call_once, {.core = 1});
        caller.slots[0] = endpoint.slot;
        need(caller.start());
        check("reply.send/remote", endpoint.wait(sys::after_ms(50)).ok());
        need(reply.capture());
        expect_ok("reply.send/remote", reply.send(sys::message(4, 44)));
        check("reply.send/remote",
              wait_for([&] { return caller.done(); }) && caller.word[0] == 4 && caller.word[1] == 44);
        need(caller.start());
        check("reply.remove/remote", endpoint.wait(sys::after_ms(50)).ok());
        need(reply.capture());
        expect_ok("reply.remove/remote", kSelf.remove(reply.slot));
        check("reply.remove/remote", wait_for([&] { return caller.done(); }) && error_of(caller) == Error::cancelled);
    }
}

// One reply object, servers of two cores: whoever is second keeps its caller and answers it by itself.
void one_reply_for_two() {
    Scratch scratch;
    const sys::Reply reply = scratch.reply();
    const auto serve_both_ways = [](Worker& self) {
        const sys::Endpoint in{self.slots[0]};
        const sys::Reply held{self.slots[1]};
        sys::Received call = in.wait();
        while (call.ok()) {
            if (held.capture()) {
                self.word[0].fetch_add(1);
                if (!held.send(sys::message(7))) self.word[2].fetch_add(1);
                call = in.wait();
            } else {
                self.word[1].fetch_add(1);
                call = in.reply_wait(sys::message(7));
            }
        }
    };
    const auto ask = [](Worker& self) {
        for (; self.word[0] < 400; self.word[0].fetch_add(1)) {
            if (sys::Endpoint{self.slots[0]}.call(sys::message(1)).tag != 7) return;
        }
    };
    Worker one(scratch, serve_both_ways, {.core = 0}), two(scratch, serve_both_ways, {.core = 1});
    Worker first(scratch, ask, {.core = 0}), second(scratch, ask, {.core = 1});
    one.slots[0] = first.slots[0] = scratch.endpoint(0).slot;
    two.slots[0] = second.slots[0] = scratch.endpoint(1).slot;
    one.slots[1] = two.slots[1] = reply.slot;
    for (Worker* each : {&one, &two, &first, &second}) need(each->start());
    check("reply.capture/from_two_cores", wait_for([&] { return first.done() && second.done(); }, 1000));
    check("reply.capture/from_two_cores", first.word[0] == 400 && second.word[0] == 400);
    expect_equal("reply.capture/from_two_cores", 0, one.word[2] + two.word[2]);
    expect_equal("reply.capture/from_two_cores", 800, one.word[0] + one.word[1] + two.word[0] + two.word[1]);
}

// A core that has nothing to do sleeps, though its guest has an interrupt pending that it masks: where all cores share one
// clock, what this one gets done meanwhile tells.
void sleeps_beside_guest() {
    if (!at_el2()) {
        skip("vcpu.posted/core_sleeps", "kernel at EL1");
        return;
    }
    Scratch scratch;
    const Guest guest(scratch);
    Worker worker(scratch, [](Worker& self) { self.word[0] = u64{sys::Vcpu{self.slots[0]}.run().ok()}; }, {.core = 1});
    worker.slots[0] = guest.vcpu.slot;
    const auto masked = [&] {
        guest.enter_at(guest_interrupts);
        need(worker.start());
        check("vcpu.posted/core_sleeps", wait_for([&] { return worker.done(); }) && worker.word[0] == 1);
    };
    const auto turns = [] {
        u64 count = 0;
        const u64 end = sys::after_ms(2);
        for (; sys::now() < end; relax()) ++count;
        return count;
    };
    masked();
    const u64 alone = turns();
    guest.post(0, 40);
    masked();
    check("vcpu.posted/core_sleeps", (guest.page().pending & 1) && turns() > alone - alone / 4);
}

// One timer, set and stopped by all cores; afterwards it is as good as new.
void one_timer_for_all() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const auto fiddle = [](Worker& self) {
        const sys::Notification timer{self.slots[0]};
        for (unsigned i = 0; i < 500; ++i) {
            if (timer.arm(sys::after_ns(i % 3 ? 2000 : 500'000))) self.word[0].fetch_add(1);
            if (i % 2) (void)timer.arm(abi::kForever);
        }
    };
    Worker one(scratch, fiddle, {.core = 0}), two(scratch, fiddle, {.core = 1}),
        three(scratch, fiddle, {.core = cores() - 1});
    for (Worker* each : {&one, &two, &three}) {
        each->slots[0] = note.slot;
        need(each->start());
    }
    check("notification.arm/from_all_cores", wait_for([&] { return one.done() && two.done() && three.done(); }, 1000));
    check("notification.arm/from_all_cores", one.word[0] + two.word[0] + three.word[0] > 0);
    pause(2000);
    (void)note.wait(abi::kPoll);
    expect_ok("notification.arm/from_all_cores", note.arm(sys::after_ns(100'000)));
    check("notification.arm/from_all_cores", note.wait(sys::after_ms(20)).ok());
}

void signals() {
    Scratch scratch;
    const sys::Notification ping = scratch.notification(), pong = scratch.notification();
    Worker echo(scratch,
                [](Worker& self) {
                    for (;;) {
                        if (!sys::Notification{self.slots[0]}.wait()) return;
                        self.word[0].fetch_add(1);
                        (void)sys::Notification{self.slots[1]}.signal();
                    }
                },
                {.core = cores() - 1});
    echo.slots[0] = ping.slot;
    echo.slots[1] = pong.slot;
    need(echo.start());
    bool good = true;
    for (unsigned i = 0; i < 200 && good; ++i) good = ping.signal().ok() && pong.wait(sys::after_ms(50)).ok();
    check("signal/remote", good && echo.word[0] == 200);
    // Many signallers; no bit is lost.
    const sys::Notification sum = scratch.notification();
    const auto body = [](Worker& self) {
        for (unsigned i = 0; i < 100; ++i) (void)sys::Notification{self.slots[0]}.signal();
    };
    Worker a(scratch, body, {.core = 0}), b(scratch, body, {.core = 1});
    a.slots[0] = scratch.copy(sum.slot, rights::note_signal, 1);
    b.slots[0] = scratch.copy(sum.slot, rights::note_signal, 2);
    need(a.start());
    need(b.start());
    u64 bits = 0;
    check("signal/from_all_cores", wait_for([&] {
                                       bits |= sum.poll();
                                       return a.done() && b.done() && (bits | sum.poll()) == 3;
                                   }) ||
                                       (bits | sum.poll()) == 3);
    expect_ok("notification.remove/remote_waiter", kSelf.remove(ping.slot));
    check("notification.remove/remote_waiter", wait_for([&] { return echo.done(); }));
}

void threads() {
    Scratch scratch;
    Worker worker(scratch, spin, {.core = 1});
    need(worker.start());
    check("thread.start/remote", wait_for([&] { return worker.word[0] > 0; }));
    expect_ok("thread.stop/remote", worker.thread.stop());
    const u64 count = worker.word[0];
    pause();
    check("thread.stop/remote", worker.word[0] == count && worker.state() == State::stopped);
    need(worker.thread.resume());
    check("thread.resume/remote", wait_for([&] { return worker.word[0] > count; }));
    expect_ok("sched.configure/remote", worker.sched.configure(0, 0, {7, 1, false}));
    check("sched.configure/remote", worker.sched.stat()->priority == 7);
    expect_ok("sched.remove/remote", kSelf.remove(worker.sched.slot));
    const u64 end = worker.word[0];
    pause();
    check("sched.remove/remote", worker.word[0] == end);
    Worker second(scratch, spin, {.core = 1});
    need(second.start());
    pause();
    expect_ok("thread.remove/remote", kSelf.remove(second.thread.slot));
    const u64 last = second.word[0];
    pause();
    check("thread.remove/remote", last > 0 && second.word[0] == last);
}

// A mapping goes while another core uses it; a space goes while a thread on another core runs in it.
void translations() {
    Scratch scratch;
    const sys::Memory memory = scratch.memory();
    constexpr u64 kAt = 0x21'0000'0000;
    const Slot mapping = scratch.slot();
    need(kSpace.map(memory, 0, kAt, kPage, kReadWrite, mapping));
    Worker worker(scratch,
                  [](Worker& self) {
                      for (;;) {
                          *reinterpret_cast<volatile u64*>(kAt) = 1;
                          self.word[0].fetch_add(1);
                      }
                  },
                  {.core = 1});
    need(worker.start());
    check("mapping.protect/remote", wait_for([&] { return worker.word[0] > 0; }));
    need(sys::Mapping{mapping}.protect(kRead));
    check("mapping.protect/remote", wait_for([&] { return worker.state() == State::faulted; }));
    need(sys::Mapping{mapping}.protect(kReadWrite));
    const u64 count = worker.word[0];
    need(worker.thread.resume());
    check("mapping.remove/remote", wait_for([&] { return worker.word[0] > count; }));
    need(kSelf.remove(mapping));
    check("mapping.remove/remote", wait_for([&] { return worker.state() == State::faulted; }));
    {
        Scratch inner;
        const sys::Space space = inner.space();
        const sys::Memory code = inner.memory();
        const u64 window = inner.map(code);
        *reinterpret_cast<volatile std::uint32_t*>(window) = 0x14000000;  // b .
        asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(window) : "memory");
        need(space.map(code, 0, 0x40'0000, kPage, kReadExec, inner.slot()));
        const sys::Thread thread = inner.thread();
        need(thread.configure(kSelf, space, {}, inner.sched(20, 1), {}));
        need(thread.start(0x40'0000, 0));
        pause();
        check("space.remove/remote_runs_in_it", thread.state()->state == State::ready && thread.state()->used > 0);
        expect_ok("space.remove/remote_runs_in_it", kSelf.remove(space.slot));
        check("space.remove/remote_runs_in_it", thread.state()->state == State::stopped);
    }
}

// Both cores make and remove at the same time.
void contention() {
    Scratch scratch;
    const u64 before = free_bytes();
    {
        Scratch inner;
        const auto body = [](Worker& self) {
            bool good = true;
            for (unsigned i = 0; i < 60 && good; ++i) {
                good = kObjects.create_notification(self.slots[0]).ok() &&
                       kSelf.copy(self.slots[1], self.slots[0]).ok() &&
                       kObjects.create_space(self.slots[2], abi::SpaceKind::guest).ok() &&
                       kSelf.remove(self.slots[2]).ok() && kSelf.remove(self.slots[0]).ok();
            }
            self.word[0] = good ? 1 : 2;
        };
        Worker a(inner, body, {.core = 0}), b(inner, body, {.core = 1}), c(inner, body, {.core = cores() - 1});
        for (Worker* each : {&a, &b, &c}) {
            for (unsigned i = 0; i < 3; ++i) each->slots[i] = inner.slot();
            need(each->start());
        }
        check("cspace.remove/from_all_cores", wait_for([&] { return a.done() && b.done() && c.done(); }, 2000) &&
                                                  a.word[0] == 1 && b.word[0] == 1 && c.word[0] == 1);
    }
    expect_equal("cspace.remove/from_all_cores", before, free_bytes());
}

// A thread that is stopped while its call waits for the structure lock makes it again when it goes on: nothing of it has
// happened. The other core holds the lock most of the time.
void stopped_at_the_lock() {
    Scratch scratch;
    Worker holder(scratch,
                  [](Worker& self) {
                      for (;;) {
                          (void)kObjects.create_space(self.slots[0], abi::SpaceKind::host);
                          (void)kSelf.remove(self.slots[0]);
                      }
                  },
                  {.core = 1});
    Worker caller(scratch,
                  [](Worker& self) {
                      for (;;) {
                          const sys::Regs out = raw(kPool, abi::pool::stat, 77, 77);
                          self.word[out.x1 != 0 || out.x2 == 77 || out.x3 == 77 ? 0 : 1].fetch_add(1);
                      }
                  },
                  {.core = cores() - 1});
    holder.slots[0] = scratch.slot();
    need(holder.start());
    need(caller.start());
    for (unsigned i = 0; i < 300; ++i) {
        pause(17 + i % 7);
        need(caller.thread.stop());
        need(caller.thread.resume());
    }
    expect_equal("thread.resume/call_is_made_again", 0, caller.word[0]);
    check("thread.resume/call_is_made_again", wait_for([&] { return caller.word[1] > 10; }));
}

// A vCPU that one core begins to run loses its page, or is synchronized, on another.
void run_race() {
    if (!at_el2()) {
        skip("vcpu_run/page_goes_meanwhile", "kernel at EL1");
        return;
    }
    Scratch scratch;
    const Guest guest(scratch);
    guest.enter_at(guest_calls);
    Worker worker(scratch,
                  [](Worker& self) {
                      for (;;) {
                          const auto exit = sys::Vcpu{self.slots[0]}.run();
                          self.word[exit.ok() ? 0 : 1].fetch_add(1);
                          *reinterpret_cast<volatile u64*>(self.word[2].load()) = self.word[3];  // begins again
                      }
                  },
                  {.core = 1});
    const sys::Vcpu vcpu{scratch.slot()};
    need(kObjects.create_vcpu(vcpu.slot, guest.space, 1));
    const sys::Memory part{scratch.slot()};
    worker.slots[0] = vcpu.slot;
    worker.word[2] = reinterpret_cast<u64>(&guest.page().pc);
    worker.word[3] = guest.page().pc;
    need(worker.start());
    bool good = true;
    for (unsigned i = 0; i < 100 && good; ++i) {
        need(guest.memory.derive(kPage, kPage, part.slot, kReadWrite));
        const u64 before = worker.word[0];
        need(vcpu.page(part));
        good = wait_for([&] { return worker.word[0] > before; });
        pause(1 + i % 7);
        (void)vcpu.sync(abi::kGroupAll);
        good = good && kSelf.remove(part.slot).ok();
        if (worker.state() == State::stopped) need(worker.thread.resume());
    }
    check("vcpu_run/page_goes_meanwhile", good);
}

// The derivation tree is revoked here while another core copies in it.
void revoke_race() {
    Scratch scratch;
    const sys::Notification top = scratch.notification();
    const Slot child = scratch.slot();
    Worker worker(scratch,
                  [](Worker& self) {
                      for (;;) {
                          const Error copied = kSelf.copy(self.slots[1], self.slots[0]).error();
                          if (copied == Error::none) self.word[0].fetch_add(1);
                          (void)kSelf.remove(self.slots[1]);
                      }
                  },
                  {.core = 1});
    worker.slots[0] = child;
    worker.slots[1] = scratch.slot();
    need(worker.start());
    bool good = true;
    for (unsigned i = 0; i < 100; ++i) {
        good = good && kSelf.copy(child, top.slot).ok();
        pause(20);
        good = good && kSelf.revoke(top.slot).ok();
        good = good && kSelf.inspect(child)->type == abi::Type::null &&
               kSelf.inspect(worker.slots[1])->type == abi::Type::null;
    }
    check("cspace.revoke/copied_meanwhile", good && worker.word[0] > 10);
}

void guests() {
    if (!at_el2()) {
        for (const char* id : {"vcpu.kick/remote", "vcpu.kick/remote_look", "vcpu_run/moves_between_cores",
                               "vcpu.sync/remote", "vcpu.remove/remote_running"}) {
            skip(id, "kernel at EL1");
        }
        return;
    }
    Scratch scratch;
    const Guest guest(scratch);
    abi::VcpuPage& page = guest.page();
    Worker worker(scratch,
                  [](Worker& self) {
                      const auto exit = sys::Vcpu{self.slots[0]}.run();
                      self.word[0] = static_cast<u64>(exit.error());
                      self.word[1] = static_cast<u64>(*exit);
                  },
                  {.core = 1});
    worker.slots[0] = guest.vcpu.slot;
    guest.enter_at(guest_spins);
    need(worker.start());
    pause();
    expect_ok("vcpu.kick/remote", guest.vcpu.kick(abi::vcpu::kKickExit));
    check("vcpu.kick/remote",
          wait_for([&] { return worker.done(); }) && worker.word[1] == static_cast<u64>(abi::Exit::kicked));
    guest.enter_at(guest_sleeps);
    page.pstate = 0x3c5;
    need(worker.start());
    pause();
    guest.post(3, 47);
    expect_ok("vcpu.kick/remote_look", guest.vcpu.kick(abi::vcpu::kKickLook));
    check("vcpu.kick/remote_look", wait_for([&] { return worker.done(); }) && page.x[21] == 47);
    // Its registers are on the other core: they come along.
    guest.enter_at(guest_registers);
    page.pstate = 0x3c5;
    need(worker.start());
    check("vcpu_run/moves_between_cores", wait_for([&] { return worker.done(); }) && guest.ec() == Guest::kHvc);
    check("vcpu_run/moves_between_cores", guest.hvc(2) && page.x[0] == 0xabc && page.x[1] == 0xabc);
    guest.enter_at(guest_registers);
    need(worker.start());
    (void)wait_for([&] { return worker.done(); });
    expect_ok("vcpu.sync/remote", guest.vcpu.sync(abi::kGroupEl1));
    check("vcpu.sync/remote", page.el1.tpidr_el1 == 0xabc);
    guest.enter_at(guest_spins);
    need(worker.start());
    pause();
    expect_ok("vcpu.remove/remote_running", kSelf.remove(guest.vcpu.slot));
    check("vcpu.remove/remote_running", worker.state() == State::stopped);
}

// A thread takes its FP registers along to another core, and leaves them to nobody.
void floating_point() {
    Scratch scratch;
    Worker mover(scratch,
                 [](Worker& self) {
                     constexpr u64 kPattern = 0x0123'4567'89ab'cdef;
                     asm volatile("fmov d31, %0" ::"r"(kPattern) : "v31");
                     self.word[0].store(1);
                     while (self.word[1].load() == 0) {
                     }
                     u64 back = 0;
                     asm volatile("fmov %0, d31" : "=r"(back));
                     self.word[0].store(back == kPattern ? 2 : 3);
                 },
                 {.core = 1});
    need(mover.start());
    check("sched.configure/moves_fp_registers", wait_for([&] { return mover.word[0] == 1; }));
    expect_ok("sched.configure/moves_fp_registers", mover.thread.stop());
    expect_ok("sched.configure/moves_fp_registers",
              mover.sched.configure(0, 0, sys::SchedParam{.priority = 10, .core = 0}));
    expect_ok("sched.configure/moves_fp_registers", mover.thread.resume());
    mover.word[1].store(1);
    check("sched.configure/moves_fp_registers", wait_for([&] { return mover.done(); }) && mover.word[0] == 2);
}

void budgets() {
    Scratch scratch;
    const u64 tick = sys::ticks_per_second() / 1000;
    Worker worker(scratch, spin, {.core = 1, .sched = scratch.sched(30, 1, tick, 10 * tick, true).slot});
    need(worker.start());
    pause(50'000);
    const u64 used = worker.sched.stat()->used;
    check("sched.budget/remote", used >= 4 * tick && used <= 7 * tick);
    check("system.info/idle_of_other_core", kSystem.info(1)->idle_ticks > 0);
}

}  // namespace

void test_cores() {
    if (cores() < 2) {
        skip("cores.cpp", "one core");
        return;
    }
    calls(1);
    calls(cores() - 1);
    remote_partners_go();
    one_reply_for_two();
    sleeps_beside_guest();
    one_timer_for_all();
    signals();
    threads();
    translations();
    contention();
    revoke_race();
    stopped_at_the_lock();
    run_race();
    guests();
    floating_point();
    budgets();
}

}  // namespace twain::test
