// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// PSCI, SMCCC and TRNG: results by the specifications, hostile arguments, racing callers.
#include <catch2/catch.hpp>

#include <random>
#include <thread>
#include <vector>

#include "vmm/psci/firmware.hpp"

using namespace twain;
using namespace twain::vmm;

namespace {

constexpr std::uint64_t error(int code) { return static_cast<std::uint64_t>(static_cast<std::int64_t>(code)); }
constexpr std::uint8_t kSeed[] = "a seed that somebody vouches for";

struct Phone {
    std::vector<char> ram = std::vector<char>(0x1000);
    GuestMemory memory{{0x4000'0000}, ram.data(), ram.size()};
    PowerStates power;
    Firmware firmware{power, memory, 2};
    Random random{kSeed, true};
    abi::VcpuPage page{};
    Firmware::Outcome outcome;

    std::uint64_t call(std::uint64_t id, std::uint64_t a1 = 0, std::uint64_t a2 = 0, std::uint64_t a3 = 0) {
        page.x[0] = id;
        page.x[1] = a1;
        page.x[2] = a2;
        page.x[3] = a3;
        outcome = firmware.call(page, random);
        return page.x[0];
    }
};

using Action = Firmware::Action;

}  // namespace

TEST_CASE("versions and features", "[psci]") {
    Phone p;
    CHECK(p.call(0x8400'0000) == 0x1'0001);
    CHECK(p.call(0x8000'0000) == 0x1'0001);
    CHECK(p.call(0x8000'0001, 0x8000'0000) == 0);
    CHECK(p.call(0x8000'0001, 0x8000'8000) == error(-1));
    for (const std::uint32_t id : {0x8400'0000u, 0x8400'0001u, 0xc400'0001u, 0x8400'0002u, 0xc400'0003u, 0xc400'0004u,
                                   0x8400'0006u, 0x8400'0008u, 0x8400'0009u, 0x8400'000au, 0x8000'0000u}) {
        CHECK(p.call(0x8400'000a, id) == 0);
    }
    for (const std::uint32_t id : {0x8400'0005u, 0xc400'0000u, 0xc400'000eu, 0x8400'0014u, 0x8400'0050u, 0u, ~0u}) {
        CHECK(p.call(0x8400'000a, id) == error(-1));
    }
    CHECK(p.call(0x8400'0006) == 2);
}

TEST_CASE("unknown calls change x0 only", "[psci][hostile]") {
    Phone p;
    std::mt19937_64 random(3);
    for (unsigned n = 0; n < 100'000; ++n) {
        const std::uint64_t id = n % 2 != 0 ? random() : 0x8400'0000 | (random() & 0x4000'00ff);
        for (std::uint64_t& x : p.page.x) {
            x = random();
        }
        const std::uint64_t a1 = random() % 3, a2 = random() % 2 != 0 ? random() : 0x4000'0000;
        const std::uint64_t x4 = p.page.x[4];
        const std::uint64_t result = p.call(id, a1, a2, 7);
        CHECK(p.page.x[4] == x4);
        CHECK(static_cast<unsigned>(p.outcome.action) <= static_cast<unsigned>(Action::reset));
        if (result == error(-1)) {
            CHECK(p.outcome.action == Action::none);
            CHECK(p.page.x[1] == a1);
        }
    }
    CHECK(p.call(0x1'8400'0000) == 0x1'0001);  // the function identifier is W0
}

TEST_CASE("CPU_ON by the book", "[psci]") {
    Phone p;
    constexpr std::uint64_t kOn = 0xc400'0003, kInfo = 0xc400'0004, kEntry = 0x4000'0100;
    PowerStates::Start start;
    REQUIRE(p.power.request_on(0, {}) == PowerStates::OnResult::started);
    REQUIRE(p.power.begin(0, start));
    CHECK(p.call(kInfo, 0) == 0);
    CHECK(p.call(kInfo, 1) == 1);
    CHECK(p.call(kInfo, 0, 1) == 0);
    CHECK(p.call(kInfo, 0, 4) == error(-2));
    CHECK(p.call(kInfo, 2) == error(-2));
    CHECK(p.call(kOn, 2, kEntry) == error(-2));
    CHECK(p.call(kOn, 0x100, kEntry) == error(-2));
    CHECK(p.call(kOn, 0x8000'0001, kEntry) == error(-2));
    CHECK(p.call(kOn, 0x1'0000'0001, kEntry) == error(-2));
    CHECK(p.call(kOn, 1, 0x3fff'fffc) == error(-9));
    CHECK(p.call(kOn, 1, 0x4000'1000) == error(-9));
    CHECK(p.call(kOn, 1, kEntry + 2) == error(-9));
    CHECK(p.call(kOn, 1, ~std::uint64_t{3}) == error(-9));
    CHECK(p.call(kOn, 0, kEntry) == error(-4));  // oneself
    CHECK(p.outcome.action == Action::none);
    CHECK(p.call(kOn, 1, kEntry, 0x77) == 0);
    CHECK(p.outcome.action == Action::start_vcpu);
    CHECK(p.outcome.target == 1);
    CHECK(p.call(kOn, 1, kEntry) == error(-5));
    CHECK(p.call(kInfo, 1) == 2);
    CHECK(p.power.begin(1, start));
    CHECK(start.entry == kEntry);
    CHECK(start.context == 0x77);
    CHECK_FALSE(p.power.begin(1, start));
    CHECK(p.call(kOn, 1, kEntry) == error(-4));
    p.power.set_off(1);
    CHECK(p.call(0x8400'0003, 1, 0xffff'ffff'4000'0100) == 0);  // 32-bit call: upper halves do not count
    CHECK(p.call(0x8400'0002) == 0x8400'0002);
    CHECK(p.outcome.action == Action::stop_vcpu);
    (void)p.call(0x8400'0008);
    CHECK(p.outcome.action == Action::power_off);
    (void)p.call(0x8400'0009);
    CHECK(p.outcome.action == Action::reset);
    (void)p.call(0xc400'0012, 0, 0);
    CHECK(p.outcome.action == Action::reset);
    CHECK(p.call(0x8400'0012, 0x8000'0000) == error(-2));
    CHECK(p.call(0xc400'0001, 0x1'0000, 0x4000'0000) == 0);
    CHECK(p.outcome.action == Action::suspend);
}

TEST_CASE("of racing callers exactly one switches a vCPU on", "[psci][hostile]") {
    PowerStates power;
    for (unsigned round = 0; round < 2000; ++round) {
        unsigned started = 0;
        std::vector<std::thread> callers;
        for (unsigned t = 0; t < 2; ++t) {
            callers.emplace_back([&, t] {
                if (power.request_on(1, {t, t}) == PowerStates::OnResult::started) {
                    __atomic_fetch_add(&started, 1, __ATOMIC_RELAXED);
                }
            });
        }
        for (std::thread& t : callers) {
            t.join();
        }
        REQUIRE(started == 1);
        PowerStates::Start start;
        REQUIRE(power.begin(1, start));
        REQUIRE(start.entry == start.context);
        power.set_off(1);
    }
}

TEST_CASE("TRNG", "[trng]") {
    Phone p;
    CHECK(p.call(0x8400'0050) == 0x1'0000);
    CHECK(p.call(0x8400'0051, 0xc400'0053) == 0);
    CHECK(p.call(0x8400'0051, 0x8400'0000) == error(-1));
    (void)p.call(0x8400'0052);
    CHECK(p.page.x[0] != 0xffff'ffff);
    CHECK(p.page.x[0] >> 32 == 0);
    CHECK(p.call(0x8400'0053, 0) == error(-2));
    CHECK(p.call(0x8400'0053, 97) == error(-2));
    CHECK(p.call(0xc400'0053, 193) == error(-2));
    CHECK(p.call(0xc400'0053, ~std::uint64_t{0}) == error(-2));
    CHECK(p.call(0xc400'0053, 192) == 0);
    const std::uint64_t first = p.page.x[3];
    CHECK(p.page.x[1] != p.page.x[2]);
    CHECK(p.call(0xc400'0053, 65) == 0);
    CHECK(p.page.x[1] == 0);
    CHECK(p.page.x[2] <= 1);
    CHECK(p.page.x[3] != first);
    CHECK(p.call(0x8400'0053, 33) == 0);
    CHECK(p.page.x[3] >> 32 == 0);
    CHECK(p.page.x[2] <= 1);

    p.random = Random(kSeed, false);  // nobody vouches for it
    CHECK(p.call(0x8400'0050) == error(-1));
    CHECK(p.call(0xc400'0053, 64) == error(-1));
}

TEST_CASE("the seed expander", "[trng]") {
    Random a(kSeed, true), b(kSeed, true);
    CHECK(a.next() == b.next());
    const std::uint8_t more[1] = {1};
    b.mix(more);
    CHECK(a.next() != b.next());
    unsigned ones = 0;
    for (unsigned i = 0; i < 1000; ++i) {
        ones += static_cast<unsigned>(__builtin_popcountll(a.next()));
    }
    CHECK(ones > 31'000);
    CHECK(ones < 33'000);
}
