// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The bus, the UART, trapped system registers, exception injection.
#include <catch2/catch.hpp>

#include <random>
#include <string>

#include "vmm/bus.hpp"
#include "vmm/dev/pl011.hpp"
#include "vmm/inject.hpp"
#include "vmm/sysreg/registers.hpp"

using namespace twain;
using namespace twain::vmm;

namespace {

struct Recorder {
    std::uint64_t read(Access a) {
        last = a;
        return ~std::uint64_t{0};
    }
    void write(Access a, std::uint64_t v) {
        last = a;
        value = v;
    }
    Access last{};
    std::uint64_t value = 0;
};

struct Uart {
    Pl011 uart{100};
    std::uint64_t now = 1;
    std::uint64_t r(std::uint64_t offset, unsigned bytes = 4) { return uart.read({offset, bytes, 0}, now); }
    void w(std::uint64_t offset, std::uint64_t value, unsigned bytes = 4) {
        uart.write({offset, bytes, 0}, value, now);
    }
    std::string take() {
        std::string all;
        while (!uart.to_send().empty()) {
            all.append(uart.to_send().data(), uart.to_send().size());
            uart.sent(static_cast<unsigned>(uart.to_send().size()));
        }
        return all;
    }
};

}  // namespace

TEST_CASE("the bus finds windows and nothing else", "[bus]") {
    Bus bus;
    Recorder one, two;
    Bus::Cursor cursor;
    std::uint64_t value = 0;
    CHECK_FALSE(bus.read(cursor, {0}, 1, 0, value));
    CHECK(bus.attach("one", {0x1000}, 0x1000, one));
    CHECK_FALSE(bus.attach("overlap", {0x1fff}, 2, two));
    CHECK_FALSE(bus.attach("around", {0x0}, 0x10000, two));
    CHECK_FALSE(bus.attach("empty", {0x3000}, 0, two));
    CHECK_FALSE(bus.attach("wraps", {~std::uint64_t{0}}, 2, two));
    CHECK(bus.attach("top", {~std::uint64_t{0} - 7}, 8, two));
    CHECK(bus.read(cursor, {0x1ffc}, 4, 3, value));
    CHECK(value == 0xffff'ffff);
    CHECK(one.last.offset == 0xffc);
    CHECK(one.last.vcpu == 3);
    CHECK_FALSE(bus.read(cursor, {0x1ffd}, 4, 0, value));  // across the end
    CHECK_FALSE(bus.write(cursor, {0xfff}, 2, 0, 0));      // across the beginning
    CHECK(bus.write(cursor, {~std::uint64_t{0} - 7}, 8, 0, 7));
    CHECK_FALSE(bus.write(cursor, {~std::uint64_t{0} - 3}, 8, 0, 7));
    CHECK(bus.write(cursor, {~std::uint64_t{0}}, 1, 0, 0x1ff));
    CHECK(two.value == 0xff);
    CHECK(cursor.last == 1);
}

TEST_CASE("the UART is a PL011 to whoever looks", "[pl011]") {
    Uart u;
    std::uint64_t id = 0;
    for (unsigned i = 0; i < 4; ++i) {
        id |= u.r(0xfe0 + 4 * i) << (8 * i);
    }
    CHECK(id == 0x0034'1011);
    id = 0;
    for (unsigned i = 0; i < 4; ++i) {
        id |= u.r(0xff0 + 4 * i) << (8 * i);
    }
    CHECK(id == 0xb105'f00d);
    CHECK((u.r(0x18) & 0x90) == 0x90);
    CHECK(u.r(0x30) == 0x300);
    CHECK(u.r(0xfe0, 1) == 0x11);
    CHECK(u.r(0xfe1, 1) == 0);
    CHECK(u.r(0xfe0, 8) == 0);
}

TEST_CASE("what is sent comes out; a full line blocks for a while, then drops", "[pl011]") {
    Uart u;
    for (const char c : std::string("hello")) {
        u.w(0, static_cast<unsigned char>(c), 1);
    }
    CHECK(u.take() == "hello");
    u.w(0x38, 0x20);
    CHECK(u.uart.line());
    u.w(0x44, 0x20);
    CHECK_FALSE(u.uart.line());
    for (unsigned i = 0; i < Pl011::kLine; ++i) {
        CHECK((u.r(0x18) & 0x20) == 0);
        u.w(0, 'a' + i % 26);
    }
    CHECK((u.r(0x18) & 0x28) == 0x28);
    CHECK_FALSE(u.uart.line());
    u.w(0, '!');
    CHECK(u.uart.dropped() == 1);
    CHECK(u.uart.deadline(u.now) == 102);
    u.now = 102;
    CHECK((u.r(0x18) & 0x20) == 0);  // patience is over
    CHECK(u.uart.deadline(u.now) == ~std::uint64_t{0});
    u.uart.expire(u.now);
    CHECK(u.uart.line());
    u.w(0, '!');
    CHECK(u.uart.dropped() == 2);
    CHECK(u.take().size() == Pl011::kLine);
    u.w(0, '.');
    CHECK(u.take() == ".");
}

TEST_CASE("what is received interrupts until it is read", "[pl011]") {
    Uart u;
    CHECK(u.uart.room() == 1);
    u.w(0x2c, 0x70);
    CHECK(u.uart.room() == 32);
    u.w(0x38, 0x50);
    CHECK_FALSE(u.uart.line());
    u.uart.receive('x');
    CHECK(u.uart.line());
    CHECK((u.r(0x40) & 0x50) == 0x40);
    for (unsigned i = 1; i < 16; ++i) {
        u.uart.receive('y');
    }
    CHECK((u.r(0x40) & 0x50) == 0x50);
    CHECK(u.r(0) == 'x');
    CHECK((u.r(0x40) & 0x50) == 0x40);
    while ((u.r(0x18) & 0x10) == 0) {
        CHECK(u.r(0) == 'y');
    }
    CHECK_FALSE(u.uart.line());
    CHECK(u.r(0) == 0);
    while (u.uart.room() != 0) {
        u.uart.receive('z');
    }
    u.uart.receive('z');
    CHECK((u.r(0) & 0x800) != 0);
    u.w(4, 0);
    CHECK((u.r(0) & 0x800) == 0);
    u.w(0x30, 0x380);  // loop back
    u.w(0x2c, 0);
    u.w(0, 'q');
    CHECK(u.r(0) == 'q');
    CHECK(u.take().empty());
}

TEST_CASE("any access to the UART", "[pl011][hostile]") {
    Uart u;
    std::mt19937_64 random(7);
    for (unsigned n = 0; n < 200'000; ++n) {
        const unsigned bytes = 1u << random() % 4;
        const std::uint64_t offset = n % 3 != 0 ? random() % 0x50 : random() % Pl011::kWindowBytes;
        ++u.now;
        if (random() % 2 != 0) {
            u.w(offset, random(), bytes);
        } else {
            (void)u.r(offset, bytes);
        }
        if (random() % 8 == 0 && u.uart.room() != 0) {
            u.uart.receive(static_cast<char>(random()));
        }
        u.uart.sent(static_cast<unsigned>(random() % 3));
        REQUIRE(u.uart.room() <= 32);
        REQUIRE(u.uart.to_send().size() <= Pl011::kLine);
    }
}

namespace {

struct Processor {
    IdRegisters ids{CpuFeatures{}};
    VcpuRegisters state;
    std::uint64_t now = 1000;
    SysregResult read(Sysreg reg, std::uint64_t& value) {
        SysregAccess a{reg, true, 0};
        const SysregResult r = access_sysreg(ids, state, 0x8444'c004, now, a);
        value = a.value;
        return r;
    }
    SysregResult write(Sysreg reg, std::uint64_t value) {
        SysregAccess a{reg, false, value};
        return access_sysreg(ids, state, 0x8444'c004, now, a);
    }
};

}  // namespace

TEST_CASE("ID registers hide what is not virtualized", "[sysreg]") {
    CpuFeatures all;
    all.pfr0 = all.isar0 = all.isar1 = all.mmfr1 = all.mmfr2 = 0x6666'6666'6666'6666;
    all.mmfr0 = 0x0000'0000'0010'1166;
    const IdRegisters ids{all};
    const std::uint64_t pfr0 = ids.value(4, 0);
    CHECK(bits(pfr0, 15, 8) == 0);             // EL3, EL2
    CHECK(bits(pfr0, 7, 0) == 0x11);           // no AArch32
    CHECK(bits(pfr0, 27, 24) == 1);            // GIC
    CHECK(bits(pfr0, 47, 28) == 0);            // RAS, SVE, SEL2, MPAM, AMU
    CHECK(bits(ids.value(5, 0), 11, 8) == 0);  // PMU
    CHECK(bits(ids.value(6, 1), 11, 4) == 0);  // pointer authentication
    CHECK(bits(ids.value(6, 1), 31, 24) == 0);
    CHECK(bits(ids.value(7, 0), 3, 0) == 2);
    CHECK(ids.value(4, 1) == 0);                // BTI, MTE, SME
    CHECK(ids.value(4, 4) == 0);                // SVE
    CHECK(bits(ids.value(6, 0), 23, 20) == 2);  // LSE is there if the processor has it
    CHECK(IdRegisters{CpuFeatures{}}.value(6, 0) == 0);
    static_assert(IdRegisters{CpuFeatures{}}.value(4, 0) == 0x0100'0011);
    static_assert(IdRegisters(CpuFeatures{}, false).value(4, 0) == 0x11);  // GICv2: no system registers
}

TEST_CASE("every system register, both ways", "[sysreg][hostile]") {
    Processor p;
    unsigned defined = 0;
    for (unsigned op0 = 0; op0 < 4; ++op0) {
        for (unsigned op1 = 0; op1 < 8; ++op1) {
            for (unsigned crn = 0; crn < 16; ++crn) {
                for (unsigned crm = 0; crm < 16; ++crm) {
                    for (unsigned op2 = 0; op2 < 8; ++op2) {
                        std::uint64_t value = 0;
                        const Sysreg reg = sysreg(op0, op1, crn, crm, op2);
                        REQUIRE(reg.op0() == op0);
                        REQUIRE(reg.crm() == crm);
                        defined += p.read(reg, value) == SysregResult::done ? 1 : 0;
                        (void)p.write(reg, ~std::uint64_t{0});
                    }
                }
            }
        }
    }
    CHECK(defined > 60);
    CHECK(defined < 200);
    std::uint64_t value = 0;
    CHECK(p.read(sysreg(3, 3, 9, 12, 0), value) == SysregResult::undefined);   // PMCR_EL0
    CHECK(p.read(sysreg(3, 0, 12, 11, 5), value) == SysregResult::undefined);  // ICC_SGI1R_EL1 is write-only
    CHECK(p.write(sysreg(3, 0, 0, 4, 0), 0) == SysregResult::undefined);       // ID registers are read-only
    CHECK(p.write(sysreg(3, 0, 12, 11, 5), 0) == SysregResult::send_sgi);
    CHECK(p.write(sysreg(2, 0, 0, 15, 4), 0) == SysregResult::undefined);  // DBGBVR15_EL1
    CHECK(p.write(sysreg(1, 0, 7, 14, 2), 0) == SysregResult::done);       // DC CISW
}

TEST_CASE("the physical timer: past, future, never", "[sysreg][hostile]") {
    Processor p;
    const Sysreg tval = sysreg(3, 3, 14, 2, 0), ctl = sysreg(3, 3, 14, 2, 1), cval = sysreg(3, 3, 14, 2, 2);
    std::uint64_t value = 0;
    CHECK(p.write(tval, 0xffff'fff0) == SysregResult::timer);  // 16 ticks ago
    CHECK(p.read(cval, value) == SysregResult::done);
    CHECK(value == 984);
    CHECK_FALSE(p.state.timer.line(p.now));
    CHECK(p.write(ctl, ~std::uint64_t{0}) == SysregResult::timer);
    CHECK_FALSE(p.state.timer.line(p.now));  // masked
    CHECK(p.read(ctl, value) == SysregResult::done);
    CHECK(value == 7);
    (void)p.write(ctl, 1);
    CHECK(p.state.timer.line(p.now));
    CHECK(p.state.timer.deadline(p.now) == ~std::uint64_t{0});
    (void)p.write(cval, ~std::uint64_t{0});
    CHECK_FALSE(p.state.timer.line(p.now));
    (void)p.write(tval, 500);
    CHECK(p.state.timer.deadline(p.now) == 1500);
    p.now = 1499;
    (void)p.read(tval, value);
    CHECK(value == 1);
    CHECK(p.state.timer.line(1500));
}

TEST_CASE("exceptions enter the guest as the processor would", "[inject]") {
    abi::VcpuPage page{};
    page.el1.vbar_el1 = 0xffff'8000'0001'0000;
    page.pc = 0x1234'5678;
    page.pstate = 0x6000'0005;  // EL1h, Z C
    inject_undefined(page);
    CHECK(page.pc == 0xffff'8000'0001'0200);
    CHECK(page.pstate == 0x6000'03c5);
    CHECK(page.el1.elr_el1 == 0x1234'5678);
    CHECK(page.el1.spsr_el1 == 0x6000'0005);
    CHECK(page.el1.esr_el1 == 0x0200'0000);
    CHECK(page.loaded == abi::kGroupEl1);
    page.pstate = 0;  // EL0
    inject_data_abort(page, {0xdead}, true, kFaultExternal);
    CHECK(page.pc == 0xffff'8000'0001'0400);
    CHECK(page.el1.far_el1 == 0xdead);
    CHECK(page.el1.esr_el1 == ((0x24u << 26) | (1u << 25) | (1u << 6) | 0x10));
    page.pstate = 4;  // EL1t
    inject_instruction_abort(page, {0x10}, kFaultExternalOnWalk);
    CHECK(page.pc == 0xffff'8000'0001'0000);
    CHECK(page.el1.esr_el1 == ((0x21u << 26) | (1u << 25) | 0x14));
    page.pstate = 0x10;  // AArch32
    inject_undefined(page);
    CHECK(page.pc == 0xffff'8000'0001'0600);
}
