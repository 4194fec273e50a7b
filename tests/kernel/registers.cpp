// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System registers: no value goes from one process to another, from one guest to another, or between guests and
// processes. Not the registers that somebody has thought of: every encoding there is.
//
// A victim reads a register, somebody else writes it, the victim reads it again: it must see the same.
#include "guest.hpp"

namespace twain::test {

namespace {

constexpr std::uint32_t kMrs = 0xd530'0000, kMsr = 0xd510'0000;  // op0 = 2 or 3: bit 19 is its low bit
constexpr u64 kPattern = 0x5a5a'5a5a'5a5a'5a5a;                  // even: MMU and timers stay off

struct Register {
    unsigned op0, op1, crn, crm, op2;
    constexpr std::uint32_t bits() const { return op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5; }
    constexpr bool operator==(const Register&) const = default;
};

// What changes by itself: counters, what is counted down, random numbers.
constexpr Register kMoving[] = {
    {3, 3, 14, 0, 1}, {3, 3, 14, 0, 2}, {3, 3, 14, 0, 5}, {3, 3, 14, 0, 6},  // CNTPCT, CNTVCT, CNTPCTSS, CNTVCTSS
    {3, 3, 14, 2, 0}, {3, 3, 14, 3, 0},                                      // CNTP_TVAL, CNTV_TVAL
    {3, 3, 2, 4, 0},  {3, 3, 2, 4, 1},                                       // RNDR, RNDRRS
};

bool moves(const Register& reg) {
    for (const Register& each : kMoving) {
        if (each == reg) return true;
    }
    return false;
}

void patch(volatile std::uint32_t* at, std::uint32_t instruction) {
    *at = instruction;
    asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(at) : "memory");
}

constexpr u64 kRefused = 0xdead'0000'0000'0000;  // the access traps: nothing can be read

// A process that makes one access at a time: the instruction, then a fault that brings it back.
class Process {
public:
    explicit Process(Scratch& scratch) : thread_(scratch.thread()), faults_(scratch.endpoint()) {
        const sys::Memory code = scratch.memory();
        at_ = reinterpret_cast<volatile std::uint32_t*>(scratch.map(code));
        at_[1] = 0xd400'0001 | 99 << 5;  // SVC #99
        const sys::Space space = scratch.space();
        need(space.map(code, 0, kCode, kPage, kReadExec, scratch.slot()));
        need(thread_.configure(kSelf, space, faults_, scratch.sched(20), {}));
    }
    u64 read(const Register& reg) { return run(kMrs | reg.bits(), 0); }
    void write(const Register& reg) { (void)run(kMsr | reg.bits(), kPattern); }

private:
    static constexpr u64 kCode = 0x40'0000;
    u64 run(std::uint32_t instruction, u64 x0) {
        patch(at_, instruction);
        need(thread_.start(kCode, 0, x0));
        const sys::Received fault = faults_.wait();
        const bool done = static_cast<abi::FaultKind>(fault.message.label()) == abi::FaultKind::svc;
        u64 values[5] = {};
        need(thread_.read(0, values));
        const u64 value = values[0];
        need(thread_.stop());
        return done ? value : kRefused;
    }
    sys::Thread thread_;
    sys::Endpoint faults_;
    volatile std::uint32_t* at_;
};

// The same for a guest's kernel.
class Kernel {
public:
    explicit Kernel(Scratch& scratch) : guest_(scratch) {
        guest_.enter_at(guest_access);
        offset_ = guest_.page().pc - Guest::kRam;
        fresh_ = guest_.page();
    }
    u64 read(const Register& reg) { return run(kMrs | reg.bits(), 0); }
    // It begins anew afterwards: what it does to itself is its own affair.
    void write(const Register& reg) {
        (void)run(kMsr | reg.bits(), kPattern);
        need(guest_.vcpu.sync(abi::kGroupAll));
        guest_.page().el1 = fresh_.el1;
        guest_.page().cntv_ctl = 0;
        guest_.page().loaded = abi::kGroupAll;
    }

    // Of PSTATE: goes in, is there, comes out.
    bool keeps(const Register& reg, u64 bit) {
        fresh_.pstate |= bit;
        const bool inside = read(reg) == bit;
        fresh_.pstate &= ~bit;
        return inside && (guest_.page().pstate & bit) && read(reg) == 0;
    }

private:
    u64 run(std::uint32_t instruction, u64 x0) {
        patch(reinterpret_cast<volatile std::uint32_t*>(&guest_.ram(offset_ & ~u64{7})) + (offset_ >> 2 & 1),
              instruction);
        abi::VcpuPage& page = guest_.page();
        page.pc = fresh_.pc;
        page.pstate = fresh_.pstate;
        page.x[0] = x0;
        const bool done = guest_.hvc(0xcc);
        return done ? page.x[0] : kRefused;
    }
    Guest guest_;
    u64 offset_;
    abi::VcpuPage fresh_;
};

template <typename Victim, typename Writer>
u64 leak(Victim& victim, Writer& writer, const Register& reg) {
    if (moves(reg)) return 0;
    const u64 before = victim.read(reg);
    writer.write(reg);
    return victim.read(reg) == before ? 0 : reg.bits() | u64{1};
}

template <typename Look>
u64 first_of_all(unsigned op1_end, Look look) {
    for (unsigned op0 = 2; op0 < 4; ++op0) {
        for (unsigned op1 = 0; op1 < op1_end; ++op1) {
            for (unsigned rest = 0; rest < 2048; ++rest) {
                const Register reg{op0, op1, rest >> 7, rest >> 3 & 15, rest & 7};
                if (const u64 found = look(reg)) return found;
            }
        }
    }
    return 0;
}

}  // namespace

void test_registers() {
    Scratch scratch;
    static std::byte memory[2][sizeof(Process)];
    auto& one = *new (memory[0]) Process(scratch);
    auto& two = *new (memory[1]) Process(scratch);
    // EL0 has the encodings of op1 = 3; the others are there to see that it has no more.
    expect_equal("registers/between_processes", 0, first_of_all(8, [&](const Register& reg) {
                     return reg.op1 == 3 || reg.crm == 0 ? leak(two, one, reg) : 0;
                 }));
    if (!at_el2()) {
        skip("vcpu_run/pstate_kept", "kernel at EL1: both levels of a guest are at EL0");
        skip("registers/between_guests", "kernel at EL1: both levels of a guest are at EL0");
        skip("registers/from_guest_to_process", "kernel at EL1: both levels of a guest are at EL0");
        skip("registers/from_process_to_guest", "kernel at EL1: both levels of a guest are at EL0");
        return;
    }
    static std::byte guests[2][sizeof(Kernel)];
    auto& attacker = *new (guests[0]) Kernel(scratch);
    auto& victim = *new (guests[1]) Kernel(scratch);
    struct {
        Register reg;
        unsigned bit;
    } constexpr kOwn[] = {{{3, 0, 4, 2, 3}, 22}, {{3, 0, 4, 2, 4}, 23}, {{3, 3, 4, 2, 5}, 24}, {{3, 3, 4, 2, 6}, 12}};
    for (const auto& each : kOwn) {  // PAN, UAO, DIT, SSBS, where the processor has them
        check("vcpu_run/pstate_kept", victim.read(each.reg) == kRefused || victim.keeps(each.reg, u64{1} << each.bit));
    }
    expect_equal("registers/between_guests", 0,
                 first_of_all(4, [&](const Register& reg) { return leak(victim, attacker, reg); }));
    expect_equal("registers/from_guest_to_process", 0, first_of_all(4, [&](const Register& reg) {
                     if (moves(reg)) return u64{0};
                     attacker.write(reg);
                     // Whatever it wrote, a process reads the same of all that it can read.
                     return leak(two, attacker, Register{reg.op0, 3, reg.crn, reg.crm, reg.op2});
                 }));
    expect_equal("registers/from_process_to_guest", 0,
                 first_of_all(4, [&](const Register& reg) { return reg.op1 == 3 ? leak(victim, one, reg) : 0; }));
}

}  // namespace twain::test
