// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// All that three threads on two cores can do to each other with calls, replies, deferred replies, signals, faults and
// deadlines, while a fourth stops and resumes them and removes what they wait at. Any thread that may run may be the
// next, whatever its priority; interrupts between cores come at any time after they were sent.
//
//   local    all on one core: A and B serve at the first endpoint, C at the second; A calls both, B the second, C the
//            first; A's faults go to the first; one reply object, one notification
//   remote   A and B on core 0, C on core 1: A and C call each other's core, B and C serve; one notification, one reply
//            object
//
// Usage: search-ipc local|remote
#include <cstdio>
#include <cstring>

#include "search.hpp"

namespace twain::kernel::test {

namespace {

using abi::Sys;

constexpr u64 kHere = 40, kThere = 41, kNote = 42, kReply = 43;  // slots
constexpr u64 kTag = 1;                                          // of calls; answers have 0

class Meeting {
public:
    explicit Meeting(CpuId far) : world_(far + 1, u64{256} << 10), search_(world_) {
        world_.next_slot = 50;
        world_.endpoint(kHere, 0);
        world_.endpoint(kThere, far);
        world_.notification(kNote);
        world_.reply(kReply);
        for (const CpuId core : {0u, 0u, far}) {
            slots_.push_back(world_.next_slot);
            people_.push_back(&world_.thread(core, 10));
        }
        world_.settle();
        search_.also_paint([](std::vector<u64>& words) {
            for (CpuId core = 0; core < machine::cores(); ++core) words.push_back(fake::state().interrupted[core]);
        });
        search_.always([this](const Census& census) { nothing_lost(census); });
    }

    int local() {
        need(world_.invoke(slots_[0], abi::thread::stop));
        need(world_.invoke(slots_[0], abi::thread::configure, 0, 0, kHere));
        need(world_.invoke(slots_[0], abi::thread::start, 1, 2));
        for (unsigned who = 0; who < 3; ++who) {
            if (who != 1) say(who, "calls the first endpoint", Sys::call, {kHere, kTag});
            if (who < 2) say(who, "calls the second endpoint", Sys::call, {kThere, kTag});
            serve(who, who < 2 ? kHere : kThere);
            cancel(who);
        }
        say(0, "signals", Sys::signal, {kNote});
        say(1, "waits for a signal", Sys::wait, {kNote, fake::state().clock});
        event("A faults", [this] {
            return acts(0, [this] { fake::on(0, [] { fault(machine::cpu(0), abi::FaultKind::data, 1, 2); }); });
        });
        remove("the endpoint", Type::endpoint, kHere);
        remove("the reply object", Type::reply, kReply);
        interrupts();
        return search_.run("ipc, local");
    }

    int remote() {
        for (unsigned who = 0; who < 3; ++who) {
            const u64 near = who < 2 ? kHere : kThere;
            if (who != 1) say(who, "calls the other core", Sys::call, {who < 2 ? kThere : kHere, kTag});
            if (who != 0) serve(who, near);
            say(who, "signals", Sys::signal, {kNote});
            say(who, "waits for a signal", Sys::wait, {kNote, fake::state().clock});
            cancel(who);
        }
        remove("the notification", Type::notification, kNote);
        remove("the endpoint of core 1", Type::endpoint, kThere, 1);
        interrupts();
        return search_.run("ipc, remote");
    }

private:
    static void need(const Answer& answer) { require(answer.ok(), "the world is not made"); }
    static std::string name(unsigned who) { return std::string(1, static_cast<char>('A' + who)); }
    void event(const std::string& what, Search::Move move) { search_.add(what, std::move(move)); }

    void serve(unsigned who, u64 endpoint) {
        say(who, "replies and waits", Sys::reply_wait, {endpoint, 0});
        say(who, "waits with a deadline", Sys::wait, {endpoint, fake::state().clock});  // which has come
        say(who, "keeps its caller for later", Sys::invoke, {kReply, abi::reply::capture});
        say(who, "answers the one kept", Sys::invoke, {kReply, abi::reply::send, 0});
    }
    void cancel(unsigned who) {
        for (const bool mail : {false, true}) {
            if (mail && machine::cores() == 1) continue;
            event("the root stops " + name(who) + (mail ? ", and the other core takes its mail meanwhile" : ""),
                  [=, this] {
                      if (people_[who]->state == State::stopped) return false;
                      fake::state().mail_while_waiting = mail;
                      const auto before = note();
                      need(world_.invoke(slots_[who], abi::thread::stop));
                      fake::state().mail_while_waiting = false;
                      require(people_[who]->state == State::stopped, "a thread that was stopped is not");
                      compare(before, who);
                      return true;
                  });
        }
        event("the root resumes " + name(who), [=, this] {
            if (people_[who]->state != State::stopped && people_[who]->state != State::faulted) return false;
            need(world_.invoke(slots_[who], abi::thread::resume));
            return true;
        });
    }
    void remove(const std::string& what, Type type, u64 slot, CpuId core = 0) {
        event("the root removes " + what, [=, this] {
            if (world_.at(slot).empty()) return false;
            const auto before = note();
            need(world_.invoke(abi::kRootCSpace, abi::cspace::remove, slot));
            compare(before, ~0u);
            return true;
        });
        event("the root makes " + what + " again", [=, this] {
            if (!world_.at(slot).empty()) return false;
            need(world_.create(type, slot, core));
            return true;
        });
    }
    void interrupts() {
        for (CpuId core = 0; core < machine::cores(); ++core) {
            event("core " + std::to_string(core) + " takes its interrupt", [=, this] {
                if (!fake::state().interrupted[core]) return false;
                const auto before = note();
                world_.interrupt(core);
                compare(before, ~0u);
                return true;
            });
            event("a deadline comes on core " + std::to_string(core), [=, this] {
                bool armed = false;
                for (const Thread* each : people_) armed |= each->core == core && each->armed();
                if (!armed) return false;
                const auto before = note();
                fake::on(core, [=] { on_timer(machine::cpu(core)); });
                world_.go_on(core);
                compare(before, ~0u);
                return true;
            });
        }
    }

    void say(unsigned who, const char* what, Sys number, std::vector<u64> words) {
        search_.add(name(who) + " " + what, [=, this] {
            Thread& thread = *people_[who];
            return acts(who, [&] {
                std::fill(thread.frame.x, thread.frame.x + 8, 0);
                std::copy(words.begin(), words.end(), thread.frame.x);
                fake::on(thread.core, [&] {
                    thread.frame.pc += 4;
                    handle_syscall(machine::cpu(thread.core), static_cast<u64>(number));
                });
                thread.frame.pc = 0;
            });
        });
    }
    template <typename Do>
    bool acts(unsigned who, Do work) {
        Thread& thread = *people_[who];
        if (!thread.runnable() || (!thread.linked() && machine::cpu(thread.core).current != &thread)) return false;
        const auto before = note();
        world_.run(thread);
        work();
        world_.go_on(thread.core);
        compare(before, who);
        return true;
    }

    struct Note {
        State state;
        u64 result;
        bool faulted;
    };
    std::vector<Note> note() const {
        std::vector<Note> notes;
        for (const Thread* each : people_)
            notes.push_back({each->state, each->frame.x[1], each->fault != abi::FaultKind::none});
        return notes;
    }
    // Each call ends once: with an answer or with an error, written when it ends and never again. Nobody else's
    // registers are touched while he runs or could.
    void compare(const std::vector<Note>& before, unsigned actor) const {
        for (unsigned who = 0; who < people_.size(); ++who) {
            if (who == actor) continue;
            const Thread& now = *people_[who];
            const Note& then = before[who];
            const bool ran =
                then.state == State::ready || then.state == State::replying || then.state == State::stopped;
            if (ran)
                require(now.frame.x[1] == then.result,
                        "somebody wrote into the registers of a thread that waits for nothing");
            if (then.state == State::calling && !then.faulted &&
                (now.state == State::ready || now.state == State::replying)) {
                const Error error = abi::tag_error(now.frame.x[1]);
                require(now.frame.x[1] == 0 || error == Error::cancelled || error == Error::no_server,
                        "a call has ended without an answer");
            }
        }
    }

    void nothing_lost(const Census& census) const {
        for (CpuId core = 0; core < machine::cores(); ++core) {
            const Cpu& cpu = machine::cpu(core);
            if (!cpu.mailbox.posts.empty() || !cpu.knocks.posts.empty())
                require(fake::state().interrupted[core], "a core does not know of its mail");
        }
        for (const Notification* note : census.all<Notification>()) {
            const Thread* waiter = note->waiter;
            if (!waiter || !note->bits) continue;
            const bool waits = waiter->state == State::waiting || (waiter->state == State::receiving && waiter->sched);
            require(!waits || waiter->knock.inside, "a signal is lost");
        }
    }

    World world_;
    Search search_;
    std::vector<Thread*> people_;
    std::vector<u64> slots_;
};

}  // namespace

}  // namespace twain::kernel::test

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "local") == 0) return twain::kernel::test::Meeting(0).local();
    if (argc == 2 && std::strcmp(argv[1], "remote") == 0) return twain::kernel::test::Meeting(1).remote();
    std::fprintf(stderr, "usage: search-ipc local|remote\n");
    return 2;
}
