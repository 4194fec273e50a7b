// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What assembly believes about the structures of C++.
#include "offsets.inc"
#include "kernel/core/cpu.hpp"
#include "kernel/core/guest.hpp"

#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // bases without virtual functions: the compiler does lay them out

namespace twain::kernel {

struct Offsets {
    static_assert(offsetof(Frame, sp) == FRAME_SP && offsetof(Frame, pc) == FRAME_PC);
    static_assert(offsetof(abi::VcpuPage, sp_el0) == FRAME_SP && offsetof(abi::VcpuPage, pc) == FRAME_PC);

    static_assert(offsetof(Cpu, frame) == CPU_FRAME && offsetof(Cpu, guest_mode) == CPU_FRAME + 8);
    static_assert(offsetof(Cpu, hazard) == CPU_HAZARD && offsetof(Cpu, fpu_on) == CPU_HAZARD + 8);
    static_assert(offsetof(Cpu, current) == CPU_CURRENT && offsetof(Cpu, frame) == CPU_CURRENT + 8);
    static_assert(offsetof(Cpu, id) == CPU_LOCAL && offsetof(Cpu, one) == CPU_LOCAL + 4);
    static_assert(offsetof(Cpu, translation) == CPU_TRANSLATION);

    static_assert(offsetof(Thread, frame) == THREAD_FRAME && THREAD_FRAME % 16 == 0);
    static_assert(offsetof(Thread, cspace) == THREAD_CSPACE && offsetof(Thread, sched) == THREAD_SCHED);
    static_assert(offsetof(Thread, active) == THREAD_ACTIVE && offsetof(Thread, lent) == THREAD_ACTIVE + 8);
    static_assert(offsetof(Thread, caller) == THREAD_CALLER && offsetof(Thread, endpoint) == THREAD_CALLER + 8);
    static_assert(offsetof(Thread, server) == THREAD_SERVER && offsetof(Thread, note) == THREAD_NOTE);
    static_assert(offsetof(Thread, space) == THREAD_SPACE && offsetof(Thread, thread_pointer) == THREAD_SPACE + 8);
    static_assert(offsetof(Thread, fault) == THREAD_FAULT && offsetof(Thread, state) == THREAD_STATE);
    static_assert(offsetof(Thread, bound) == THREAD_BOUND);
    static_assert(sizeof(Object) == THREAD_LINK &&
                  THREAD_LINK + sizeof(Link) + Timer::kRankOffset == THREAD_TIMER_RANK);

    static_assert(static_cast<int>(State::ready) == STATE_READY && static_cast<int>(State::calling) == STATE_CALLING);
    static_assert(static_cast<int>(State::receiving) == STATE_RECEIVING);

    static_assert(abi::cspace::kSlots == CSPACE_SLOTS && CSpace::kLeavesOffset == CSPACE_LEAVES);
    static_assert(CSpace::kLeafSlots == 128 && sizeof(Slot) == 32);
    static_assert(offsetof(Endpoint, waiting) == ENDPOINT_QUEUE);
    static_assert(offsetof(Endpoint, core) == ENDPOINT_HOME && offsetof(Endpoint, receivers) == ENDPOINT_HOME + 4);
    static_assert(offsetof(Notification, bits) == NOTE_BITS && offsetof(Notification, waiter) == NOTE_WAITER);
    static_assert(offsetof(Sched, user) == SCHED_USER && offsetof(Sched, loans) == SCHED_LOANS &&
                  SCHED_LOANS == SCHED_USER + 8 && Sched::kMostLoans == u64{1} << MOST_LOANS);
    static_assert(offsetof(Space, tag) == SPACE_TAG && Tag::kStale == u64{1} << TAG_STALE);

    static_assert(static_cast<int>(Type::endpoint) == TYPE_ENDPOINT && static_cast<int>(Type::vcpu) == TYPE_VCPU);
    static_assert(static_cast<int>(Type::notification) == TYPE_NOTIFICATION);
    static_assert(1u << (RIGHT_SIGNAL - 48) == abi::rights::note_signal &&
                  1u << (RIGHT_WAIT - 48) == abi::rights::note_wait);
    static_assert(1u << (RIGHT_RUN - 48) == abi::rights::vcpu_run && u64{1} << TAG_NOTE == abi::kTagNote);
    static_assert(1u << (RIGHT_CALL - 48) == abi::rights::ep_call &&
                  1u << (RIGHT_RECEIVE - 48) == abi::rights::ep_receive);
    static_assert(u64{1} << TAG_CAP == abi::kTagCap);
};

}  // namespace twain::kernel
