// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The platform of a machine, from kernel calls and the process's environment.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "ring/port.hpp"
#include "sys/sys.hpp"
#include "vmm/gic/gic.hpp"
#include "vmm/machine/platform.hpp"

namespace twain::vmm {

class NativePlatform {
public:
    struct VcpuHandles {
        sys::Vcpu vcpu;
        sys::Notification wake;
    };

    NativePlatform(std::span<const VcpuHandles> vcpus, sys::Notification events, sys::Notification timer);

    RunResult run(VcpuIndex v) {
        const sys::Result<abi::Exit> r = vcpus_[v].vcpu.run();
        return {r.error(), *r};
    }
    void sync(VcpuIndex v, std::uint32_t groups) { (void)vcpus_[v].vcpu.sync(groups); }
    // Shadow translations, where the kernel is at EL1 (vmm/shadow/tables.hpp).
    abi::Error fill(VcpuIndex v, unsigned count, unsigned& done) { return vcpus_[v].vcpu.fill(count, done).error(); }
    void view(VcpuIndex v, unsigned view, unsigned lower, unsigned upper) {
        (void)vcpus_[v].vcpu.view(view, lower, upper);
    }
    void drop(VcpuIndex v, unsigned root, std::uint64_t address, std::uint64_t bytes) {
        (void)vcpus_[v].vcpu.drop(root, address, bytes);
    }
    void kick(VcpuIndex v, std::uint64_t reason) { (void)vcpus_[v].vcpu.kick(reason); }
    std::uint64_t now() { return sys::now(); }

    void park(VcpuIndex v, std::uint64_t deadline);
    void wake(VcpuIndex v) { (void)vcpus_[v].wake.signal(); }
    // The event loop's own timer, due at once: a capability to signal its events it does not have.
    void poke();

    void yield() { sys::yield(); }
    void rest(VcpuIndex who);
    void rouse(VcpuIndex who) { who == kNoVcpu ? poke() : wake(who); }

    std::size_t console_write(std::span<const char> text) { return out_.write({text.data(), text.size()}); }
    std::size_t console_read(std::span<char> buffer) { return in_.read(buffer); }

    bool console_wait() { return in_.ring.wait_for_data(); }

    void zero(void* at, std::uint64_t bytes);
    void publish(const void* at, std::uint64_t bytes);

    // The event loop: sleeps until an event or the deadline; the events' bits (0: the deadline).
    std::uint64_t wait_events(std::uint64_t deadline);

private:
    std::array<VcpuHandles, kMaxVcpus> vcpus_{};
    sys::Notification events_;
    sys::Notification timer_;
    std::array<std::uint64_t, kMaxVcpus> saved_wake_{};  // bits that came while rest() slept
    std::uint64_t saved_events_ = 0;
    ring::OutPort out_;
    ring::InPort in_;
};
static_assert(Platform<NativePlatform>);

}  // namespace twain::vmm
