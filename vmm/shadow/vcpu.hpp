// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A vCPU whose guest runs at EL0 as a whole, as the parts of its loop see it (loop.hpp, registers.hpp, maintenance.hpp,
// fault.hpp): its page, what has changed since it was left, and what its guest shares with other vCPUs. Its own thread's.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/inject.hpp"
#include "vmm/machine/machine.hpp"
#include "vmm/shadow/cpu_interface.hpp"
#include "vmm/shadow/flushed.hpp"
#include "vmm/shadow/tables.hpp"
#include "vmm/shadow/text.hpp"
#include "vmm/shadow/unexecuted.hpp"

namespace twain::vmm {

// Where the guest space has what is not the guest's memory.
struct ShadowMap {
    void* text = nullptr;  // TextCopies::kBytes of the VMM's memory, and
    Ipa text_at;           // where the guest space has them
    Ipa shared_at;         // the pages of shared registers, one for each vCPU
};

// What the vCPUs of a guest share.
template <Platform P>
struct ShadowGuest {
    ShadowGuest(P& platform, const GuestMemory& memory, std::span<abi::VcpuPage* const> pages, const ShadowMap& map,
                bool naive)
        : tables(platform, pages),
          text(memory, map.text, map.text_at),
          unexecuted(pages),
          flushed(pages),
          shared_at(map.shared_at),
          naive(naive) {}
    Lock<P> lock;  // for all but the last two
    ShadowTables<P> tables;
    TextCopies text;
    Unexecuted unexecuted;
    Flushed flushed;
    bool rewrites = false;  // the guest kernel runs from copies: from when on its text is read-only
    const Ipa shared_at;
    const bool naive;  // it never does: every privileged instruction traps
};

template <Platform P>
class ShadowVcpu {
public:
    static constexpr std::uint64_t kModeEl0 = 0, kModeEl1t = 4, kModeEl1h = 5, kModeBits = 0x1f;
    static constexpr std::uint64_t kMasks = 0x3c0, kFlags = 0xf000'0000;
    // Shared registers, by their vCPU: where neither Linux has anything. The address ends in what stub.cpp wants.
    static constexpr std::uint64_t kShared = 0xffff'ffff'c000'0000, kSharedStep = 0x1'0000;

    ShadowVcpu(Machine<P>& machine, ShadowGuest<P>& guest, VcpuIndex index)
        : machine(machine),
          platform(machine.platform()),
          guest(guest),
          v(machine.vcpu(index)),
          page(*v.page),
          interface(page) {}

    void begin() {
        interface.reset();
        page.cntvoff = 0;  // nobody else sets it: the guest reads the counter as it is
        page.shadow.irq = 0;
        page.shadow.icache = 1;
        page.shadow.shared = kShared + v.index * kSharedStep + abi::kSharedOffset;
        attention = moved = true;
        stop = false;
        eager = kNowhere;
        fetch_page_ = kNowhere;
        Guard guard(guest.lock, platform, v.index);
        guest.tables.begin(v.index);
        guest.tables.forget_all(v.index);
        guest.unexecuted.forget(v.index);
        guest.flushed.forget_all();
        if (v.index == 0) {
            guest.text.forget();
            guest.rewrites = false;
        }
    }

    bool at_el0() const { return (page.pstate & 0xc) == 0; }
    bool translates() const { return bit(page.el1.sctlr_el1, 0); }
    void advance() { vmm::advance(page); }
    void set_register(unsigned rt, std::uint64_t value) {
        if (rt != 31) {
            page.x[rt] = value;
        }
    }
    std::uint64_t get_register(unsigned rt) const { return rt == 31 ? 0 : page.x[rt]; }
    void undefined() {
        v.meter.because(Cause::undefined);
        inject_undefined(page);
    }

    // The instruction at PC, in the guest's own memory. False: it has just been unmapped, and the guest faults by itself.
    bool fetch(std::uint32_t& word) {
        const std::uint64_t at = page.pc & ~std::uint64_t{4095};
        if (at != fetch_page_ || fetch_generation_ != guest.tables.generation()) {
            fetch_generation_ = guest.tables.generation();
            const Translation t = translate(page.el1, machine.memory(), {at});
            fetch_from_ = t.fault == 0 ? machine.memory().pointer(t.at, 4096) : nullptr;
            fetch_page_ = fetch_from_ != nullptr ? at : kNowhere;
            if (fetch_from_ == nullptr) {
                return false;
            }
        }
        word =
            __atomic_load_n(reinterpret_cast<const std::uint32_t*>(fetch_from_ + (page.pc & 4092)), __ATOMIC_RELAXED);
        return true;
    }
    void forget_fetch() { fetch_page_ = kNowhere; }

    // What text copies have been written goes where instruction fetches see it. Under the guest's lock.
    void publish_text() {
        for (const TextCopies::Written& written : guest.text.take_written()) {
            if (written.bytes != 0) {
                platform.publish(written.first, written.bytes);
                page.shadow.icache = 1;
            }
        }
    }

    bool timer_fired(std::uint64_t now) const { return (page.cntv_ctl & 1) != 0 && now >= page.cntv_cval; }

    Machine<P>& machine;
    P& platform;
    ShadowGuest<P>& guest;
    Vcpu& v;
    abi::VcpuPage& page;
    CpuInterface interface;
    bool stop = false;
    bool attention = true;           // the interrupt line or the timer's deadline may have changed
    bool moved = true;               // a register that translation depends on has changed
    std::uint64_t eager = kNowhere;  // what virtual EL0 could not reach and its kernel may be mapping now
    static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

private:
    std::uint64_t fetch_page_ = kNowhere;
    std::uint64_t fetch_generation_ = 0;
    const char* fetch_from_ = nullptr;
};

}  // namespace twain::vmm
