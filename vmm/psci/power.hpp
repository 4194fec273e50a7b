// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Power states of a guest's vCPUs (PSCI, Arm DEN0022E, 5 and 6.6). Safe for callers on several threads: of two
// that switch the same vCPU on, one wins and the other learns it.
#pragma once

#include <array>
#include <cstdint>

#include "sys/atomic.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

class PowerStates {
public:
    enum class State : std::uint32_t {
        off,
        claimed,     // somebody switches it on and is writing down where it starts
        on_pending,  // its thread has not begun yet
        on,
    };
    struct Start {
        std::uint64_t entry = 0;
        std::uint64_t context = 0;
    };
    enum class OnResult : std::uint8_t { started, already_on, on_pending };

    OnResult request_on(VcpuIndex v, Start start) {
        State expected = State::off;
        if (!sys::atomic_replace<__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE>(state_[v], expected, State::claimed)) {
            return expected == State::on ? OnResult::already_on : OnResult::on_pending;
        }
        start_[v] = start;
        sys::atomic_store<__ATOMIC_RELEASE>(state_[v], State::on_pending);
        return OnResult::started;
    }

    // The vCPU's own thread: true if it has been switched on; then it runs from `start`.
    bool begin(VcpuIndex v, Start& start) {
        if (state(v) != State::on_pending) {
            return false;
        }
        start = start_[v];
        sys::atomic_store<__ATOMIC_RELEASE>(state_[v], State::on);
        return true;
    }

    // The vCPU's own thread: it does not run any more.
    void set_off(VcpuIndex v) { sys::atomic_store<__ATOMIC_RELEASE>(state_[v], State::off); }

    State state(VcpuIndex v) const { return sys::atomic_load<__ATOMIC_ACQUIRE>(state_[v]); }

private:
    std::array<State, kMaxVcpus> state_{};
    std::array<Start, kMaxVcpus> start_{};
};

}  // namespace twain::vmm
