// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The arena from inside: what workers make in it.
#include "arena.hpp"

extern "C" const std::byte victim_programs[], victim_end[], guest_programs[], guest_programs_end[];

namespace twain::fuzz {

Type hint[kSlots];

namespace {

constexpr sys::Rights kAll = abi::rights::all;
constexpr sys::Rights kGuestRights = abi::rights::mem_read | abi::rights::mem_exec;
constexpr u64 kGuestRam = 0x4000'0000, kHostCode = 0x40'0000;

Slot empty_slot(Random& random) {
    for (unsigned i = 0; i < 24; ++i) {
        const Slot slot = kFirst + kFixed + static_cast<Slot>(random.below(kSlots - kFixed));
        if (hint[slot - kFirst] == Type::null) return slot;
    }
    return kFirst + kFixed;
}

sys::Pool some_pool(Random& random) { return sys::Pool{kArenaPool + static_cast<Slot>(random.below(kPools))}; }

Slot find(Random& random, Type type) {
    const auto from = static_cast<unsigned>(random.below(kSlots));
    for (unsigned i = 0; i < kSlots; ++i) {
        if (hint[(from + i) % kSlots] == type) return kFirst + (from + i) % kSlots;
    }
    return 0;
}

template <typename Make>
Slot make(Random& random, Type type, Make make) {
    const Slot slot = empty_slot(random);
    if (make(some_pool(random), slot).ok()) hint[slot - kFirst] = type;
    return slot;
}

sys::Sched make_sched(Random& random) {
    const u64 period = random.chance(50) ? 2000 + random.below(40'000) : 0;
    const u64 budget = period ? 200 + random.below(period - 200) : 0;
    const sys::SchedParam param{static_cast<std::uint8_t>(random.below(30)),
                                static_cast<std::uint8_t>(random.below(cores())), random.chance(30)};
    return sys::Sched{make(random, Type::sched, [&](sys::Pool pool, Slot to) {
        return sys::System{kArenaSystem}.make_sched(pool, to, budget, period, param);
    })};
}

sys::Memory share(Random& random, Slot half, u64 page, u64 pages) {
    return sys::Memory{make(random, Type::memory, [&](sys::Pool, Slot to) {
        return sys::Memory{half}.derive(page * kPage, pages * kPage, to, kAll);
    })};
}

void map(Random& random, sys::Space space, sys::Memory memory, u64 at, u64 pages, sys::Rights rights) {
    make(random, Type::mapping,
         [&](sys::Pool, Slot to) { return space.map(memory, 0, at, pages * kPage, rights, to); });
}

sys::Thread make_thread(Random& random) {
    return sys::Thread{make(random, Type::thread, [](sys::Pool pool, Slot to) { return pool.create_thread(to); })};
}

void make_process(Random& random) {
    const sys::Thread thread = make_thread(random);
    Slot cspace = kArena, space = kArenaSpace;
    u64 code = reinterpret_cast<u64>(victim_programs);
    if (random.chance(30)) {
        cspace = make(random, Type::cspace, [](sys::Pool pool, Slot to) { return pool.create_cspace(to); });
        for (unsigned i = 0; i < 6; ++i) {
            const Slot slot = kFirst + static_cast<Slot>(random.below(kSlots));
            (void)sys::CSpace{cspace}.copy(slot, slot, kAll);
        }
    }
    if (random.chance(30)) {
        space = make(random, Type::space,
                     [](sys::Pool pool, Slot to) { return pool.create_space(to, abi::SpaceKind::host); });
        code = kHostCode;
        map(random, sys::Space{space}, share(random, kArenaShared, 1, 1), code, 1,
            abi::rights::mem_read | abi::rights::mem_exec);
    }
    const Slot fault = random.chance(50) ? find(random, Type::endpoint) : 0;
    const Slot note = random.chance(20) ? find(random, Type::notification) : 0;
    (void)thread.configure(sys::CSpace{cspace}, sys::Space{space}, sys::Endpoint{fault}, make_sched(random),
                           sys::Notification{note});
    const u64 programs = static_cast<u64>(victim_end - victim_programs) / 64;
    if (random.chance(30)) (void)thread.receive(empty_slot(random));
    (void)thread.start(code + 64 * random.below(programs), 0, random.next(), random.next());
}

void make_machine(Random& random) {
    const sys::Space space{make(random, Type::space,
                                [](sys::Pool pool, Slot to) { return pool.create_space(to, abi::SpaceKind::guest); })};
    map(random, space, share(random, kArenaShared, 0, kHalf), kGuestRam, kHalf, kGuestRights);
    const sys::Vcpu vcpu{make(random, Type::vcpu,
                              [&](sys::Pool pool, Slot to) { return pool.create_vcpu(to, space, random.below(4)); })};
    (void)vcpu.page(sys::Memory{kArenaShared + 1}, random.below(kHalf) * kPage);
    scribble(random);
    if (!at_el2())
        (void)vcpu.view(static_cast<unsigned>(random.below(4)), 1 + static_cast<unsigned>(random.below(3)), 0);
    const sys::Thread thread = make_thread(random);
    (void)thread.configure(sys::CSpace{kArena}, sys::Space{kArenaSpace}, {}, make_sched(random), {});
    constexpr unsigned kRunsGuest = 5;
    (void)thread.start(reinterpret_cast<u64>(victim_programs) + u64{64} * kRunsGuest, 0, vcpu.slot - kFirst, 0);
}

}  // namespace

void make_something(Random& random) {
    const auto core = static_cast<unsigned>(random.below(cores()));
    switch (random.below(10)) {
        case 0:
            make(random, Type::space,
                 [](sys::Pool pool, Slot to) { return pool.create_space(to, abi::SpaceKind::host); });
            break;
        case 1: make(random, Type::reply, [](sys::Pool pool, Slot to) { return pool.create_reply(to); }); break;
        case 2:
        case 3:
            make(random, Type::endpoint, [&](sys::Pool pool, Slot to) { return pool.create_endpoint(to, core); });
            break;
        case 4:
        case 5:
            make(random, Type::notification, [](sys::Pool pool, Slot to) { return pool.create_notification(to); });
            break;
        case 6:
            make(random, Type::irq, [&](sys::Pool pool, Slot to) {
                return sys::System{kArenaSystem}.make_irq(pool, to, 34, false, core);
            });
            break;
        case 7: scribble(random); break;
        case 8: make_process(random); break;
        default: make_machine(random); break;
    }
}

void scribble(Random& random) {
    const u64 at = kWindow + (kHalf + random.below(kHalf)) * kPage;
    volatile auto& page = *reinterpret_cast<abi::VcpuPage*>(at);
    const u64 programs = static_cast<u64>(guest_programs_end - guest_programs) / 64;
    const auto word = [&] { return static_cast<std::uint32_t>(random.next()); };
    page.pc = random.chance(95) ? kGuestRam + 64 * random.below(programs) : random.next() >> random.below(64);
    page.pstate = random.chance(80) ? 0x3c5 : random.next();
    page.x[1] = kGuestRam + random.below(0x40'0000);
    page.vtimer = random.chance(70) ? 0x180 : word();
    page.cntvoff = random.chance(70) ? sys::now() : random.next();
    page.loaded = random.chance(70) ? u64{abi::kGroupAll} : random.next();
    for (unsigned i = 0; i < 4; ++i)
        page.virq[random.below(abi::kVirqs)] = random.chance(80) ? word() & 0x1ff'00ff : word();
    page.posted = random.next() & random.next();
    page.recalled = random.next() & random.next() & random.next();
    // Not its MMU: see arena.hpp.
    if (random.chance(20)) page.el1.sctlr_el1 = random.next() & ~u64{1};
    if (random.chance(20)) page.el1.tcr_el1 = random.next();
    page.shadow.view[0] = static_cast<std::uint32_t>(random.below(4));
    page.shadow.view[1] = random.chance(95) ? static_cast<std::uint32_t>(random.below(4)) : word();
    page.shadow.irq = static_cast<std::uint32_t>(random.below(2));
    page.shadow.deadline = random.chance(50) ? sys::now() + random.below(4000) : random.next();
    page.shadow.flags = random.below(4);
    for (unsigned i = 0; i < 4; ++i) {
        page.shadow.fill[i].at =
            random.chance(90) ? kGuestRam + kPage * random.below(64) + random.below(4) : random.next();
        page.shadow.fill[i].to =
            random.chance(90) ? kGuestRam + kPage * random.below(64) + random.below(32) : random.next();
    }
}

Picture take_picture() {
    Picture picture;
    u64 hash = 0;
    const auto add = [&](auto... values) { ((hash = mix(hash ^ static_cast<u64>(values))), ...); };
    const auto look = [&](sys::CSpace in, Slot slot) {
        const auto info = in.inspect(slot);
        add(info->type, info->rights, info->flags, info->badge, info->object, info->base, info->bytes, info->address);
        return info->type;
    };
    for (Slot slot = kFirst; slot < kFirst + kSlots; ++slot) {
        hash = 0;
        switch (look(kInside, slot)) {
            case Type::pool: add(sys::Pool{slot}.stat()->free); break;
            case Type::cspace:
                for (Slot inner = kFirst; slot != kArena && inner < kFirst + kSlots; inner += 3)
                    (void)look(sys::CSpace{slot}, inner);
                break;
            case Type::sched: {
                const auto stat = sys::Sched{slot}.stat();
                add(stat->budget, stat->period, stat->priority, stat->core);
                break;
            }
            case Type::thread: {
                const auto state = sys::Thread{slot}.state();
                if (state->state != abi::ThreadState::stopped && state->state != abi::ThreadState::faulted) break;
                add(state->state, state->fault, state->fault_address, state->pc);
                for (unsigned first = 0; first < 35; first += 5) {
                    u64 values[5] = {};
                    (void)sys::Thread{slot}.read(first, values);
                    for (const u64 each : values) add(each);
                }
                break;
            }
            default: break;
        }
        picture.slot[slot - kFirst] = hash;
    }
    return picture;
}

}  // namespace twain::fuzz
