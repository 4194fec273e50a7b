// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The guest's device space: windows of intermediate physical addresses, each answered by one device model.
//
// A device is any class with
//     std::uint64_t read(Access) ;  void write(Access, std::uint64_t value);
// Access carries the offset in the window, the width (1, 2, 4 or 8 bytes; not necessarily aligned) and the vCPU.
// A device answers every offset and width; what its data sheet leaves out reads as zero and ignores writes. It
// does its own locking: several vCPUs come at once.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>

#include "vmm/types.hpp"

namespace twain::vmm {

struct Access {
    std::uint64_t offset;
    unsigned bytes;
    VcpuIndex vcpu;

    constexpr bool aligned() const { return (offset & (bytes - 1)) == 0; }
};

template <typename Device>
concept MmioDevice = requires(Device& d, Access a, std::uint64_t v) {
    { d.read(a) } -> std::same_as<std::uint64_t>;
    d.write(a, v);
};

class Bus {
public:
    struct Window {
        const char* name = "";
        Ipa base;
        std::uint64_t bytes = 0;
        void* device = nullptr;
        std::uint64_t (*read)(void*, Access) = nullptr;
        void (*write)(void*, Access, std::uint64_t) = nullptr;
    };
    static constexpr unsigned kMaxWindows = 16;

    // One per vCPU: the window that it used last, so that a driver's run of accesses costs no search.
    struct Cursor {
        unsigned last = 0;
    };

    // False: the window is empty, wraps or overlaps another, or the table is full.
    template <MmioDevice Device>
    bool attach(const char* name, Ipa base, std::uint64_t bytes, Device& device) {
        return insert({name, base, bytes, &device, [](void* d, Access a) { return static_cast<Device*>(d)->read(a); },
                       [](void* d, Access a, std::uint64_t v) { static_cast<Device*>(d)->write(a, v); }});
    }

    // False: no window holds the whole access. The value of a read comes in the low bytes, zero-extended.
    bool read(Cursor& cursor, Ipa at, unsigned bytes, VcpuIndex vcpu, std::uint64_t& value) const {
        const Window* w = find(cursor, at, bytes);
        if (w == nullptr) {
            return false;
        }
        value = truncate(w->read(w->device, {at.value - w->base.value, bytes, vcpu}), bytes);
        return true;
    }
    bool write(Cursor& cursor, Ipa at, unsigned bytes, VcpuIndex vcpu, std::uint64_t value) const {
        const Window* w = find(cursor, at, bytes);
        if (w == nullptr) {
            return false;
        }
        w->write(w->device, {at.value - w->base.value, bytes, vcpu}, truncate(value, bytes));
        return true;
    }

    std::span<const Window> windows() const { return {windows_.data(), count_}; }

private:
    bool insert(const Window& window);

    static constexpr bool holds(const Window& w, Ipa at, unsigned bytes) {
        const std::uint64_t offset = at.value - w.base.value;
        return offset < w.bytes && bytes <= w.bytes - offset;
    }

    const Window* find(Cursor& cursor, Ipa at, unsigned bytes) const {
        if (!holds(windows_[cursor.last], at, bytes)) [[unlikely]] {
            unsigned i = 0;
            while (i < count_ && !holds(windows_[i], at, bytes)) {
                ++i;
            }
            if (i == count_) {
                return nullptr;
            }
            cursor.last = i;
        }
        return &windows_[cursor.last];
    }

    std::array<Window, kMaxWindows> windows_{};
    unsigned count_ = 0;
};

}  // namespace twain::vmm
