// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// From a pending interrupt to an entry of a vCPU's state page, and back.
#include <bit>

#include "vmm/gic/gic.hpp"

namespace twain::vmm {
namespace {

constexpr std::uint64_t kAffinityMask = 0xff'00ff'ffff;

template <typename Function>
void for_each_bit(std::uint64_t mask, Function f) {
    for (; mask != 0; mask &= mask - 1) {
        f(static_cast<unsigned>(std::countr_zero(mask)));
    }
}

constexpr std::uint64_t entry_bit(Intid i) { return std::uint64_t{1} << i; }

}  // namespace

Gic::Gic(std::span<abi::VcpuPage* const> pages, GicVersion version) : pages_(pages), version_(version) { reset(); }

void Gic::reset() {
    enabled_ = false;
    shared_ = {};
    router_.fill(0);
    for (unsigned v = 0; v < vcpus(); ++v) {
        private_[v] = {};
        private_[v].edge = 0xffff;  // SGIs
        senders_[v] = {};
        asleep_[v] = true;
        flight_[v] = recalled_[v] = review_[v] = 0;
        abi::VcpuPage& page = *pages_[v];
        page.posted = page.recalled = page.retired = 0;
        page.vtimer = 0;
    }
}

VcpuIndex Gic::target(const Irq& irq) const {
    if (irq.vcpu != kNoVcpu) {
        return irq.vcpu;
    }
    if (version_ == GicVersion::v2) {
        const std::uint64_t targets = vcpus() == 1 ? 1 : router_[irq.n];
        return targets != 0 ? static_cast<VcpuIndex>(std::countr_zero(targets)) : kNoVcpu;
    }
    const std::uint64_t affinity = router_[irq.n] & kAffinityMask;
    return affinity < vcpus() ? static_cast<VcpuIndex>(affinity) : kNoVcpu;
}

VcpuIndex Gic::flight_of(const Irq& irq) const {
    const std::uint64_t b = entry_bit(irq.intid());
    if (irq.vcpu != kNoVcpu) {
        return (flight_[irq.vcpu] & b) != 0 ? irq.vcpu : kNoVcpu;
    }
    for (VcpuIndex v = 0; v < vcpus(); ++v) {
        if ((flight_[v] & b) != 0) {
            return v;
        }
    }
    return kNoVcpu;
}

bool Gic::permits(const Irq& irq) const {
    return enabled_ && (irq.bank->enabled & ~irq.bank->soft_active & irq.mask()) != 0;
}

// Enabled, and pending for any reason that does not lie with the kernel already.
bool Gic::wants(const Irq& irq) const {
    const Bank& b = *irq.bank;
    return permits(irq) && ((b.latch | (b.level & ~b.edge)) & irq.mask()) != 0;
}

// In flight, and as it should be: its end will be notified, and then it is decided again.
bool Gic::is_settled(const Irq& irq) const {
    const Bank& b = *irq.bank;
    if (has_senders(irq)) {  // others may wait behind it, but not its own sender again: that may have to be one with it
        const Senders& s = senders_[irq.vcpu][irq.n];
        return permits(irq) && (b.flight_latch & irq.mask()) != 0 && !bit(s.waiting, s.in_flight);
    }
    return wants(irq) && (b.latch & irq.mask()) == 0;
}

void Gic::add_senders(const Irq& irq, std::uint8_t mask) {
    senders(irq).waiting |= mask;
    irq.bank->latch |= mask != 0 ? irq.mask() : 0;
}

void Gic::drop_waiting(const Irq& irq, std::uint8_t mask) {
    senders(irq).waiting &= static_cast<std::uint8_t>(~mask);
    if (senders(irq).waiting == 0) {
        irq.bank->latch &= ~irq.mask();
    }
}

void Gic::drop_senders(const Irq& irq, std::uint8_t mask) {
    drop_waiting(irq, mask);
    if (bit(mask, senders(irq).in_flight)) {
        irq.bank->flight_latch &= ~irq.mask();
    }
}

// What the kernel gives back, or never took, stays pending here.
void Gic::take_from_flight(const Irq& irq) {
    Bank& b = *irq.bank;
    if (has_senders(irq) && (b.flight_latch & irq.mask()) != 0) {
        senders(irq).waiting |= static_cast<std::uint8_t>(1u << senders(irq).in_flight);
    }
    b.latch |= b.flight_latch & irq.mask();
    b.flight_latch &= ~irq.mask();
}

void Gic::write_entry(VcpuIndex vcpu, const Irq& irq) {
    Bank& b = *irq.bank;
    const bool level = (b.edge & irq.mask()) == 0;
    std::uint32_t word = irq.intid() | (std::uint32_t{b.priority[irq.n]} << 16) | (level ? abi::kVirqNotify : 0);
    b.flight_latch |= b.latch & irq.mask();
    b.latch &= ~irq.mask();
    if (has_senders(irq)) {
        Senders& s = senders(irq);
        s.in_flight = static_cast<std::uint8_t>(std::countr_zero(s.waiting));
        s.waiting &= static_cast<std::uint8_t>(s.waiting - 1);
        b.latch |= s.waiting != 0 ? irq.mask() : 0;
        word |= abi::kVirqNotify | std::uint32_t{s.in_flight} << abi::kVirqSourceShift;
    }
    pages_[vcpu]->virq[irq.intid()] = word;
    __atomic_fetch_or(&pages_[vcpu]->posted, entry_bit(irq.intid()), __ATOMIC_RELEASE);
}

void Gic::post(VcpuIndex vcpu, const Irq& irq, VcpuIndex self, Kicks& kicks) {
    flight_[vcpu] |= entry_bit(irq.intid());
    write_entry(vcpu, irq);
    if (vcpu != self) {
        kicks.look |= 1u << vcpu;
    }
}

void Gic::ask_review(VcpuIndex vcpu, Intid intid, VcpuIndex self, Kicks& kicks) {
    __atomic_fetch_or(&review_[vcpu], entry_bit(intid), __ATOMIC_RELEASE);
    if (vcpu != self) {
        kicks.exit |= 1u << vcpu;
    }
}

void Gic::evaluate(const Irq& irq, VcpuIndex self, Kicks& kicks) {
    if (irq.vcpu != kNoVcpu && irq.n == kVirtualTimer) {
        return;
    }
    VcpuIndex in_flight = flight_of(irq);
    if (in_flight != kNoVcpu &&
        (__atomic_load_n(&pages_[in_flight]->retired, __ATOMIC_ACQUIRE) & entry_bit(irq.intid())) != 0) {
        harvest(in_flight, self, kicks);  // evaluates again what has ended, this one among it
        return;
    }
    if (in_flight != kNoVcpu) {
        if (!is_settled(irq) || (recalled_[in_flight] & entry_bit(irq.intid())) != 0) {
            ask_review(in_flight, irq.intid(), self, kicks);
        }
        return;
    }
    const VcpuIndex to = target(irq);
    if (to != kNoVcpu && wants(irq)) {
        post(to, irq, self, kicks);
    }
}

void Gic::harvest(VcpuIndex vcpu, VcpuIndex self, Kicks& kicks) {
    const std::uint64_t retired = __atomic_exchange_n(&pages_[vcpu]->retired, 0, __ATOMIC_ACQUIRE) & flight_[vcpu];
    flight_[vcpu] &= ~retired;
    recalled_[vcpu] &= ~retired;
    for_each_bit(retired, [&](Intid i) {
        const Irq irq = irq_of(vcpu, i);
        irq.bank->flight_latch &= ~irq.mask();
        evaluate(irq, self, kicks);
    });
}

// One entry that is in flight on a vCPU that does not run: the picture in the page is exact.
void Gic::review(VcpuIndex vcpu, const Irq& irq, VcpuIndex self, Kicks& kicks) {
    abi::VcpuPage& page = *pages_[vcpu];
    const std::uint64_t b = entry_bit(irq.intid());
    if ((flight_[vcpu] & b) == 0) {
        evaluate(irq, self, kicks);
        return;
    }
    Bank& bank = *irq.bank;
    const bool staged = (__atomic_load_n(&page.posted, __ATOMIC_ACQUIRE) & b) != 0;
    const bool held = (page.pending & b) != 0;
    const bool active = (page.active & b) != 0;
    if ((recalled_[vcpu] & b) != 0) {  // not taken yet, or it was active and only its pending half went: decide anew
        recalled_[vcpu] &= ~b;
        __atomic_fetch_and(&page.recalled, ~b, __ATOMIC_ACQ_REL);
    }
    if (staged || held) {
        if (has_senders(irq) && (bank.flight_latch & irq.mask()) != 0) {
            drop_waiting(irq, static_cast<std::uint8_t>(1u << senders(irq).in_flight));
        }
        if (is_settled(irq)) {
            return;
        }
        const std::uint32_t pending = bank.latch | bank.flight_latch | (bank.level & ~bank.edge);
        if (!has_senders(irq) && permits(irq) && (pending & irq.mask()) != 0) {
            bank.flight_latch |= bank.latch & irq.mask();  // two edges before the first is taken are one
            bank.latch &= ~irq.mask();
            return;
        }
        take_from_flight(irq);
        if (staged) {
            __atomic_fetch_and(&page.posted, ~b, __ATOMIC_ACQ_REL);
        }
        if (held) {
            recalled_[vcpu] |= b;
            __atomic_fetch_or(&page.recalled, b, __ATOMIC_RELEASE);
        } else if (!active) {
            flight_[vcpu] &= ~b;
        }
        return;
    }
    if (active) {
        bank.flight_latch &= ~irq.mask();  // has been acknowledged
        if (!has_senders(irq) && wants(irq) && (bank.latch & irq.mask()) != 0) {
            write_entry(vcpu, irq);
        }
    }
}

void Gic::before_entry(VcpuIndex vcpu, Kicks& kicks) {
    harvest(vcpu, vcpu, kicks);
    const std::uint64_t look = __atomic_exchange_n(&review_[vcpu], 0, __ATOMIC_ACQUIRE);
    for_each_bit(look, [&](Intid i) { review(vcpu, irq_of(vcpu, i), vcpu, kicks); });
}

void Gic::forget(VcpuIndex vcpu) {
    abi::VcpuPage& page = *pages_[vcpu];
    for_each_bit(flight_[vcpu], [&](Intid i) {
        const Irq irq = irq_of(vcpu, i);
        take_from_flight(irq);
    });
    flight_[vcpu] = recalled_[vcpu] = review_[vcpu] = 0;
    __atomic_store_n(&page.posted, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&page.recalled, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&page.retired, 0, __ATOMIC_RELAXED);
    page.pending = page.active = 0;
}

void Gic::raise_sgi(VcpuIndex target, unsigned sgi, VcpuIndex self, Kicks& kicks) {
    const Irq irq = private_irq(target, sgi);
    irq.bank->latch |= irq.mask();
    if (version_ == GicVersion::v2) {
        senders(irq).waiting |= static_cast<std::uint8_t>(1u << self);
    }
    evaluate(irq, self, kicks);
}

void Gic::send_sgi(VcpuIndex self, std::uint64_t value, Kicks& kicks) {
    const auto raise = [&](VcpuIndex v) { raise_sgi(v, static_cast<unsigned>(bits(value, 27, 24)), self, kicks); };
    if (bit(value, 40)) {  // IRM: all but oneself
        for (VcpuIndex v = 0; v < vcpus(); ++v) {
            if (v != self) {
                raise(v);
            }
        }
        return;
    }
    const bool cluster0 = bits(value, 55, 48) == 0 && bits(value, 39, 32) == 0 && bits(value, 23, 16) == 0;
    const unsigned first = static_cast<unsigned>(bits(value, 47, 44)) * 16;  // range selector
    if (!cluster0 || first >= vcpus()) {
        return;
    }
    for_each_bit(bits(value, 15, 0), [&](unsigned n) {
        if (first + n < vcpus()) {
            raise(first + n);
        }
    });
}

void Gic::set_line(const Irq& irq, bool level, VcpuIndex self, Kicks& kicks) {
    Bank& b = *irq.bank;
    const bool was = (b.level & irq.mask()) != 0;
    if (was == level) {
        return;
    }
    b.level ^= irq.mask();
    if (level) {
        b.latch |= b.edge & irq.mask();
    } else if ((b.edge & irq.mask()) != 0) {
        return;  // a falling line takes nothing back from an edge interrupt
    }
    evaluate(irq, self, kicks);
}

void Gic::set_spi(VcpuIndex self, Intid spi, bool level, Kicks& kicks) {
    set_line(shared_irq(spi - kFirstSpi), level, self, kicks);
}

void Gic::set_ppi(VcpuIndex self, VcpuIndex vcpu, Intid ppi, bool level, Kicks& kicks) {
    set_line(private_irq(vcpu, ppi), level, self, kicks);
}

void Gic::evaluate_bank(Bank& bank, VcpuIndex owner, std::uint32_t mask, VcpuIndex self, Kicks& kicks) {
    for_each_bit(mask, [&](unsigned n) { evaluate({&bank, n, owner}, self, kicks); });
}

void Gic::evaluate_all(VcpuIndex self, Kicks& kicks) {
    evaluate_bank(shared_, kNoVcpu, ~0u, self, kicks);
    for (VcpuIndex v = 0; v < vcpus(); ++v) {
        evaluate_bank(private_[v], v, ~0u, self, kicks);
        update_timer(v, self, kicks);
    }
}

void Gic::update_timer(VcpuIndex vcpu, VcpuIndex self, Kicks& kicks) {
    const Bank& b = private_[vcpu];
    const bool on = enabled_ && bit(b.enabled & ~b.soft_active, kVirtualTimer);
    const std::uint32_t word = b.priority[kVirtualTimer] | (on ? 0x100u : 0u);
    if (__atomic_exchange_n(&pages_[vcpu]->vtimer, word, __ATOMIC_RELEASE) != word && vcpu != self) {
        kicks.exit |= 1u << vcpu;
    }
}

std::uint32_t Gic::flight_bits(const Bank& bank, VcpuIndex owner, bool active) const {
    std::uint64_t all = 0;
    for (VcpuIndex v = 0; v < vcpus(); ++v) {
        if (owner == kNoVcpu || owner == v) {
            const abi::VcpuPage& page = *pages_[v];
            const std::uint64_t picture =
                active ? page.active : page.pending | __atomic_load_n(&page.posted, __ATOMIC_RELAXED);
            all |= picture & flight_[v] & ~__atomic_load_n(&page.retired, __ATOMIC_RELAXED);
        }
    }
    return static_cast<std::uint32_t>(&bank == &shared_ ? all >> kFirstSpi : all);
}

bool Gic::has_pending(VcpuIndex vcpu) const {
    const abi::VcpuPage& page = *pages_[vcpu];
    const std::uint64_t posted = __atomic_load_n(&page.posted, __ATOMIC_ACQUIRE);
    return ((posted | page.pending) & flight_[vcpu]) != 0;
}

}  // namespace twain::vmm
