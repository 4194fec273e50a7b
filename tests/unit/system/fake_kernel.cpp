// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "fake_kernel.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace twain::fake {

namespace {

using sys::Error;
using sys::Regs;
using sys::Status;

constexpr bool whole_pages(std::uint64_t value) { return value % 4096 == 0; }

}  // namespace

Kernel* Kernel::current = nullptr;

Kernel::Kernel(std::uint64_t ram_base, std::uint64_t ram_bytes) : ram_base_(ram_base), ram_bytes_(ram_bytes) {
    current = this;
    file_ = memfd_create("ram", 0);
    if (file_ < 0 || ftruncate(file_, static_cast<off_t>(ram_bytes)) != 0) {
        std::abort();
    }
    ram_ = static_cast<char*>(mmap(nullptr, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0));
    const auto give = [&](std::uint32_t slot, abi::Type type, std::uint64_t object) {
        root()[slot] = Cap{.type = type, .rights = 0xff, .object = object, .id = next_id_++};
    };
    give(abi::kRootCSpace, abi::Type::cspace, kRootCSpaceObject);
    give(abi::kRootSpace, abi::Type::space, kRootSpaceObject);
    give(abi::kRootThread, abi::Type::thread, 3);
    give(abi::kRootSystem, abi::Type::system, 4);
    give(abi::kRootPool, abi::Type::pool, 5);
    give(abi::kRootSched, abi::Type::sched, 6);
}

Kernel::~Kernel() {
    revoke(0);
    munmap(ram_, ram_bytes_);
    close(file_);
    current = nullptr;
}

void Kernel::give_ram(std::uint32_t slot, std::uint64_t base, std::uint64_t bytes) {
    root()[slot] = Cap{.type = abi::Type::memory,
                       .rights = 15,
                       .object = next_object_++,
                       .base = base,
                       .bytes = bytes,
                       .id = next_id_++};
}

void Kernel::give_archive(std::uint64_t base, std::uint64_t bytes) {
    root()[abi::kRootArchive] = Cap{.type = abi::Type::memory,
                                    .rights = abi::rights::mem_read,
                                    .object = next_object_++,
                                    .base = base,
                                    .bytes = bytes,
                                    .id = next_id_++};
}

const Cap* Kernel::find(std::uint32_t slot) const {
    const auto space = cspaces_.find(kRootCSpaceObject);
    const auto at = space->second.find(slot);
    return at == space->second.end() ? nullptr : &at->second;
}

std::size_t Kernel::count() const {
    std::size_t sum = 0;
    for (const auto& [object, slots] : cspaces_) {
        sum += slots.size();
    }
    return sum;
}

std::vector<Cap> Kernel::mappings_of(std::uint64_t space_object) const {
    std::vector<Cap> found;
    for (const auto& [object, slots] : cspaces_) {
        for (const auto& [slot, cap] : slots) {
            if (cap.type == abi::Type::mapping && cap.object == space_object) {
                found.push_back(cap);
            }
        }
    }
    return found;
}

bool Kernel::has_children(std::uint64_t id) const {
    return std::any_of(cspaces_.begin(), cspaces_.end(), [&](const auto& space) {
        return std::any_of(space.second.begin(), space.second.end(),
                           [&](const auto& slot) { return slot.second.parent == id; });
    });
}

void Kernel::destroy(const Cap& cap) {
    if (cap.type == abi::Type::mapping && cap.object == kRootSpaceObject) {
        mmap(reinterpret_cast<void*>(cap.address), cap.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
    }
    if (cap.type == abi::Type::thread) {
        threads.erase(cap.object);
    }
}

// Deletes everything derived from capability `id`.
void Kernel::revoke(std::uint64_t id) {
    for (bool again = true; again;) {
        again = false;
        for (auto& [object, slots] : cspaces_) {
            for (auto& [slot, cap] : slots) {
                if (id == 0 ? cap.parent != 0 : cap.parent == id) {
                    const Cap copy = cap;
                    slots.erase(slot);
                    if (id != 0) {
                        revoke(copy.id);
                    }
                    destroy(copy);
                    if (copy.type == abi::Type::cspace && object != copy.object) {
                        for (const auto& [inner, content] : Slots{cspaces_[copy.object]}) {
                            revoke(content.id);
                        }
                        const bool last = std::none_of(cspaces_.begin(), cspaces_.end(), [&](const auto& other) {
                            return std::any_of(other.second.begin(), other.second.end(), [&](const auto& s) {
                                return s.second.type == abi::Type::cspace && s.second.object == copy.object;
                            });
                        });
                        if (last) {
                            cspaces_.erase(copy.object);
                        }
                    }
                    again = true;
                    break;
                }
            }
            if (again) {
                break;
            }
        }
    }
}

Status Kernel::put(Slots& slots, std::uint64_t slot, Cap cap, const Cap& parent, unsigned argument) {
    if (slot == 0 || slot >= abi::cspace::kSlots) {
        return Status{Error::bad_slot, argument};
    }
    if (slots.contains(static_cast<std::uint32_t>(slot))) {
        return Status{Error::occupied, argument};
    }
    cap.id = next_id_++;
    cap.parent = parent.id;
    slots[static_cast<std::uint32_t>(slot)] = cap;
    return {};
}

Status Kernel::pool(const Cap& cap, const Regs& in, Regs& out) {
    if (in.x1 == abi::pool::stat) {
        out.x2 = cap.bytes;
        out.x3 = cap.bytes / 2;
        return {};
    }
    const auto type = static_cast<abi::Type>(in.x2);
    if (type == abi::Type::vcpu) {
        const Cap* space = find(static_cast<std::uint32_t>(in.x4));
        if (space == nullptr || space->type != abi::Type::space) {
            return Status{Error::bad_type, 4};
        }
    }
    Cap made{.type = type, .rights = 0xff, .object = next_object_++};
    const Status status = put(root(), in.x3, made, cap, 3);
    if (status && type == abi::Type::cspace) {
        cspaces_[made.object] = {};
    }
    if (status && type == abi::Type::thread) {
        threads[made.object] = {};
    }
    return status;
}

void Kernel::inspect(const Cap& cap, bool exclusive, Regs& out) {
    out.x2 = static_cast<std::uint64_t>(cap.type) | std::uint64_t{cap.rights} << 8 |
             (exclusive && cap.type == abi::Type::memory ? abi::cspace::kInspectExclusive : 0) |
             (cap.device ? abi::cspace::kInspectDevice : 0);
    out.x3 = cap.badge;
    out.x4 = cap.object;
    out.x5 = cap.base;
    out.x6 = cap.bytes;
    out.x7 = cap.address;
}

Status Kernel::cspace(const Cap& cap, const Regs& in, Regs& out) {
    if (!cspaces_.contains(cap.object)) {
        return Status{Error::bad_slot};
    }
    Slots& target = cspaces_[cap.object];
    const auto at = target.find(static_cast<std::uint32_t>(in.x2));
    switch (in.x1) {
        case abi::cspace::copy: {
            const Cap* source = find(static_cast<std::uint32_t>(in.x3));
            if (source == nullptr) {
                return Status{Error::bad_slot, 3};
            }
            Cap made = *source;
            made.rights = made.rights & static_cast<std::uint8_t>(in.x4);
            if (in.x5 != 0) {
                if (made.badge != 0) {
                    return Status{Error::bad_arg, 5};
                }
                made.badge = in.x5;
            }
            return put(target, in.x2, made, *source, 2);
        }
        case abi::cspace::remove:
        case abi::cspace::revoke: {
            if (at == target.end()) {
                return Status{Error::bad_slot, 2};
            }
            const Cap copy = at->second;
            revoke(copy.id);
            if (in.x1 == abi::cspace::remove) {
                target.erase(static_cast<std::uint32_t>(in.x2));
                destroy(copy);
            }
            return {};
        }
        case abi::cspace::inspect:
            if (at == target.end()) {
                return Status{Error::bad_slot, 2};
            }
            inspect(at->second, !has_children(at->second.id) && at->second.parent == 0, out);
            return {};
        default: return Status{Error::bad_method};
    }
}

Status Kernel::memory(const Cap& cap, const Regs& in) {
    if (in.x1 == abi::memory::derive) {
        if (!whole_pages(in.x2) || !whole_pages(in.x3) || in.x3 == 0 || in.x2 > cap.bytes ||
            in.x3 > cap.bytes - in.x2) {
            return Status{Error::bad_arg, 3};
        }
        Cap made = cap;
        made.base += in.x2;
        made.bytes = in.x3;
        made.rights = cap.rights & static_cast<std::uint8_t>(in.x5);
        return put(root(), in.x4, made, cap, 4);
    }
    if (has_children(cap.id)) {
        return Status{Error::busy};
    }
    if (in.x1 == abi::memory::make_pool) {
        if (cap.bytes < 16384) {
            return Status{Error::bad_arg};
        }
        return put(root(), in.x2,
                   Cap{.type = abi::Type::pool, .rights = 0xff, .object = next_object_++, .bytes = cap.bytes}, cap, 2);
    }
    if (!whole_pages(in.x2) || in.x2 == 0 || in.x2 >= cap.bytes) {
        return Status{Error::bad_arg, 2};
    }
    Cap rest = cap;
    rest.object = next_object_++;
    rest.base += in.x2;
    rest.bytes -= in.x2;
    const Status status = put(root(), in.x3, rest, Cap{}, 3);
    if (status) {
        for (auto& [slot, own] : root()) {
            own.bytes = own.id == cap.id ? in.x2 : own.bytes;
        }
    }
    return status;
}

Status Kernel::space(const Cap& cap, const Regs& in) {
    const Cap* memory = find(static_cast<std::uint32_t>(in.x2));
    if (memory == nullptr || memory->type != abi::Type::memory) {
        return Status{Error::bad_type, 2};
    }
    const Cap source = *memory;
    if (!whole_pages(in.x3) || in.x5 == 0 || !whole_pages(in.x5) || in.x3 > source.bytes ||
        in.x5 > source.bytes - in.x3) {
        return Status{Error::bad_arg, 5};
    }
    if ((in.x6 & ~std::uint64_t{source.rights}) != 0 || (in.x6 & 6) == 6) {
        return Status{Error::rights, 6};
    }
    for (const Cap& other : mappings_of(cap.object)) {
        if (in.x4 < other.address + other.bytes && other.address < in.x4 + in.x5) {
            return Status{Error::occupied, 4};
        }
    }
    Cap made{.type = abi::Type::mapping,
             .rights = static_cast<std::uint8_t>(in.x6),
             .object = cap.object,
             .base = source.base + in.x3,
             .bytes = in.x5,
             .address = in.x4};
    const Status status = put(root(), in.x7, made, source, 7);
    if (status && cap.object == kRootSpaceObject) {
        const int protection = (in.x6 & 2) != 0 ? PROT_READ | PROT_WRITE : PROT_READ;
        if (mmap(reinterpret_cast<void*>(in.x4), in.x5, protection, MAP_SHARED | MAP_FIXED, file_,
                 static_cast<off_t>(made.base - ram_base_)) == MAP_FAILED) {
            std::abort();
        }
    }
    return status;
}

Status Kernel::thread(const Cap& cap, const Regs& in, Regs& out) {
    ThreadModel& model = threads[cap.object];
    switch (in.x1) {
        case abi::thread::configure: {
            const auto take = [&](std::uint64_t slot, abi::Type type, std::uint64_t& to,
                                  std::uint64_t* badge = nullptr) {
                if (slot == 0) {
                    return true;
                }
                const Cap* c = find(static_cast<std::uint32_t>(slot));
                if (c == nullptr || c->type != type) {
                    return false;
                }
                to = c->object;
                if (badge != nullptr) {
                    *badge = c->badge;
                }
                return true;
            };
            return take(in.x2, abi::Type::cspace, model.cspace) && take(in.x3, abi::Type::space, model.space) &&
                           take(in.x4, abi::Type::endpoint, model.fault, &model.fault_badge) &&
                           take(in.x5, abi::Type::sched, model.sched) &&
                           take(in.x6, abi::Type::notification, model.note)
                       ? Status{}
                       : Status{Error::bad_type, 2};
        }
        case abi::thread::start:
            model.started = true;
            model.pc = in.x2;
            model.sp = in.x3;
            model.x0 = in.x4;
            return {};
        case abi::thread::stop: model.started = false; return {};
        case abi::thread::read:
            out.x3 = model.registers[0];
            out.x4 = model.registers[1];
            out.x5 = model.registers[2];
            out.x6 = model.registers[3];
            out.x7 = model.registers[4];
            return {};
        case abi::thread::state:
            out.x2 = static_cast<std::uint64_t>(model.started ? abi::ThreadState::ready : abi::ThreadState::stopped);
            out.x7 = cap.object;
            return {};
        default: return Status{Error::bad_method};
    }
}

Status Kernel::system(const Cap& cap, const Regs& in, Regs& out) {
    const auto made_from_pool = [&](abi::Type type) {
        const Cap* pool = find(static_cast<std::uint32_t>(in.x2));
        if (pool == nullptr || pool->type != abi::Type::pool) {
            return Status{Error::bad_type, 2};
        }
        const Cap parent = *pool;
        return put(root(), in.x3, Cap{.type = type, .rights = 0xff, .object = next_object_++}, parent, 3);
    };
    switch (in.x1) {
        case abi::system::make_sched: return made_from_pool(abi::Type::sched);
        case abi::system::make_irq: return made_from_pool(abi::Type::irq);
        case abi::system::make_memory:
            if (in.x3 + in.x4 > ram_base_ && in.x3 < ram_base_ + ram_bytes_) {
                return Status{Error::bad_arg, 3};
            }
            return put(root(), in.x2,
                       Cap{.type = abi::Type::memory,
                           .rights = 3,
                           .object = next_object_++,
                           .base = in.x3,
                           .bytes = in.x4,
                           .device = true},
                       cap, 2);
        case abi::system::power: power = in.x2; return {};
        case abi::system::log_read: {
            const std::string piece = in.x2 < log.size() ? log.substr(in.x2, 32) : "";
            out.x2 = in.x2 + piece.size();
            out.x3 = piece.size();
            std::uint64_t words[4] = {};
            std::memcpy(words, piece.data(), piece.size());
            out.x4 = words[0];
            out.x5 = words[1];
            out.x6 = words[2];
            out.x7 = words[3];
            return {};
        }
        case abi::system::uart: uart_kernel = static_cast<int>(in.x2); return {};
        case abi::system::info:
            out.x2 = 2;
            out.x3 = 62'500'000;
            out.x4 = 5;
            out.x5 = abi::kVersion;
            out.x6 = 2;
            return {};
        default: return Status{Error::bad_method};
    }
}

Status Kernel::arm(const Cap& cap, const Regs& in) {
    if (in.x1 != abi::notification::arm) {
        return Status{Error::bad_method, 1};
    }
    if ((cap.rights & abi::rights::note_arm) == 0) {
        return Status{Error::rights};
    }
    armed = in.x2;
    return {};
}

Regs Kernel::invoke(const Regs& in) {
    Regs out;
    if (++invokes == fail_at) {
        out.x1 = Status{Error::no_memory, 7}.tag();
        return out;
    }
    const Cap* found = find(static_cast<std::uint32_t>(in.x0));
    if (found == nullptr) {
        out.x1 = Status{Error::bad_slot}.tag();
        return out;
    }
    const Cap cap = *found;
    Status status{Error::bad_type};
    switch (cap.type) {
        case abi::Type::pool: status = pool(cap, in, out); break;
        case abi::Type::cspace: status = cspace(cap, in, out); break;
        case abi::Type::memory: status = memory(cap, in); break;
        case abi::Type::space: status = space(cap, in); break;
        case abi::Type::thread: status = thread(cap, in, out); break;
        case abi::Type::system: status = system(cap, in, out); break;
        case abi::Type::sched: status = Status{}; break;
        case abi::Type::notification: status = arm(cap, in); break;
        default: break;
    }
    out.x1 = status.tag();
    return out;
}

Regs Kernel::svc(abi::Sys call, const Regs& in) {
    Regs out;
    switch (call) {
        case abi::Sys::invoke: return invoke(in);
        case abi::Sys::log: {
            const std::uint64_t words[6] = {in.x2, in.x3, in.x4, in.x5, in.x6, in.x7};
            log.append(reinterpret_cast<const char*>(words), std::min<std::size_t>(in.x1, sizeof words));
            return out;
        }
        case abi::Sys::wait:
            out.x1 = next_wait_bits != 0 ? abi::kTagNote : Status{Error::timeout}.tag();
            out.x2 = next_wait_bits;
            next_wait_bits = 0;
            return out;
        default: return out;
    }
}

}  // namespace twain::fake

twain::sys::Regs twain::sys::fake_svc(abi::Sys call, const Regs& in) { return fake::Kernel::current->svc(call, in); }
