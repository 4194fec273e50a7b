// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Messages at random against a naive model: who waits where, who serves whom, on whose time, and what is in whose registers.
// Two cores, endpoints on both, deferred replies, a bound notification, faults, capabilities that go along, threads that are stopped, objects that are taken away and made anew.
// After every operation all of that is compared, word for word.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <vector>

#include "random.hpp"
#include "world.hpp"

namespace twain::kernel::test {

namespace {

using abi::Sys;
using Words = std::array<u64, 8>;

constexpr CpuId kCores = 2;
constexpr int kThreads = 6, kEndpoints = 3, kReplies = 2, kNotes = 2, kNone = -1;
constexpr CpuId kThreadCore[kThreads] = {0, 0, 0, 0, 1, 1};
constexpr int kFaulting = 1;  // has a fault endpoint: the first
constexpr int kBound = 2;     // is bound to the second notification
constexpr CpuId kEndpointCore[kEndpoints] = {0, 1, 0};
constexpr u64 kEndpoint = 20, kBadged = 24, kNoPass = 28;           // slots, one for each endpoint
constexpr u64 kReply = 32, kNote = 34, kGift = 36, kReceive = 200;  // receive slots: one for each thread
constexpr u64 kBadge = 7;
constexpr u64 kGiftBadge = 99;
constexpr u64 kLabel = 0xffff'ffff;

u64 refused(Error error, unsigned argument = 0) { return Status(error, argument).tag(); }

struct Model {
    enum class Doing { stopped, ready, queued, served, deferred, receiving, waiting, faulted };
    struct Task {
        Doing doing = Doing::ready;
        CpuId core = 0;
        Words x{};
        int lent = kNone;    // whose time it has lent on; kNone: nothing
        int caller = kNone;  // whom it serves
        int server = kNone;
        int reply = kNone;   // which object it waits in
        int at = kNone;      // endpoint or notification
        u64 badge = 0;       // of its call
        bool fault = false;  // its call is a fault
        bool receives = false;
        bool got = false;  // its receive slot is full
        u64 id = 0, pc = 0;
    };
    struct Endpoint {
        std::vector<int> queue;
        bool receivers = false;
    };

    std::array<Task, kThreads> tasks;
    std::array<Endpoint, kEndpoints> endpoints;
    std::array<int, kReplies> replies{kNone, kNone};
    std::array<u64, kNotes> bits{};
    bool bound = true;  // the one that is bound still is

    // Whose time a thread runs on: what its caller has lent it, or its own, unless it has lent that away.
    int time_of(int t) const {
        const Task& task = tasks[t];
        if (task.lent != kNone) return kNone;
        if (task.caller != kNone && tasks[task.caller].lent != kNone) return tasks[task.caller].lent;
        return t;
    }
    // All who have lent on the time that this one lent have it no more.
    void give_back(int t) {
        const int time = tasks[t].lent;
        if (time == kNone) return;
        for (int each = t; each != kNone && tasks[each].lent == time; each = tasks[each].server)
            tasks[each].lent = kNone;
    }

    void answer(int t, Words x) {  // the call has ended
        Task& task = tasks[t];
        give_back(t);
        task.server = task.reply = task.at = kNone;
        task.x = x;
        task.doing = Doing::ready;
    }
    void fail(int t, Error error) {
        Task& task = tasks[t];
        answer(t, task.fault
                      ? task.x
                      : Words{0, refused(error), task.x[2], task.x[3], task.x[4], task.x[5], task.x[6], task.x[7]});
        if (task.fault) task.doing = Doing::faulted;
    }
    // Is there something in the slot that the sender names, and room where the receiver wants it?
    void hand_over(const Task& from, Task& to) {
        to.x[7] = 0;
        if (!to.receives || to.got || from.x[7] != kGift) return;
        to.got = true;
        to.x[1] |= abi::kTagCap;
        to.x[7] = kReceive + static_cast<u64>(&to - tasks.data());
    }
    void serve(int server, int caller) {
        Task& to = tasks[server];
        Task& from = tasks[caller];
        from.doing = Doing::served;
        from.at = kNone;
        from.server = server;
        const int time = time_of(caller);
        to.caller = caller;
        if (from.core == to.core) from.lent = time;
        to.doing = Doing::ready;
        to.at = kNone;
        if (from.fault) {
            to.x = {from.badge, static_cast<u64>(abi::FaultKind::data), 0x92, 0x1234, from.pc, 0x2000, from.id, 0};
            return;
        }
        to.x = from.x;
        to.x[0] = from.badge;
        to.x[1] = from.x[1] & kLabel;
        if (from.x[1] & abi::kTagCap) hand_over(from, to);
    }
    void call(int t, int endpoint, u64 badge) {
        Task& task = tasks[t];
        task.badge = badge;
        task.at = endpoint;
        Endpoint& to = endpoints[endpoint];
        if (!to.receivers || to.queue.empty()) {
            task.doing = Doing::queued;
            to.receivers = false;
            to.queue.push_back(t);
            return;
        }
        const int server = to.queue.front();
        to.queue.erase(to.queue.begin());
        serve(server, t);
    }
    void signalled(int t, int note) {
        tasks[t].x = {0, abi::kTagNote, bits[note], 0, 0, 0, 0, 0};
        tasks[t].doing = Doing::ready;
        tasks[t].at = kNone;
        bits[note] = 0;
    }
    void receive(int t, int endpoint, bool poll) {
        Endpoint& from = endpoints[endpoint];
        Task& task = tasks[t];
        if (!from.receivers && !from.queue.empty()) {
            const int caller = from.queue.front();
            from.queue.erase(from.queue.begin());
            return serve(t, caller);
        }
        if (t == kBound && bound && bits[1]) return signalled(t, 1);
        if (poll) {
            task.x[1] = refused(Error::timeout);
            return;
        }
        from.receivers = true;
        from.queue.push_back(t);
        task.doing = Doing::receiving;
        task.at = endpoint;
    }
    // What the sender's words, from `first` on (the tag), do to the one who has called.
    void reply(int sender, int to, unsigned first) {
        const Task& from = tasks[sender];
        Task& task = tasks[to];
        const u64 tag = from.x[first];
        if (task.fault) {
            answer(to, task.x);
            if (tag & kLabel) {
                task.doing = Doing::faulted;
            } else {
                task.fault = false;
            }
            return;
        }
        Words x{0, tag & kLabel};
        for (unsigned i = 2; i + first - 1 < 8; ++i) x[i] = from.x[i + first - 1];
        answer(to, x);
        if (first == 1 && (tag & abi::kTagCap)) hand_over(from, task);
    }
    void signal(int note, u64 value) {
        bits[note] |= value;
        for (int t = 0; t < kThreads; ++t) {
            Task& task = tasks[t];
            if (task.doing == Doing::waiting && task.at == note) return signalled(t, note);
            if (note == 1 && t == kBound && bound && task.doing == Doing::receiving) {
                leave(t);
                return signalled(t, 1);
            }
        }
    }
    void leave(int t) {
        for (Endpoint& endpoint : endpoints) std::erase(endpoint.queue, t);
    }
    void stop(int t) {
        Task& task = tasks[t];
        const bool waits = task.doing != Doing::ready && task.doing != Doing::stopped && task.doing != Doing::faulted;
        const bool calls = waits && task.doing != Doing::receiving && task.doing != Doing::waiting;
        leave(t);
        give_back(t);
        if (task.reply != kNone) replies[task.reply] = kNone;
        if (task.server != kNone) tasks[task.server].caller = kNone;
        if (waits && !(calls && task.fault)) {
            task.x[0] = 0;
            task.x[1] = refused(Error::cancelled);
        }
        if (const int caller = task.caller; caller != kNone) {
            task.caller = kNone;
            fail(caller, Error::cancelled);
        }
        task.server = task.reply = task.at = kNone;
        task.doing = Doing::stopped;
    }
};

using Doing = Model::Doing;

class Twin {
public:
    explicit Twin(Trace& trace) : trace_(trace), world_(kCores) {
        const auto need = [](const Answer& answer) { require(answer.ok(), "the twin is not made"); };
        for (int i = 0; i < kEndpoints; ++i) make_endpoint(i);
        for (int i = 0; i < kReplies; ++i) world_.reply(kReply + u64(i));
        for (int i = 0; i < kNotes; ++i) world_.notification(kNote + u64(i));
        world_.notification(kGift + 1);
        need(world_.invoke(abi::kRootCSpace, abi::cspace::copy, kGift, kGift + 1, rights::note_signal, kGiftBadge));
        for (int i = 0; i < kThreads; ++i) {
            threads_[i] = &world_.thread(kThreadCore[i]);
            slots_[i] = world_.next_slot - 2;
            need(world_.invoke(slots_[i], abi::thread::stop));
            world_.settle();
            model_.tasks[i].core = kThreadCore[i];
            model_.tasks[i].id = threads_[i]->id;
        }
        need(world_.invoke(slots_[kFaulting], abi::thread::configure, 0, 0, kBadged));
        need(world_.invoke(slots_[kBound], abi::thread::configure, 0, 0, 0, 0, kNote + 1));
        for (int i = 0; i < kThreads; ++i) {
            need(world_.invoke(slots_[i], abi::thread::start, 0x1000, 0x2000));
            model_.tasks[i].pc = 0x1000;
        }
        world_.settle();
        compare();
    }

    void step(Operation& draw) {
        int t = static_cast<int>(draw.below(kThreads));
        const u32 what = draw.below(32), rare = draw.below(64);
        if (rare < 8) {
            stop_or_resume(t, rare == 0);
            return compare();
        }
        if (rare == 8) {
            renew(draw);
            return compare();
        }
        if (rare < 12) {
            receive_slot(t, draw);
            return compare();
        }
        for (int i = 0; i < kThreads && model_.tasks[t].doing != Doing::ready; ++i) t = (t + 1) % kThreads;
        const Doing doing = model_.tasks[t].doing;
        if (doing != Doing::ready) {  // nobody is
            stop_or_resume(t, doing != Doing::stopped && doing != Doing::faulted);
        } else {
            // Whoever has something to answer does so more often than not.
            if (model_.tasks[t].caller != kNone && what < 16) {
                reply_wait(t, draw);
            } else if (what < 12) {
                call(t, draw);
            } else if (what < 18) {
                reply_wait(t, draw);
            } else if (what < 21) {
                wait(t, draw);
            } else if (what < 24) {
                signal(t, draw);
            } else if (what < 27) {
                capture(t, draw);
            } else if (what < 31) {
                send(t, draw);
            } else {
                fault(t);
            }
        }
        compare();
    }

private:
    void make_endpoint(int i) {
        world_.endpoint(kEndpoint + u64(i), kEndpointCore[i]);
        const auto copy = [&](u64 to, u8 mask, u64 badge) {
            const Answer made = world_.invoke(abi::kRootCSpace, abi::cspace::copy, to, kEndpoint + u64(i), mask, badge);
            require(made.ok(), "a copy is not made");
        };
        copy(kBadged + u64(i), rights::all, kBadge);
        copy(kNoPass + u64(i), rights::ep_call, kBadge + 1);
    }

    Words draw_words(Operation& draw) {
        Words x{};
        for (unsigned i = 2; i < 8; ++i) x[i] = draw.below(1000);
        x[1] = draw.below(3) | (draw.one_in(3) ? abi::kTagCap : 0) | (draw.one_in(4) ? u64{0xff} << 56 : 0);
        x[7] = draw.one_in(3) ? 39 : kGift;  // 39: an empty slot
        return x;
    }
    // The thread makes the call; its registers are what it has put there.
    Answer make(int t, Sys number, const Words& x) {
        model_.tasks[t].x = x;
        model_.tasks[t].pc += 4;
        world_.call(*threads_[t], number, {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]});
        return world_.answer(*threads_[t]);
    }
    void refuse(int t, Error error, unsigned argument = 0) { model_.tasks[t].x[1] = refused(error, argument); }

    void call(int t, Operation& draw) {
        const int endpoint = static_cast<int>(draw.below(kEndpoints));
        const u64 base = std::array{kEndpoint, kBadged, kNoPass}[draw.below(3)];
        Words x = draw_words(draw);
        x[0] = base + u64(endpoint);
        trace_.line(u64(t), "calls", x[0], "label", x[1] & kLabel, x[1] & abi::kTagCap ? "with a capability" : "");
        make(t, Sys::call, x);
        if (base == kNoPass && (x[1] & abi::kTagCap)) return refuse(t, Error::rights);
        model_.call(t, endpoint, base == kEndpoint ? 0 : base == kBadged ? kBadge : kBadge + 1);
    }
    void reply_wait(int t, Operation& draw) {
        const bool here = draw.below(8);  // more often than not where it may receive
        const int endpoint =
            here ? (kThreadCore[t] ? 1 : 2 * int(draw.below(2))) : static_cast<int>(draw.below(kEndpoints));
        const bool weak = draw.one_in(12);
        Words x = draw_words(draw);
        x[0] = (weak ? kNoPass : kEndpoint) + u64(endpoint);
        trace_.line(u64(t), "answers and receives at", x[0], "label", x[1] & kLabel,
                    x[1] & abi::kTagCap ? "with a capability" : "");
        make(t, Sys::reply_wait, x);
        if (weak) return refuse(t, Error::rights);
        Model::Task& task = model_.tasks[t];
        if (kEndpointCore[endpoint] != task.core) return refuse(t, Error::no_server);
        if (const int caller = task.caller; caller != kNone) {
            task.caller = kNone;
            model_.reply(t, caller, 1);
        }
        model_.receive(t, endpoint, false);
    }
    void wait(int t, Operation& draw) {
        const bool poll = draw.below(2);
        const u64 what = draw.below(kEndpoints + kNotes);
        Model::Task& task = model_.tasks[t];
        Words x{0, poll ? abi::kPoll : abi::kForever};
        if (what < kEndpoints) {
            x[0] = kEndpoint + what;
            trace_.line(u64(t), poll ? "polls" : "waits at", x[0]);
            make(t, Sys::wait, x);
            if (task.caller != kNone) return refuse(t, Error::busy);
            if (kEndpointCore[what] != task.core) return refuse(t, Error::no_server);
            return model_.receive(t, static_cast<int>(what), poll);
        }
        const int note = static_cast<int>(what) - kEndpoints;
        x[0] = kNote + u64(note);
        trace_.line(u64(t), poll ? "polls" : "waits at", x[0]);
        make(t, Sys::wait, x);
        bool taken = note == 1 ? t != kBound && model_.bound : t == kBound && model_.bound;
        for (const Model::Task& other : model_.tasks) taken |= other.doing == Doing::waiting && other.at == note;
        if (taken) return refuse(t, Error::busy);
        if (model_.bits[note]) return model_.signalled(t, note);
        if (poll) return refuse(t, Error::timeout);
        task.doing = Doing::waiting;
        task.at = note;
    }
    void signal(int t, Operation& draw) {
        const int note = static_cast<int>(draw.below(kNotes));
        trace_.line(u64(t), "signals", kNote + u64(note));
        make(t, Sys::signal, {kNote + u64(note)});
        model_.tasks[t].x[1] = 0;
        model_.signal(note, 1);
    }
    void capture(int t, Operation& draw) {
        const int reply = static_cast<int>(draw.below(kReplies));
        trace_.line(u64(t), "defers its answer:", kReply + u64(reply));
        make(t, Sys::invoke, {kReply + u64(reply), abi::reply::capture});
        Model::Task& task = model_.tasks[t];
        if (task.caller == kNone || model_.replies[reply] != kNone) return refuse(t, Error::busy);
        task.x[1] = 0;
        const int caller = task.caller;
        Model::Task& waits = model_.tasks[caller];
        model_.give_back(caller);
        task.caller = waits.server = kNone;
        waits.reply = reply;
        waits.doing = Doing::deferred;
        model_.replies[reply] = caller;
    }
    void send(int t, Operation& draw) {
        const int reply = static_cast<int>(draw.below(kReplies));
        Words x = draw_words(draw);
        x[2] = x[1];
        x[0] = kReply + u64(reply);
        x[1] = abi::reply::send;
        trace_.line(u64(t), "answers", x[0], "label", x[2] & kLabel);
        make(t, Sys::invoke, x);
        const int caller = model_.replies[reply];
        if (caller == kNone) return refuse(t, Error::busy);
        model_.replies[reply] = kNone;
        model_.reply(t, caller, 2);
        model_.tasks[t].x[1] = 0;
    }
    void fault(int t) {
        trace_.line(u64(t), "faults");
        world_.run(*threads_[t]);
        fake::on(threads_[t]->core, [&] { kernel::fault(machine::cpu(), abi::FaultKind::data, 0x92, 0x1234); });
        world_.go_on(threads_[t]->core);
        Model::Task& task = model_.tasks[t];
        task.fault = true;
        if (t == kFaulting && fault_endpoint_) return model_.call(t, 0, kBadge);
        task.doing = Doing::faulted;
    }
    void stop_or_resume(int t, bool stop) {
        trace_.line(stop ? "stop" : "resume", u64(t));
        const Answer answer = world_.invoke(slots_[t], stop ? abi::thread::stop : abi::thread::resume);
        Model::Task& task = model_.tasks[t];
        if (stop) {
            require(answer.ok(), "stop is refused");
            model_.stop(t);
            return;
        }
        const bool good = task.doing == Doing::stopped || task.doing == Doing::faulted;
        require(answer.error() == (good ? Error::none : Error::busy), "resume says something else");
        if (!good) return;
        task.doing = Doing::ready;
        task.fault = false;
    }
    // An object goes, and all who wait there are told; then there is another in its place.
    void renew(Operation& draw) {
        const auto remove = [&](u64 slot) {
            require(world_.invoke(abi::kRootCSpace, abi::cspace::remove, slot).ok(), "an object cannot be removed");
            world_.settle();
        };
        const u32 what = draw.below(kEndpoints + kReplies + kNotes);
        if (what < kEndpoints) {
            trace_.line("renew endpoint", u64{what});
            remove(kEndpoint + what);
            make_endpoint(static_cast<int>(what));
            Model::Endpoint& endpoint = model_.endpoints[what];
            if (what == 0) fault_endpoint_ = false;
            for (const int t : std::vector<int>(std::move(endpoint.queue))) model_.fail(t, Error::cancelled);
            endpoint = {};
        } else if (what < kEndpoints + kReplies) {
            const u32 reply = what - kEndpoints;
            trace_.line("renew reply", u64{reply});
            remove(kReply + reply);
            world_.reply(kReply + reply);
            if (const int caller = model_.replies[reply]; caller != kNone) model_.fail(caller, Error::cancelled);
            model_.replies[reply] = kNone;
        } else {
            const int note = static_cast<int>(what) - kEndpoints - kReplies;
            trace_.line("renew notification", u64(note));
            remove(kNote + u64(note));
            world_.notification(kNote + u64(note));
            for (int t = 0; t < kThreads; ++t) {
                if (model_.tasks[t].doing == Doing::waiting && model_.tasks[t].at == note)
                    model_.fail(t, Error::cancelled);
            }
            model_.bits[note] = 0;
            if (note == 1) model_.bound = false;
        }
    }
    void receive_slot(int t, Operation& draw) {
        Model::Task& task = model_.tasks[t];
        const u64 slot = kReceive + u64(t);
        if (task.got) {
            trace_.line(u64(t), "empties its receive slot");
            require(world_.invoke(abi::kRootCSpace, abi::cspace::remove, slot).ok(),
                    "what was received cannot be removed");
            task.got = false;
            return;
        }
        task.receives = draw.below(4);
        trace_.line(u64(t), task.receives ? "wants capabilities" : "wants no capabilities");
        const Answer answer = world_.invoke(slots_[t], abi::thread::receive, task.receives ? slot : 0);
        require(answer.ok(), "a receive slot is refused");
    }

    // ---- comparison
    static State state_of(Doing doing) {
        switch (doing) {
            case Doing::stopped: return State::stopped;
            case Doing::ready: return State::ready;
            case Doing::queued:
            case Doing::served:
            case Doing::deferred: return State::calling;
            case Doing::receiving: return State::receiving;
            case Doing::waiting: return State::waiting;
            default: return State::faulted;
        }
    }
    const Thread* thread(int t) const { return t == kNone ? nullptr : threads_[t]; }

    void compare() {
        world_.settle();
        if (++compared_ % 16 == 0) world_.check();
        for (int t = 0; t < kThreads; ++t) {
            const Model::Task& task = model_.tasks[t];
            const Thread& real = *threads_[t];
            require(real.state == state_of(task.doing), "a thread does something else");
            require(std::equal(task.x.begin(), task.x.end(), real.frame.x),
                    "a thread finds something else in its registers");
            require(real.frame.pc == task.pc, "a thread goes on elsewhere");
            require(real.caller == thread(task.caller), "a thread serves somebody else");
            require(real.server == thread(task.server), "a thread is served by somebody else");
            require((real.reply != nullptr) == (task.doing == Doing::deferred), "an answer is deferred, or not");
            const int time = model_.time_of(t);
            require(real.active == (time == kNone ? nullptr : threads_[time]->sched),
                    "a thread runs on somebody else's time");
            const Slot* got = world_.root->cspace->find(kReceive + u64(t));
            require((got && !got->empty()) == task.got, "a capability has arrived, or not");
            if (task.got)
                require(got->badge() == kGiftBadge && got->rights() == rights::note_signal,
                        "another capability has arrived");
        }
        for (int i = 0; i < kEndpoints; ++i) {
            const auto& real = world_.object<Endpoint>(kEndpoint + u64(i)).waiting;
            const Link* each = real.front();
            for (const int t : model_.endpoints[i].queue) {
                require(each == static_cast<const Link*>(threads_[t]), "an endpoint's queue has another order");
                each = each->next;
            }
            require(!each || each == (real.empty() ? nullptr : real.front()->prev), "an endpoint's queue is longer");
        }
        for (int i = 0; i < kReplies; ++i) {
            require(world_.object<Reply>(kReply + u64(i)).caller == thread(model_.replies[i]),
                    "another caller is deferred");
        }
        for (int i = 0; i < kNotes; ++i) {
            require(world_.object<Notification>(kNote + u64(i)).bits == model_.bits[i], "other signals wait");
        }
    }

    Trace& trace_;
    World world_;
    Model model_;
    std::array<Thread*, kThreads> threads_{};
    std::array<u64, kThreads> slots_{};
    bool fault_endpoint_ = true;
    unsigned compared_ = 0;
};

}  // namespace

TEST_CASE("messages, answers and signals go where the naive model says", "[model]") {
    for (unsigned seed = 1; seed <= 60; ++seed) REQUIRE(difference<Twin>(seed, 2000) == "");
}

}  // namespace twain::kernel::test
