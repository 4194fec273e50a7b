// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "world.hpp"

#include "kernel/core/switch_to.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

namespace twain::kernel::test {

World::World(CpuId cores, u64 ram) {
    fake::reset(cores, ram);
    Pool& pool = *Pool::create(machine::to_virt({fake::kRamBase}), kPoolBytes);
    auto& cspace = *allocate_object<CSpace>(pool);
    auto& space = *allocate_object<Space>(pool);
    auto& sched = *allocate_object<Sched>(pool);
    root = allocate_object<Thread>(pool);
    REQUIRE(space.init(abi::SpaceKind::host));
    for (Slot& ref : root->refs) ref.set_home(Home::thread);
    sched.budget.set(machine::ns_to_ticks(kSliceNs), 0);
    sched.priority = 62;
    const auto slot = [&](u64 index) -> Slot& { return *cspace.make(index, 0).value(); };
    Slot& pool_slot = slot(abi::kRootPool);
    pool_slot.fill(nullptr, Slot::object_head(Type::pool, rights::all, &pool), 0, true);
    slot(abi::kRootCSpace).fill(nullptr, Slot::object_head(Type::cspace, rights::all, &cspace), 0, true);
    first_capability(pool_slot, slot(abi::kRootSpace), space);
    first_capability(pool_slot, slot(abi::kRootSched), sched);
    first_capability(pool_slot, slot(abi::kRootThread), *root);
    slot(abi::kRootSystem).fill(nullptr, Slot::object_head(Type::system, rights::all, &pool), 0, true);
    const u64 rest = kPoolBytes;
    slot(abi::kRootRam)
        .fill(nullptr, Slot::memory_head(rights::all, {fake::kRamBase + rest}, Capability::kExclusive), ram - rest,
              true);
    root->cspace = &cspace;
    REQUIRE(derive(at(abi::kRootCSpace), root->refs[Thread::ref_cspace], rights::all, 0).ok());
    REQUIRE(derive(at(abi::kRootSpace), root->refs[Thread::ref_space], rights::all, 0).ok());
    REQUIRE(derive(at(abi::kRootSched), root->refs[Thread::ref_sched], rights::all, 0).ok());
    root->space = &space;
    root->sched = root->active = &sched;
    sched.bound = sched.user = root;
    threads.push_back(root);
    make_ready(cpu(), *root);
    resolve(0);
}

void World::resolve(CpuId core) {
    fake::on(core, [&] {
        try {
            resolve_hazards(cpu(core));
        } catch (const fake::Idle&) {
        }
    });
}

void World::run(Thread& thread) {
    fake::on(thread.core, [&] {
        Cpu& here = cpu(thread.core);
        if (here.current == &thread) return;
        if (here.current) {
            Thread& before = *here.current;
            leave_current(here);
            make_ready(here, before);
        }
        REQUIRE(thread.runnable());
        REQUIRE(thread.linked());
        remove_ready(here, thread);
        switch_to(here, thread);
    });
}

void World::call(Thread& thread, abi::Sys number, std::initializer_list<u64> x) {
    run(thread);
    std::fill(thread.frame.x, thread.frame.x + 8, 0);
    std::copy(x.begin(), x.end(), thread.frame.x);
    fake::on(thread.core, [&] {
        thread.frame.pc += 4;
        handle_syscall(cpu(thread.core), static_cast<u64>(number));
    });
    resolve(thread.core);
}

Answer World::answer(const Thread& thread) const {
    Answer answer;
    std::copy(thread.frame.x, thread.frame.x + 8, answer.x);
    return answer;
}

Answer World::invoke(u64 slot, u64 method, u64 a2, u64 a3, u64 a4, u64 a5, u64 a6, u64 a7) {
    const u64 before = root->frame.pc;
    unsigned restarts = 0;
    for (;; ++restarts) {
        REQUIRE(restarts < 1'000'000);
        call(*root, abi::Sys::invoke, {slot, method, a2, a3, a4, a5, a6, a7});
        if (root->frame.pc != before) break;
    }
    Answer result = answer(*root);
    result.restarts = restarts;
    return result;
}

Thread& World::thread(CpuId core, u8 priority, Ticks budget, Ticks period, bool hard) {
    const u64 thread_slot = next_slot++, sched_slot = next_slot++;
    REQUIRE(create(Type::thread, thread_slot).ok());
    const u64 param = priority | u64{core} << 8 | (hard ? abi::sched::kHardLimit : 0);
    REQUIRE(invoke(abi::kRootSystem, abi::system::make_sched, abi::kRootPool, sched_slot, budget, period, param).ok());
    REQUIRE(invoke(thread_slot, abi::thread::configure, abi::kRootCSpace, abi::kRootSpace, 0, sched_slot, 0).ok());
    auto& made = object<Thread>(thread_slot);
    threads.push_back(&made);
    REQUIRE(invoke(thread_slot, abi::thread::start, 0x1000, 0x2000).ok());
    return made;
}

Endpoint& World::endpoint(u64 slot, CpuId core) {
    REQUIRE(create(Type::endpoint, slot, core).ok());
    return object<Endpoint>(slot);
}
Notification& World::notification(u64 slot) {
    REQUIRE(create(Type::notification, slot).ok());
    return object<Notification>(slot);
}
Reply& World::reply(u64 slot) {
    REQUIRE(create(Type::reply, slot).ok());
    return object<Reply>(slot);
}

void World::interrupt(CpuId core) {
    fake::state().interrupted[core] = false;
    fake::on(core, [&] { serve_other_cores(cpu(core)); });
    resolve(core);
}

void World::settle() {
    for (bool again = true; again;) {
        again = false;
        for (CpuId core = 0; core < machine::cores(); ++core) {
            if (!fake::state().interrupted[core]) continue;
            interrupt(core);
            again = true;
        }
    }
}

void World::pass(Ticks ticks) {
    fake::state().clock += ticks;
    for (CpuId core = 0; core < machine::cores(); ++core) {
        if (fake::state().timer[core] > fake::state().clock) continue;
        fake::on(core, [&] { on_timer(cpu(core)); });
        resolve(core);
    }
}

void World::check() {
    const auto contains = [&](const Thread* thread) {
        return std::find(threads.begin(), threads.end(), thread) != threads.end();
    };
    std::set<const Sched*> in_use;
    for (Thread* thread : threads) {
        INFO("thread " << thread->id << " state " << static_cast<int>(thread->state));
        const Cpu& here = cpu(thread->core);
        // Where it is: current, in a ready queue, in an endpoint's queue, mailed, served, held by a reply.
        if (here.current == thread) {
            REQUIRE(thread->runnable());
            REQUIRE_FALSE(thread->linked());
            REQUIRE(thread->active);
        }
        switch (thread->state) {
            case State::ready:
            case State::guest:
                REQUIRE_FALSE(thread->endpoint);
                REQUIRE_FALSE(thread->server);
                REQUIRE_FALSE(thread->reply);
                if (here.current != thread && !thread->mailed) {
                    REQUIRE(thread->linked() == (thread->active && thread->active->runnable()));
                }
                break;
            case State::calling: {
                const int places =
                    (thread->endpoint != nullptr) + (thread->server != nullptr) + (thread->reply != nullptr);
                REQUIRE(places == 1);
                if (thread->endpoint) REQUIRE((thread->linked() || thread->mailed));
                break;
            }
            case State::receiving:
                REQUIRE(thread->endpoint);
                REQUIRE(thread->linked());
                REQUIRE(thread->endpoint->receivers);
                break;
            case State::waiting:
                REQUIRE_FALSE(thread->linked());
                REQUIRE((thread->note || thread->vcpu));
                break;
            case State::replying: REQUIRE(thread->mailed); break;
            case State::stopped:
            case State::faulted:
                REQUIRE_FALSE(thread->linked());
                REQUIRE_FALSE(thread->endpoint);
                REQUIRE_FALSE(thread->server);
                REQUIRE_FALSE(thread->reply);
                REQUIRE_FALSE(thread->armed());
                if (thread->state == State::stopped) REQUIRE_FALSE(thread->caller);
                break;
        }
        // Links have two ends.
        if (thread->server) {
            REQUIRE(contains(thread->server));
            REQUIRE(thread->server->caller == thread);
        }
        if (thread->caller) {
            REQUIRE(contains(thread->caller));
            REQUIRE(thread->caller->server == thread);
            REQUIRE(thread->caller->state == State::calling);
        }
        if (thread->reply) REQUIRE(thread->reply->caller == thread);
        if (thread->note) REQUIRE(thread->note->waiter == thread);
        // Time: every context is used by at most one thread, and a lent one comes back.
        if (thread->active) {
            REQUIRE(in_use.insert(thread->active).second);
            REQUIRE(thread->active->user == thread);
        }
        if (thread->lent) {
            REQUIRE((thread->state == State::calling || thread->state == State::replying));
            REQUIRE_FALSE(thread->active);
        }
        if (thread->sched && !thread->active && !thread->lent) REQUIRE(thread->sched->user != thread);
    }
    for (CpuId core = 0; core < machine::cores(); ++core) {
        Cpu& here = cpu(core);
        if (!here.current) continue;
        REQUIRE(contains(here.current));
        REQUIRE(here.current->core == core);
        INFO("core " << core << " runs " << here.current->id << " in state " << static_cast<int>(here.current->state));
        if (!here.hazard) REQUIRE(here.sched == here.current->active);
    }
}

}  // namespace twain::kernel::test
