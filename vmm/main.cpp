// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The virtual machine monitor of one guest: an ordinary process. It finds its guest in its environment, builds the
// machine, starts a thread for each vCPU and becomes the event loop.
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>

#include "rt/env.hpp"
#include "rt/panic.hpp"
#include "rt/thread.hpp"
#include "sys/sys.hpp"
#include "vmm/machine/machine.hpp"
#include "vmm/machine/native.hpp"
#include "vmm/machine/vcpu_loop.hpp"
#include "vmm/shadow/loop.hpp"

namespace twain::vmm {
namespace {

using NativeMachine = Machine<NativePlatform>;

template <typename T>
class Static {  // storage for an object made once, never destroyed
public:
    template <typename... Arguments>
    T& make(Arguments&&... arguments) {
        return *new (storage_) T(static_cast<Arguments&&>(arguments)...);
    }

private:
    alignas(T) std::byte storage_[sizeof(T)];
};

struct VcpuThread {
    NativeMachine* machine = nullptr;
    ShadowGuest<NativePlatform>* shadow = nullptr;  // where the kernel is at EL1
    VcpuIndex index = 0;
    rt::ThreadStart start{};
};

Static<NativePlatform> the_platform;
Static<NativeMachine> the_machine;
Static<ShadowGuest<NativePlatform>> the_shadow;
std::array<VcpuThread, kMaxVcpus> vcpu_threads;
std::array<abi::VcpuPage*, kMaxVcpus> pages;

// "vcpu<n><suffix>"
class VcpuName {
public:
    VcpuName(VcpuIndex n, const char* suffix) {
        std::memcpy(text_, "vcpu", 4);
        text_[4] = static_cast<char>('0' + n);
        std::strncpy(text_ + 5, suffix, sizeof text_ - 6);
    }
    std::string_view view() const { return text_; }

private:
    char text_[24] = {};
};

std::uint64_t number(std::string_view key, std::uint64_t otherwise) {
    const std::string_view text = rt::setting(key);
    std::uint64_t value = 0;
    const std::from_chars_result r = std::from_chars(text.data(), text.data() + text.size(), value);
    return !text.empty() && r.ec == std::errc{} && r.ptr == text.data() + text.size() ? value : otherwise;
}

void check(sys::Status status, std::string_view what) {
    if (!status) {
        rt::panic(what, sys::error_name(status.error()));
    }
}

std::span<const std::byte> file(std::string_view name, std::string_view size_key) {
    const std::optional<rt::Region> region = rt::find_region(name);
    if (!region) {
        return {};
    }
    const std::uint64_t bytes = number(size_key, region->bytes);
    return {reinterpret_cast<const std::byte*>(region->address), bytes < region->bytes ? bytes : region->bytes};
}

void run_vcpu(void* argument) {
    VcpuThread& t = *static_cast<VcpuThread*>(argument);
    if (t.shadow != nullptr) {
        ShadowLoop<NativePlatform>(*t.machine, *t.shadow, t.index).run();
    }
    VcpuLoop<NativePlatform>(*t.machine, t.index).run();
}

unsigned collect_vcpus(std::array<NativePlatform::VcpuHandles, kMaxVcpus>& handles) {
    const unsigned count = static_cast<unsigned>(number("vcpus", 1));
    if (count == 0 || count > kMaxVcpus) {
        rt::panic("setting vcpus");
    }
    for (VcpuIndex v = 0; v < count; ++v) {
        handles[v].vcpu = sys::Vcpu{rt::slot(VcpuName(v, "").view())};
        handles[v].wake = sys::Notification{rt::slot(VcpuName(v, ".wake").view())};
        pages[v] = reinterpret_cast<abi::VcpuPage*>(rt::region(VcpuName(v, ".page").view()).address);
        check(handles[v].vcpu.page(sys::Memory{rt::slot(VcpuName(v, ".page").view())}), "state page: ");
        if (pages[v]->version != abi::kVersion) {
            rt::panic("the kernel speaks another version");
        }
    }
    return count;
}

void start_threads(NativeMachine& machine, ShadowGuest<NativePlatform>* shadow) {
    for (VcpuIndex v = 0; v < machine.vcpus(); ++v) {
        VcpuThread& t = vcpu_threads[v];
        t.machine = &machine;
        t.shadow = shadow;
        t.index = v;
        t.start.run = run_vcpu;
        t.start.argument = &t;
        const rt::Region stack = rt::region(VcpuName(v, ".stack").view());
        const sys::Thread thread{rt::slot(VcpuName(v, ".thread").view())};
        check(thread.start(rt::thread_entry(), stack.address + stack.bytes, reinterpret_cast<std::uint64_t>(&t.start)),
              "vCPU thread: ");
    }
}

[[noreturn]] void event_loop(NativeMachine& machine, NativePlatform& platform) {
    const std::uint64_t control_bit = number("control.event", 64);
    const std::uint64_t control = control_bit < 64 ? std::uint64_t{1} << control_bit : 0;
    for (;;) {
        const std::uint64_t deadline = machine.handle_events();
        if (!machine.may_sleep()) {
            continue;
        }
        if ((platform.wait_events(deadline) & control) != 0) {
            machine.reboot();
        }
    }
}

abi::Slot free_slot() {
    static abi::Slot next = static_cast<abi::Slot>(number("slots.free", 0));
    return next++;
}

void map_guest(abi::Slot memory, std::uint64_t offset, Ipa at, std::uint64_t bytes, sys::Rights rights) {
    check(sys::Space{rt::slot("guest.space")}.map(sys::Memory{memory}, offset, at.value, bytes, rights, free_slot()),
          "guest memory: ");
}

// Where the kernel is at EL1: the guest space gets what its kernel needs at EL0, behind the guest's memory.
ShadowGuest<NativePlatform>& make_shadow(NativeMachine& machine, NativePlatform& platform,
                                         const MachineConfig& config) {
    const rt::Region text = rt::region("guest.text");
    if (text.bytes < TextCopies::kBytes) {
        rt::panic("region guest.text");
    }
    ShadowMap map;
    map.text = reinterpret_cast<void*>(text.address);
    map.text_at = config.board.ram + config.ram_bytes;
    map.shared_at = map.text_at + TextCopies::kBytes;
    map_guest(rt::slot("guest.text"), 0, map.text_at, TextCopies::kBytes,
              abi::rights::mem_read | abi::rights::mem_exec);
    for (VcpuIndex v = 0; v < machine.vcpus(); ++v) {
        map_guest(rt::slot(VcpuName(v, ".page").view()), 4096, map.shared_at + v * 4096, 4096,
                  abi::rights::mem_read | abi::rights::mem_write);
    }
    const bool naive = (pages[0]->shadow.boot & abi::kBootNaiveShadow) != 0;
    return the_shadow.make(platform, machine.memory(), config.pages, map, naive);
}

[[noreturn]] void run() {
    std::array<NativePlatform::VcpuHandles, kMaxVcpus> handles{};
    MachineConfig config;
    const unsigned vcpus = collect_vcpus(handles);
    const rt::Region ram = rt::region("guest.ram");
    config.pages = {pages.data(), vcpus};
    config.ram = reinterpret_cast<void*>(ram.address);
    config.ram_bytes = ram.bytes;
    config.kernel = file("kernel", "kernel.bytes");
    config.initrd = file("initrd", "initrd.bytes");
    config.command_line = rt::setting("cmdline");
    config.ticks_per_second = sys::ticks_per_second();
    config.seed = rt::seed();
    if (const std::optional<rt::Region> stats = rt::find_region("stats"); stats && stats->bytes >= sizeof(Stats)) {
        config.stats = reinterpret_cast<Stats*>(stats->address);
    }
    map_guest(rt::slot("guest.ram"), 0, config.board.ram, ram.bytes,
              abi::rights::mem_read | abi::rights::mem_write | abi::rights::mem_exec);

    if (pages[0]->gic == 2) {  // the processors' virtual CPU interfaces are memory
        config.gic = GicVersion::v2;
        check(sys::Space{rt::slot("guest.space")}.map_interface(config.board.cpu_interface.value, free_slot()),
              "virtual CPU interface: ");
    }
    NativePlatform& platform = the_platform.make(std::span(handles).first(vcpus), sys::Notification{rt::slot("events")},
                                                 sys::Notification{rt::slot("timer")});
    NativeMachine& machine = the_machine.make(platform, config);
    start_threads(machine, pages[0]->shadow.level == 1 ? &make_shadow(machine, platform, config) : nullptr);
    if (const LoadError error = machine.start(true); error != LoadError::none) {
        rt::log(message_of(error));
    }
    event_loop(machine, platform);
}

}  // namespace
}  // namespace twain::vmm

int main() { twain::vmm::run(); }
