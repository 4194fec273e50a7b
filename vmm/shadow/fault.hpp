// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Aborts. What the guest's tables do not allow is the guest's own, and reflected. What is RAM is filled into the shadow,
// with its neighbours; what is neither is a device.
#pragma once

#include <cstdint>

#include "vmm/emul/execute.hpp"
#include "vmm/esr.hpp"
#include "vmm/shadow/vcpu.hpp"

namespace twain::vmm {

template <Platform P>
class ShadowFaults {
public:
    explicit ShadowFaults(ShadowVcpu<P>& vcpu) : c_(vcpu), page_(vcpu.page) {}

    void abort(Syndrome s, bool execute) {
        c_.v.meter.because(Cause::filled);
        const bool maintains = !execute && s.cache_maintenance();
        const bool write = !execute && s.write() && !maintains;
        const Gva at = untagged(page_.el1, {page_.far});
        unsigned fault = s.fault_status();
        Resolved resolved = Resolved::guest;
        if (fault < 0x10) {  // about translation, and not alignment or external
            Guard guard(c_.guest.lock, c_.platform, c_.v.index);
            resolved = resolve(at, write, execute, fault);
        }
        if (resolved == Resolved::device) {
            fault = access_device(execute, maintains);
        }
        if (fault != 0) {
            reflect(at, execute, fault);
        }
    }

    // Virtual EL0 goes on where its access failed: perhaps its kernel has mapped it by now. Around a page that was written
    // first there is nothing new; around others a kernel maps more of the file.
    void fill_eagerly() {
        const Gva at{c_.eager};
        c_.eager = ShadowVcpu<P>::kNowhere;
        Guard guard(c_.guest.lock, c_.platform, c_.v.index);
        c_.guest.flushed.filling();
        const Translation t = translate(page_.el1, c_.machine.memory(), at);
        if (c_.at_el0() && t.fault == 0 && t.user && in_ram(t.at)) {
            c_.v.meter.because(Cause::filled);
            (void)fill(t, at, false, t.read_only);
        }
    }

private:
    using V = ShadowVcpu<P>;
    static constexpr unsigned kAround = 16;
    static constexpr std::uint64_t kPageMask = ~std::uint64_t{4095};
    static constexpr std::uint64_t kHole = 0xffff'ffff'ff80'0000;  // the kernel's own: accesses are executed here

    enum class Resolved : std::uint8_t { guest, filled, device };

    bool in_ram(Ipa at) const { return c_.machine.memory().contains({at.value & kPageMask}, 4096); }

    // Under the guest's lock, so that no TLBI comes between the walk and the fill.
    Resolved resolve(Gva at, bool write, bool execute, unsigned& fault) {
        if (!c_.at_el0() && c_.guest.rewrites && fill_own(at, execute)) {
            fault = 0;
            return Resolved::filled;
        }
        const bool lower = !bit(at.value, 55);
        if (lower) {
            c_.guest.flushed.filling();
        }
        const Translation t = translate(page_.el1, c_.machine.memory(), at);
        fault = t.fault;
        if (fault == 0 && forbidden(t, write, execute)) {
            fault = kFaultPermission + t.level;
        }
        if (fault != 0) {
            if (lower && write && fault >= kFaultAccess) {
                forget_before_copy(at);
            }
            return Resolved::guest;
        }
        if (Ipa stubs;
            !c_.at_el0() && c_.guest.text.stubs(at, stubs)) {  // the guest has put something where its stubs are
            forget_text();
            c_.guest.text.avoid(at);
        }
        if (!in_ram(t.at) || at.value >= kHole) {  // Linux uses the hole for a moment when it separates its tables
            return Resolved::device;
        }
        fault = fill(t, at, execute);
        return Resolved::filled;
    }

    void forget_before_copy(Gva at) {
        const std::uint64_t asid = c_.guest.tables.asid(page_.el1);
        c_.guest.tables.forget_page(c_.v.index, at, asid, false);
        c_.guest.flushed.add(c_.v.index, at, asid);
    }

    bool forbidden(const Translation& t, bool write, bool execute) const {
        if (!c_.translates()) {
            return false;
        }
        if (c_.at_el0()) {
            return !t.user || (write && t.read_only) || (execute && t.uxn);
        }
        return (write && t.read_only) || (execute && (t.pxn || (t.user && !t.read_only)));
    }

    void reflect(Gva at, bool execute, unsigned status) {
        c_.v.meter.because(status < 0x10 ? Cause::reflected : Cause::aborted);
        const bool lower = c_.at_el0();
        if (lower && status < 0x10 && !bit(at.value, 55)) {
            c_.eager = at.value;
        }
        using C = ExceptionClass;
        const C c = execute ? (lower ? C::instruction_abort_lower : C::instruction_abort_same)
                            : (lower ? C::data_abort_lower : C::data_abort_same);
        page_.el1.far_el1 = page_.far;
        inject_synchronous(page_, make_syndrome(c, (execute ? 0 : page_.esr & 0x1c0) | status));
    }

    // ---- filling

    // What virtual EL1 alone executes, it executes from a copy.
    bool is_text(const Translation& t) const { return c_.guest.rewrites && c_.translates() && !t.user && !t.pxn; }

    std::uint64_t rights_of(const Translation& t) const {
        if (!c_.translates()) {
            return abi::kFillRead | abi::kFillWrite | abi::kFillExecute;
        }
        const bool executable = t.user ? !t.uxn : !t.pxn && !c_.guest.rewrites;
        return abi::kFillRead | (t.read_only ? 0 : abi::kFillWrite) | (executable ? abi::kFillExecute : 0);
    }

    // Shared registers and stubs, which the guest's tables know nothing of.
    bool fill_own(Gva at, bool execute) {
        const std::uint64_t page = at.value & kPageMask, offset = page - V::kShared;
        Ipa stubs;
        if (offset < c_.machine.vcpus() * V::kSharedStep && offset % V::kSharedStep == 0 && !execute) {
            page_.shadow.fill[0] = {
                page | c_.guest.tables.upper(c_.v.index),
                (c_.guest.shared_at + offset / V::kSharedStep * 4096).value | abi::kFillRead | abi::kFillWrite};
        } else if (execute && c_.guest.text.stubs(at, stubs)) {
            page_.shadow.fill[0] = {page | c_.guest.tables.upper(c_.v.index), stubs.value | abi::kFillExecute};
        } else {
            return false;
        }
        c_.guest.tables.set_filled(c_.guest.tables.upper(c_.v.index));
        return install(1) == 0;
    }

    void forget_text() {
        c_.guest.tables.forget_all(c_.v.index);
        c_.guest.text.forget();
    }

    // The translation that is missing, and its neighbours. A fault status if it cannot be had.
    unsigned fill(const Translation& t, Gva at, bool execute, bool neighbours = true) {
        const bool upper = bit(at.value, 55) && c_.translates();
        // An early kernel writes to the text that it executes, and reads what it wrote: no copy could follow that.
        if (execute && upper && !c_.guest.rewrites && !c_.guest.naive && !t.user && t.read_only) {
            c_.guest.rewrites = true;
            c_.guest.tables.forget_all(c_.v.index);
        }
        const unsigned root = upper ? c_.guest.tables.upper(c_.v.index)
                              : c_.translates() && !t.user && !c_.at_el0()
                                  ? c_.guest.tables.separate(c_.v.index)
                                  : c_.guest.tables.lower(c_.v.index, c_.at_el0());
        if (t.shift > 21) {
            c_.guest.tables.set_giant(root);
        }
        c_.guest.tables.set_filled(root);
        const std::uint64_t page = at.value & kPageMask;
        Ipa to{t.at.value & kPageMask};
        std::uint64_t flags = rights_of(t);
        const bool text = is_text(t), copied = text && execute;
        if (copied) {
            to = copy_of(t, {page});
            flags = abi::kFillRead | abi::kFillExecute;
        }
        if (t.shift >= 21) {
            flags |= abi::kFillFragment | (text ? 0 : abi::kFillBlock);
        } else if (!c_.translates()) {
            flags |= abi::kFillBlock;
        }
        page_.shadow.fill[0] = {page | root, to.value | flags};
        return install(c_.translates() && t.shift == 12 && !copied && neighbours ? around(t, page, root) : 1);
    }

    Ipa copy_of(const Translation& t, Gva at) {
        const Ipa original{t.at.value & kPageMask};
        Ipa copy;
        c_.guest.unexecuted.executed(original);
        if (!c_.guest.text.get(page_.el1, original, at, !t.read_only, copy)) {
            forget_text();
            (void)c_.guest.text.get(page_.el1, original, at, true, copy);
        }
        c_.publish_text();
        return copy;
    }

    // The pages next to it, as far as the same table has them, behind the first fill. How many fills there are.
    unsigned around(const Translation& t, std::uint64_t page, unsigned root) {
        const unsigned index = static_cast<unsigned>(page >> 12) & 511;
        const unsigned first = index & ~(kAround - 1);
        const Ipa table{t.descriptor.value - 8 * index};
        unsigned n = 1;
        for (unsigned i = first; i < first + kAround; ++i) {
            std::uint64_t d = 0;
            if (i == index || !c_.machine.memory().load_once(table + 8 * i, d) || (d & 3) != 3) {
                continue;
            }
            Translation other = t;
            other.take(d);
            if (other.fault != 0 || other.user != t.user || !in_ram(other.at) ||
                is_text(other)) {  // text: perhaps as a copy
                continue;
            }
            page_.shadow.fill[n++] = {((page & ~std::uint64_t{0x1f'ffff}) | std::uint64_t{i} << 12) | root,
                                      other.at.value | rights_of(other)};
        }
        return n;
    }

    unsigned install(unsigned n) {
        for (unsigned attempt = 0; attempt < 2; ++attempt) {
            unsigned done = 0;
            const abi::Error error = c_.platform.fill(c_.v.index, n, done);
            c_.v.meter.count(Event::fills, done != 0 ? 1 : 0);
            c_.v.meter.count(Event::prefills, done != 0 ? done - 1 : 0);
            if (error == abi::Error::none || done != 0) {
                return 0;
            }
            if (error != abi::Error::no_memory) {
                return kFaultExternal;
            }
            c_.guest.tables.forget_all(c_.v.index);
        }
        c_.machine.fail(c_.v.index, "no memory for translations");
        c_.stop = true;
        return 0;
    }

    // ---- devices

    struct Port {
        V& c;
        bool load(Gva at, unsigned bytes, std::uint64_t& value) {
            const Translation t = translate(c.page.el1, c.machine.memory(), at);
            return t.fault == 0 && (c.machine.memory().load(t.at, bytes, value) ||
                                    c.machine.bus().read(c.v.cursor, t.at, bytes, c.v.index, value));
        }
        bool store(Gva at, unsigned bytes, std::uint64_t value) {
            const Translation t = translate(c.page.el1, c.machine.memory(), at);
            return t.fault == 0 && (c.machine.memory().store(t.at, bytes, value) ||
                                    c.machine.bus().write(c.v.cursor, t.at, bytes, c.v.index, value));
        }
    };

    // A fault status, or 0: done, or to be tried again.
    unsigned access_device(bool execute, bool maintains) {
        if (execute) {
            return kFaultExternal;
        }
        if (maintains) {  // a device has no cache lines
            c_.advance();
            return 0;
        }
        c_.v.meter.because(Cause::mmio);
        c_.v.meter.count(Event::decoded);
        std::uint32_t word = 0;
        if (!c_.fetch(word)) {
            return 0;
        }
        const Instruction instruction = decode(word);
        if (instruction.simd) {
            c_.platform.sync(c_.v.index, abi::kGroupFp);
        }
        Port port{c_};
        if (Executor<Port>(page_, port).run(instruction).result != Executed::Result::done) {
            return kFaultExternal;
        }
        c_.advance();
        c_.attention = true;  // it may have enabled the virtual timer's interrupt
        return 0;
    }

    V& c_;
    abi::VcpuPage& page_;
};

}  // namespace twain::vmm
