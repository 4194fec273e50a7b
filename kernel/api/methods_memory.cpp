// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Pool, capability space, memory, mapping, space.
#include "kernel/api/invocation.hpp"
#include "kernel/core/destroy.hpp"
#include "kernel/core/ipc.hpp"
#include "machine.hpp"

namespace twain::kernel {

namespace {

namespace rights = abi::rights;
using abi::Type;

constexpr unsigned kStepsBetweenChecks = 32;

Status create_vcpu(Invocation& call, Slot& slot) {
    const auto space = call.slot_arg(4, Type::space, rights::space_use);
    if (!space.ok()) return space.status();
    if (space.value()->object<Space>().kind != abi::SpaceKind::guest) return {Error::bad_arg, 4};
    const u64 affinity = call.arg(5);
    if (affinity & ~u64{0xff'00ff'ffff}) return {Error::bad_arg, 5};
    return create<Vcpu>(call.slot, slot, [&](Vcpu& vcpu) -> Status {
        for (Slot& ref : vcpu.refs) ref.set_home(Home::vcpu);
        vcpu.live = Vcpu::kNowhere;
        vcpu.affinity = affinity;
        vcpu.space = &space.value()->object<Space>();
        return derive(*space.value(), vcpu.refs[Vcpu::ref_space], rights::all, 0);
    });
}

Status create_any(Invocation& call) {
    if (const Status status = derivable(call.slot); !status.ok()) return status;
    const auto slot = call.destination(3);
    if (!slot.ok()) return slot.status();
    Slot& to = *slot.value();
    if (call.arg(2) > 0xff) return {Error::bad_arg, 2};
    switch (static_cast<Type>(call.arg(2))) {
        case Type::cspace: return create<CSpace>(call.slot, to);
        case Type::space: {
            const u64 kind = call.arg(4);
            if (kind > static_cast<u64>(abi::SpaceKind::dma)) return {Error::bad_arg, 4};
            if (kind == static_cast<u64>(abi::SpaceKind::dma) && !machine::confines_dma())
                return {Error::unsupported, 4};
            return create<Space>(call.slot, to, [&](Space& space) -> Status {
                return space.init(static_cast<abi::SpaceKind>(kind)) ? Status{} : Status{Error::no_memory};
            });
        }
        case Type::thread:
            return create<Thread>(call.slot, to, [](Thread& thread) -> Status {
                for (Slot& ref : thread.refs) ref.set_home(Home::thread);
                return {};
            });
        case Type::endpoint:
            if (call.arg(4) >= machine::cores()) return {Error::bad_arg, 4};
            return create<Endpoint>(call.slot, to, [&](Endpoint& endpoint) -> Status {
                endpoint.core = static_cast<CpuId>(call.arg(4));
                return {};
            });
        case Type::reply: return create<Reply>(call.slot, to);
        case Type::notification: return create<Notification>(call.slot, to);
        case Type::vcpu: return create_vcpu(call, to);
        default: return {Error::bad_arg, 2};
    }
}

void inspect(Invocation& call, const Slot& slot) {
    const Capability cap = slot.load();
    u64 flags = u64{static_cast<u8>(cap.type())} | u64{cap.rights()} << 8;
    for (unsigned n = 3; n < 8; ++n) call.result(n, 0);
    if (cap.type() == Type::memory) {
        if (cap.exclusive()) flags |= abi::cspace::kInspectExclusive;
        if (cap.device()) flags |= abi::cspace::kInspectDevice;
        call.result(5, cap.base().value);
        call.result(6, cap.bytes());
    } else if (cap.type() == Type::mapping) {
        const auto& mapping = cap.object<Mapping>();
        flags = (flags & 0xff) | u64{mapping.rights} << 8;
        call.result(4, mapping.space->id);
        call.result(5, mapping.to.value);
        call.result(6, mapping.bytes);
        call.result(7, mapping.at.value);
    } else if (cap.type() != Type::null) {
        call.result(3, cap.badge);
        call.result(4, cap.object<Object>().id);
    }
    call.result(2, flags);
}

Status take_back(Slot* slot, bool itself) {
    if (!slot || slot->empty()) return {Error::bad_slot, 2};
    // A range that nobody holds would be lost for good.
    if (itself && slot->depth() == 0) return {Error::busy, 2};
    return revoke(*slot, itself) ? Status{} : unfinished();
}

// A device executes nothing, and it is not to drive other devices.
[[gnu::cold, gnu::noinline]] Status may_reach(bool device, u64 want, unsigned n) {
    if (want & rights::mem_exec) return {Error::bad_arg, n};
    return device ? Status{Error::bad_type, 2} : Status{};
}

// May a mapping of memory with those rights have the ones that argument n asks for?
Status may_have(const Space& space, u8 limit, bool device, u64 want, unsigned n) {
    constexpr u64 kSome = rights::mem_read | rights::mem_write | rights::mem_exec;
    constexpr u64 kWriteAndExec = rights::mem_write | rights::mem_exec;
    if (want == 0 || (want & ~kSome)) return {Error::bad_arg, n};
    if (space.kind == abi::SpaceKind::host && (want & kWriteAndExec) == kWriteAndExec) return {Error::bad_arg, n};
    if ((limit & want) != want) return {Error::rights, 2};
    if (device && (want & rights::mem_exec)) return {Error::bad_arg, n};
    return space.kind == abi::SpaceKind::dma ? may_reach(device, want, n) : Status{};
}

// Goes on mapping until it is done or wants to be interrupted.
Status map_on(Mapping& mapping) {
    Space& space = *mapping.space;
    const u64 attributes = space.attributes(mapping.rights, mapping.device);
    while (mapping.done < mapping.bytes) {
        const auto step = space.tables.map_step(*space.pool, mapping.at + mapping.done, mapping.to + mapping.done,
                                                mapping.bytes - mapping.done, attributes);
        if (step.error != Error::none) return step.error;
        mapping.done += step.bytes;
        if (mapping.done < mapping.bytes && should_pause()) return kAgain;
    }
    machine::barrier();
    return {};
}

// The virtual CPU interface in memory, as if there were a capability of it. There is none, so that no process ever maps it.
[[gnu::noinline]] Result<Capability> interface_memory(const Space& space) {
    if (space.kind != abi::SpaceKind::guest) return Status{Error::bad_arg, 2};
    const Phys base = machine::virtual_interface();
    if (!base.value) return Status{Error::unsupported, 2};
    return Capability{Slot::memory_head(rights::mem_read | rights::mem_write, base, Capability::kDevice),
                      abi::space::kInterfaceBytes};
}

// The mapping in the slot, if that is this very call, interrupted.
[[gnu::noinline]] Mapping* begun(Slot* slot, const Space& space, Virt at, u64 bytes, Phys to, u64 rights) {
    if (!slot || slot->type() != Type::mapping) return nullptr;
    Mapping& found = slot->object<Mapping>();
    const bool same = found.space == &space && found.at == at && found.bytes == bytes && found.to == to;
    return same && found.rights == rights && found.done < bytes ? &found : nullptr;
}

Status map(Invocation& call) {
    if (const Status status = call.need(rights::space_map); !status.ok()) return status;
    Space& space = call.object<Space>();
    Slot* parent = &call.slot;
    Capability memory;
    if (call.arg(2) == abi::space::kInterface) [[unlikely]] {
        const auto interface = interface_memory(space);
        if (!interface.ok()) return interface.status();
        memory = interface.value();
    } else {
        const auto from = call.slot_arg(2, Type::memory, 0);
        if (!from.ok()) return from.status();
        parent = from.value();
        memory = parent->peek();
    }
    const u64 offset = call.arg(3), at = call.arg(4), bytes = call.arg(5), want = call.arg(6);
    if ((offset | at | bytes) & (kPage - 1)) return {Error::bad_arg, 5};
    if (!inside(offset, bytes, memory.bytes()) || bytes == 0) return {Error::bad_arg, 3};
    if (!inside(at, bytes, abi::space::kEnd)) return {Error::bad_arg, 4};
    if (const Status status = may_have(space, memory.rights(), memory.device(), want, 6); !status.ok()) return status;
    if (const Status status = derivable(*parent); !status.ok()) return status;

    const Phys to = memory.base() + offset;
    const auto destination = call.destination(7);
    Mapping* mapping =
        destination.ok() ? nullptr : begun(call.self.cspace->find(call.arg(7)), space, {at}, bytes, to, want);
    if (!mapping) {
        if (call.slot.dying()) return {Error::dying, 0};  // whoever empties the space must come to an end
        if (!destination.ok()) return destination.status();
        Slot* const slot = destination.value();
        mapping = make_object<Mapping>(*space.pool, space.pool->allocate_raw(Pool::order_of<Mapping>()));
        if (!mapping) return Error::no_memory;
        mapping->space = &space;
        mapping->slot = slot;
        mapping->at = {at};
        mapping->bytes = bytes;
        mapping->to = to;
        mapping->rights = static_cast<u8>(want);
        mapping->limit = memory.rights();
        mapping->device = memory.device();
        space.mappings.push_back(*mapping);
        first_capability(*parent, *slot, *mapping);  // NOLINT(clang-analyzer-*): a destination that is good is there
    }
    if (mapping->failed == Error::none) {
        const Status status = map_on(*mapping);
        if (status.ok()) return status;
        mapping->failed = status.error();
    }
    const Status failed = mapping->failed;
    return destroy(*mapping->slot) ? failed : unfinished();
}

Status make_pool(Invocation& call) {
    const auto slot = call.destination(2);
    if (!slot.ok()) return slot.status();
    if (call.cap.device()) return {Error::bad_type, 0};
    if (call.cap.bytes() < Pool::kMinBytes) return {Error::bad_arg, 0};
    Pool* pool = Pool::create(machine::to_virt(call.cap.base()), call.cap.bytes());
    first_capability(call.slot, *slot.value(), *pool);
    return {};
}

Status split_pool(Invocation& call) {
    if (const Status status = derivable(call.slot); !status.ok()) return status;
    const u64 bytes = call.arg(2);
    if (bytes < Pool::kMinBytes || (bytes & (kPage - 1))) return {Error::bad_arg, 2};
    const auto slot = call.destination(3);
    if (!slot.ok()) return slot.status();
    Pool* const part = call.object<Pool>().split(bytes);
    if (!part) return Error::no_memory;
    first_capability(call.slot, *slot.value(), *part);
    return {};
}

Status split(Invocation& call) {
    const u64 keep = call.arg(2);
    if (keep == 0 || keep >= call.cap.bytes() || (keep & (kPage - 1))) return {Error::bad_arg, 2};
    const auto slot = call.destination(3);
    if (!slot.ok()) return slot.status();
    const u64 rest = call.cap.bytes() - keep;
    call.slot.shrink(keep);
    call.slot.fill_sibling(
        *slot.value(),
        Slot::memory_head(call.cap.rights(), call.cap.base() + keep, call.cap.head & Capability::kExclusive), rest);
    return {};
}

Status derive_range(Invocation& call) {
    const u64 offset = call.arg(2), bytes = call.arg(3);
    if ((offset | bytes) & (kPage - 1) || bytes == 0) return {Error::bad_arg, 3};
    if (!inside(offset, bytes, call.cap.bytes())) return {Error::bad_arg, 2};
    if (const Status status = derivable(call.slot); !status.ok()) return status;
    const auto slot = call.destination(4);
    if (!slot.ok()) return slot.status();
    const u8 allowed = static_cast<u8>(call.cap.rights() & call.arg(5));
    slot.value()->fill(
        &call.slot, Slot::memory_head(allowed, call.cap.base() + offset, call.cap.device() ? Capability::kDevice : 0),
        bytes, false);
    return {};
}

}  // namespace

Status invoke_pool(Invocation& call, u32 method) {
    if (method == abi::pool::create || method == abi::pool::split) {
        if (const Status status = call.need(rights::pool_create); !status.ok()) return status;
        return method == abi::pool::create ? create_any(call) : split_pool(call);
    }
    if (method != abi::pool::stat) return {Error::bad_method, 1};
    call.result(2, call.object<Pool>().bytes());
    call.result(3, call.object<Pool>().free_bytes());
    return {};
}

Status invoke_cspace(Invocation& call, u32 method) {
    auto& space = call.object<CSpace>();
    switch (method) {
        case abi::cspace::copy: {
            if (const Status status = call.need(rights::cspace_insert); !status.ok()) return status;
            if (call.slot.dying()) return {Error::dying, 0};  // slots that were looked at already must stay empty
            const auto to = call.destination(space, 2);
            if (!to.ok()) return to.status();
            Slot* from = call.self.cspace->find(call.arg(3));
            if (!from || from->empty()) return {Error::bad_slot, 3};
            return derive(*from, *to.value(), static_cast<u8>(call.arg(4)), call.arg(5));
        }
        case abi::cspace::remove:
        case abi::cspace::revoke:
            if (const Status status = call.need(rights::cspace_remove); !status.ok()) return status;
            return take_back(space.find(call.arg(2)), method == abi::cspace::remove);
        case abi::cspace::inspect: {
            if (const Status status = call.need(rights::cspace_inspect); !status.ok()) return status;
            if (call.arg(2) >= abi::cspace::kSlots) return {Error::bad_slot, 2};
            const Slot* slot = space.find(call.arg(2));
            inspect(call, slot ? *slot : Slot{});
            return {};
        }
        default: return {Error::bad_method, 1};
    }
}

Status invoke_memory(Invocation& call, u32 method) {
    switch (method) {
        case abi::memory::split:
        case abi::memory::make_pool: {
            if (const Status status = call.need(rights::mem_own); !status.ok()) return status;
            if (!call.cap.exclusive()) return {Error::rights, 0};
            if (call.slot.has_children()) return {Error::busy, 0};
            if (const Status status = derivable(call.slot); !status.ok()) return status;
            return method == abi::memory::split ? split(call) : make_pool(call);
        }
        case abi::memory::derive: return derive_range(call);
        default: return {Error::bad_method, 1};
    }
}

Status invoke_mapping(Invocation& call, u32 method) {
    if (method != abi::mapping::protect) return {Error::bad_method, 1};
    if (const Status status = call.need(rights::mapping_protect); !status.ok()) return status;
    auto& mapping = call.object<Mapping>();
    const u64 want = call.arg(2);
    if (const Status status = may_have(*mapping.space, mapping.limit, mapping.device, want, 2); !status.ok())
        return status;
    if (mapping.protecting != want) mapping.cursor = 0;
    mapping.protecting = mapping.rights = static_cast<u8>(want);
    const u64 attributes = mapping.space->attributes(mapping.rights, mapping.device);
    unsigned steps = 0;
    while (mapping.cursor < mapping.done) {
        mapping.cursor += mapping.space->tables.protect_step(mapping.at + mapping.cursor, attributes);
        mapping.flushed = 0;
        if (++steps % kStepsBetweenChecks == 0 && should_pause()) return kAgain;
    }
    if (!mapping.space->flush(mapping.flushed)) return unfinished();
    mapping.cursor = 0;
    mapping.protecting = 0;
    return {};
}

Status invoke_space(Invocation& call, u32 method) {
    return method == abi::space::map ? map(call) : Status{Error::bad_method, 1};
}

}  // namespace twain::kernel
