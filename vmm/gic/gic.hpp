// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// GIC distributor, of the version that the hardware's virtual CPU interface has; the kernel owns the list registers.
// For a guest with one security state: 16 SGIs and 16 PPIs per vCPU, 32 SPIs; level and edge.
//   - Version 3 (Arm IHI 0069H) with its redistributors: affinity routing only (GICD_CTLR.ARE = DS = 1). All interrupts are
//     in Group 1 (IGROUPR reads as ones). No LPIs, no message-based SPIs, no 1-of-N routing (TYPER.LPIS = MBIS = 0, No1N = 1).
//   - Version 2 (Arm IHI 0048B): all are in Group 0 (IGROUPR reads as zero). An SPI with several targets goes to the first
//     of them. An SGI is pending once for each sender; one goes to the kernel at a time, with notice of its end.
//
// Delivery. Interrupt i is always entry i of a vCPU's state page, so that nothing has to be allocated; an interrupt is
// in the kernel's hands on at most one vCPU ("in flight") and comes back by the page's `retired` word.
//   - Any thread may post an entry that is not in flight: the kernel knows nothing of it then.
//   - Only the vCPU's own thread, while its vCPU does not run, changes an entry that is in flight (pends it again, takes
//     it back): then the page's `pending` and `active` are exact, and `retired` is never ambiguous. Others
//     leave a bit in `review_` and make the vCPU exit.
// A level interrupt is posted with kVirqNotify: when it ends, the vCPU exits, and it is posted again if the line is still
// up. The virtual timer (PPI 27) is injected by the kernel; this model only keeps its enable bit and priority.
//
// Not thread-safe: the caller holds the lock of the GIC. No call blocks or calls out: each says in `Kicks` whom to kick.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"
#include "vmm/bus.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

using Intid = unsigned;

inline constexpr Intid kVirtualTimer = 27, kPhysicalTimer = 30;  // PPIs that Linux expects (BSA 3.8)
inline constexpr Intid kFirstSpi = 32, kIntids = 64;
inline constexpr std::uint64_t kDistributorBytes = 0x10000, kRedistributorBytes = 0x20000;
inline constexpr std::uint64_t kSgiFrame = 0x10000;                                        // in a redistributor
inline constexpr std::uint64_t kDistributor2Bytes = 0x1000, kCpuInterface2Bytes = 0x2000;  // version 2
static_assert(kIntids == abi::kVirqs, "entry i of the state page is interrupt i");

struct Kicks {
    std::uint32_t look = 0;  // bit n: vCPU n has something new posted
    std::uint32_t exit = 0;  // bit n: vCPU n must come back to its thread
};

enum class GicVersion : std::uint8_t { v2 = 2, v3 = 3 };

class Gic {
public:
    // One page per vCPU; the pages outlive the object.
    explicit Gic(std::span<abi::VcpuPage* const> pages, GicVersion version = GicVersion::v3);

    // As after power-on; the pages' interrupt words are cleared. No vCPU runs.
    void reset();

    // Registers. `a.vcpu` is the accessing vCPU. Offsets and widths that are not implemented: RAZ/WI.
    std::uint64_t read_distributor(const Access& a);
    void write_distributor(const Access& a, std::uint64_t value, Kicks& kicks);
    // Version 3
    std::uint64_t read_redistributor(const Access& a);
    void write_redistributor(const Access& a, std::uint64_t value, Kicks& kicks);

    // Version 3: a write of ICC_SGI1R_EL1 (12.11.15): the targets get SGI INTID.
    void send_sgi(VcpuIndex self, std::uint64_t value, Kicks& kicks);

    // Input lines. An edge interrupt pends when its line rises.
    void set_spi(VcpuIndex self, Intid spi, bool level, Kicks& kicks);
    void set_ppi(VcpuIndex self, VcpuIndex vcpu, Intid ppi, bool level, Kicks& kicks);

    // The vCPU's own thread, after an exit and before the next entry: takes back what has ended and settles what
    // others have left for review. The vCPU does not run.
    void before_entry(VcpuIndex vcpu, Kicks& kicks);
    bool needs_attention(VcpuIndex vcpu) const {
        return __atomic_load_n(&review_[vcpu], __ATOMIC_ACQUIRE) != 0 ||
               __atomic_load_n(&pages_[vcpu]->retired, __ATOMIC_ACQUIRE) != 0;
    }

    // The vCPU is being switched off or on: everything in flight on it is forgotten; what is still pending is
    // kept for later. The vCPU does not run.
    void forget(VcpuIndex vcpu);

    // Something enabled is pending for this vCPU (in flight or not): it would wake from WFI.
    bool has_pending(VcpuIndex vcpu) const;

private:
    friend struct GicRegisters;
    friend struct Gicv2Registers;
    friend struct Gicv3Registers;

    struct Bank {  // 32 interrupts, one bit each
        std::uint32_t enabled = 0;
        std::uint32_t latch = 0;         // pending by an edge or by software, not yet in flight
        std::uint32_t flight_latch = 0;  // in flight because of a latch
        std::uint32_t soft_active = 0;   // made active by a register write: holds delivery back
        std::uint32_t level = 0;         // input lines
        std::uint32_t edge = 0;          // configuration
        std::array<std::uint8_t, 32> priority{};
    };
    struct Irq {
        Bank* bank;
        unsigned n;      // in the bank
        VcpuIndex vcpu;  // whose SGI or PPI; SPIs: kNoVcpu
        constexpr std::uint32_t mask() const { return std::uint32_t{1} << n; }
        constexpr Intid intid() const { return vcpu == kNoVcpu ? n + kFirstSpi : n; }
    };

    // Version 2: who has sent an SGI that is pending.
    struct Senders {
        std::uint8_t waiting = 0;    // bit n: vCPU n, and the kernel has not got it yet; then the bank's latch is set
        std::uint8_t in_flight = 0;  // number of the vCPU, while the bank's flight_latch is set
    };

    unsigned vcpus() const { return static_cast<unsigned>(pages_.size()); }
    std::uint32_t all_vcpus() const { return (1u << vcpus()) - 1; }
    bool has_senders(const Irq& irq) const { return version_ == GicVersion::v2 && irq.vcpu != kNoVcpu && irq.n < 16; }
    Senders& senders(const Irq& irq) { return senders_[irq.vcpu][irq.n]; }
    Irq private_irq(VcpuIndex vcpu, unsigned n) { return {&private_[vcpu], n, vcpu}; }
    Irq shared_irq(unsigned n) { return {&shared_, n, kNoVcpu}; }
    Irq irq_of(VcpuIndex vcpu, Intid i) { return i < kFirstSpi ? private_irq(vcpu, i) : shared_irq(i - kFirstSpi); }

    VcpuIndex target(const Irq& irq) const;
    VcpuIndex flight_of(const Irq& irq) const;  // kNoVcpu: not in flight
    bool permits(const Irq& irq) const;
    bool wants(const Irq& irq) const;
    bool is_settled(const Irq& irq) const;
    void raise_sgi(VcpuIndex target, unsigned sgi, VcpuIndex self, Kicks& kicks);
    void add_senders(const Irq& irq, std::uint8_t mask);
    void drop_waiting(const Irq& irq, std::uint8_t mask);
    void drop_senders(const Irq& irq, std::uint8_t mask);
    void take_from_flight(const Irq& irq);

    void evaluate(const Irq& irq, VcpuIndex self, Kicks& kicks);
    void post(VcpuIndex vcpu, const Irq& irq, VcpuIndex self, Kicks& kicks);
    void write_entry(VcpuIndex vcpu, const Irq& irq);
    void ask_review(VcpuIndex vcpu, Intid intid, VcpuIndex self, Kicks& kicks);
    void harvest(VcpuIndex vcpu, VcpuIndex self, Kicks& kicks);
    void review(VcpuIndex vcpu, const Irq& irq, VcpuIndex self, Kicks& kicks);
    void set_line(const Irq& irq, bool level, VcpuIndex self, Kicks& kicks);
    void evaluate_bank(Bank& bank, VcpuIndex owner, std::uint32_t mask, VcpuIndex self, Kicks& kicks);
    void evaluate_all(VcpuIndex self, Kicks& kicks);
    void update_timer(VcpuIndex vcpu, VcpuIndex self, Kicks& kicks);

    template <typename Use>
    void distributor_register(const Access& a, Use use);
    template <typename Use>
    void redistributor_register(const Access& a, Use use);

    // What the in-flight entries of a bank look like (as of the last exit).
    std::uint32_t flight_bits(const Bank& bank, VcpuIndex owner, bool active) const;

    std::span<abi::VcpuPage* const> pages_;
    GicVersion version_;
    bool enabled_ = false;  // GICD_CTLR: the one group that there is
    Bank shared_;
    std::array<std::uint64_t, 32> router_{};  // of SPIs: affinity, or version 2's targets
    std::array<Bank, kMaxVcpus> private_{};
    std::array<std::array<Senders, 16>, kMaxVcpus> senders_{};
    std::array<bool, kMaxVcpus> asleep_{};             // GICR_WAKER.ProcessorSleep
    std::array<std::uint64_t, kMaxVcpus> flight_{};    // entries in the kernel's hands
    std::array<std::uint64_t, kMaxVcpus> recalled_{};  // of which have been asked back
    std::array<std::uint64_t, kMaxVcpus> review_{};    // entries that the vCPU's own thread must look at
};

}  // namespace twain::vmm
