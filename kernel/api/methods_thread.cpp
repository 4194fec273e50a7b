// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Thread, scheduling context, interrupt, vCPU, system.
#include "kernel/api/invocation.hpp"
#include "kernel/core/destroy.hpp"
#include "kernel/core/ipc.hpp"
#include "kernel/core/log.hpp"
#include "kernel/core/scheduler.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

namespace rights = abi::rights;
using abi::Type;

// Replaces one of the thread's references by a derived copy of what the argument names; 0 keeps it.
struct Reference {
    unsigned argument;
    Thread::Ref ref;
    Type type;
    u8 rights;
};
constexpr Reference kReferences[] = {
    {2, Thread::ref_cspace, Type::cspace, 0},
    {3, Thread::ref_space, Type::space, rights::space_use},
    {4, Thread::ref_fault, Type::endpoint, rights::ep_call},
    {5, Thread::ref_sched, Type::sched, rights::sched_bind},
    {6, Thread::ref_note, Type::notification, rights::note_wait},
};

Status check_reference(Thread& thread, const Reference& wanted, const Slot& slot) {
    if (const Status status = derivable(slot); !status.ok()) return {status.error(), wanted.argument};
    if (wanted.ref == Thread::ref_space && slot.object<Space>().kind != abi::SpaceKind::host)
        return {Error::bad_arg, 3};
    if (wanted.ref == Thread::ref_sched && slot.object<Sched>().bound && slot.object<Sched>().bound != &thread) {
        return {Error::occupied, 5};
    }
    if (wanted.ref == Thread::ref_note) {
        auto& waiter = slot.object<Notification>().waiter;
        // The last check: it is taken at once, before another core's thread waits for it.
        if (waiter != &thread && !waiter.replace(nullptr, &thread)) return {Error::occupied, 6};
    }
    return {};
}

void take_reference(Thread& thread, const Reference& wanted, Slot& source) {
    Slot& slot = thread.refs[wanted.ref];
    if (!slot.empty()) {
        if (wanted.ref == Thread::ref_sched) detach_sched(thread);
        slot.clear();
    }
    (void)derive(source, slot, rights::all, 0);  // checked before
    switch (wanted.ref) {
        case Thread::ref_cspace: thread.cspace = &slot.object<CSpace>(); break;
        case Thread::ref_space: thread.space = &slot.object<Space>(); break;
        case Thread::ref_sched: {
            Sched& sched = slot.object<Sched>();
            thread.sched = thread.active = &sched;
            move(thread, sched.core);
            sched.bound = sched.user = &thread;
            break;
        }
        case Thread::ref_note:
            if (thread.note && thread.note != &slot.object<Notification>()) thread.note->waiter = nullptr;
            thread.note = &slot.object<Notification>();
            thread.bound = true;
            break;
        case Thread::ref_fault:
        case Thread::kRefs: break;
    }
}

Status configure(Invocation& call, Thread& thread) {
    if (thread.state != State::stopped && thread.state != State::faulted) return {Error::busy, 0};
    Slot* sources[Thread::kRefs] = {};
    for (const Reference& wanted : kReferences) {  // everything is checked before anything changes
        if (call.arg(wanted.argument) == 0) continue;
        const auto slot = call.slot_arg(wanted.argument, wanted.type, wanted.rights);
        if (!slot.ok()) return slot.status();
        if (const Status status = check_reference(thread, wanted, *slot.value()); !status.ok()) return status;
        sources[wanted.ref] = slot.value();
    }
    for (const Reference& wanted : kReferences) {
        if (sources[wanted.ref]) take_reference(thread, wanted, *sources[wanted.ref]);
    }
    return {};
}

Status start(Invocation& call, Thread& thread, bool fresh) {
    if (thread.state != State::stopped && thread.state != State::faulted) return {Error::busy, 0};
    if (!thread.cspace || !thread.space) return {Error::bad_arg, 0};
    if (fresh) {
        machine::forget_thread(thread);
        thread.thread_pointer = 0;
        thread.frame = {};
        thread.frame.pc = call.arg(2);
        thread.frame.sp = call.arg(3);
        thread.frame.x[0] = call.arg(4);
        thread.frame.x[1] = call.arg(5);
    }
    run_on(thread.core, [&] {  // structure lock held, so nobody else changes the thread meanwhile
        thread.fault = abi::FaultKind::none;
        make_ready(machine::cpu(), thread);
    });
    return {};
}

// By number: those of the frame, in its order, then TPIDR_EL0.
u64* register_of(Thread& thread, u64 n) {
    constexpr u64 kInFrame = sizeof(Frame) / sizeof(u64);
    if (n < kInFrame) return reinterpret_cast<u64*>(&thread.frame) + n;
    return n == kInFrame ? &thread.thread_pointer : nullptr;
}

Status read_registers(Invocation& call, Thread& thread) {
    const u64 first = call.arg(2);
    if (first > 34) return {Error::bad_arg, 2};
    for (unsigned i = 0; i < 5; ++i) {
        const u64* from = register_of(thread, first + i);
        call.result(3 + i, from ? *from : 0);
    }
    return {};
}

Status write_registers(Invocation& call, Thread& thread) {
    if (thread.state != State::stopped && thread.state != State::faulted) return {Error::busy, 0};
    const u64 first = call.arg(2), count = call.arg(3);
    if (count < 1 || count > 4) return {Error::bad_arg, 3};
    if (first > 34 || first + count > 35) return {Error::bad_arg, 2};
    for (unsigned i = 0; i < count; ++i) *register_of(thread, first + i) = call.arg(4 + i);
    thread.frame.pstate &= machine::kUserPstate;
    return {};
}

void describe(Invocation& call, const Thread& thread) {
    call.result(2, static_cast<u64>(State{thread.state}));
    call.result(3, static_cast<u64>(thread.fault));
    call.result(4, thread.fault_address);
    call.result(5, thread.frame.pc);
    call.result(6, thread.sched ? thread.sched->used : 0);
    call.result(7, thread.id);
}

// Fills in a scheduling context from x(first).. : budget, period, parameters.
Status set_sched(Invocation& call, Sched& sched, unsigned first) {
    const Ticks budget = call.arg(first), period = call.arg(first + 1);
    const u64 param = call.arg(first + 2);
    const u64 core = param >> 8 & 0xff;
    if ((param & 0xff) >= abi::sched::kPriorities || core >= machine::cores() || (param & ~u64{0x1ffff})) {
        return {Error::bad_arg, first + 2};
    }
    constexpr Ticks kLongest = Ticks{1} << 48;
    if (period > kLongest) return {Error::bad_arg, first + 1};
    if (period && (budget == 0 || budget > period)) return {Error::bad_arg, first};
    sched.budget.set(period ? budget : machine::ns_to_ticks(kSliceNs), period);
    sched.exhausted = false;
    sched.priority = static_cast<u8>(param);
    sched.core = static_cast<u8>(core);
    sched.hard = param & abi::sched::kHardLimit;
    return {};
}

// Makes a T, which the system object mints, in the pool that x2 names.
template <typename T, typename Prepare>
Status mint(Invocation& call, Prepare prepare) {
    const auto pool = call.slot_arg(2, Type::pool, rights::pool_create);
    if (!pool.ok()) return pool.status();
    if (const Status status = derivable(*pool.value()); !status.ok()) return status;
    const auto slot = call.destination(3);
    if (!slot.ok()) return slot.status();
    return create<T>(*pool.value(), *slot.value(), prepare);
}

Status make_sched(Invocation& call) {
    return mint<Sched>(call, [&](Sched& sched) { return set_sched(call, sched, 4); });
}

Status make_irq(Invocation& call) {
    return mint<Irq>(call, [&](Irq& irq) -> Status {
        const u64 intid = call.arg(4);
        if (intid < Irq::kFirst || intid >= machine::irq_end()) return {Error::bad_arg, 4};
        if (Irq::of(static_cast<u32>(intid))) return {Error::occupied, 4};
        if (call.arg(5) > 1) return {Error::bad_arg, 5};
        if (call.arg(6) >= machine::cores()) return {Error::bad_arg, 6};
        irq.intid = static_cast<u32>(intid);
        irq.core = static_cast<CpuId>(call.arg(6));
        irq.ref.set_home(Home::irq);
        machine::configure_irq(irq.intid, call.arg(5) & 1, irq.core);
        Irq::of(irq.intid) = &irq;
        return {};
    });
}

Status make_device_memory(Invocation& call) {
    const auto slot = call.destination(2);
    if (!slot.ok()) return slot.status();
    const u64 base = call.arg(3), bytes = call.arg(4);
    if ((base | bytes) & (kPage - 1) || bytes == 0 || !inside(base, bytes, u64{1} << 48)) return {Error::bad_arg, 3};
    if (!machine::is_device({base}, bytes)) return {Error::bad_arg, 3};
    if (const Status status = derivable(call.slot); !status.ok()) return status;
    slot.value()->fill(&call.slot, Slot::memory_head(rights::mem_read | rights::mem_write, {base}, Capability::kDevice),
                       bytes, false);
    return {};
}

// A DMA space, or nothing: 0.
Status attach(Invocation& call) {
    if (!machine::confines_dma()) return Error::unsupported;
    Space* space = nullptr;
    if (call.arg(2)) {
        const auto slot = call.slot_arg(2, Type::space, rights::space_use);
        if (!slot.ok()) return slot.status();
        space = &slot.value()->object<Space>();
        if (space->kind != abi::SpaceKind::dma) return {Error::bad_arg, 2};
    }
    return machine::attach_stream(space, call.arg(3));
}

Status dma_fault(Invocation& call) {
    if (!machine::confines_dma()) return Error::unsupported;
    const DmaFault fault = machine::next_dma_fault();
    call.result(2, fault.kind);
    call.result(3, fault.stream);
    call.result(4, fault.address);
    return {};
}

Status pass_to_firmware(Invocation& call) {
    const smccc::Conduit conduit = machine::firmware();
    if (conduit == smccc::Conduit::none) return Error::unsupported;
    if (!smccc::may_pass(call.arg(2), conduit)) return {Error::bad_arg, 2};
    u64 x[6];
    for (unsigned n = 0; n < 6; ++n) x[n] = call.arg(2 + n);
    machine::call_firmware(x);
    for (unsigned n = 0; n < 4; ++n) call.result(2 + n, x[n]);
    return {};
}

Status read_log(Invocation& call) {
    u64 words[4] = {};
    const LogPart part = log_read(call.arg(2), reinterpret_cast<char*>(words), sizeof words);
    call.result(2, part.next);
    call.result(3, part.bytes);
    for (unsigned i = 0; i < 4; ++i) call.result(4 + i, words[i]);
    return {};
}

Status info(Invocation& call) {
    const u64 core = call.arg(2);
    if (core >= machine::cores()) return {Error::bad_arg, 2};
    call.result(2, machine::cores());
    call.result(3, machine::ticks_per_second());
    call.result(4, machine::cpu(static_cast<CpuId>(core)).idle);
    call.result(5, abi::kVersion);
    call.result(6, machine::kExceptionLevel);
    call.result(7, machine::boot_flags());
    return {};
}

}  // namespace

Status invoke_thread(Invocation& call, u32 method) {
    auto& thread = call.object<Thread>();
    const bool registers = method == abi::thread::read || method == abi::thread::write;
    if (const Status status = call.need(registers ? rights::thread_regs : rights::thread_control); !status.ok())
        return status;
    switch (method) {
        case abi::thread::configure: return configure(call, thread);
        case abi::thread::start: return start(call, thread, true);
        case abi::thread::resume: return start(call, thread, false);
        case abi::thread::stop: stop(thread); return {};
        case abi::thread::read: return read_registers(call, thread);
        case abi::thread::write: return write_registers(call, thread);
        case abi::thread::receive:
            if (call.arg(2) >= abi::cspace::kSlots) return {Error::bad_slot, 2};
            thread.receive_slot = static_cast<u32>(call.arg(2));
            return {};
        case abi::thread::state: describe(call, thread); return {};
        default: return {Error::bad_method, 1};
    }
}

Status invoke_sched(Invocation& call, u32 method) {
    auto& sched = call.object<Sched>();
    if (const Status status = call.need(rights::sched_configure); !status.ok()) return status;
    if (method == abi::sched::configure) {
        Sched wanted = Sched();
        if (const Status status = set_sched(call, wanted, 2); !status.ok()) return status;
        if (wanted.core != sched.core && sched.bound && sched.bound->state != State::stopped) return {Error::busy, 0};
        reconfigure(sched, wanted);
        return {};
    }
    if (method != abi::sched::stat) return {Error::bad_method, 1};
    call.result(2, sched.used);
    call.result(3, sched.budget.amount());
    call.result(4, sched.budget.period());
    call.result(5, sched.priority);
    call.result(6, sched.core);
    return {};
}

Status invoke_irq(Invocation& call, u32 method) {
    if (method != abi::irq::bind) return {Error::bad_method, 1};
    if (const Status status = call.need(rights::irq_bind); !status.ok()) return status;
    auto& irq = call.object<Irq>();
    if (call.arg(2) == 0) {
        if (!irq.ref.empty()) lose(irq.ref);
        return {};
    }
    const auto slot = call.slot_arg(2, Type::notification, rights::note_signal);
    if (!slot.ok()) return slot.status();
    if (!irq.ref.empty()) return {Error::occupied, 0};
    if (const Status status = derive(*slot.value(), irq.ref, rights::all, 0); !status.ok()) return status;
    irq.badge = irq.ref.badge() ? irq.ref.badge() : 1;
    irq.note.release(&irq.ref.object<Notification>());
    machine::enable_irq(irq.intid);
    return {};
}

Status invoke_vcpu(Invocation& call, u32 method) {
    if (const Status status = call.need(rights::vcpu_configure); !status.ok()) return status;
    auto& vcpu = call.object<Vcpu>();
    if (method == abi::vcpu::sync) return guest_sync(vcpu, call.arg(2));
    if (method >= abi::vcpu::fill && method <= abi::vcpu::drop) {
        return guest_stock(vcpu) ? guest_translate(vcpu, method, call.self.frame.x) : kAgain;
    }
    if (method != abi::vcpu::page) return {Error::bad_method, 1};
    if (vcpu.runner) return {Error::busy, 0};
    if (vcpu.page) return {Error::occupied, 0};
    const auto memory = call.slot_arg(2, Type::memory, rights::mem_read | rights::mem_write);
    if (!memory.ok()) return memory.status();
    const Capability range = memory.value()->load();
    const u64 offset = call.arg(3);
    if (range.device() || (offset & (kPage - 1)) || !inside(offset, kPage, range.bytes())) return {Error::bad_arg, 3};
    if (const Status status = derive(*memory.value(), vcpu.refs[Vcpu::ref_page], rights::all, 0); !status.ok())
        return status;
    vcpu.shares = inside(offset, 2 * kPage, range.bytes());
    auto* const page = static_cast<abi::VcpuPage*>(machine::to_virt(range.base() + offset));
    page->version = abi::kVersion;
    guest_bind_page(*page);
    vcpu.page = page;
    return {};
}

Status invoke_system(Invocation& call, u32 method) {
    static constexpr u8 kNeeds[] = {rights::sys_mint, rights::sys_mint,    rights::sys_mint, rights::sys_power,
                                    rights::sys_log,  rights::sys_power,   rights::sys_info, rights::sys_mint,
                                    rights::sys_info, rights::sys_firmware};
    const u8 needed = method < sizeof kNeeds ? kNeeds[method] : u8{0};
    if (const Status status = call.need(needed); !status.ok()) return status;
    switch (method) {
        case abi::system::make_sched: return make_sched(call);
        case abi::system::make_irq: return make_irq(call);
        case abi::system::make_memory: return make_device_memory(call);
        case abi::system::power: return machine::power(call.arg(2)) ? Status{} : Status{Error::unsupported};
        case abi::system::log_read: return read_log(call);
        case abi::system::uart:
            if (call.arg(2) > 1) return {Error::bad_arg, 2};
            machine::uart_enable(call.arg(2) == 1);
            return {};
        case abi::system::attach: return attach(call);
        case abi::system::dma_fault: return dma_fault(call);
        case abi::system::firmware: return pass_to_firmware(call);
        case abi::system::info: return info(call);
        default: return {Error::bad_method, 1};
    }
}

}  // namespace twain::kernel
