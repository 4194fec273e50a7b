// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The interrupt controller: its registers at every offset and width, and random histories of several vCPUs against
// a reference that knows only pending, enabled and line, with the kernel's own planning between them and a guest that is played.
#include <catch2/catch.hpp>

#include <array>
#include <bit>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "kernel/core/virq_page.hpp"
#include "tests/unit/kernel/fake_lists.hpp"
#include "vmm/gic/gic.hpp"
#include "vmm/shadow/cpu_interface.hpp"

using namespace twain;
using namespace twain::vmm;

namespace {

struct Board {
    explicit Board(unsigned vcpus, GicVersion version = GicVersion::v3) : store(vcpus) {
        for (auto& page : store) {
            page = std::make_unique<abi::VcpuPage>();
            pages.push_back(page.get());
        }
        gic = std::make_unique<Gic>(pages, version);
    }
    std::uint64_t d(std::uint64_t offset, unsigned bytes = 4, VcpuIndex self = 0) {
        return gic->read_distributor({offset, bytes, self});
    }
    void d_write(std::uint64_t offset, std::uint64_t value, unsigned bytes = 4, VcpuIndex self = 0) {
        gic->write_distributor({offset, bytes, self}, value, kicks);
    }
    std::uint64_t r(VcpuIndex v, std::uint64_t offset, unsigned bytes = 4) {
        return gic->read_redistributor({v * kRedistributorBytes + offset, bytes, v});
    }
    void r_write(VcpuIndex v, std::uint64_t offset, std::uint64_t value, unsigned bytes = 4, VcpuIndex self = kNoVcpu) {
        gic->write_redistributor({v * kRedistributorBytes + offset, bytes, self == kNoVcpu ? v : self}, value, kicks);
    }

    std::vector<std::unique_ptr<abi::VcpuPage>> store;
    std::vector<abi::VcpuPage*> pages;
    std::unique_ptr<Gic> gic;
    Kicks kicks;
};

// Who has what was posted for one vCPU, and its guest. `handled` is the interrupt that this one has acknowledged, or -1.
struct Held {
    abi::VcpuPage* page = nullptr;
    int handled = -1;
    unsigned sender = 0;  // of the SGI that is handled (version 2)
    bool exit_asked = false;

    void expect_entries() const {
        for (std::uint64_t posted = page->posted; posted != 0; posted &= posted - 1) {
            const int i = std::countr_zero(posted);
            REQUIRE((page->virq[i] & 0xffff) == static_cast<unsigned>(i));
        }
    }
};

// With EL2: the kernel, by list registers.
struct InRegisters : Held {
    kernel::VirqPlan plan;
    kernel::fake::Lists lists;
    int list = -1;

    void begin(abi::VcpuPage& with, unsigned seed) {
        page = &with;
        lists.number = 1 + seed % 4;
    }
    void take() {
        expect_entries();
        kernel::take_posted(plan, *page, lists);
    }
    void exit() {
        if (kernel::anything_to_show(plan, *page)) {
            kernel::show(plan, *page, lists);
        }
    }
    // Another vCPU gets the core, and this one comes back.
    void preempt() {
        kernel::collect(plan, *page, lists);
        if (kernel::posted_or_recalled(*page) || plan.any_waiting()) {
            take();
        }
    }
    bool must_exit() const { return plan.must_notify(); }
    std::pair<std::uint64_t, std::uint64_t> picture() {
        std::pair<std::uint64_t, std::uint64_t> both;
        plan.picture(lists, both.first, both.second);
        return both;
    }
    void acknowledge() {
        list = lists.take();
        if (list >= 0) {
            handled = static_cast<int>(lists.registers[list] & 0xffff);
            sender = lists.registers[list] >> 32 & 7;
        }
    }
    // The core takes the maintenance interrupt, if there is one.
    void end() {
        lists.end(list);
        handled = -1;
    }
    void maintain() {
        if (lists.ended != 0 || plan.any_waiting()) {
            take();
        }
    }
};

// Without: the VMM itself.
struct InSoftware : Held {
    std::optional<CpuInterface> interface;

    void begin(abi::VcpuPage& with, unsigned) {
        page = &with;
        interface.emplace(with);
        interface->set_enabled(true);
        interface->set_mask(0xff);
    }
    void take() {
        expect_entries();
        interface->take();
    }
    void exit() { take(); }
    void preempt() { take(); }
    bool must_exit() const { return page->retired != 0; }
    std::pair<std::uint64_t, std::uint64_t> picture() const { return {page->pending, page->active}; }
    void acknowledge() {
        const std::uint64_t intid = interface->acknowledge();
        handled = intid < kIntids ? static_cast<int>(intid) : -1;
    }
    void end() { interface->end(static_cast<std::uint64_t>(std::exchange(handled, -1))); }
    void maintain() {}
};

struct Reference {
    std::uint32_t latch = 0, enabled = 0, level = 0, edge = 0xffff;
    std::array<std::uint8_t, 16> senders{};  // version 2: an SGI's latch says that there is one
    bool wants(unsigned n) const { return (((latch | (level & ~edge)) & enabled) >> n & 1) != 0; }
    bool pending(unsigned n) const { return ((latch | (level & ~edge)) >> n & 1) != 0; }
};

template <typename Played>
class History {
public:
    History(unsigned vcpus, unsigned seed, GicVersion version)
        : board_(vcpus, version),
          random_(seed),
          vcpus_(vcpus),
          v2_(version == GicVersion::v2),
          played_(vcpus),
          own_(vcpus) {
        for (unsigned v = 0; v < vcpus; ++v) {
            played_[v].begin(*board_.pages[v], seed + v);
        }
        shared_.edge = 0;
        board_.d_write(0, v2_ ? 1 : 2);
        settle_kicks();
    }

    void step() {
        const unsigned v = pick(vcpus_);
        switch (pick(13)) {
            case 0:
            case 1: acknowledge(v); break;
            case 2:
            case 3: end(v); break;
            case 4: sgi(v); break;
            case 5: line(); break;
            case 6: enable(v, true); break;
            case 7: enable(v, pick(3) != 0); break;
            case 8: pend(v); break;
            case 9: route(v); break;
            case 10:
                if (played_[v].exit_asked) {
                    enter_vmm(v, [] {});
                }
                break;
            case 11: preempt(v); break;
            default: played_[v].take(); break;  // a kick, an interrupt of the host
        }
        at_most_once();
    }

    // Everything enabled and routed: all that is pending must come.
    void drain() {
        for (unsigned v = 0; v < vcpus_; ++v) {
            enter_vmm(v, [&] { private_write(v, v, 0x100, ~0u); });
            own_[v].enabled = ~0u;
        }
        for (unsigned n = 0; n < 32; ++n) {
            enter_vmm(0, [&] { route_write(0, n, 0); });
        }
        enter_vmm(0, [&] { board_.d_write(0x104, ~0u); });
        shared_.enabled = ~0u;
        for (unsigned n = 0; n < 32; ++n) {
            raise(kNoVcpu, n, false);
            for (unsigned v = 0; n >= 16 && v < vcpus_; ++v) {
                raise(v, n, false);
            }
        }
        for (unsigned round = 0; round < 400; ++round) {
            for (unsigned v = 0; v < vcpus_; ++v) {
                if (played_[v].exit_asked) {
                    enter_vmm(v, [] {});
                }
                played_[v].take();
                acknowledge(v);
                end(v);
            }
        }
        for (unsigned v = 0; v < vcpus_; ++v) {
            enter_vmm(v, [] {});
            CHECK(played_[v].picture().first == 0);
            CHECK((own_[v].latch & ~(1u << kVirtualTimer)) == 0);
        }
        CHECK(shared_.latch == 0);
    }

private:
    unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

    // A register of a vCPU's private interrupts; with version 2 that is the writer.
    void private_write(unsigned of, unsigned self, std::uint64_t offset, std::uint32_t value) {
        if (v2_) {
            board_.d_write(offset, value, 4, self);
        } else {
            board_.r_write(of, kSgiFrame + offset, value, 4, self);
        }
    }
    // To vCPU `to`, or to nobody.
    void route_write(unsigned self, unsigned n, unsigned to) {
        if (v2_) {
            board_.d_write(0x820 + n, to < vcpus_ ? (0xffu << to) & 0xff : 0, 1, self);
        } else {
            board_.d_write(0x6100 + 8 * n, to, 8, self);
        }
    }

    Reference& ref(unsigned v, unsigned i) { return i < 32 ? own_[v] : shared_; }

    template <typename Operation>
    void enter_vmm(unsigned v, Operation operation) {
        played_[v].exit();
        played_[v].exit_asked = false;
        operation();
        settle_kicks(v);
        board_.gic->before_entry(v, board_.kicks);
        settle_kicks(v);
        played_[v].take();
    }
    void settle_kicks(unsigned self = kNoVcpu) {
        for (unsigned v = 0; v < vcpus_; ++v) {
            if (bit(board_.kicks.exit, v)) {
                REQUIRE(v != self);
                played_[v].exit_asked = true;
            }
            if (bit(board_.kicks.look, v)) {
                REQUIRE(v != self);
            }
        }
        board_.kicks = {};
    }

    void acknowledge(unsigned v) {
        Played& p = played_[v];
        if (p.handled >= 0) {
            return;
        }
        p.acknowledge();
        if (p.handled < 0) {
            return;
        }
        const unsigned i = static_cast<unsigned>(p.handled);
        Reference& r = ref(v, i);
        // A change that has not reached this vCPU yet (it has been asked to exit) may come too late for this interrupt; an
        // edge that came meanwhile may then be delivered on its own.
        const bool late = p.exit_asked || (p.page->recalled >> i & 1) != 0;
        const bool by_sender = v2_ && i < 16;
        const unsigned sender = by_sender ? p.sender : 0;
        bool& excused = excused_[i < 32 ? v : 0][i][sender];
        const bool exact = !late && !excused;
        INFO("interrupt " << i << " on " << v);
        CHECK((!exact || r.wants(i % 32)));
        if (by_sender) {
            std::uint8_t& senders = r.senders[i];
            CHECK((!exact || bit(senders, sender)));
            senders &= static_cast<std::uint8_t>(~(1u << sender));
            r.latch = senders != 0 ? r.latch | 1u << i : r.latch & ~(1u << i);
        } else {
            r.latch &= ~(1u << (i % 32));
        }
        excused = late;
    }
    // Its core takes the maintenance interrupt at once, if there is one; unless the vCPU loses the core first.
    void end(unsigned v) {
        Played& p = played_[v];
        if (p.handled < 0) {
            return;
        }
        p.end();
        if (pick(4) == 0) {
            preempt(v);
        } else {
            p.maintain();
            exit_if_must(v);
        }
    }
    void preempt(unsigned v) {
        played_[v].preempt();
        exit_if_must(v);
    }
    void exit_if_must(unsigned v) {
        if (played_[v].must_exit()) {
            enter_vmm(v, [] {});
        }
    }
    void sgi(unsigned v) {
        const unsigned n = pick(16);
        const bool others = pick(4) == 0;
        const unsigned list = pick(1u << vcpus_);
        enter_vmm(v, [&] {
            if (v2_) {
                board_.d_write(0xf00, std::uint64_t{others} << 24 | list << 16 | n, 4, v);
            } else {
                board_.gic->send_sgi(v, (std::uint64_t{others} << 40) | (std::uint64_t{n} << 24) | list, board_.kicks);
            }
            for (unsigned t = 0; t < vcpus_; ++t) {
                if (others ? t != v : bit(list, t)) {
                    own_[t].latch |= 1u << n;
                    own_[t].senders[n] |= static_cast<std::uint8_t>(1u << v);
                }
            }
        });
    }
    void raise(unsigned v, unsigned n, bool level) {
        if (v != kNoVcpu && n == kVirtualTimer) {
            return;
        }
        Reference& r = v == kNoVcpu ? shared_ : own_[v];
        if (bit(r.level, n) != level) {
            r.level ^= 1u << n;
            if (level) {
                r.latch |= r.edge & (1u << n);
            }
        }
        if (v == kNoVcpu) {
            board_.gic->set_spi(kNoVcpu, 32 + n, level, board_.kicks);
        } else {
            board_.gic->set_ppi(kNoVcpu, v, n, level, board_.kicks);
        }
        settle_kicks();
    }
    void line() {
        const unsigned v = pick(3) == 0 ? pick(vcpus_) : kNoVcpu;
        raise(v, v == kNoVcpu ? pick(32) : 16 + pick(16), pick(2) == 0);
    }
    void enable(unsigned v, bool on) {
        const unsigned of = !v2_ && pick(4) == 0 ? pick(vcpus_) : v;
        const bool spi = pick(2) == 0;
        const std::uint32_t mask = static_cast<std::uint32_t>(random_() & random_());
        Reference& r = spi ? shared_ : own_[of];
        r.enabled = on ? r.enabled | mask : r.enabled & ~mask;
        enter_vmm(v, [&] {
            if (spi) {
                board_.d_write(on ? 0x104 : 0x184, mask, 4, v);
            } else {
                private_write(of, v, on ? 0x100 : 0x180, mask);
            }
        });
    }
    void pend(unsigned v) {
        const bool spi = pick(2) == 0;
        std::uint32_t mask = 1u << pick(32);
        if (!spi) {
            mask &= ~(1u << kVirtualTimer);
        }
        if (v2_ && !spi && (mask & 0xffff) != 0) {
            pend_by_senders(v, static_cast<unsigned>(std::countr_zero(mask)));
            return;
        }
        (spi ? shared_ : own_[v]).latch |= mask;
        enter_vmm(v, [&] {
            if (spi) {
                board_.d_write(0x204, mask, 4, v);
            } else {
                private_write(v, v, 0x200, mask);
            }
        });
    }
    // GICD_SPENDSGIR
    void pend_by_senders(unsigned v, unsigned n) {
        const auto senders = static_cast<std::uint8_t>(random_());
        const auto there = static_cast<std::uint8_t>(senders & ((1u << vcpus_) - 1));
        own_[v].senders[n] |= there;
        own_[v].latch |= there != 0 ? 1u << n : 0;
        enter_vmm(v, [&] { board_.d_write(0xf20 + n, senders, 1, v); });
    }
    void route(unsigned v) {
        const unsigned n = pick(32);
        const unsigned to = pick(vcpus_ + 1);
        enter_vmm(v, [&] { route_write(v, n, to); });
    }
    void at_most_once() {
        for (unsigned i = 32; i < 64; ++i) {
            unsigned holders = 0;
            for (Played& p : played_) {
                const auto [pending, active] = p.picture();
                holders += static_cast<unsigned>((pending | active) >> i & 1);
            }
            REQUIRE(holders <= 1);
        }
    }

    Board board_;
    std::mt19937 random_;
    unsigned vcpus_;
    bool v2_;
    std::vector<Played> played_;
    std::vector<Reference> own_;
    Reference shared_;
    std::array<std::array<std::array<bool, 8>, 64>, kMaxVcpus> excused_{};
};

}  // namespace

template <typename Played>
void run_histories(GicVersion version) {
    for (unsigned seed = 0; seed < 60; ++seed) {
        INFO("version " << static_cast<unsigned>(version) << ", seed " << seed);
        History<Played> history(1 + seed % 4, seed, version);
        for (unsigned n = 0; n < 3000; ++n) {
            history.step();
        }
        history.drain();
    }
}

TEST_CASE("no interrupt is lost, doubled or invented", "[gic][property]") {
    SECTION("version 3") { run_histories<InRegisters>(GicVersion::v3); }
    SECTION("version 2") { run_histories<InRegisters>(GicVersion::v2); }
    SECTION("without EL2") { run_histories<InSoftware>(GicVersion::v3); }
}

TEST_CASE("every offset and width of the distributor and the redistributors", "[gic][hostile]") {
    Board b(2, GENERATE(GicVersion::v3, GicVersion::v2));
    for (const unsigned bytes : {1u, 2u, 4u, 8u}) {
        for (std::uint64_t offset = 0; offset < kDistributorBytes; ++offset) {
            for (const std::uint64_t value :
                 {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{0x5555'5555'aaaa'aaaa}}) {
                b.gic->write_distributor({offset, bytes, 1}, truncate(value, bytes), b.kicks);
                const std::uint64_t back = b.gic->read_distributor({offset, bytes, 1});
                REQUIRE(truncate(back, bytes) == back);
            }
        }
        for (std::uint64_t offset = 0; offset < 2 * kRedistributorBytes; ++offset) {
            b.gic->write_redistributor({offset, bytes, 1}, truncate(~std::uint64_t{0}, bytes), b.kicks);
            const std::uint64_t back = b.gic->read_redistributor({offset, bytes, 1});
            REQUIRE(truncate(back, bytes) == back);
        }
    }
    CHECK(b.gic->read_redistributor({2 * kRedistributorBytes, 4, 0}) == 0);
    Kicks kicks;
    b.gic->before_entry(0, kicks);
    b.gic->before_entry(1, kicks);
    b.gic->reset();
    CHECK(b.pages[0]->posted == 0);
}

TEST_CASE("identification", "[gic]") {
    Board b(3);
    CHECK((b.d(0x4) & 0x1f) == 1);        // 64 INTIDs
    CHECK((b.d(0x4) >> 19 & 0x1f) == 9);  // 10 bits of INTID
    CHECK((b.d(0x4) & (1u << 17)) == 0);  // no LPIs
    CHECK((b.d(0xffe8) >> 4) == 3);       // GICv3
    CHECK((b.r(0, 0xffe8) >> 4) == 3);
    CHECK((b.d(0) & 0x50) == 0x50);  // ARE, DS
    CHECK(b.r(0, 8, 8) == 0);
    CHECK(b.r(1, 8, 8) == 0x0000'0001'0000'0100);
    CHECK(b.r(2, 8, 8) == 0x0000'0002'0000'0210);  // last
    CHECK(b.r(2, 12) == 2);
    CHECK(b.r(2, 8) == 0x210);
    CHECK(b.r(1, 0x14) == 6);
    b.r_write(1, 0x14, 0);
    CHECK(b.r(1, 0x14) == 0);
    CHECK(b.d(0x84) == 0xffff'ffff);
    CHECK(b.r(0, kSgiFrame + 0x80) == 0xffff'ffff);
}

TEST_CASE("register widths", "[gic]") {
    Board b(1);
    b.d_write(0x420, 0x11, 1);
    b.d_write(0x421, 0xa7, 1);
    CHECK(b.d(0x420) == 0xa010);
    CHECK(b.d(0x421, 1) == 0xa0);
    CHECK(b.d(0x420, 2) == 0);  // no half-words
    CHECK(b.d(0x420, 8) == 0);
    b.d_write(0x104, 0xff, 2);
    CHECK(b.d(0x104) == 0);
    b.d_write(0x6100, 0xffff'ffff'ffff'ffff, 8);
    CHECK(b.d(0x6100, 8) == 0xff'00ff'ffff);
    b.d_write(0x6104, 1);
    CHECK(b.d(0x6100, 8) == 0x1'00ff'ffff);
    CHECK(b.d(0x6000, 8) == 0);  // INTID 0 has no IROUTER
    b.d_write(0xc08, 0xffff'ffff);
    CHECK(b.d(0xc08) == 0xaaaa'aaaa);
    b.r_write(0, kSgiFrame + 0xc00, 0);
    CHECK(b.r(0, kSgiFrame + 0xc00) == 0xaaaa'aaaa);  // SGIs are edge-triggered
}

TEST_CASE("a level interrupt comes again until its line falls", "[gic]") {
    Board b(2);
    b.d_write(0, 2);
    b.d_write(0x104, 2);
    b.d_write(0x6108, 1, 8);
    b.kicks = {};
    b.gic->set_spi(kNoVcpu, 33, true, b.kicks);
    CHECK(b.pages[0]->posted == 0);
    CHECK(b.pages[1]->posted == std::uint64_t{1} << 33);
    CHECK(b.pages[1]->virq[33] == (33 | abi::kVirqNotify));
    CHECK(b.kicks.look == 2);
    CHECK(b.d(0x204) == 2);

    b.pages[1]->posted = 0;  // taken and ended
    b.pages[1]->retired = std::uint64_t{1} << 33;
    CHECK(b.gic->needs_attention(1));
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->posted == std::uint64_t{1} << 33);

    b.pages[1]->posted = 0;
    b.pages[1]->active = std::uint64_t{1} << 33;
    CHECK(b.d(0x304) == 2);
    b.gic->set_spi(kNoVcpu, 33, false, b.kicks);
    b.pages[1]->active = 0;
    b.pages[1]->retired = std::uint64_t{1} << 33;
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->posted == 0);
    CHECK_FALSE(b.gic->needs_attention(1));
}

TEST_CASE("SGIs reach whom they name", "[gic][hostile]") {
    Board b(4);
    b.d_write(0, 2);
    for (unsigned v = 0; v < 4; ++v) {
        b.r_write(v, kSgiFrame + 0x100, 0xffff);
    }
    const auto posted = [&] {
        unsigned mask = 0;
        for (unsigned v = 0; v < 4; ++v) {
            mask |= b.pages[v]->posted != 0 ? 1u << v : 0;
            b.pages[v]->retired = std::exchange(b.pages[v]->posted, 0);
            b.gic->before_entry(v, b.kicks);
        }
        return mask;
    };
    b.gic->send_sgi(0, (std::uint64_t{3} << 24) | 0xffff, b.kicks);  // absent vCPUs are ignored
    CHECK(b.kicks.look == 0xe);
    CHECK(posted() == 0xf);
    b.gic->send_sgi(1, std::uint64_t{1} << 40, b.kicks);
    CHECK(posted() == 0xd);
    b.gic->send_sgi(1, (std::uint64_t{1} << 44) | 1, b.kicks);  // range selector: vCPU 16
    CHECK(posted() == 0);
    b.gic->send_sgi(1, (std::uint64_t{1} << 16) | 1, b.kicks);  // another cluster
    CHECK(posted() == 0);
    b.gic->send_sgi(1, (std::uint64_t{1} << 32) | 1, b.kicks);
    CHECK(posted() == 0);
    b.gic->send_sgi(1, ~std::uint64_t{0} & ~(std::uint64_t{1} << 40), b.kicks);
    CHECK(posted() == 0);
}

TEST_CASE("the virtual timer's enable bit and priority go to the kernel", "[gic]") {
    Board b(2);
    b.r_write(1, kSgiFrame + 0x100, 1u << 27);
    CHECK(b.pages[1]->vtimer == 0);  // the distributor is off
    b.d_write(0, 2);
    CHECK(b.pages[1]->vtimer == 0x100);
    b.r_write(1, kSgiFrame + 0x400 + 27, 0xa0, 1);
    CHECK(b.pages[1]->vtimer == 0x1a0);
    b.kicks = {};
    b.r_write(1, kSgiFrame + 0x180, 1u << 27, 4, 0);
    CHECK(b.pages[1]->vtimer == 0xa0);
    CHECK(b.kicks.exit == 2);
    b.r_write(1, kSgiFrame + 0x200, 1u << 27);
    CHECK(b.pages[1]->posted == 0);
}

TEST_CASE("all 64 entries at once", "[gic][hostile]") {
    Board b(1);
    b.d_write(0, 2);
    b.r_write(0, kSgiFrame + 0x200, ~0u);
    b.d_write(0x204, ~0u);
    b.r_write(0, kSgiFrame + 0x100, ~0u);
    b.d_write(0x104, ~0u);
    CHECK(b.pages[0]->posted == (~std::uint64_t{0} & ~(std::uint64_t{1} << 27)));
    b.gic->forget(0);
    CHECK(b.pages[0]->posted == 0);
    CHECK(b.r(0, kSgiFrame + 0x200) == (~0u & ~(1u << 27)));  // still pending
}

TEST_CASE("version 2: identification", "[gic][v2]") {
    Board b(3, GicVersion::v2);
    CHECK(b.d(0x4) == (1 | 2 << 5));      // 64 INTIDs, three processors, one security state
    CHECK((b.d(0xfe8) >> 4 & 0xf) == 2);  // GICv2
    CHECK(b.d(0xffe8) == 0);
    CHECK(b.d(0x80) == 0);       // Group 0
    CHECK(b.d(0x6100, 8) == 0);  // no affinity routing
    b.d_write(0, ~0u);
    CHECK(b.d(0) == 1);
    for (VcpuIndex v = 0; v < 3; ++v) {
        CHECK(b.d(0x800, 4, v) == 0x01010101u << v);  // who am I?
        CHECK(b.d(0x81f, 1, v) == 1u << v);
    }
    b.d_write(0x800, 0x07070707);
    CHECK(b.d(0x800) == 0x01010101);
    Board single(1, GicVersion::v2);
    single.d_write(0x820, ~0u);
    CHECK(single.d(0x800) == 0);
    CHECK(single.d(0x820) == 0);
}

TEST_CASE("version 2: widths, and banks of one's own", "[gic][v2]") {
    Board b(2, GicVersion::v2);
    b.d_write(0x820, ~0u);
    CHECK(b.d(0x820) == 0x03030303);  // of absent processors nothing
    b.d_write(0x821, 1, 1);
    CHECK(b.d(0x820) == 0x03030103);
    CHECK(b.d(0x820, 2) == 0);  // no half-words
    CHECK(b.d(0x820, 8) == 0);
    b.d_write(0x100, 0xffff'0000, 4, 1);
    CHECK(b.d(0x100, 4, 1) == 0xffff'0000);
    CHECK(b.d(0x100, 4, 0) == 0);
    b.d_write(0x41d, 0xa7, 1, 1);
    CHECK(b.d(0x41c, 4, 1) == 0xa000);
    CHECK(b.d(0x41c, 4, 0) == 0);
    b.d_write(0xc00, 0, 4, 1);
    CHECK(b.d(0xc00, 4, 1) == 0xaaaa'aaaa);  // SGIs are edge-triggered
    b.d_write(0x200, ~0u, 4, 1);             // pending: PPIs, but the timer; SGIs by sender only
    CHECK(b.d(0x200, 4, 1) == (0xffff'0000u & ~(1u << 27)));
    b.d_write(0xf20, 0xff, 1, 1);
    CHECK((b.d(0x200, 4, 1) & 0xffff) == 1);
    b.d_write(0x280, ~0u, 4, 1);
    CHECK(b.d(0x200, 4, 1) == 1);
    b.d_write(0xf10, 0xff, 1, 1);
    CHECK(b.d(0x200, 4, 1) == 0);
}

TEST_CASE("version 2: an SPI goes to the first of its targets", "[gic][v2]") {
    Board b(4, GicVersion::v2);
    b.d_write(0, 1);
    b.d_write(0x104, 0xf);
    b.gic->set_spi(kNoVcpu, 32, true, b.kicks);
    for (const abi::VcpuPage* page : b.pages) {
        CHECK(page->posted == 0);  // no target yet
    }
    b.d_write(0x820, 0xc, 1);
    CHECK(b.pages[2]->posted == std::uint64_t{1} << 32);
    CHECK(b.pages[3]->posted == 0);
    Board single(1, GicVersion::v2);
    single.d_write(0, 1);
    single.d_write(0x104, 1);
    single.gic->set_spi(kNoVcpu, 32, true, single.kicks);
    CHECK(single.pages[0]->posted == std::uint64_t{1} << 32);
}

TEST_CASE("version 2: each sender's SGI comes, one after the other", "[gic][v2]") {
    Board b(4, GicVersion::v2);
    b.d_write(0, 1);
    for (VcpuIndex v = 0; v < 4; ++v) {
        b.d_write(0x100, 0xffff, 4, v);
    }
    const auto word = [](unsigned sgi, unsigned sender) {
        return sgi | abi::kVirqNotify | sender << abi::kVirqSourceShift;
    };
    const std::uint64_t five = 1u << 5;
    b.d_write(0xf00, 0x2 << 16 | 5, 4, 3);  // from 3 to 1
    b.d_write(0xf00, 0x2 << 16 | 5, 4, 0);  // and from 0, and once more
    b.d_write(0xf00, 0x2 << 16 | 5, 4, 0);
    CHECK(b.pages[1]->virq[5] == word(5, 3));
    CHECK(b.kicks.exit == 0);           // it is in flight as it should be
    CHECK(b.d(0xf24, 4, 1) == 0x0900);  // both are pending
    CHECK(b.d(0xf15, 1, 1) == 0x09);
    b.pages[1]->posted = 0;
    b.pages[1]->retired = five;
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->posted == five);
    CHECK(b.pages[1]->virq[5] == word(5, 0));
    b.pages[1]->posted = 0;
    b.pages[1]->retired = five;
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->posted == 0);
    CHECK(b.d(0xf24, 4, 1) == 0);

    // What is in the kernel's hands is taken back when its sender's bit is cleared, and only then.
    b.d_write(0xf00, 0x2 << 16 | 5, 4, 2);
    b.d_write(0xf00, 0x2 << 16 | 5, 4, 3);
    b.pages[1]->posted = 0;
    b.pages[1]->pending = five;
    b.d_write(0xf15, 0x08, 1, 1);
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->recalled == 0);
    b.d_write(0xf25, 0x02, 1, 1);
    b.d_write(0xf15, 0x04, 1, 1);
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->recalled == five);
    b.pages[1]->recalled = b.pages[1]->pending = 0;
    b.pages[1]->retired = five;
    b.gic->before_entry(1, b.kicks);
    CHECK(b.pages[1]->virq[5] == word(5, 1));

    b.d_write(0xf00, 1 << 24 | 6, 4, 2);     // to all others
    b.d_write(0xf00, 2 << 24 | 7, 4, 2);     // to oneself
    b.d_write(0xf00, 3 << 24 | 8, 4, 2);     // reserved
    b.d_write(0xf00, 0xf0 << 16 | 9, 4, 2);  // to nobody
    CHECK((b.pages[0]->posted & 0x3c0) == 0x40);
    CHECK((b.pages[2]->posted & 0x3c0) == 0x80);
    b.gic->forget(0);
    CHECK(b.d(0xf24, 4, 0) == 0x040000);  // still pending, with its sender
}
