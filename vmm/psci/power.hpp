// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Power states of a guest's vCPUs (PSCI, Arm DEN0022E, 5 and 6.6). Safe for callers on several threads: of two
// that switch the same vCPU on, one wins and the other learns it.
#pragma once

#include <array>
#include <cstdint>

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
        if (!__atomic_compare_exchange_n(&state_[v], &expected, State::claimed, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            return expected == State::on ? OnResult::already_on : OnResult::on_pending;
        }
        start_[v] = start;
        __atomic_store_n(&state_[v], State::on_pending, __ATOMIC_RELEASE);
        return OnResult::started;
    }

    // The vCPU's own thread: true if it has been switched on; then it runs from `start`.
    bool begin(VcpuIndex v, Start& start) {
        if (state(v) != State::on_pending) {
            return false;
        }
        start = start_[v];
        __atomic_store_n(&state_[v], State::on, __ATOMIC_RELEASE);
        return true;
    }

    // The vCPU's own thread: it does not run any more.
    void set_off(VcpuIndex v) { __atomic_store_n(&state_[v], State::off, __ATOMIC_RELEASE); }

    State state(VcpuIndex v) const { return __atomic_load_n(&state_[v], __ATOMIC_ACQUIRE); }

private:
    std::array<State, kMaxVcpus> state_{};
    std::array<Start, kMaxVcpus> start_{};
};

}  // namespace twain::vmm
