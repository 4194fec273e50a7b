// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/builder.hpp"

#include <cstring>

#include "sys/clock.hpp"
#include "system/init/environment.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::Kind;
using tables::kNone;
using tables::kSystemOwner;

constexpr sys::CSpace kOwnSlots{abi::kRootCSpace};
constexpr sys::Space kOwnSpace{abi::kRootSpace};
constexpr sys::System kSystemObject{abi::kRootSystem};

}  // namespace

ImageLayout image_layout(const tables::System& system, const tables::Process& process) {
    ImageLayout layout;
    for (const tables::Segment& s : process.segments) {
        layout.stack += round_up(s.bytes, kPage);
    }
    layout.environment = layout.stack + round_up(process.stack_bytes, kPage);
    layout.environment_bytes = round_up(environment_bytes(system, process), kPage);
    layout.bytes = layout.environment + layout.environment_bytes;
    return layout;
}

Builder::Builder(const tables::System& system, const abi::BootInfo& boot, Windows windows)
    : system_(system),
      boot_(boot),
      windows_(windows),
      stock_(Splitter{this}),
      random_({boot.seed, boot.seed_bytes < abi::kMaxSeed ? boot.seed_bytes : abi::kMaxSeed},
              boot.seed_bytes >= abi::kMaxSeed) {}

// --- once ------------------------------------------------------------------------------------

Failure Builder::create_system() {
    if (const Failure f = check_bounds()) {
        return f;
    }
    const auto info = kSystemObject.info(0);
    if (!info) {
        return {"reading the kernel's information", "", info.status()};
    }
    frequency_ = info->ticks_per_second;
    assign_slots();
    if (const Failure f = take_ram()) {
        return f;
    }
    if (const Failure f = carve()) {
        return f;
    }
    if (const Failure f = make_system_objects()) {
        return f;
    }
    return make_init_view();
}

// The tables are generated and checked, but they are data: nothing here may run over because of them.
Failure Builder::check_bounds() const {
    const sys::Status bad{abi::Error::bad_arg};
    if (boot_.magic != abi::kBootMagic || boot_.version != abi::kVersion) {
        return {"reading the boot information", "", bad};
    }
    if (system_.objects.size() > kMaxObjects || system_.processes.size() > kMaxProcesses ||
        system_.init.size() > kMaxInitCapabilities) {
        return {"checking the tables: too many entries", system_.name, bad};
    }
    const auto known = [&](Index object) { return object < system_.objects.size(); };
    for (const tables::Object& o : system_.objects) {
        const bool owner = o.owner == kSystemOwner || o.owner < system_.processes.size();
        const bool refers = o.kind == Kind::vcpu || (o.kind == Kind::thread && o.a != kNone);
        const std::uint64_t target = o.kind == Kind::vcpu ? o.b : o.a;
        if (!owner || (refers && target >= system_.objects.size()) ||
            (o.kind == Kind::cspace && o.owner == kSystemOwner)) {
            return {"checking the tables: object", o.name, bad};
        }
    }
    for (const tables::Process& p : system_.processes) {
        bool good = known(p.thread) && system_.objects[p.thread].kind == Kind::thread;
        for (const tables::Capability& c : p.capabilities) {
            good = good && known(c.object) && c.slot >= tables::kFirstSlot && c.slot < abi::cspace::kSlots;
        }
        for (const tables::Map& m : p.maps) {
            good = good && known(m.object) && is_memory(system_.objects[m.object].kind);
        }
        if (!good) {
            return {"checking the tables: process", p.name, bad};
        }
    }
    for (const tables::Capability& c : system_.init) {
        if (!known(c.object)) {
            return {"checking the tables: init's capability", c.name, bad};
        }
    }
    for (const tables::Map& m : system_.init_maps) {
        if (!known(m.object) || !is_memory(system_.objects[m.object].kind)) {
            return {"checking the tables: init's region", m.name, bad};
        }
    }
    return {};
}

void Builder::assign_slots() {
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        slots_[i] = next_slot_++;
    }
    for (std::size_t i = 0; i < system_.processes.size(); ++i) {
        Process& p = processes_[i];
        p.pool = next_slot_++;
        p.cspace = next_slot_++;
        p.space = next_slot_++;
        p.fault = next_slot_++;
        p.first_mapping = next_slot_;
        next_slot_ += static_cast<abi::Slot>(mappings(static_cast<Index>(i)));
    }
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.kind == Kind::cspace) {
            slots_[i] = processes_[o.owner].cspace;
        } else if (o.kind == Kind::log) {
            slots_[i] = abi::kRootSystem;
        }
    }
    for (std::size_t i = 0; i < system_.init.size(); ++i) {
        init_slots_[i] = next_slot_++;
    }
    next_slot_ += static_cast<abi::Slot>(system_.init_maps.size());  // right behind init's capabilities
}

Failure Builder::take_ram() {
    for (abi::Slot i = 0; i < abi::kRootRamCount; ++i) {
        const auto info = kOwnSlots.inspect(abi::kRootRam + i);
        if (!info || info->type != abi::Type::memory) {
            continue;
        }
        stock_.add({abi::kRootRam + i, info->base, info->bytes});
    }
    return stock_.free_bytes() != 0 ? Failure{}
                                    : Failure{"finding free memory", "", sys::Status{abi::Error::no_memory}};
}

Failure Builder::carve_object(Index object) {
    const tables::Object& o = system_.objects[object];
    const auto piece = stock_.take(round_up(o.a, kPage), o.b);
    if (!piece) {
        return {"carving memory for", o.name, piece.status()};
    }
    memory_[object] = *piece;
    slots_[object] = piece->slot;
    return {};
}

// RAM objects, those of large alignment first; then image and kernel memory of each process; the order of the tables
// otherwise. `sysgen map` shows the same order.
Failure Builder::carve() {
    for (const bool large : {true, false}) {
        for (std::size_t i = 0; i < system_.objects.size(); ++i) {
            const tables::Object& o = system_.objects[i];
            if (o.kind == Kind::ram && (o.b > kPage) == large) {
                if (const Failure f = carve_object(static_cast<Index>(i))) {
                    return f;
                }
            }
        }
    }
    for (std::size_t i = 0; i < system_.processes.size(); ++i) {
        const tables::Process& p = system_.processes[i];
        const auto image = stock_.take(image_layout(system_, p).bytes, kPage);
        const auto pool_memory = stock_.take(round_up(p.pool_bytes, kPage), kPage);
        if (!image || !pool_memory) {
            return {"carving memory for", p.name, image ? pool_memory.status() : image.status()};
        }
        processes_[i].image = *image;
        processes_[i].pool_memory = *pool_memory;
    }
    const auto pool = stock_.take(kSystemPoolBytes, kPage);
    if (!pool) {
        return {"carving memory for", "the system's pool", pool.status()};
    }
    return check(sys::Memory{pool->slot}.make_pool(kSystemPool), "making", "the system's pool");
}

const abi::Module* Builder::find_module(const char* name) const {
    for (std::uint32_t i = 0; i < boot_.module_count && i < abi::kMaxModules; ++i) {
        if (std::strncmp(boot_.modules[i].name, name, sizeof boot_.modules[i].name) == 0) {
            return &boot_.modules[i];
        }
    }
    return nullptr;
}

// Files and devices, which stay whoever dies; then the objects that two processes share.
Failure Builder::make_system_objects() {
    const sys::Memory archive{abi::kRootArchive};
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.kind == Kind::file) {
            const abi::Module* module = find_module(o.module);
            if (module == nullptr || module->phys < boot_.archive.base) {
                return {"finding the archive's file", o.module, sys::Status{abi::Error::bad_arg}};
            }
            memory_[i] = {slots_[i], module->phys, round_up(module->bytes, kPage)};
            if (const Failure f = check(archive.derive(module->phys - boot_.archive.base, memory_[i].bytes, slots_[i],
                                                       abi::rights::mem_read),
                                        "opening the archive's file", o.module)) {
                return f;
            }
        } else if (o.kind == Kind::device) {
            memory_[i] = {slots_[i], o.a, round_up(o.b, kPage)};
            if (const Failure f =
                    check(kSystemObject.make_memory(slots_[i], o.a, memory_[i].bytes), "making", o.name)) {
                return f;
            }
        } else if (o.kind == Kind::ram && o.owner == kSystemOwner) {
            if (const Failure f = clear(memory_[i], o.name)) {
                return f;
            }
        }
    }
    return make_objects(kSystemOwner, sys::Pool{kSystemPool});
}

// What init itself uses: the fault endpoint, badged bells, the rings of the control channel.
Failure Builder::make_init_view() {
    if (const Failure f =
            check(sys::Pool{kSystemPool}.create_endpoint(kFaultEndpoint, 0), "making", "the fault endpoint")) {
        return f;
    }
    for (std::size_t i = 0; i < system_.init.size(); ++i) {
        const tables::Capability& c = system_.init[i];
        if (system_.objects[c.object].kind != Kind::notification) {
            init_slots_[i] = slots_[c.object];
            continue;
        }
        if (const Failure f =
                check(kOwnSlots.copy(init_slots_[i], slots_[c.object], c.rights, c.badge), "giving init", c.name)) {
            return f;
        }
    }
    const abi::Slot first = init_slots_[0] + static_cast<abi::Slot>(system_.init.size());
    for (std::size_t i = 0; i < system_.init_maps.size(); ++i) {
        const tables::Map& m = system_.init_maps[i];
        const abi::Slot slot = first + static_cast<abi::Slot>(i);
        if (const Failure f =
                check(kOwnSpace.map(sys::Memory{slots_[m.object]}, m.offset, m.address, m.bytes, m.rights, slot),
                      "mapping for init", m.name)) {
            return f;
        }
    }
    return {};
}

// --- objects ---------------------------------------------------------------------------------

void Builder::learn_id(Index object) {
    const auto info = kOwnSlots.inspect(slots_[object]);
    ids_[object] = info ? info->object : 0;
}

Failure Builder::make_object(Index object, sys::Pool pool) {
    const tables::Object& o = system_.objects[object];
    const abi::Slot to = slots_[object];
    sys::Status status;
    switch (o.kind) {
        case Kind::endpoint: status = pool.create_endpoint(to, o.core); break;
        case Kind::notification: status = pool.create_notification(to); break;
        case Kind::reply: status = pool.create_reply(to); break;
        case Kind::irq:
            status = kSystemObject.make_irq(pool, to, static_cast<std::uint32_t>(o.a), o.b == 1, o.core);
            break;
        case Kind::sched:
            status = kSystemObject.make_sched(pool, to, sys::to_ticks(o.a, frequency_), sys::to_ticks(o.b, frequency_),
                                              {o.priority, o.core, (o.flags & 1) != 0});
            break;
        case Kind::guest_space: status = pool.create_space(to, abi::SpaceKind::guest); break;
        case Kind::vcpu: status = pool.create_vcpu(to, sys::Space{slots_[o.b]}, o.a); break;
        case Kind::thread: status = pool.create_thread(to); break;
        case Kind::ram:
        case Kind::file:
        case Kind::device:
        case Kind::cspace:
        case Kind::log: return {};
    }
    if (status) {
        learn_id(object);
    }
    return check(status, "making", o.name);
}

// What others refer to first: vCPUs need their space.
Failure Builder::make_objects(Index owner, sys::Pool pool) {
    for (const bool vcpus : {false, true}) {
        for (std::size_t i = 0; i < system_.objects.size(); ++i) {
            const tables::Object& o = system_.objects[i];
            if (o.owner == owner && (o.kind == Kind::vcpu) == vcpus) {
                if (const Failure f = make_object(static_cast<Index>(i), pool)) {
                    return f;
                }
            }
        }
    }
    return {};
}

// --- memory ----------------------------------------------------------------------------------

char* Builder::map_window(abi::Slot memory, std::uint64_t base, std::uint64_t bytes, sys::Rights rights) {
    // The same offset within a block as the memory has, so that the kernel can use blocks.
    const std::uint64_t address = windows_.memory + base % kBlock;
    close_windows();
    last_ = kOwnSpace.map(sys::Memory{memory}, 0, address, bytes, rights, kWindowMapping);
    window_open_ = last_.ok();
    return window_open_ ? reinterpret_cast<char*>(address) : nullptr;
}

void Builder::unmap_window() {
    last_ = kOwnSlots.remove(kWindowMapping);
    window_open_ = !last_.ok();
}

// What could not be unmapped when it was due.
void Builder::close_windows() {
    if (window_open_) {
        window_open_ = false;
        (void)kOwnSlots.remove(kWindowMapping);
    }
    if (file_open_) {
        file_open_ = false;
        (void)kOwnSlots.remove(kFileMapping);
    }
}

Failure Builder::clear(const Piece& piece, const char* name) {
    char* bytes = map_window(piece.slot, piece.base, piece.bytes, abi::rights::mem_read | abi::rights::mem_write);
    if (bytes == nullptr) {
        return {"mapping for clearing", name, last_};
    }
    std::memset(bytes, 0, piece.bytes);
    unmap_window();
    return check(last_, "unmapping after clearing", name);
}

}  // namespace twain::init
