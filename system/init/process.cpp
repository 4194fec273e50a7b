// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Making one process, and taking it apart.
#include <cstring>

#include "system/init/builder.hpp"
#include "system/init/code.hpp"
#include "system/init/environment.hpp"

namespace twain::init {

namespace {

using tables::Index;
using tables::Kind;
using tables::kNone;

constexpr sys::CSpace kOwnSlots{abi::kRootCSpace};
constexpr sys::Space kOwnSpace{abi::kRootSpace};

}  // namespace

Failure Builder::copy_segments(const tables::Process& process, char* image) {
    const sys::Status bad{abi::Error::bad_arg};
    const abi::Module* module = find_module(process.program);
    if (module == nullptr || module->phys < boot_.archive.base) {
        return {"finding the program", process.program, bad};
    }
    const std::uint64_t offset = module->phys - boot_.archive.base;
    const std::uint64_t address = windows_.file + module->phys % kBlock;
    if (const Failure f = check(kOwnSpace.map(sys::Memory{abi::kRootArchive}, offset, address,
                                              round_up(module->bytes, kPage), abi::rights::mem_read, kFileMapping),
                                "mapping the program", process.program)) {
        return f;
    }
    file_open_ = true;
    Failure failure;
    const char* file = reinterpret_cast<const char*>(address);
    std::uint64_t at = 0;
    for (const tables::Segment& s : process.segments) {
        if (s.file_bytes > s.bytes || s.file_offset > module->bytes || s.file_bytes > module->bytes - s.file_offset) {
            failure = {"loading a segment of", process.program, bad};
            break;
        }
        std::memcpy(image + at, file + s.file_offset, s.file_bytes);
        if ((s.rights & abi::rights::mem_exec) != 0) {
            make_code_visible(image + at, s.bytes);
        }
        at += round_up(s.bytes, kPage);
    }
    const sys::Status unmapped = kOwnSlots.remove(kFileMapping);
    file_open_ = !unmapped.ok();
    return failure ? failure : check(unmapped, "unmapping the program", process.program);
}

Failure Builder::load(Index process) {
    const tables::Process& p = system_.processes[process];
    const Piece& piece = processes_[process].image;
    char* image = map_window(piece.slot, piece.base, piece.bytes, abi::rights::mem_read | abi::rights::mem_write);
    if (image == nullptr) {
        return {"mapping the image of", p.name, last_};
    }
    std::memset(image, 0, piece.bytes);
    Failure failure = copy_segments(p, image);
    const ImageLayout layout = image_layout(system_, p);
    std::array<std::uint8_t, abi::kMaxSeed> seed{};
    random_.fill(seed);
    const auto drawn = std::span{seed}.first(random_.trusted() ? seed.size() : 0);
    if (!failure && !write_environment({image + layout.environment, layout.environment_bytes}, system_, p, drawn)) {
        failure = {"writing the environment of", p.name, sys::Status{abi::Error::bad_arg}};
    }
    unmap_window();
    return failure ? failure : check(last_, "unmapping the image of", p.name);
}

Failure Builder::map_image(Index process) {
    const tables::Process& p = system_.processes[process];
    const Process& runtime = processes_[process];
    const sys::Space space{runtime.space};
    const sys::Memory image{runtime.image.slot};
    const ImageLayout layout = image_layout(system_, p);
    std::uint64_t at = 0;
    std::size_t number = 0;
    for (const tables::Segment& s : p.segments) {
        const std::uint64_t bytes = round_up(s.bytes, kPage);
        if (const Failure f = check(space.map(image, at, s.address, bytes, s.rights, mapping_slot(process, number++)),
                                    "mapping a segment of", p.name)) {
            return f;
        }
        at += bytes;
    }
    const std::uint64_t stack_bytes = layout.environment - layout.stack;
    if (const Failure f =
            check(space.map(image, layout.stack, tables::kStackTop - stack_bytes, stack_bytes,
                            abi::rights::mem_read | abi::rights::mem_write, mapping_slot(process, number++)),
                  "mapping the stack of", p.name)) {
        return f;
    }
    return check(space.map(image, layout.environment, tables::kEnvAddress, layout.environment_bytes,
                           abi::rights::mem_read, mapping_slot(process, number)),
                 "mapping the environment of", p.name);
}

Failure Builder::map_regions(Index process) {
    const tables::Process& p = system_.processes[process];
    const sys::Space space{processes_[process].space};
    std::size_t number = own_mappings(process);
    for (const tables::Map& m : p.maps) {
        if (const Failure f = check(space.map(sys::Memory{slots_[m.object]}, m.offset, m.address, m.bytes, m.rights,
                                              mapping_slot(process, number++)),
                                    "mapping the region", system_.objects[m.object].name)) {
            return f;
        }
    }
    return {};
}

Failure Builder::configure_threads(Index process) {
    const tables::Process& p = system_.processes[process];
    const Process& runtime = processes_[process];
    const std::uint64_t badge = process + std::uint64_t{1};
    if (const Failure f = check(kOwnSlots.copy(runtime.fault, kFaultEndpoint, abi::rights::ep_call, badge),
                                "making the fault endpoint of", p.name)) {
        return f;
    }
    sys::Notification events;
    for (const tables::Capability& c : p.capabilities) {
        if (std::string_view{c.name} == "events" && system_.objects[c.object].kind == Kind::notification) {
            events = sys::Notification{slots_[c.object]};
        }
    }
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.owner != process || o.kind != Kind::thread) {
            continue;
        }
        const sys::Sched sched{o.a == kNone ? 0 : slots_[o.a]};
        const sys::Notification bound = i == p.thread ? events : sys::Notification{};
        if (const Failure f =
                check(sys::Thread{slots_[i]}.configure(sys::CSpace{runtime.cspace}, sys::Space{runtime.space},
                                                       sys::Endpoint{runtime.fault}, sched, bound),
                      "configuring", o.name)) {
            return f;
        }
    }
    return {};
}

Failure Builder::give_capabilities(Index process) {
    const tables::Process& p = system_.processes[process];
    const sys::CSpace space = cspace(process);
    if (const Failure f = check(space.copy(tables::kSelfThread, slots_[p.thread], abi::rights::thread_control),
                                "giving its thread to", p.name)) {
        return f;
    }
    for (const tables::Capability& c : p.capabilities) {
        if (const Failure f = check(space.copy(c.slot, slots_[c.object], c.rights, c.badge), "giving away",
                                    system_.objects[c.object].name)) {
            return f;
        }
    }
    return {};
}

Failure Builder::build_steps(Index process) {
    const tables::Process& p = system_.processes[process];
    const Process& runtime = processes_[process];
    const sys::Pool pool{runtime.pool};
    if (const Failure f =
            check(sys::Memory{runtime.pool_memory.slot}.make_pool(runtime.pool), "making the pool of", p.name)) {
        return f;
    }
    if (const Failure f = check(pool.create_cspace(runtime.cspace), "making the capability space of", p.name)) {
        return f;
    }
    if (const Failure f =
            check(pool.create_space(runtime.space, abi::SpaceKind::host), "making the address space of", p.name)) {
        return f;
    }
    if (const Failure f = make_objects(process, pool)) {
        return f;
    }
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.owner != process) {
            continue;
        }
        if (o.kind == Kind::cspace) {
            learn_id(static_cast<Index>(i));
        } else if (o.kind == Kind::ram) {
            if (const Failure f = clear(memory_[i], o.name)) {
                return f;
            }
        }
    }
    if (const Failure f = load(process)) {
        return f;
    }
    if (const Failure f = map_image(process)) {
        return f;
    }
    if (const Failure f = map_regions(process)) {
        return f;
    }
    if (const Failure f = configure_threads(process)) {
        return f;
    }
    if (const Failure f = give_capabilities(process)) {
        return f;
    }
    return check(sys::Thread{slots_[p.thread]}.start(p.entry, tables::kStackTop, tables::kEnvAddress), "starting",
                 p.name);
}

Failure Builder::build(Index process) {
    ProcessStatus& status = processes_[process].status;
    const Failure failure = build_steps(process);
    if (!failure) {
        status.state = ProcessState::running;
        return {};
    }
    (void)dismantle(process);
    status.state = ProcessState::failed;
    return failure;
}

Failure Builder::dismantle(Index process) {
    const tables::Process& p = system_.processes[process];
    Process& runtime = processes_[process];
    Failure failure;
    const auto keep_first = [&](sys::Status status, const char* name) {
        if (!status && status.error() != abi::Error::bad_slot && !failure) {
            failure = {"taking back", name, status};
        }
    };
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.owner == process && o.kind == Kind::thread) {
            keep_first(sys::Thread{slots_[i]}.stop(), o.name);
        }
    }
    close_windows();
    // All objects of the process come from its pool, and all that others hold of them was derived from it.
    keep_first(kOwnSlots.revoke(runtime.pool_memory.slot), p.name);
    for (std::size_t i = 0; i < mappings(process); ++i) {
        keep_first(kOwnSlots.remove(mapping_slot(process, i)), p.name);
    }
    keep_first(kOwnSlots.remove(runtime.fault), p.name);
    keep_first(kOwnSlots.revoke(runtime.image.slot), p.name);
    for (std::size_t i = 0; i < system_.objects.size(); ++i) {
        const tables::Object& o = system_.objects[i];
        if (o.owner != process) {
            continue;
        }
        ids_[i] = 0;
        if (is_memory(o.kind)) {
            keep_first(kOwnSlots.revoke(slots_[i]), o.name);
        } else if (o.kind != Kind::log && o.kind != Kind::cspace) {
            keep_first(kOwnSlots.remove(slots_[i]), o.name);  // empty already, unless it was made from something else
        }
    }
    runtime.status.state = ProcessState::killed;
    return failure;
}

std::size_t Builder::read_process(Index process, std::uint64_t address, std::span<char> to) {
    const tables::Process& p = system_.processes[process];
    const Piece& piece = processes_[process].image;
    const ImageLayout layout = image_layout(system_, p);
    std::uint64_t offset = 0;
    std::size_t count = 0;
    const auto look_in = [&](std::uint64_t base, std::uint64_t bytes, std::uint64_t at) {
        if (address >= base && address - base < bytes) {
            const std::uint64_t there = bytes - (address - base);
            offset = at + (address - base);
            count = to.size() < there ? to.size() : static_cast<std::size_t>(there);
        }
    };
    std::uint64_t at = 0;
    for (const tables::Segment& s : p.segments) {
        look_in(s.address, round_up(s.bytes, kPage), at);
        at += round_up(s.bytes, kPage);
    }
    look_in(tables::kStackTop - (layout.environment - layout.stack), layout.environment - layout.stack, layout.stack);
    if (count == 0) {
        return 0;
    }
    const char* image = map_window(piece.slot, piece.base, piece.bytes, abi::rights::mem_read);
    if (image == nullptr) {
        return 0;
    }
    std::memcpy(to.data(), image + offset, count);
    unmap_window();
    return count;
}

}  // namespace twain::init
