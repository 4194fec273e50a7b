// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Typed kernel calls: one class per object type, one member function per method of kernel/api/abi.hpp, where
// arguments, rights and errors are described. A handle is a slot number that knows its type; copying one
// copies the number, nothing is counted or released.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "sys/message.hpp"
#include "sys/result.hpp"
#include "sys/svc.hpp"

namespace twain::sys {

using abi::Slot;
using Rights = std::uint8_t;

struct Handle {
    Slot slot = 0;

    constexpr Handle() = default;
    constexpr explicit Handle(Slot s) : slot(s) {}
    constexpr explicit operator bool() const { return slot != 0; }

protected:
    [[gnu::always_inline]] Regs invoke_regs(std::uint32_t method, std::uint64_t a2 = 0, std::uint64_t a3 = 0,
                                            std::uint64_t a4 = 0, std::uint64_t a5 = 0, std::uint64_t a6 = 0,
                                            std::uint64_t a7 = 0) const {
        return svc<abi::Sys::invoke>(Regs{slot, method, a2, a3, a4, a5, a6, a7});
    }
    [[gnu::always_inline]] Status invoke(std::uint32_t method, std::uint64_t a2 = 0, std::uint64_t a3 = 0,
                                         std::uint64_t a4 = 0, std::uint64_t a5 = 0, std::uint64_t a6 = 0,
                                         std::uint64_t a7 = 0) const {
        return Status{invoke_regs(method, a2, a3, a4, a5, a6, a7).x1};
    }
};

struct Memory;
struct Mapping;
struct Pool;

// A process (host) or guest address space.
struct Space : Handle {
    using Handle::Handle;
    Status map(Handle memory, std::uint64_t offset, std::uint64_t address, std::uint64_t bytes, Rights rights,
               Slot mapping) const {
        return invoke(abi::space::map, memory.slot, offset, address, bytes, rights, mapping);
    }
    // A guest's virtual CPU interface, where it is memory.
    Status map_interface(std::uint64_t address, Slot mapping) const {
        constexpr Rights kReadWrite = abi::rights::mem_read | abi::rights::mem_write;
        return invoke(abi::space::map, abi::space::kInterface, 0, address, abi::space::kInterfaceBytes, kReadWrite,
                      mapping);
    }
};

struct Mapping : Handle {
    using Handle::Handle;
    Status protect(Rights rights) const { return invoke(abi::mapping::protect, rights); }
};

struct Memory : Handle {
    using Handle::Handle;
    Status split(std::uint64_t keep_bytes, Slot rest) const { return invoke(abi::memory::split, keep_bytes, rest); }
    Status derive(std::uint64_t offset, std::uint64_t bytes, Slot destination, Rights rights) const {
        return invoke(abi::memory::derive, offset, bytes, destination, rights);
    }
    Status make_pool(Slot destination) const { return invoke(abi::memory::make_pool, destination); }
};

struct Endpoint : Handle {
    using Handle::Handle;

    [[gnu::always_inline]] Message call(const Message& m) const {
        const Regs r =
            svc<abi::Sys::call>(Regs{slot, m.tag, m.word[0], m.word[1], m.word[2], m.word[3], m.word[4], m.word[5]});
        return Message{r.x1, {r.x2, r.x3, r.x4, r.x5, r.x6, r.x7}};
    }
    // Answers the current caller, if there is one, and waits for the next message or the bound notification.
    [[gnu::always_inline]] Received reply_wait(const Message& m) const {
        const Regs r = svc<abi::Sys::reply_wait>(
            Regs{slot, m.tag, m.word[0], m.word[1], m.word[2], m.word[3], m.word[4], m.word[5]});
        return Received{r.x0, {r.x1, {r.x2, r.x3, r.x4, r.x5, r.x6, r.x7}}};
    }
    [[gnu::always_inline]] Received wait(std::uint64_t deadline = abi::kForever) const {
        const Regs r = svc<abi::Sys::wait>(slot, deadline);
        return Received{r.x0, {r.x1, {r.x2, r.x3, r.x4, r.x5, r.x6, r.x7}}};
    }
};

struct Reply : Handle {
    using Handle::Handle;
    Status capture() const { return invoke(abi::reply::capture); }
    // Five words at most travel with a deferred reply.
    Status send(const Message& m) const {
        return invoke(abi::reply::send, m.tag, m.word[0], m.word[1], m.word[2], m.word[3], m.word[4]);
    }
};

struct Notification : Handle {
    using Handle::Handle;

    [[gnu::always_inline]] Status signal() const { return Status{svc<abi::Sys::signal>(slot, 0).x1}; }
    // The bits signalled since the last wait (all are taken). Errors: timeout, cancelled.
    [[gnu::always_inline]] Result<std::uint64_t> wait(std::uint64_t deadline = abi::kForever) const {
        const Regs r = svc<abi::Sys::wait>(slot, deadline);
        return {Status{r.x1}, r.x2};
    }
    [[gnu::always_inline]] std::uint64_t poll() const {  // 0: nothing there
        const Result<std::uint64_t> bits = wait(abi::kPoll);
        return bits ? *bits : 0;
    }
    // Signals this capability's badge at `deadline` (ticks); abi::kForever disarms.
    Status arm(std::uint64_t deadline) const { return invoke(abi::notification::arm, deadline); }
};

struct Irq : Handle {
    using Handle::Handle;
    Status bind(Notification note) const { return invoke(abi::irq::bind, note.slot); }
    Status unbind() const { return invoke(abi::irq::bind, 0); }
    Status ack() const { return invoke(abi::irq::ack); }
};

struct Vcpu : Handle {
    using Handle::Handle;

    // Runs the guest until it needs its VMM: the tag's label is an abi::Exit. The state page must be bound.
    [[gnu::always_inline]] Result<abi::Exit> run() const {
        const std::uint64_t tag = svc<abi::Sys::vcpu_run>(slot, 0).x1;
        return {Status{tag}, static_cast<abi::Exit>(abi::tag_label(tag))};
    }
    Status page(Memory memory, std::uint64_t offset = 0) const { return invoke(abi::vcpu::page, memory.slot, offset); }
    Status kick(std::uint64_t reason) const { return invoke(abi::vcpu::kick, reason); }
    Status sync(std::uint32_t groups) const { return invoke(abi::vcpu::sync, groups); }
    // Where the kernel is at EL1: shadow translations, see abi.hpp.
    Status fill(unsigned count, unsigned& done) const {
        const Regs r = invoke_regs(abi::vcpu::fill, count);
        done = static_cast<unsigned>(r.x2);
        return Status{r.x1};
    }
    Status view(unsigned view, unsigned lower, unsigned upper) const {
        return invoke(abi::vcpu::view, view, lower, upper);
    }
    Status drop(unsigned root, std::uint64_t address, std::uint64_t bytes) const {
        return invoke(abi::vcpu::drop, root, address, bytes);
    }
};

struct SchedParam {
    std::uint8_t priority = 0;  // 0 lowest .. 63
    std::uint8_t core = 0;
    bool hard_limit = false;

    constexpr std::uint64_t word() const {
        return std::uint64_t{priority} | (std::uint64_t{core} << 8) | (hard_limit ? abi::sched::kHardLimit : 0);
    }
};

struct Sched : Handle {
    using Handle::Handle;
    struct Stat {
        std::uint64_t used = 0, budget = 0, period = 0;  // ticks
        std::uint64_t priority = 0, core = 0;
    };
    Status configure(std::uint64_t budget, std::uint64_t period, SchedParam param) const {
        return invoke(abi::sched::configure, budget, period, param.word());
    }
    Result<Stat> stat() const {
        const Regs r = invoke_regs(abi::sched::stat);
        return {Status{r.x1}, Stat{r.x2, r.x3, r.x4, r.x5, r.x6}};
    }
};

struct CSpace : Handle {
    using Handle::Handle;
    struct Info {
        abi::Type type = abi::Type::null;
        Rights rights = 0;
        std::uint64_t flags = 0;  // abi::cspace::kInspect*
        std::uint64_t badge = 0;
        std::uint64_t object = 0;  // mapping: id of the space
        std::uint64_t base = 0;    // memory, mapping: physical
        std::uint64_t bytes = 0;
        std::uint64_t address = 0;  // mapping
    };
    Status copy(Slot to, Slot from, Rights mask = abi::rights::all, std::uint64_t badge = 0) const {
        return invoke(abi::cspace::copy, to, from, mask, badge);
    }
    Status remove(Slot s) const { return invoke(abi::cspace::remove, s); }
    Status revoke(Slot s) const { return invoke(abi::cspace::revoke, s); }
    Result<Info> inspect(Slot s) const {
        const Regs r = invoke_regs(abi::cspace::inspect, s);
        return {Status{r.x1}, Info{static_cast<abi::Type>(r.x2 & 0xff), static_cast<Rights>(r.x2 >> 8),
                                   r.x2 & ~std::uint64_t{0xffff}, r.x3, r.x4, r.x5, r.x6, r.x7}};
    }
};

struct Thread : Handle {
    using Handle::Handle;
    struct State {
        abi::ThreadState state = abi::ThreadState::stopped;
        abi::FaultKind fault = abi::FaultKind::none;
        std::uint64_t fault_address = 0, pc = 0;
        std::uint64_t used = 0;  // ticks
        std::uint64_t object = 0;
    };
    // An empty handle keeps what is there.
    Status configure(CSpace cspace, Space space, Endpoint fault, Sched sched, Notification bound) const {
        return invoke(abi::thread::configure, cspace.slot, space.slot, fault.slot, sched.slot, bound.slot);
    }
    Status start(std::uint64_t pc, std::uint64_t sp, std::uint64_t x0 = 0, std::uint64_t x1 = 0) const {
        return invoke(abi::thread::start, pc, sp, x0, x1);
    }
    Status stop() const { return invoke(abi::thread::stop); }
    Status resume() const { return invoke(abi::thread::resume); }
    Status receive(Slot s) const { return invoke(abi::thread::receive, s); }
    Result<State> state() const {
        const Regs r = invoke_regs(abi::thread::state);
        return {Status{r.x1},
                State{static_cast<abi::ThreadState>(r.x2), static_cast<abi::FaultKind>(r.x3), r.x4, r.x5, r.x6, r.x7}};
    }
    // Five registers from `first` on: 0..30 Xn, 31 SP, 32 PC, 33 PSTATE, 34 TPIDR_EL0.
    Status read(unsigned first, std::uint64_t (&values)[5]) const {
        const Regs r = invoke_regs(abi::thread::read, first);
        values[0] = r.x3;
        values[1] = r.x4;
        values[2] = r.x5;
        values[3] = r.x6;
        values[4] = r.x7;
        return Status{r.x1};
    }
    Status write(unsigned first, unsigned count, const std::uint64_t (&values)[4]) const {
        return invoke(abi::thread::write, first, count, values[0], values[1], values[2], values[3]);
    }
};

struct Pool : Handle {
    using Handle::Handle;
    struct Stat {
        std::uint64_t bytes = 0, free = 0;
    };
    Status create_cspace(Slot to) const { return create(abi::Type::cspace, to); }
    Status create_space(Slot to, abi::SpaceKind kind) const {
        return create(abi::Type::space, to, static_cast<std::uint64_t>(kind));
    }
    Status create_thread(Slot to) const { return create(abi::Type::thread, to); }
    Status create_endpoint(Slot to, unsigned home_core) const { return create(abi::Type::endpoint, to, home_core); }
    Status create_reply(Slot to) const { return create(abi::Type::reply, to); }
    Status create_notification(Slot to) const { return create(abi::Type::notification, to); }
    Status create_vcpu(Slot to, Space guest, std::uint64_t mpidr) const {
        return create(abi::Type::vcpu, to, guest.slot, mpidr);
    }
    Status split(std::uint64_t bytes, Slot to) const { return invoke(abi::pool::split, bytes, to); }
    Result<Stat> stat() const {
        const Regs r = invoke_regs(abi::pool::stat);
        return {Status{r.x1}, Stat{r.x2, r.x3}};
    }

private:
    Status create(abi::Type type, Slot to, std::uint64_t a4 = 0, std::uint64_t a5 = 0) const {
        return invoke(abi::pool::create, static_cast<std::uint64_t>(type), to, a4, a5);
    }
};

struct System : Handle {
    using Handle::Handle;
    struct Info {
        std::uint64_t cores = 0, ticks_per_second = 0, idle_ticks = 0;
        std::uint64_t version = 0, exception_level = 0, boot_flags = 0;
    };
    struct LogPiece {
        std::uint64_t next = 0;  // position to read from next
        unsigned bytes = 0;      // valid in text; 0: nothing new
        char text[32] = {};
    };
    Status make_sched(Pool pool, Slot to, std::uint64_t budget, std::uint64_t period, SchedParam param) const {
        return invoke(abi::system::make_sched, pool.slot, to, budget, period, param.word());
    }
    Status make_irq(Pool pool, Slot to, std::uint32_t intid, bool edge, unsigned core) const {
        return invoke(abi::system::make_irq, pool.slot, to, intid, edge ? 1 : 0, core);
    }
    Status make_memory(Slot to, std::uint64_t base, std::uint64_t bytes) const {
        return invoke(abi::system::make_memory, to, base, bytes);
    }
    struct DmaFault {
        std::uint64_t kind = 0, stream = 0, address = 0;  // kind 0: none
    };
    Status attach(Space dma, std::uint64_t stream) const { return invoke(abi::system::attach, dma.slot, stream); }
    Status detach(std::uint64_t stream) const { return invoke(abi::system::attach, 0, stream); }
    Result<DmaFault> dma_fault() const {
        const Regs r = invoke_regs(abi::system::dma_fault);
        return {Status{r.x1}, DmaFault{r.x2, r.x3, r.x4}};
    }
    Result<std::uint64_t> firmware(std::uint64_t function, std::uint64_t a = 0) const {  // its first result
        const Regs r = invoke_regs(abi::system::firmware, function, a);
        return {Status{r.x1}, std::uint64_t{r.x2}};
    }
    Status power(std::uint64_t what) const { return invoke(abi::system::power, what); }
    Status release_uart() const { return invoke(abi::system::uart, 0); }
    Status reclaim_uart() const { return invoke(abi::system::uart, 1); }
    Result<Info> info(unsigned core) const {
        const Regs r = invoke_regs(abi::system::info, core);
        return {Status{r.x1}, Info{r.x2, r.x3, r.x4, r.x5, r.x6, r.x7}};
    }
    Result<LogPiece> log_read(std::uint64_t position) const {
        const Regs r = invoke_regs(abi::system::log_read, position);
        LogPiece piece;
        piece.next = r.x2;
        piece.bytes = r.x3 < sizeof piece.text ? static_cast<unsigned>(r.x3) : sizeof piece.text;
        const std::uint64_t words[4] = {r.x4, r.x5, r.x6, r.x7};
        std::memcpy(piece.text, words, sizeof piece.text);
        return {Status{r.x1}, piece};
    }
    // Writes `text` into the kernel log, in pieces of 48 bytes (one call each; lines of several threads may mix).
    void log(std::string_view text) const {
        while (!text.empty()) {
            const std::size_t bytes = text.size() < 48 ? text.size() : 48;
            std::uint64_t words[6] = {};
            std::memcpy(words, text.data(), bytes);
            svc<abi::Sys::log>(Regs{slot, bytes, words[0], words[1], words[2], words[3], words[4], words[5]});
            text.remove_prefix(bytes);
        }
    }
};

[[gnu::always_inline]] inline void yield() { svc<abi::Sys::yield>(0, 0); }

inline void klog(System system, std::string_view text) { system.log(text); }

}  // namespace twain::sys
