// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A whole machine: exits and what they do to the guest, power states with real threads, the console.
#include <catch2/catch.hpp>

#include <atomic>
#include <memory>

#include "fake_platform.hpp"
#include "vmm/machine/machine.hpp"
#include "vmm/machine/vcpu_loop.hpp"

using namespace twain;
using namespace twain::vmm;
using test::FakePlatform;
using test::Stopped;

namespace {

constexpr std::uint64_t kRamBytes = 0x80'0000;
constexpr std::uint64_t kRam = 0x4000'0000;

std::vector<std::byte> kernel_file() {
    std::vector<std::byte> f(0x400);
    const std::uint64_t size = 0x1000, flags = 0xa;
    const std::uint32_t magic = 0x644d5241;
    std::memcpy(&f[16], &size, 8);
    std::memcpy(&f[24], &flags, 8);
    std::memcpy(&f[56], &magic, 4);
    return f;
}

struct Fixture {
    explicit Fixture(unsigned vcpus = 1) : ram(kRamBytes), kernel(kernel_file()) {
        for (unsigned v = 0; v < vcpus; ++v) {
            store.push_back(std::make_unique<abi::VcpuPage>());
            pages.push_back(store.back().get());
        }
        config.ram = ram.data();
        config.ram_bytes = ram.size();
        config.pages = pages;
        config.kernel = kernel;
        config.command_line = "quiet";
        config.ticks_per_second = 1'000'000;
        machine = std::make_unique<Machine<FakePlatform>>(platform, config);
    }
    FakePlatform platform;
    std::vector<char> ram;
    std::vector<std::byte> kernel;
    std::vector<std::unique_ptr<abi::VcpuPage>> store;
    std::vector<abi::VcpuPage*> pages;
    MachineConfig config;
    std::unique_ptr<Machine<FakePlatform>> machine;
};

// A running vCPU 0 whose exits the test makes up.
struct Running : Fixture {
    Running() : page(*pages[0]), loop(*machine, 0) {
        REQUIRE(machine->start(true) == LoadError::none);
        machine->wait_for_power(machine->vcpu(0));
    }
    void trap(std::uint64_t esr, std::uint64_t ipa = 0, std::uint64_t far = 0) {
        platform.guest = [=, this](VcpuIndex) {
            page.esr = esr;
            page.ipa = ipa;
            page.far = far;
            return RunResult{};
        };
        loop.step();
    }
    // A data abort with a syndrome.
    void access(std::uint64_t ipa, unsigned log2_bytes, unsigned rt, bool write, unsigned extra = 0) {
        trap((0x24u << 26) | (1u << 25) | (1u << 24) | (log2_bytes << 22) | (rt << 16) | (write ? 1u << 6 : 0) | extra,
             ipa, ipa);
    }
    // Without: the processor says nothing about the instruction at pc.
    void decoded(std::uint32_t word, std::uint64_t ipa, bool write = false) {
        std::memcpy(&ram[page.pc - kRam], &word, 4);
        trap((0x24u << 26) | (1u << 25) | (write ? 1u << 6 : 0), ipa, ipa);
    }
    bool took_exception() {
        const bool taken = page.pc == (page.el1.vbar_el1 & ~std::uint64_t{0x7ff}) + 0x200;
        page.pc = kRam + 0x1000;
        return taken;
    }
    // As of now: the last exit counts when it is over.
    std::uint64_t exits(Cause cause) {
        trap(0x16u << 26);
        return machine->stats().vcpu[0][cause].exits;
    }
    abi::VcpuPage& page;
    VcpuLoop<FakePlatform> loop;
};

}  // namespace

TEST_CASE("a guest begins as Linux expects", "[machine]") {
    Running r;
    CHECK(r.page.pc == kRam);
    CHECK(r.page.x[0] == kRam + 0x20'0000);
    CHECK(r.page.x[1] == 0);
    CHECK(r.page.pstate == 0x3c5);
    CHECK((r.page.el1.sctlr_el1 & 0x1005) == 0);
    CHECK(r.page.loaded == (abi::kGroupAll | abi::kGroupInterrupts));
    CHECK(r.page.cntvoff == 0);
    CHECK(std::memcmp(r.ram.data(), r.kernel.data(), r.kernel.size()) == 0);
    CHECK(std::memcmp(r.ram.data() + 0x20'0000, "\xd0\x0d\xfe\xed", 4) == 0);
}

TEST_CASE("a kernel that cannot be loaded stops only its guest", "[machine][hostile]") {
    Fixture f;
    f.kernel[56] = std::byte{0};
    CHECK(f.machine->start(true) == LoadError::not_an_image);
    CHECK(f.machine->state() == MachineState::failed);
    CHECK(f.platform.printed.find("not an arm64 Image") != std::string::npos);
}

TEST_CASE("calls", "[machine]") {
    Running r;
    r.page.x[0] = 0x8400'0000;
    r.trap(0x16u << 26);
    CHECK(r.page.x[0] == 0x1'0001);
    CHECK(r.page.pc == kRam);  // HVC: already behind it
    r.page.x[0] = 0x8400'0000;
    r.trap(0x17u << 26);
    CHECK(r.page.x[0] == 0x1'0001);
    CHECK(r.page.pc == kRam + 4);
    r.page.x[0] = 0x1234;
    r.trap(0x16u << 26);
    CHECK(r.page.x[0] == ~std::uint64_t{0});
}

TEST_CASE("device accesses", "[machine]") {
    Running r;
    r.page.x[3] = ~std::uint64_t{0};
    r.access(0x0900'0fe0, 2, 3, false);
    CHECK(r.page.x[3] == 0x11);
    CHECK(r.page.pc == kRam + 4);
    r.access(0x0900'0fe8, 0, 3, false);
    CHECK(r.page.x[3] == 0x34);
    r.access(0x0900'0ff4, 0, 3, false, 1u << 21);  // sign-extended to 32 bits
    CHECK(r.page.x[3] == 0xffff'fff0);
    r.access(0x0900'0ff4, 0, 3, false, 1u << 21 | 1u << 15);
    CHECK(r.page.x[3] == 0xffff'ffff'ffff'fff0);
    r.access(0x0900'0fe0, 2, 31, false);
    r.page.x[5] = 0x77;
    r.access(0x0900'0024, 2, 5, true);
    r.access(0x0900'0024, 2, 6, false);
    CHECK(r.page.x[6] == 0x77);
    r.access(0x0900'0024, 2, 31, true);
    r.access(0x0900'0024, 2, 6, false);
    CHECK(r.page.x[6] == 0);
    r.access(0x0800'0000, 2, 6, false);
    CHECK(r.page.x[6] == 0x50);
    r.access(0x080a'0000 + 0xffe8, 2, 6, false);
    CHECK(r.page.x[6] == 0x3b);
    CHECK(r.exits(Cause::mmio) == 11);
}

TEST_CASE("accesses to nothing become aborts in the guest", "[machine][hostile]") {
    Running r;
    r.page.el1.vbar_el1 = 0x4000'4800;
    for (const std::uint64_t ipa : {std::uint64_t{0}, std::uint64_t{0x3fff'fff8}, kRam + kRamBytes,
                                    std::uint64_t{0x0900'1000}, std::uint64_t{0x0900'0ffe}, ~std::uint64_t{0} - 3}) {
        r.page.pc = kRam + 0x1000;
        r.access(ipa, 2, 1, true);
        CHECK(r.page.el1.far_el1 == ipa);
        CHECK(r.page.el1.elr_el1 == kRam + 0x1000);
        CHECK(r.page.el1.esr_el1 == ((0x25u << 26) | (1u << 25) | (1u << 6) | 0x10));
        CHECK(r.took_exception());
    }
    r.trap((0x20u << 26) | (1u << 25) | 4, 0x0900'0000, 0x0900'0000);
    CHECK(r.page.el1.esr_el1 == ((0x21u << 26) | (1u << 25) | 0x10));
    CHECK(r.took_exception());
    r.trap((0x24u << 26) | (1u << 25) | (1u << 7) | 5, 0x0900'0000, 0x1234'5000);  // on a table walk
    CHECK((r.page.el1.esr_el1 & 0x3f) == 0x14);
    CHECK(r.took_exception());
    r.trap((0x24u << 26) | (1u << 25) | (1u << 8), 0x0900'0000, 0x0900'0000);  // cache maintenance
    CHECK(r.page.pc == kRam + 0x1004);
    r.trap(0x07u << 26);  // anything else: undefined
    CHECK(r.page.el1.esr_el1 == 0x0200'0000);
    CHECK(r.took_exception());
}

TEST_CASE("accesses without a syndrome are decoded", "[machine]") {
    Running r;
    r.page.pc = kRam + 0x1000;
    r.page.x[3] = 0x0900'0fe0;
    r.decoded(0x28c10861, 0x0900'0fe0);  // ldp w1, w2, [x3], #8
    CHECK(r.page.x[1] == 0x11);
    CHECK(r.page.x[2] == 0x10);
    CHECK(r.page.x[3] == 0x0900'0fe8);
    CHECK(r.page.pc == kRam + 0x1004);
    r.page.x[2] = kRam + kRamBytes - 8;  // one half in RAM, the other outside
    const std::uint64_t secret = 0x1122'3344'5566'7788;
    std::memcpy(&r.ram[kRamBytes - 8], &secret, 8);
    r.page.pc = kRam + 0x1000;
    r.decoded(0x3cdf0041 | 0x8000, kRam + kRamBytes);  // ldur q1, [x2, #-8]: all in RAM, so emulated as such
    CHECK(r.page.v[2 + 1] == secret);
    r.page.pc = kRam + 0x1000;
    r.page.x[3] = kRam + kRamBytes - 8;
    r.decoded(0xa9400861, kRam + kRamBytes);  // ldp x1, x2, [x3]
    CHECK(r.page.el1.far_el1 == kRam + kRamBytes);
    CHECK(r.took_exception());
    CHECK(r.page.x[1] == 0x11);
    r.decoded(0xd503201f, 0x0900'0000);  // nop: the guest has rewritten it meanwhile
    CHECK((r.page.el1.esr_el1 & 0x3f) == 0x10);
    CHECK(r.took_exception());
    CHECK(r.machine->stats().vcpu[0][Event::decoded] == 4);
}

TEST_CASE("an exit has one cause, and takes what the kernel says", "[machine]") {
    Running r;
    r.page.el1.vbar_el1 = 0x4000'4800;
    const auto took = [&r](std::uint64_t ticks) { r.page.away = ticks; };
    took(0);
    r.access(0x0900'0018, 2, 1, false);
    took(10);
    r.access(0x0900'1000, 2, 1, false);  // nothing there: no device has answered
    took(200);
    r.trap((0x18u << 26) | (1u << 25) | sysreg(3, 3, 9, 12, 0).key | 1);  // a register that there is not
    took(3000);
    r.trap(0x01u << 26);
    took(40000);
    r.trap(0x16u << 26);
    took(500000);
    r.platform.kick(0, abi::vcpu::kKickExit);
    r.loop.step();
    took(6000000);
    r.trap(0x16u << 26);
    const VcpuCounters& c = r.machine->stats().vcpu[0];
    const std::pair<Cause, std::uint64_t> expected[] = {
        {Cause::start, 0},    {Cause::mmio, 10},     {Cause::aborted, 200},   {Cause::undefined, 3000},
        {Cause::hint, 40000}, {Cause::call, 500000}, {Cause::kicked, 6000000}};
    std::uint64_t all = 0;
    for (const CauseCounter& each : c.cause) {
        all += each.exits;
    }
    CHECK(all == std::size(expected));
    for (const auto& [cause, ticks] : expected) {
        INFO(kCauses[static_cast<unsigned>(cause)].name);
        CHECK(c[cause].exits == 1);
        CHECK(c[cause].ticks == ticks);
    }
}

TEST_CASE("the parts of a guest's time add up to all of it", "[machine][hostile]") {
    const std::uint64_t most = ~std::uint64_t{0};
    VcpuCounters c{};
    c.cause[static_cast<unsigned>(Cause::mmio)] = {3, 30};
    c.cause[static_cast<unsigned>(Cause::sysreg)] = {2, 5};
    c.cause[static_cast<unsigned>(Cause::eret)] = {2, 7};
    c.cause[static_cast<unsigned>(Cause::tlbi)] = {1, 100};
    const Times times = times_of(c, 600, 1000);
    CHECK(times.native == 600 - 142);
    CHECK(times.part == std::array<std::uint64_t, 3>{12, 100, 30});
    CHECK(times.suspended == 400);
    // A VMM may write anything, and the processor time of a thread that runs is told later than the counters.
    for (const std::uint64_t used :
         {std::uint64_t{0}, std::uint64_t{50}, std::uint64_t{600}, std::uint64_t{1001}, most}) {
        for (const std::uint64_t ticks : {std::uint64_t{0}, std::uint64_t{570}, most}) {
            c.cause[static_cast<unsigned>(Cause::call)].ticks = ticks;
            for (const std::uint64_t wall : {std::uint64_t{0}, std::uint64_t{1000}, most}) {
                const Times t = times_of(c, used, wall);
                CHECK(t.native + t.part[0] + t.part[1] + t.part[2] + t.suspended == wall);
                CHECK(std::max({t.native, t.part[0], t.part[1], t.part[2], t.suspended}) <= wall);
            }
        }
    }
}

TEST_CASE("code that cannot be fetched is tried again, but not for ever", "[machine][hostile]") {
    Running r;
    r.page.pc = 0x0900'0000;  // decoding would read the device as code
    unsigned tries = 0;
    while (r.page.pc == 0x0900'0000 && tries < 100) {
        r.trap((0x24u << 26) | (1u << 25), 0x0900'0000, 0x0900'0000);
        ++tries;
    }
    CHECK(tries == 17);
    CHECK(r.took_exception());
}

TEST_CASE("system registers", "[machine]") {
    Running r;
    const auto esr = [](Sysreg reg, unsigned rt, bool read) {
        return (std::uint64_t{0x18} << 26) | (1u << 25) | reg.key | (rt << 5) | (read ? 1u : 0u);
    };
    r.trap(esr(sysreg(3, 0, 0, 4, 0), 7, true));
    CHECK(r.page.x[7] == 0x0100'0011);
    CHECK(r.page.pc == kRam + 4);
    r.trap(esr(sysreg(3, 3, 9, 12, 0), 7, true));
    CHECK(r.took_exception());
    r.page.x[1] = 1'000'500;
    r.trap(esr(sysreg(3, 3, 14, 2, 2), 1, false));  // CNTP_CVAL
    r.page.x[1] = 1;
    const unsigned pokes = r.platform.pokes;
    r.trap(esr(sysreg(3, 3, 14, 2, 1), 1, false));
    CHECK(r.platform.pokes == pokes + 1);
    CHECK(r.machine->handle_events() == 1'000'500);
    r.page.x[1] = std::uint64_t{1} << 40;
    r.trap(esr(sysreg(3, 0, 12, 11, 5), 1, false));
    CHECK(r.machine->stats().vcpu[0][Event::sgi] == 1);
}

TEST_CASE("single steps: the guest's own, unless it locks its debug registers", "[machine]") {
    Running r;
    const auto write = [&](Sysreg reg, std::uint64_t value) {
        r.page.x[1] = value;
        r.page.pstate |= abi::kPstateStep;
        r.trap((std::uint64_t{0x18} << 26) | (1u << 25) | reg.key | (1u << 5));
        CHECK((r.page.pstate & abi::kPstateStep) == 0);  // that access was the step
    };
    const Sysreg mdscr = sysreg(2, 0, 0, 2, 2), lock = sysreg(2, 0, 1, 0, 4);
    write(mdscr, ~std::uint64_t{0});
    CHECK(r.page.el1.mdscr_el1 == 0);  // out of reset they are locked
    write(lock, 0);
    CHECK(r.page.el1.mdscr_el1 == (abi::kMdscrStep | abi::kMdscrKernel));
    write(mdscr, 0x8001);
    CHECK(r.page.el1.mdscr_el1 == abi::kMdscrStep);
    write(lock, 1);
    CHECK(r.page.el1.mdscr_el1 == 0);
}

TEST_CASE("the console: lines at once, the rest soon, a stuck reader for a while only", "[machine][console]") {
    Running r;
    const auto put = [&](const char* text) {
        for (; *text != 0; ++text) {
            r.page.x[0] = static_cast<unsigned char>(*text);
            r.access(0x0900'0000, 0, 0, true);
        }
    };
    put("hello\n");
    CHECK(r.platform.printed == "hello\n");
    put("# ");
    CHECK(r.platform.printed == "hello\n");
    const std::uint64_t first = r.machine->handle_events();
    CHECK(first == r.platform.time + 1000);
    r.platform.time += 1000;
    (void)r.machine->handle_events();
    CHECK(r.platform.printed == "hello\n# ");
    CHECK(r.machine->handle_events() == abi::kForever);

    r.platform.console_room = 10;
    const std::string flood(1000, 'x');
    put(flood.c_str());
    r.access(0x0900'0018, 2, 1, false);
    CHECK((r.page.x[1] & 0x20) != 0);
    CHECK(r.machine->stats().console_dropped == 1000 - 10 - 256);
    r.platform.time += 300'000;
    (void)r.machine->handle_events();
    r.access(0x0900'0018, 2, 1, false);
    CHECK((r.page.x[1] & 0x20) == 0);
    r.platform.console_room = ~std::size_t{0};
    r.platform.time += 10'000;
    (void)r.machine->handle_events();
    r.platform.time += 10'000;
    (void)r.machine->handle_events();
    CHECK(r.platform.printed.size() == 8 + 10 + 256);

    r.platform.typed = std::string(100, 'k');
    (void)r.machine->handle_events();
    unsigned got = 0;
    for (;;) {
        r.access(0x0900'0018, 2, 1, false);
        if ((r.page.x[1] & 0x10) != 0) {
            break;
        }
        r.access(0x0900'0000, 2, 2, false);
        CHECK(r.page.x[2] == 'k');
        ++got;
    }
    CHECK(got == 100);
}

namespace {

// vCPU threads as the VMM has them.
struct Threads {
    explicit Threads(Fixture& f) : f(f) {
        for (VcpuIndex v = 0; v < f.machine->vcpus(); ++v) {
            threads.emplace_back([&f, v] {
                try {
                    VcpuLoop<FakePlatform>(*f.machine, v).run();
                } catch (const Stopped&) {
                }
            });
        }
    }
    ~Threads() {
        f.platform.stop();
        for (std::thread& t : threads) {
            t.join();
        }
    }
    Fixture& f;
    std::vector<std::thread> threads;
};

RunResult call(abi::VcpuPage& page, std::uint64_t id, std::uint64_t a1 = 0, std::uint64_t a2 = 0) {
    page.x[0] = id;
    page.x[1] = a1;
    page.x[2] = a2;
    page.esr = std::uint64_t{0x16} << 26;
    return {};
}

}  // namespace

TEST_CASE("reset reloads everything, power-off ends it, a reboot from outside begins anew", "[machine][power]") {
    Fixture f(2);
    std::atomic<unsigned> boots{0}, seconds{0};
    std::atomic<bool> second_up{false}, remains{false};
    unsigned step = 0;
    f.platform.guest = [&](VcpuIndex v) {
        abi::VcpuPage& page = *f.pages[v];
        if (v == 1) {
            second_up = true;
            ++seconds;
            return f.platform.spin(v);
        }
        switch (step++) {
            case 0:
                ++boots;
                remains = remains || f.ram[0x1'0000] != 0;
                f.ram[0x1'0000] = 's';
                second_up = false;
                return call(page, 0xc400'0003, 1, kRam);
            case 1:
                if (!second_up) {
                    --step;
                    std::this_thread::yield();
                    return call(page, 0x8400'0000);
                }
                return call(page, 0x8400'0000);
            default: step = 0; return call(page, boots % 3 == 0 ? 0x8400'0008 : 0x8400'0009);
        }
    };
    Threads threads(f);
    REQUIRE(f.machine->start(true) == LoadError::none);
    f.platform.serve(*f.machine, [&] { return f.machine->state() == MachineState::off; });
    CHECK(boots == 3);
    CHECK_FALSE(remains);  // of the life before, nothing is left
    CHECK(seconds == 3);
    CHECK(f.machine->stats().boots == 3);
    CHECK(f.platform.printed.find("powered off") != std::string::npos);
    f.machine->reboot();
    f.platform.serve(*f.machine, [&] { return boots == 6 && f.machine->state() == MachineState::off; });
    CHECK(f.machine->stats().boots == 6);
}

TEST_CASE("racing resets, power-offs and CPU_ONs", "[machine][power][hostile]") {
    Fixture f(4);
    std::atomic<unsigned> calls{0};
    f.platform.guest = [&](VcpuIndex v) {
        abi::VcpuPage& page = *f.pages[v];
        const unsigned n = calls++;
        switch (n % 23) {
            case 0: return call(page, v % 2 != 0 ? 0x8400'0009 : 0xc400'0012);
            case 7: return call(page, 0x8400'0002);
            case 11: return f.platform.spin(v);
            default: return call(page, 0xc400'0003, n % 5, kRam + 4 * n % 0x1000);
        }
    };
    // Whoever spins with nobody left to kick it is woken from outside.
    Threads threads(f);
    REQUIRE(f.machine->start(true) == LoadError::none);
    f.platform.serve(*f.machine, [&] {
        if (calls % 50 == 0) {
            f.machine->reboot();
        }
        for (VcpuIndex v = 0; v < 4; ++v) {
            f.platform.kick(v, abi::vcpu::kKickExit);
        }
        if (f.machine->state() == MachineState::running) {
            f.machine->reboot();
        }
        return f.machine->stats().boots > 300;
    });
    CHECK(f.machine->stats().boots > 300);
}

TEST_CASE("a vCPU that the kernel refuses stops the guest and says so", "[machine]") {
    Fixture f;
    f.platform.guest = [](VcpuIndex) { return RunResult{abi::Error::busy, abi::Exit::trap}; };
    Threads threads(f);
    REQUIRE(f.machine->start(true) == LoadError::none);
    f.platform.serve(*f.machine, [&] { return f.machine->state() == MachineState::off; });
    CHECK(f.platform.printed.find("cannot run") != std::string::npos);
}
