// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "call.hpp"

extern "C" const std::byte victim_programs[], victim_end[];

namespace twain::fuzz {

namespace {

using abi::Sys;

// What an argument is for.
enum class Arg : std::uint8_t {
    none,
    value,
    type,
    destination,
    source,
    rights,
    badge,
    kind,
    core,
    affinity,
    bytes,
    offset,
    address,
    map_rights,
    program,
    first_register,
    register_count,
    slot,
    budget,
    period,
    parameters,
    intid,
    flag,
    physical,
    index,
    cspace,
    pool,
    space,
    memory,
    notification,
    endpoint,
    sched,
    deadline,
    tag,
    groups,
};

constexpr std::uint16_t bit(Error error) { return static_cast<std::uint16_t>(1u << static_cast<unsigned>(error)); }
template <typename... Errors>
constexpr std::uint16_t set(Errors... errors) {
    return static_cast<std::uint16_t>((bit(Error::none) | ... | bit(errors)));
}

constexpr auto kSlotErrors =
    static_cast<std::uint16_t>(bit(Error::bad_slot) | bit(Error::no_memory) | bit(Error::occupied));
constexpr auto kSource = static_cast<std::uint16_t>(bit(Error::bad_slot) | bit(Error::bad_type) | bit(Error::rights));
constexpr auto kParent = static_cast<std::uint16_t>(bit(Error::dying) | bit(Error::depth) | bit(Error::busy));

struct Method {
    Type type;
    std::uint32_t number;
    Arg args[6];
    unsigned errors;  // docs/kernel-api.md, without bad_slot of the capability itself
};

constexpr Method kMethods[] = {
    {Type::pool,
     abi::pool::create,
     {Arg::type, Arg::destination, Arg::value},
     bit(Error::none) | bit(Error::unsupported) | bit(Error::rights) | kParent | kSlotErrors | kSource |
         bit(Error::bad_arg)},
    {Type::pool, abi::pool::stat, {}, bit(Error::none)},
    {Type::pool,
     abi::pool::split,
     {Arg::bytes, Arg::destination},
     bit(Error::none) | bit(Error::rights) | kParent | kSlotErrors | bit(Error::bad_arg)},
    {Type::cspace,
     abi::cspace::copy,
     {Arg::destination, Arg::source, Arg::rights, Arg::badge},
     bit(Error::none) | bit(Error::rights) | kSlotErrors | kParent | bit(Error::bad_type) | bit(Error::bad_arg)},
    {Type::cspace, abi::cspace::remove, {Arg::source}, set(Error::rights, Error::bad_slot, Error::busy)},
    {Type::cspace, abi::cspace::revoke, {Arg::source}, set(Error::rights, Error::bad_slot)},
    {Type::cspace, abi::cspace::inspect, {Arg::source}, set(Error::rights, Error::bad_slot)},
    {Type::memory,
     abi::memory::split,
     {Arg::bytes, Arg::destination},
     bit(Error::none) | bit(Error::rights) | kParent | bit(Error::bad_arg) | kSlotErrors},
    {Type::memory,
     abi::memory::derive,
     {Arg::offset, Arg::bytes, Arg::destination, Arg::rights},
     bit(Error::none) | bit(Error::bad_arg) | kParent | kSlotErrors},
    {Type::memory,
     abi::memory::make_pool,
     {Arg::destination},
     bit(Error::none) | bit(Error::rights) | kParent | kSlotErrors | bit(Error::bad_type) | bit(Error::bad_arg)},
    {Type::mapping, abi::mapping::protect, {Arg::map_rights}, set(Error::rights, Error::bad_arg)},
    {Type::space,
     abi::space::map,
     {Arg::memory, Arg::offset, Arg::address, Arg::bytes, Arg::map_rights, Arg::destination},
     bit(Error::none) | bit(Error::unsupported) | kSource | bit(Error::bad_arg) | kParent | kSlotErrors},
    {Type::thread,
     abi::thread::configure,
     {Arg::cspace, Arg::space, Arg::endpoint, Arg::sched, Arg::notification},
     bit(Error::none) | kSource | bit(Error::busy) | bit(Error::dying) | bit(Error::depth) | bit(Error::bad_arg) |
         bit(Error::occupied)},
    {Type::thread,
     abi::thread::start,
     {Arg::program, Arg::value, Arg::value, Arg::value},
     set(Error::rights, Error::busy, Error::bad_arg)},
    {Type::thread, abi::thread::stop, {}, set(Error::rights)},
    {Type::thread, abi::thread::resume, {}, set(Error::rights, Error::busy, Error::bad_arg)},
    {Type::thread, abi::thread::read, {Arg::first_register}, set(Error::rights, Error::bad_arg)},
    {Type::thread,
     abi::thread::write,
     {Arg::first_register, Arg::register_count, Arg::value, Arg::value, Arg::value, Arg::value},
     set(Error::rights, Error::busy, Error::bad_arg)},
    {Type::thread, abi::thread::receive, {Arg::slot}, set(Error::rights, Error::bad_slot)},
    {Type::thread, abi::thread::state, {}, set(Error::rights)},
    {Type::sched,
     abi::sched::configure,
     {Arg::budget, Arg::period, Arg::parameters},
     set(Error::rights, Error::bad_arg, Error::busy)},
    {Type::sched, abi::sched::stat, {}, set(Error::rights)},
    {Type::reply, abi::reply::capture, {}, set(Error::rights, Error::busy, Error::no_server)},
    {Type::reply,
     abi::reply::send,
     {Arg::tag, Arg::value, Arg::value, Arg::value, Arg::value, Arg::value},
     set(Error::rights, Error::busy)},
    {Type::notification, abi::notification::arm, {Arg::deadline}, set(Error::rights, Error::busy)},
    {Type::irq, abi::irq::bind, {Arg::notification}, bit(Error::none) | kSource | bit(Error::occupied) | kParent},
    {Type::irq, abi::irq::ack, {}, set(Error::rights)},
    {Type::vcpu,
     abi::vcpu::page,
     {Arg::memory, Arg::offset},
     bit(Error::none) | kSource | bit(Error::busy) | bit(Error::occupied) | bit(Error::bad_arg) | kParent},
    {Type::vcpu, abi::vcpu::kick, {Arg::flag}, set(Error::rights, Error::bad_arg)},
    {Type::vcpu, abi::vcpu::sync, {Arg::groups}, set(Error::rights, Error::bad_arg, Error::busy)},
    {Type::vcpu,
     abi::vcpu::fill,
     {Arg::index},
     set(Error::rights, Error::unsupported, Error::busy, Error::no_memory, Error::bad_arg)},
    {Type::vcpu,
     abi::vcpu::view,
     {Arg::index, Arg::index, Arg::index},
     set(Error::rights, Error::unsupported, Error::busy, Error::bad_arg, Error::no_memory)},
    {Type::vcpu,
     abi::vcpu::drop,
     {Arg::index, Arg::address, Arg::bytes},
     set(Error::rights, Error::unsupported, Error::busy, Error::bad_arg, Error::no_memory)},
    {Type::system,
     abi::system::make_sched,
     {Arg::pool, Arg::destination, Arg::budget, Arg::period, Arg::parameters},
     bit(Error::none) | kSource | kParent | kSlotErrors | bit(Error::bad_arg)},
    {Type::system,
     abi::system::make_irq,
     {Arg::pool, Arg::destination, Arg::intid, Arg::flag, Arg::core},
     bit(Error::none) | kSource | kParent | kSlotErrors | bit(Error::bad_arg)},
    {Type::system,
     abi::system::make_memory,
     {Arg::destination, Arg::physical, Arg::bytes},
     bit(Error::none) | bit(Error::rights) | kSlotErrors | bit(Error::bad_arg) | kParent},
    {Type::system, abi::system::power, {Arg::flag}, set(Error::rights)},
    {Type::system, abi::system::log_read, {Arg::value}, set(Error::rights)},
    {Type::system, abi::system::uart, {Arg::flag}, set(Error::rights)},
    {Type::system, abi::system::info, {Arg::core}, set(Error::rights, Error::bad_arg)},
    {Type::system,
     abi::system::attach,
     {Arg::value, Arg::value},
     bit(Error::none) | bit(Error::rights) | bit(Error::unsupported) | kSource | bit(Error::bad_arg)},
    {Type::system, abi::system::dma_fault, {}, set(Error::rights, Error::unsupported)},
};
constexpr unsigned kMethodCount = sizeof kMethods / sizeof kMethods[0];

// ---- values

constexpr u64 kHostile[] = {0,
                            1,
                            ~u64{0},
                            u64{1} << 63,
                            u64{1} << 32,
                            0x7fff'ffff'ffff'ffff,
                            0xffff'ffff'ffff'f000,
                            0xffff'8000'4000'0000,
                            0x0000'8000'4000'0000,
                            0xffff'ffff'ff80'0000,
                            0x0000'ffff'ff80'0000,
                            u64{1} << 39,
                            (u64{1} << 39) - kPage,
                            (u64{1} << 48) - kPage,
                            0x4000'0000,
                            0x1000,
                            0xfff,
                            0x0800'0000};

// Odd, so that nobody takes it for an address of the kernel's that has leaked: see watched().
u64 number(Random& random) { return random.next() >> random.below(64) | 1; }

u64 any_slot(Random& random) { return kFirst + random.below(kSlots); }

u64 bad_slot(Random& random) {
    constexpr u64 kBad[] = {0,       abi::cspace::kSlots - 1, abi::cspace::kSlots, u64{1} << 32,
                            ~u64{0}, (u64{1} << 32) + kFirst};
    return random.pick(kBad);
}

// A slot that held `type` when somebody looked, if there is one.
u64 slot_of(Random& random, Type type) {
    if (random.chance(4)) return bad_slot(random);
    if (random.chance(4)) return any_slot(random);
    const unsigned from = static_cast<unsigned>(random.below(kSlots));
    for (unsigned i = 0; i < kSlots; ++i) {
        const unsigned at = (from + i) % kSlots;
        if (hint[at] == type) return kFirst + at;
    }
    return any_slot(random);
}

u64 destination(Random& random) {
    if (random.chance(4)) return bad_slot(random);
    if (random.chance(10)) return any_slot(random);
    return slot_of(random, Type::null);
}

u64 optional(Random& random, Type type) { return random.chance(40) ? 0 : slot_of(random, type); }

// ---- arguments

constexpr Type kMade[] = {Type::cspace,       Type::space,        Type::space,    Type::thread,
                          Type::thread,       Type::endpoint,     Type::endpoint, Type::reply,
                          Type::notification, Type::notification, Type::vcpu};

u64 pick_time(Random& random) {
    if (random.chance(20)) return random.pick({abi::kPoll, abi::kForever, u64{1}, abi::kForever - 1});
    return sys::now() + random.below(2000);
}

u64 argument(Random& random, Arg arg) {
    if (arg != Arg::none && random.chance(5)) return random.pick(kHostile);
    switch (arg) {
        case Arg::none: return random.chance(2) ? number(random) : 0;
        case Arg::value: return random.chance(50) ? random.pick(kHostile) : number(random);
        case Arg::type: return random.chance(95) ? static_cast<u64>(random.pick(kMade)) : random.below(16);
        case Arg::destination: return destination(random);
        case Arg::source: return random.chance(5) ? bad_slot(random) : any_slot(random);
        case Arg::rights: return random.chance(60) ? 0xff : random.below(256);
        case Arg::badge: return random.chance(60) ? 0 : number(random);
        case Arg::kind: return random.below(3);
        case Arg::core: return random.below(cores() + 1);
        case Arg::affinity: return random.below(8);
        case Arg::bytes:
            return random.chance(70) ? kPage << random.below(6) : kPage * random.below(40) + random.below(2) * 8;
        case Arg::offset: return random.chance(60) ? 0 : kPage * random.below(20);
        case Arg::address: return 0x4000'0000 + (random.below(64) << (random.chance(80) ? 12 : 21));
        case Arg::map_rights: return random.chance(70) ? random.pick({u64{1}, u64{3}, u64{5}}) : random.below(9);
        case Arg::program:
            return random.chance(90)
                       ? reinterpret_cast<u64>(victim_programs) +
                             64 * random.below(static_cast<u64>(victim_end - victim_programs) / 64)
                       : random.pick({u64{0}, u64{0x4000'0000}, u64{1} << 47, ~u64{0} << 12, kWindow, kWindow + 2});
        case Arg::first_register:
            return random.chance(90) ? random.below(15) : random.pick({u64{30}, u64{34}, u64{35}, ~u64{0}});
        case Arg::register_count: return random.below(6);
        case Arg::slot: return random.chance(90) ? slot_of(random, Type::null) : bad_slot(random);
        case Arg::budget: return random.chance(40) ? 0 : 100 + random.below(20'000);
        case Arg::period: return random.chance(40) ? 0 : 1000 + random.below(40'000);
        case Arg::parameters: return random.below(40) | random.below(cores()) << 8 | random.below(2) << 16;
        case Arg::intid: return random.chance(30) ? 34 : random.below(80);
        case Arg::flag: return random.below(3);
        case Arg::physical:
            return random.pick({u64{0x0901'0000}, u64{0x0a00'0000}, u64{0x0800'0000}, u64{0x080a'0000},
                                u64{0x4000'0000}, u64{0x0903'0000}, (u64{1} << 48) - kPage, ~u64{0} & ~(kPage - 1)});
        case Arg::index: return random.below(random.chance(80) ? 4 : 200);
        case Arg::cspace: return optional(random, Type::cspace);
        case Arg::pool: return slot_of(random, Type::pool);
        case Arg::space: return optional(random, Type::space);
        case Arg::memory: return slot_of(random, Type::memory);
        case Arg::notification: return optional(random, Type::notification);
        case Arg::endpoint: return optional(random, Type::endpoint);
        case Arg::sched: return optional(random, Type::sched);
        case Arg::deadline: return pick_time(random);
        case Arg::tag: return (random.next() & (random.chance(30) ? ~u64{0} : 0xffff)) | 1;
        case Arg::groups: return random.below(random.chance(80) ? 8 : 40);
    }
    return 0;
}

void fill_create(Random& random, Call& call) {
    switch (static_cast<Type>(call.x[2])) {
        case Type::space: call.x[4] = argument(random, Arg::kind); break;
        case Type::endpoint: call.x[4] = argument(random, Arg::core); break;
        case Type::vcpu:
            call.x[4] = slot_of(random, Type::space);
            call.x[5] = argument(random, Arg::affinity);
            break;
        default: break;
    }
}

void fill_message(Random& random, Call& call) {
    call.x[1] = argument(random, Arg::tag);
    for (unsigned i = 2; i < 8; ++i) call.x[i] = number(random);
    if (random.chance(30)) {
        call.x[1] |= abi::kTagCap;
        call.x[7] = any_slot(random);
    }
}

// Of RAM as the kernel sees it, or of its image; not one that the caller made up.
bool is_kernel_address(u64 value, bool el2) {
    for (const u64 own : kHostile) {
        if (value == own) return false;
    }
    const u64 upper = el2 ? 0 : u64{0xffff} << 48, linear = upper | 0x8000'4000'0000, image = upper | 0xffff'ff80'0000;
    return value % 8 == 0 && (value - linear < 0x4000'0000 || value - image < 0x40'0000);
}

}  // namespace

Call random_call(Random& random, bool may_block) {
    Call call;
    const u64 what = random.below(100);
    if (what < 72) {
        const Method& method = kMethods[random.below(kMethodCount)];
        call.x[0] = slot_of(random, method.type);
        call.x[1] = random.chance(98) ? method.number : number(random);
        for (unsigned i = 0; i < 6; ++i) call.x[2 + i] = argument(random, method.args[i]);
        if (method.type == Type::pool && method.number == abi::pool::create) fill_create(random, call);
        return call;
    }
    if (what < 80) {
        call.sys = Sys::signal;
        call.x[0] = slot_of(random, Type::notification);
    } else if (what < 86) {
        call.sys = Sys::wait;
        call.x[0] = slot_of(random, random.chance(50) ? Type::notification : Type::endpoint);
        call.x[1] = may_block ? pick_time(random) : abi::kPoll;
    } else if (what < 88) {
        call.sys = Sys::yield;
    } else if (what < 89) {
        call.sys = Sys::log;
        call.x[0] = slot_of(random, Type::system);
        call.x[1] = random.chance(50) ? 0 : 49 + (random.next() >> 1 | 1);
    } else if (!may_block) {
        call.sys = Sys::invoke;
        call.x[0] = any_slot(random);
        call.x[1] = random.below(9);
        for (unsigned i = 2; i < 8; ++i) call.x[i] = random.chance(50) ? destination(random) : random.pick(kHostile);
    } else if (what < 94) {
        call.sys = Sys::call;
        call.x[0] = slot_of(random, Type::endpoint);
        fill_message(random, call);
    } else if (what < 97) {
        call.sys = Sys::reply_wait;
        call.x[0] = slot_of(random, Type::endpoint);
        fill_message(random, call);
    } else {
        call.sys = Sys::vcpu_run;
        call.x[0] = slot_of(random, Type::vcpu);
    }
    return call;
}

namespace {

// As sys::svc, and tells whether a destroyed register holds an address of the kernel's.
template <Sys kCall>
Outcome watched(const Call& call) {
    register u64 x0 asm("x0") = call.x[0];
    register u64 x1 asm("x1") = call.x[1];
    register u64 x2 asm("x2") = call.x[2];
    register u64 x3 asm("x3") = call.x[3];
    register u64 x4 asm("x4") = call.x[4];
    register u64 x5 asm("x5") = call.x[5];
    register u64 x6 asm("x6") = call.x[6];
    register u64 x7 asm("x7") = call.x[7];
    u64 after[12];
    asm volatile(
        "svc %[call]\n"
        "stp x8, x9, [%[after]]\n"
        "stp x10, x11, [%[after], #16]\n"
        "stp x12, x13, [%[after], #32]\n"
        "stp x14, x15, [%[after], #48]\n"
        "stp x16, x17, [%[after], #64]\n"
        "str x18, [%[after], #80]\n"
        : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7)
        : [call] "i"(static_cast<int>(kCall)), [after] "r"(after)
        : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "cc", "memory");
    Outcome outcome{{x0, x1, x2, x3, x4, x5, x6, x7}, false};
    for (unsigned i = 0; i < 11; ++i) outcome.leaked |= is_kernel_address(after[i], at_el2());
    return outcome;
}

}  // namespace

Outcome make_call(const Call& call) {
    switch (call.sys) {
        case Sys::call: return watched<Sys::call>(call);
        case Sys::reply_wait: return watched<Sys::reply_wait>(call);
        case Sys::wait: return watched<Sys::wait>(call);
        case Sys::signal: return watched<Sys::signal>(call);
        case Sys::vcpu_run: return watched<Sys::vcpu_run>(call);
        case Sys::invoke: return watched<Sys::invoke>(call);
        case Sys::yield: return watched<Sys::yield>(call);
        case Sys::log: return watched<Sys::log>(call);
    }
    return {};
}

bool nonsense(const Call& call, const Outcome& outcome) {
    const Error error = abi::tag_error(outcome.regs.x1);
    if (error > Error::unsupported || abi::tag_arg(outcome.regs.x1) > 7 || outcome.leaked) return true;
    if (call.sys == abi::Sys::signal || call.sys == abi::Sys::yield) {
        return call.sys == abi::Sys::yield ? outcome.regs.x1 != 0 : error > Error::rights;
    }
    return false;
}

bool documented(const Call& call, Type type, const Outcome& outcome) {
    const Error error = abi::tag_error(outcome.regs.x1);
    const auto one_of = [&](unsigned allowed) { return (allowed >> static_cast<unsigned>(error) & 1) != 0; };
    switch (call.sys) {
        case abi::Sys::signal: return one_of(set(Error::bad_slot, Error::bad_type, Error::rights));
        case abi::Sys::wait:
            return one_of(
                set(Error::bad_slot, Error::bad_type, Error::rights, Error::busy, Error::no_server, Error::timeout));
        case abi::Sys::log: return one_of(set(Error::bad_slot, Error::rights, Error::bad_arg));
        case abi::Sys::yield: return error == Error::none;
        case abi::Sys::invoke: break;
        default: return true;
    }
    if (type == Type::null) return error == Error::bad_slot;
    for (const Method& method : kMethods) {
        if (method.type == type && method.number == static_cast<std::uint32_t>(call.x[1])) return one_of(method.errors);
    }
    return error == Error::bad_method || error == Error::rights;
}

}  // namespace twain::fuzz
