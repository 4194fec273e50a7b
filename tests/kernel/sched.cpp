// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Scheduling contexts: priorities, turns, budgets.
#include "test.hpp"

namespace twain::test {

namespace {

u64 ms(u64 n) { return n * sys::ticks_per_second() / 1000; }

void spin(Worker& self) {
    for (;; relax()) self.word[0].fetch_add(1);
}

void arguments() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const auto make = [&](u64 pool, u64 slot, u64 budget, u64 period, u64 param) {
        return status(abi::kRootSystem, abi::system::make_sched, pool, slot, budget, period, param);
    };
    expect("system.make_sched/rights", Error::rights,
           sys::System{scratch.copy(abi::kRootSystem, rights::sys_info)}.make_sched(kObjects, to, 0, 0, {}));
    expect("system.make_sched/rights", Error::rights, make(scratch.copy(kPool, 0), to, 0, 0, 1));
    expect("system.make_sched/bad_slot", Error::bad_slot, make(to, to, 0, 0, 1));
    expect("system.make_sched/bad_slot", Error::bad_slot, make(kPool, abi::cspace::kSlots, 0, 0, 1));
    expect("system.make_sched/bad_type", Error::bad_type, make(kRam, to, 0, 0, 1));
    expect("system.make_sched/occupied", Error::occupied, make(kPool, kRam, 0, 0, 1));
    expect("system.make_sched/depth", Error::depth, make(scratch.deepest(kPool), to, 0, 0, 1));
    const u64 free = kObjects.stat()->free;
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 0, 0, abi::sched::kPriorities));
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 0, 0, u64{cores()} << 8));
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 0, 0, u64{1} << 17));
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 0, 1000, 1));
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 1001, 1000, 1));
    expect("system.make_sched/bad_arg", Error::bad_arg, make(kPool, to, 1, ~u64{0}, 1));
    expect_equal("system.make_sched/no_leak", free, kObjects.stat()->free);
    need(make(kPool, to, 500, 1000, abi::sched::kHardLimit | 9));
    const sys::Sched sched{to};
    const auto stat = sched.stat();
    check("sched.stat/values",
          stat->used == 0 && stat->budget == 500 && stat->period == 1000 && stat->priority == 9 && stat->core == 0);
    const sys::Sched bind_only{scratch.copy(to, rights::sched_bind)};
    expect("sched.configure/rights", Error::rights, bind_only.configure(0, 0, {}));
    expect("sched.stat/rights", Error::rights, bind_only.stat().status());
    expect("sched.configure/bad_arg", Error::bad_arg, sched.configure(0, 10, {}));
    expect("sched.configure/bad_arg", Error::bad_arg, sched.configure(11, 10, {}));
    expect("sched.configure/bad_arg", Error::bad_arg, sched.configure(0, 0, {64, 0, false}));
    expect("sched.configure/bad_arg", Error::bad_arg,
           sched.configure(0, 0, {1, static_cast<std::uint8_t>(cores()), false}));
    check("sched.configure/bad_changes_nothing", sched.stat()->budget == 500 && sched.stat()->priority == 9);
    expect("sched.method/bad_method", Error::bad_method, status(to, kNoMethod));
}

void priorities() {
    Scratch scratch;
    Worker high(scratch, spin, {.priority = 30}), low(scratch, spin, {.priority = 10});
    need(low.start());
    need(high.start());
    pause(5000);
    check("sched.configure/higher_goes_first", high.word[0] > 0 && low.word[0] == 0);
    need(low.sched.configure(0, 0, {31, 0, false}));
    const u64 before = high.word[0];
    pause(5000);
    check("sched.configure/raised_while_ready", low.word[0] > 0 && high.word[0] == before);
    need(low.sched.configure(0, 0, {30, 0, false}));
    const u64 low_before = low.word[0];
    pause(60'000);
    check("sched.configure/equals_take_turns", low.word[0] > low_before && high.word[0] > before);
}

void yielding() {
    Scratch scratch;
    const auto body = [](Worker& self) {
        for (;;) {
            self.word[0].fetch_add(1);
            sys::yield();
        }
    };
    Worker one(scratch, body), two(scratch, body), below(scratch, spin, {.priority = 5});
    need(one.start());
    need(two.start());
    need(below.start());
    pause(2000);
    const u64 a = one.word[0], b = two.word[0];
    check("yield/takes_turns", a > 3 && (a > b ? a - b : b - a) <= 1);
    check("yield/not_to_lower", below.word[0] == 0);
}

void budgets() {
    Scratch scratch;
    Worker hard(scratch, spin, {.priority = 40, .sched = scratch.sched(40, 0, ms(1), ms(10), true).slot});
    Worker idle(scratch, spin, {.priority = 2});
    need(hard.start());
    need(idle.start());
    pause(100'000);
    const u64 used = hard.sched.stat()->used;
    check("sched.budget/hard_limit", used >= ms(8) && used <= ms(12));
    check("sched.budget/rest_for_others", idle.sched.stat()->used > ms(80));
    need(hard.sched.configure(ms(5), ms(10), {40, 0, true}));
    const u64 start = hard.sched.stat()->used;
    pause(100'000);
    const u64 more = hard.sched.stat()->used - start;
    check("sched.configure/new_budget", more >= ms(43) && more <= ms(57));
    need(idle.thread.stop());
    need(hard.thread.stop());
    // Without the hard limit what is left over may be used.
    Worker soft(scratch, spin, {.priority = 40, .sched = scratch.sched(40, 0, ms(1), ms(10), false).slot});
    need(soft.start());
    pause(50'000);
    check("sched.budget/background", soft.sched.stat()->used > ms(40));
    need(idle.start());
    const u64 alone = idle.sched.stat()->used;
    pause(50'000);
    check("sched.budget/background_is_lowest", idle.sched.stat()->used - alone > ms(35));
}

// A budget that is used up before the kernel has left: everything above it goes on.
void tiny() {
    Scratch scratch;
    Worker worker(scratch, spin, {.priority = 40, .sched = scratch.sched(40, cores() - 1, 1, 1, true).slot});
    need(worker.start());
    pause(2000);
    expect_ok("sched.budget/tiny", worker.thread.stop());
}

// Runs of 0.4 ms with pauses: never more than the budget in one period, wherever that begins.
void pieces() {
    Scratch scratch;
    Worker bursts(scratch,
                  [](Worker& self) {
                      for (;;) {
                          const u64 end = sys::now() + self.word[1];
                          while (sys::now() < end) relax();
                          (void)sys::Notification{self.slots[0]}.wait();
                      }
                  },
                  {.priority = 40, .sched = scratch.sched(40, 0, ms(1), ms(10), true).slot});
    const sys::Notification again = scratch.notification();
    bursts.slots[0] = again.slot;
    bursts.word[1] = ms(1) * 4 / 10;
    need(bursts.start());
    u64 used[64] = {}, most = 0;
    for (unsigned i = 0; i < 64; ++i) {  // a picture each millisecond
        pause(1000);
        (void)again.signal();
        used[i] = bursts.sched.stat()->used;
        if (i >= 10 && used[i] - used[i - 10] > most) most = used[i] - used[i - 10];
    }
    check("sched.budget/in_any_window", most <= ms(1) + ms(1) / 10);  // pictures are not exactly a millisecond apart
    check("sched.budget/all_of_it", used[63] >= ms(4));
}

// An exhausted context that is given to another thread wakes that one when its time comes.
void inherited() {
    Scratch scratch;
    const sys::Sched sched = scratch.sched(40, 0, ms(1), ms(20), true);
    const sys::Sched other = scratch.sched(40);
    Worker first(scratch, spin, {.sched = sched.slot}), second(scratch, spin, {.sched = other.slot});
    need(first.start());
    pause(3000);
    need(kSelf.remove(first.thread.slot));
    const sys::Thread heir = second.thread;
    need(heir.configure({}, {}, {}, sched, {}));
    need(second.start());
    check("thread.configure/exhausted_sched", second.word[0] == 0);
    check("thread.configure/exhausted_sched", wait_for([&] { return second.word[0] > 0; }));
}

// A call made on a budget that ends during the service: the server, with time of its own, ends it.
void donated() {
    Scratch scratch;
    const sys::Endpoint endpoint = scratch.endpoint();
    Worker server(scratch,
                  [](Worker& self) {
                      sys::Received in = sys::Endpoint{self.slots[0]}.wait();
                      for (;;) {
                          const u64 end = sys::now() + in.message.word[0];
                          while (sys::now() < end) relax();
                          in = sys::Endpoint{self.slots[0]}.reply_wait(sys::message(1));
                      }
                  },
                  {.priority = 30});
    Worker client(scratch,
                  [](Worker& self) {
                      self.word[0] = sys::Endpoint{self.slots[0]}.call(sys::message(1, self.word[1])).tag;
                      for (;;) self.word[2].fetch_add(1);
                  },
                  {.priority = 40, .sched = scratch.sched(40, 0, ms(1), ms(50), true).slot});
    server.slots[0] = client.slots[0] = endpoint.slot;
    client.word[1] = ms(4);
    need(server.start());
    pause();
    const u64 own = server.sched.stat()->used;
    need(client.start());
    pause(20'000);
    check("call/budget_ends_in_service", client.sched.stat()->used >= ms(1) && client.sched.stat()->used < ms(2));
    check("call/server_goes_on_with_its_own", server.sched.stat()->used - own >= ms(2));
    check("call/caller_waits_for_its_budget", client.word[2] == 0);
    check("call/caller_goes_on_with_new_budget", wait_for([&] { return client.word[2] > 0; }));
}

// The same with a server between: the budget ends two calls deep. Both servers go on with their own time.
void donated_twice() {
    Scratch scratch;
    const sys::Endpoint front = scratch.endpoint(), back = scratch.endpoint();
    Worker last(scratch,
                [](Worker& self) {
                    sys::Received in = sys::Endpoint{self.slots[0]}.wait();
                    for (;;) {
                        const u64 end = sys::now() + in.message.word[0];
                        while (sys::now() < end) relax();
                        in = sys::Endpoint{self.slots[0]}.reply_wait(sys::message(1, in.message.word[0] + 1));
                    }
                },
                {.priority = 30});
    Worker middle(scratch,
                  [](Worker& self) {
                      sys::Received in = sys::Endpoint{self.slots[0]}.wait();
                      for (;;) {
                          const sys::Message answer =
                              sys::Endpoint{self.slots[1]}.call(sys::message(1, in.message.word[0]));
                          self.word[0] = answer.word[0];
                          in = sys::Endpoint{self.slots[0]}.reply_wait(answer);
                      }
                  },
                  {.priority = 30});
    Worker client(scratch,
                  [](Worker& self) {
                      self.word[0] = sys::Endpoint{self.slots[0]}.call(sys::message(1, self.word[1])).word[0];
                      for (;;) self.word[2].fetch_add(1);
                  },
                  {.priority = 40, .sched = scratch.sched(40, 0, ms(1), ms(50), true).slot});
    last.slots[0] = middle.slots[1] = back.slot;
    middle.slots[0] = client.slots[0] = front.slot;
    client.word[1] = ms(4);
    need(last.start());
    need(middle.start());
    pause();
    const u64 own = last.sched.stat()->used;
    need(client.start());
    pause(20'000);
    check("call/budget_ends_two_calls_deep", client.sched.stat()->used >= ms(1) && client.sched.stat()->used < ms(2));
    check("call/budget_ends_two_calls_deep",
          last.sched.stat()->used - own >= ms(2) && middle.sched.stat()->used < ms(1));
    check("call/budget_ends_two_calls_deep", middle.word[0] == ms(4) + 1 && client.word[2] == 0);
    check("call/budget_ends_two_calls_deep",
          wait_for([&] { return client.word[2] > 0; }) && client.word[0] == ms(4) + 1);
}

void core_changes() {
    if (cores() < 2) {
        skip("sched.configure/busy", "one core");
        skip("sched.configure/other_core", "one core");
        return;
    }
    Scratch scratch;
    Worker worker(scratch, spin);
    need(worker.start());
    pause();
    expect("sched.configure/busy", Error::busy, worker.sched.configure(0, 0, {20, 1, false}));
    need(worker.thread.stop());
    expect_ok("sched.configure/other_core", worker.sched.configure(0, 0, {20, 1, false}));
    const u64 before = worker.word[0];
    need(worker.thread.resume());
    pause();
    check("sched.configure/other_core", worker.word[0] > before && worker.sched.stat()->core == 1);
    // Spinning here does not keep it from running there. (An emulated machine gives its cores long turns.)
    const u64 count = worker.word[0], end = sys::after_ms(500);
    while (sys::now() < end && worker.word[0] == count) relax();
    check("sched.configure/other_core", worker.word[0] > count);
}

}  // namespace

void test_sched() {
    arguments();
    priorities();
    yielding();
    budgets();
    tiny();
    pieces();
    inherited();
    donated();
    donated_twice();
    core_changes();
}

}  // namespace twain::test
