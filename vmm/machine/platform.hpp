// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What a machine needs from the system below it. machine/native.hpp has it from kernel calls; tests bring their own.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "kernel/api/abi.hpp"
#include "vmm/types.hpp"

namespace twain::vmm {

struct RunResult {
    abi::Error error = abi::Error::none;
    abi::Exit exit = abi::Exit::trap;
};

// `who`, `vcpu`: the thread that calls or is meant; kNoVcpu is the event loop's. Ticks: the physical counter.
//
//   run     enters the guest on the calling thread until it needs the VMM
//   sync    makes the page's register groups valid; the vCPU does not run
//   kick    abi::vcpu::kKick*; an exit asked for while the vCPU does not run makes the next run() return at once
//   park    the vCPU's thread sleeps until wake() or the deadline; a wake() before it is not lost
//   poke    makes the event loop look at the machine
//   yield   lets other threads of the same priority run
//   rest    the thread sleeps until rouse() of it, which is not lost if it comes before; or wakes for no reason
//   console_write, console_read   as much as possible, never blocks; the number of characters
//   console_wait   asks to be woken when there is something to read; true: there is nothing
//   zero    clears guest memory;  publish: makes what was written visible to a guest whose caches are off
template <typename P>
concept Platform = requires(P& p, VcpuIndex v, std::uint64_t n, std::span<const char> out, std::span<char> in,
                            void* at) {
    { p.run(v) } -> std::same_as<RunResult>;
    p.sync(v, std::uint32_t{});
    p.kick(v, n);
    { p.now() } -> std::same_as<std::uint64_t>;
    p.park(v, n);
    p.wake(v);
    p.poke();
    p.yield();
    p.rest(v);
    p.rouse(v);
    { p.console_write(out) } -> std::same_as<std::size_t>;
    { p.console_read(in) } -> std::same_as<std::size_t>;
    { p.console_wait() } -> std::same_as<bool>;
    p.zero(at, n);
    p.publish(at, n);
};

}  // namespace twain::vmm
