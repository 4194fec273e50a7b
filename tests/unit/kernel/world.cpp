// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "world.hpp"

#include <algorithm>

#include "invariants.hpp"
#include "kernel/core/scheduler.hpp"

namespace twain::kernel::test {

World::World(CpuId cores, u64 ram) {
    fake::reset(cores, ram);
    const u64 rest = std::min(kPoolBytes, ram / 2);
    Pool& pool = *Pool::create(machine::to_virt({fake::kRamBase}), rest);
    auto& cspace = *allocate_object<CSpace>(pool);
    auto& space = *allocate_object<Space>(pool);
    auto& sched = *allocate_object<Sched>(pool);
    root = allocate_object<Thread>(pool);
    require(space.init(abi::SpaceKind::host), "the world is not made");
    for (Slot& ref : root->refs) ref.set_home(Home::thread);
    sched.budget.set(machine::ns_to_ticks(kSliceNs), 0);
    sched.priority = 62;
    const auto give = [&](u64 index, Slot* parent, u64 head, u64 badge = 0) -> Slot& {
        CSpace::Vacancy vacancy;
        Slot& to = *cspace.make(index, 0, vacancy).value();
        to.fill(parent, head, badge, true);
        return to;
    };
    const auto object = [&](u64 index, Slot* parent, auto& made) -> Slot& {
        return give(index, parent, Slot::object_head(made.kType, rights::all, &made));
    };
    Slot& pool_slot = object(abi::kRootPool, nullptr, pool);
    object(abi::kRootCSpace, nullptr, cspace);
    object(abi::kRootSpace, &pool_slot, space);
    object(abi::kRootSched, &pool_slot, sched);
    object(abi::kRootThread, &pool_slot, *root);
    give(abi::kRootSystem, nullptr, Slot::object_head(Type::system, rights::all, &pool));
    give(abi::kRootRam, nullptr, Slot::memory_head(rights::all, {fake::kRamBase + rest}, Capability::kExclusive),
         ram - rest);
    root->cspace = &cspace;
    require(derive(at(abi::kRootCSpace), root->refs[Thread::ref_cspace], rights::all, 0).ok(), "the world is not made");
    require(derive(at(abi::kRootSpace), root->refs[Thread::ref_space], rights::all, 0).ok(), "the world is not made");
    require(derive(at(abi::kRootSched), root->refs[Thread::ref_sched], rights::all, 0).ok(), "the world is not made");
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
        require(thread.runnable(), "a thread that cannot run was to run");
        require(thread.linked(), "a thread without time was to run");
        remove_ready(here, thread);
        give_processor(here, thread);
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
        require(restarts < 1'000'000, "a call does not end");
        call(*root, abi::Sys::invoke, {slot, method, a2, a3, a4, a5, a6, a7});
        if (root->frame.pc != before) break;
    }
    Answer result = answer(*root);
    result.restarts = restarts;
    return result;
}

Thread& World::thread(CpuId core, u8 priority, Ticks budget, Ticks period, bool hard) {
    const u64 thread_slot = next_slot++, sched_slot = next_slot++;
    require(create(Type::thread, thread_slot).ok(), "the world is not made");
    const u64 param = priority | u64{core} << 8 | (hard ? abi::sched::kHardLimit : 0);
    require(invoke(abi::kRootSystem, abi::system::make_sched, abi::kRootPool, sched_slot, budget, period, param).ok(),
            "the world is not made");
    require(invoke(thread_slot, abi::thread::configure, abi::kRootCSpace, abi::kRootSpace, 0, sched_slot, 0).ok(),
            "the world is not made");
    auto& made = object<Thread>(thread_slot);
    threads.push_back(&made);
    require(invoke(thread_slot, abi::thread::start, 0x1000, 0x2000).ok(), "the world is not made");
    return made;
}

Endpoint& World::endpoint(u64 slot, CpuId core) {
    require(create(Type::endpoint, slot, core).ok(), "the world is not made");
    return object<Endpoint>(slot);
}
Notification& World::notification(u64 slot) {
    require(create(Type::notification, slot).ok(), "the world is not made");
    return object<Notification>(slot);
}
Reply& World::reply(u64 slot) {
    require(create(Type::reply, slot).ok(), "the world is not made");
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

void World::check() { check_all(*root->cspace); }

}  // namespace twain::kernel::test
