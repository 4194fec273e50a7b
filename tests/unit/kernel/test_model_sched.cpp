// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Scheduling at random against a naive model: lists of who waits for a turn, budgets as lists of what was used when. Only
// who has a processor makes calls; timer interrupts come when the kernel has asked for them, or late. After every operation
// are compared: who runs on each core and who waits for a turn in which order, all states, what was used and what is left,
// and that the next timer interrupt does not come later than the model needs it.
//
// Time passes in units of 64 ticks. Deadlines and periods differ below that, each in its own way, so that of two events that
// a core finds due at once it is known which one comes first.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <list>
#include <optional>

#include "random.hpp"
#include "world.hpp"

namespace twain::kernel::test {

namespace {

using abi::Sys;

constexpr unsigned kThreads = 6;
constexpr CpuId kCores = 2;
constexpr Ticks kUnit = 64;
constexpr Ticks kSlice = kSliceNs / 16;  // on the fake machine
constexpr std::size_t kUnderWay = 8;     // pieces of a budget: docs/kernel-api.md
constexpr u64 kPark = 80, kNotes = 90;   // slots

struct Model {
    struct Used {
        Ticks back;  // when it comes back
        Ticks ticks;
    };
    struct Context {
        Ticks amount = kSlice, period = 0;
        unsigned priority = 0;
        bool hard = false, exhausted = false;
        std::int64_t left = kSlice;
        Ticks used = 0;
        std::deque<Used> pieces;

        unsigned level() const { return exhausted ? 0 : priority; }
        void collect(Ticks now) {
            while (!pieces.empty() && pieces.front().back <= now) {
                left += static_cast<std::int64_t>(pieces.front().ticks);
                pieces.pop_front();
            }
        }
    };
    enum class Doing { nothing, running_or_ready, waiting };
    struct Task {
        Doing doing = Doing::running_or_ready;
        CpuId core = 0;
        Context context;
        std::optional<Ticks> deadline;
        std::optional<Ticks> alarm;  // of its notification
        CpuId alarm_core = 0;
        bool signalled = false;  // its notification's bit
    };
    struct Core {
        int running = -1;
        int charged = -1;  // whose budget is being used
        Ticks since = 0;
        std::list<int> turns;  // who is ready, in the order of arrival
    };

    Task tasks[kThreads];
    Core cores[kCores];
    Ticks now = 0;

    Context& context(int task) { return tasks[task].context; }
    bool able(int task) {
        return tasks[task].doing == Doing::running_or_ready && !(context(task).exhausted && context(task).hard);
    }
    void leave(int task) {
        Core& core = cores[tasks[task].core];
        core.turns.remove(task);
        if (core.running == task) core.running = -1;
    }
    void queue(int task) {  // at the end, if it may run
        Core& core = cores[tasks[task].core];
        core.turns.remove(task);
        if (able(task) && core.running != task) core.turns.push_back(task);
    }
    void ready(int task) {
        tasks[task].doing = Doing::running_or_ready;
        tasks[task].deadline.reset();
        queue(task);
    }

    // What has been used since the last time is written down.
    void charge(Core& core) {
        const Ticks from = core.since, ticks = now - from;
        core.since = now;
        if (core.charged < 0) return;
        Context& used = context(core.charged);
        used.used += ticks;
        if (used.exhausted && !used.hard) return;  // idle time is free
        used.collect(now);
        used.left -= static_cast<std::int64_t>(ticks);
        if (used.period && ticks) {
            const Ticks back = from + used.period;
            if (!used.pieces.empty() && used.pieces.back().back + used.pieces.back().ticks == back) {
                used.pieces.back().ticks += ticks;
            } else if (used.pieces.size() == kUnderWay) {
                used.pieces.back().back = back - used.pieces.back().ticks;
                used.pieces.back().ticks += ticks;
            } else {
                used.pieces.push_back({back, ticks});
            }
        }
        if (used.left > 0) return;
        if (!used.period) {
            used.left = static_cast<std::int64_t>(used.amount);
            return;
        }
        used.exhausted = true;
        queue(core.charged);
    }

    // The most urgent runs; of equals whoever runs already, then who came first.
    void choose() {
        for (Core& core : cores) {
            for (;;) {
                if (core.running >= 0 && !able(core.running)) core.running = -1;
                int best = -1;
                for (const int each : core.turns) {
                    if (best < 0 || context(each).level() > context(best).level()) best = each;
                }
                const bool stays =
                    core.running >= 0 && (best < 0 || context(best).level() <= context(core.running).level());
                if (!stays) {
                    if (core.running >= 0) core.turns.push_front(core.running);
                    core.running = best;
                    if (best >= 0) core.turns.remove(best);
                }
                if (core.charged == core.running) break;
                charge(core);  // this may change who is the most urgent
                core.charged = core.running;
            }
        }
    }

    Ticks latest(const Core& core) {  // by when the core must look again
        Ticks next = abi::kForever;
        for (int each = 0; each < int{kThreads}; ++each) {
            const Task& task = tasks[each];
            if (task.alarm && &cores[task.alarm_core] == &core) next = std::min(next, *task.alarm);
            if (&cores[task.core] != &core) continue;
            if (task.deadline) next = std::min(next, *task.deadline);
            if (task.context.exhausted) next = std::min(next, task.context.pieces.front().back);
        }
        if (core.running >= 0 && !context(core.running).exhausted) {
            next =
                std::min(next, core.since + static_cast<Ticks>(std::max<std::int64_t>(context(core.running).left, 0)));
        }
        return next;
    }

    void signal(int task) {
        tasks[task].signalled = true;
        if (tasks[task].doing != Doing::waiting) return;
        tasks[task].signalled = false;
        ready(task);
    }

    void interrupt(Core& core) {  // of the timer
        charge(core);
        for (;;) {
            struct Due {
                Ticks at = abi::kForever;
                int task = -1;
                enum { deadline, alarm, budget } what = deadline;
            } due;
            for (int each = 0; each < int{kThreads}; ++each) {
                const Task& task = tasks[each];
                const bool here = &cores[task.core] == &core;
                if (here && task.deadline && *task.deadline < due.at) due = {*task.deadline, each, Due::deadline};
                if (task.alarm && &cores[task.alarm_core] == &core && *task.alarm < due.at)
                    due = {*task.alarm, each, Due::alarm};
                if (here && task.context.exhausted && task.context.pieces.front().back < due.at)
                    due = {task.context.pieces.front().back, each, Due::budget};
            }
            if (due.at > now) break;
            Context& more = context(due.task);
            switch (due.what) {
                case Due::deadline: ready(due.task); break;
                case Due::alarm:
                    tasks[due.task].alarm.reset();
                    signal(due.task);
                    break;
                case Due::budget:
                    more.collect(now);
                    more.exhausted = more.left <= 0;
                    if (!more.exhausted) queue(due.task);
                    break;
            }
        }
        if (core.running < 0) return;
        const Context& turn = context(core.running);
        if (turn.exhausted || turn.left == static_cast<std::int64_t>(turn.amount)) {
            const int task = core.running;
            core.running = -1;
            queue(task);
        }
    }
};

class Twin {
public:
    explicit Twin(Trace& trace) : trace_(trace), world_(kCores) {
        world_.notification(kPark);
        for (unsigned i = 0; i < kThreads; ++i) {
            world_.notification(kNotes + i);
            const CpuId core = i < 4 ? 0 : 1;
            const u8 priority = static_cast<u8>(5 + i % 3);
            threads_[i] = &world_.thread(core, priority);
            slots_[i] = world_.next_slot - 2;
            model_.tasks[i].core = core;
            model_.tasks[i].context.priority = priority;
        }
        fake::state().clock = align_up(fake::state().clock, kUnit);
        world_.settle();
        world_.call(*world_.root, Sys::wait, {kPark, abi::kForever});
        model_.now = fake::state().clock;
        for (Model::Core& core : model_.cores) core.since = model_.now;
        for (unsigned i = 0; i < kThreads; ++i) model_.queue(static_cast<int>(i));
        // Core 1 has begun with the first that came; since then it has used time of that one's slice, which is none.
        model_.cores[1].running = 4;
        model_.cores[1].turns.remove(4);
        model_.choose();
        compare();
    }

    void step(Operation& draw) {
        const CpuId core = draw.below(kCores);
        Thread* self = world_.cpu(core).current;
        const unsigned what = draw.below(16);
        if (what < 5) {
            pass(draw.below(4) ? draw.below(12) : draw.below(300), what == 0);
        } else if (what == 5) {
            pass(draw.below(20'000), false);
        } else if (what == 6 || !self) {
            line(core, draw.below(kThreads));
        } else {
            const int me = number(self);
            const unsigned other = draw.below(kThreads);
            switch (what) {
                case 7:
                case 8: yield(me); break;
                case 9:
                case 10: wait(me, draw); break;
                case 11:
                case 12: signal(me, other); break;
                case 13: stop(me, other); break;
                case 14: resume(me, other); break;
                default:
                    if (draw.below(3)) {
                        configure(me, other, draw);
                    } else {
                        arm(me, other, draw);
                    }
            }
        }
        model_.choose();
        compare();
    }

private:
    int number(const Thread* thread) const {
        return static_cast<int>(std::find(threads_, threads_ + kThreads, thread) - threads_);
    }
    Answer call(int me, Sys number, std::initializer_list<u64> x) {
        world_.call(*threads_[me], number, x);
        world_.settle();
        return world_.answer(*threads_[me]);
    }

    // Each core takes its timer interrupt at the first unit's end at which it is due; if late, the next time.
    void pass(u64 units, bool late) {
        trace_.line(late ? "late:" : "time:", units, "units");
        const Ticks end = fake::state().clock + units * kUnit;
        if (late) {
            model_.now = fake::state().clock = end;
            return;
        }
        for (;;) {
            Ticks next = end;
            for (CpuId core = 0; core < kCores; ++core) {
                const Ticks timer = fake::state().timer[core];
                if (timer < end) next = std::min(next, std::max(align_up(timer, kUnit), fake::state().clock));
            }
            model_.now = fake::state().clock = next;
            for (CpuId core = 0; core < kCores; ++core) {
                if (fake::state().timer[core] > next) continue;
                fake::state().timer[core] = abi::kForever;  // it must be set anew
                fake::on(core, [&] { on_timer(world_.cpu(core)); });
                world_.go_on(core);
                world_.settle();
                model_.interrupt(model_.cores[core]);
                model_.choose();
                compare();
            }
            if (next == end) return;
        }
    }
    void line(CpuId core, unsigned note) {
        trace_.line("core", u64{core}, "takes a device's interrupt, which signals", u64{note});
        fake::on(core, [&] { kernel::signal(world_.cpu(core), world_.object<Notification>(kNotes + note), 1); });
        world_.go_on(core);
        world_.settle();
        model_.signal(static_cast<int>(note));
    }
    void yield(int me) {
        trace_.line(u64(me), "yields");
        call(me, Sys::yield, {});
        Model::Core& core = model_.cores[model_.tasks[me].core];
        core.running = -1;
        model_.queue(me);
    }
    void wait(int me, Operation& draw) {
        // Its own notification: nobody else may wait there.
        const bool forever = draw.below(2), poll = draw.one_in(6);
        const Ticks deadline = align_up(model_.now + draw.below(200) * kUnit, kUnit) + 2 * u64(me) + 1;
        trace_.line(u64(me), "waits, for", forever ? 0 : deadline - model_.now, "ticks");
        Model::Task& task = model_.tasks[me];
        const Answer answer = call(me, Sys::wait,
                                   {kNotes + u64(me), poll      ? abi::kPoll
                                                      : forever ? abi::kForever
                                                                : deadline});
        if (task.signalled) {
            task.signalled = false;
            require(answer.x[1] == abi::kTagNote && answer.x[2] == 1, "a signal is lost");
        } else if (poll) {
            require(answer.error() == Error::timeout, "a poll finds something");
        } else {
            task.doing = Model::Doing::waiting;
            if (!forever) task.deadline = deadline;
            model_.leave(me);
        }
    }
    void signal(int me, unsigned other) {
        trace_.line(u64(me), "signals", u64{other});
        call(me, Sys::signal, {kNotes + other});
        model_.signal(static_cast<int>(other));
    }
    void stop(int me, unsigned other) {
        trace_.line(u64(me), "stops", u64{other});
        call(me, Sys::invoke, {slots_[other], abi::thread::stop});
        Model::Task& task = model_.tasks[other];
        task.doing = Model::Doing::nothing;
        task.deadline.reset();
        model_.leave(static_cast<int>(other));
    }
    void resume(int me, unsigned other) {
        trace_.line(u64(me), "resumes", u64{other});
        const Answer answer = call(me, Sys::invoke, {slots_[other], abi::thread::resume});
        const bool good = model_.tasks[other].doing == Model::Doing::nothing;
        if (good) model_.ready(static_cast<int>(other));
        if (model_.able(me))
            require(answer.error() == (good ? Error::none : Error::busy), "resume says something else");
    }
    void configure(int me, unsigned other, Operation& draw) {
        Model::Task& task = model_.tasks[other];
        const Ticks period = draw.one_in(4) ? 0 : (2 + draw.below(60)) * kUnit + 2 * (u64{other} + 1);
        const Ticks budget = period ? 1 + draw.below(static_cast<u32>(period)) : 0;
        const unsigned priority = draw.below(8);
        const bool hard = draw.below(2);
        const CpuId core = draw.below(3) ? task.core : draw.below(kCores);
        trace_.line(u64(me), "gives", u64{other}, budget, "of", period, "priority", u64{priority},
                    hard ? "hard, core" : "core", u64{core});
        const Answer answer = call(me, Sys::invoke,
                                   {slots_[other] + 1, abi::sched::configure, budget, period,
                                    priority | core << 8 | (hard ? abi::sched::kHardLimit : 0)});
        const bool good = core == task.core || task.doing == Model::Doing::nothing;
        require(answer.error() == (good ? Error::none : Error::busy), "configure says something else");
        if (!good) return;
        Model::Core& old = model_.cores[task.core];
        if (old.charged == static_cast<int>(other)) model_.charge(old);
        const Ticks used = task.context.used;
        task.context = {.amount = period ? budget : kSlice,
                        .period = period,
                        .priority = priority,
                        .hard = hard,
                        .exhausted = false,
                        .left = static_cast<std::int64_t>(period ? budget : kSlice),
                        .used = used,
                        .pieces = {}};
        task.core = core;
        model_.queue(static_cast<int>(other));
    }
    void arm(int me, unsigned other, Operation& draw) {
        Model::Task& task = model_.tasks[other];
        const CpuId core = model_.tasks[me].core;
        const bool disarm = draw.one_in(3);
        const Ticks deadline = align_up(model_.now + draw.below(100) * kUnit, kUnit) + 2 * u64{other} + 33;
        trace_.line(u64(me), "arms", u64{other}, "for", disarm ? 0 : deadline - model_.now, "ticks");
        const Answer answer =
            call(me, Sys::invoke, {kNotes + other, abi::notification::arm, disarm ? abi::kForever : deadline});
        const bool good = !task.alarm || task.alarm_core == core;
        require(answer.error() == (good ? Error::none : Error::busy), "arm says something else");
        if (!good) return;
        task.alarm = deadline;
        if (disarm) task.alarm.reset();
        task.alarm_core = core;
    }

    void compare() {
        if (++compared_ % 16 == 0) world_.check();
        for (CpuId id = 0; id < kCores; ++id) {
            Cpu& cpu = world_.cpu(id);
            Model::Core& core = model_.cores[id];
            require(cpu.current == (core.running < 0 ? nullptr : threads_[core.running]), "another thread runs");
            for (unsigned level = 0; level < abi::sched::kPriorities; ++level) {
                const Link* each = cpu.ready[level].front();
                for (const int task : core.turns) {
                    if (model_.context(task).level() != level) continue;
                    require(each == static_cast<Link*>(threads_[task]), "turns are taken in another order");
                    each = each->next;
                }
                require(!each || each == (cpu.ready[level].empty() ? nullptr : cpu.ready[level].front()->prev),
                        "somebody else waits for a turn");
            }
            require(fake::state().timer[id] <= model_.latest(core), "the timer interrupt comes too late");
        }
        for (unsigned i = 0; i < kThreads; ++i) {
            const Model::Task& task = model_.tasks[i];
            const Thread& thread = *threads_[i];
            const State state = task.doing == Model::Doing::nothing   ? State::stopped
                                : task.doing == Model::Doing::waiting ? State::waiting
                                                                      : State::ready;
            require(thread.state == state, "a thread does something else");
            require(thread.core == task.core, "a thread is on another core");
            const Sched& sched = *thread.sched;
            require(sched.exhausted == task.context.exhausted, "a budget ends or comes back at another time");
            require(sched.used == task.context.used, "another time was charged");
            require(sched.budget.left() == static_cast<Ticks>(std::max<std::int64_t>(task.context.left, 0)),
                    "another time is left");
            require(sched.level() == task.context.level(), "another level");
            require((world_.object<Notification>(kNotes + i).bits != 0) == task.signalled, "another signal waits");
            require(world_.object<Notification>(kNotes + i).armed() == task.alarm.has_value(), "another alarm is set");
        }
    }

    Trace& trace_;
    World world_;
    Model model_;
    Thread* threads_[kThreads] = {};
    u64 slots_[kThreads] = {};
    unsigned compared_ = 0;
};

}  // namespace

TEST_CASE("who runs, and on what time, is as the naive model says", "[model]") {
    for (unsigned seed = 1; seed <= 25; ++seed) REQUIRE(difference<Twin>(seed, 500) == "");
}

}  // namespace twain::kernel::test
