// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// One guest: its memory, devices, vCPUs and power state. Threads: one per vCPU (machine/vcpu_loop.hpp) and the event
// loop, which calls handle_events() whenever it wakes. The event loop alone loads, resets and stops the
// machine, after a round-up: every vCPU thread has left its guest and is idle.
//
// Locks: the UART's, then the GIC's; never the other way round, and never held across a kick.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "sys/atomic.hpp"
#include "vmm/bus.hpp"
#include "vmm/dev/pl011.hpp"
#include "vmm/gic/gic.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/load/device_tree.hpp"
#include "vmm/load/image.hpp"
#include "vmm/machine/counters.hpp"
#include "vmm/machine/lock.hpp"
#include "vmm/machine/platform.hpp"
#include "vmm/psci/firmware.hpp"
#include "vmm/sysreg/registers.hpp"

namespace twain::vmm {

struct MachineConfig {
    BoardMap board;
    void* ram = nullptr;  // where the guest's RAM is mapped, zeroed
    std::uint64_t ram_bytes = 0;
    std::span<abi::VcpuPage* const> pages;  // one per vCPU
    std::span<const std::byte> kernel;
    std::span<const std::byte> initrd;
    std::string_view command_line;
    std::span<const std::uint8_t> seed;  // empty: nobody vouches for random numbers, so the guest is offered none
    std::uint64_t ticks_per_second = 62'500'000;
    CpuFeatures cpu;
    GicVersion gic = GicVersion::v3;  // version 2: the virtual CPU interface is mapped at board.cpu_interface
    Stats* stats = nullptr;
};

// What a vCPU's own thread works with.
struct Vcpu {
    VcpuIndex index = 0;
    abi::VcpuPage* page = nullptr;
    Meter meter;
    Bus::Cursor cursor;
    VcpuRegisters registers;  // its timer: under the GIC's lock
    Random random;
    unsigned fetch_retries = 0;
};

template <Platform P>
class Machine {
public:
    Machine(P& platform, const MachineConfig& config)
        : platform_(platform),
          config_(config),
          memory_(config.board.ram, config.ram, config.ram_bytes),
          ids_(config.cpu, config.gic == GicVersion::v3),
          stats_(config.stats != nullptr ? *config.stats : own_stats_),
          random_(config.seed, !config.seed.empty()),
          gic_(config.pages, config.gic),
          uart_(config.ticks_per_second / 5),
          firmware_(power_, memory_, static_cast<unsigned>(config.pages.size())) {
        stats_.magic = Stats::kMagic;
        stats_.vcpus = vcpus();
        stats_.started = platform.now();
        for (VcpuIndex v = 0; v < vcpus(); ++v) {
            vcpu_[v].index = v;
            vcpu_[v].page = config.pages[v];
            vcpu_[v].meter.attach(stats_.vcpu[v]);
            const std::uint64_t seed[4] = {random_.next(), random_.next(), random_.next(), random_.next()};
            vcpu_[v].random = Random({reinterpret_cast<const std::uint8_t*>(seed), sizeof seed}, random_.trusted());
        }
        if (config.gic == GicVersion::v3) {
            (void)bus_.attach("gicd", config.board.distributor, kDistributorBytes, distributor_);
            (void)bus_.attach("gicr", config.board.redistributors, kRedistributorBytes * vcpus(), redistributors_);
        } else {
            (void)bus_.attach("gicd", config.board.distributor, kDistributor2Bytes, distributor_);
        }
        (void)bus_.attach("uart", config.board.uart, Pl011::kWindowBytes, uart_window_);
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // ---- the event loop's ----------------------------------------------------------------------

    // Loads the guest and lets vCPU 0 begin. No vCPU runs.
    LoadError start(bool ram_is_zero) {
        const LoadError error = load(ram_is_zero);
        if (error != LoadError::none) {
            report(kNoVcpu, message_of(error));
            set_state(MachineState::failed);
            return error;
        }
        ++stats_.boots;
        gic_.reset();
        uart_.reset();
        uart_line_ = false;
        for (Vcpu& v : vcpus_span()) {
            v.registers = {};
            // The guest's counter is the machine's. With an offset, a compare value close to 2^64 would wrap: QEMU before
            // 8.2 then never does anything else again, and a guest could stop the whole machine.
            v.page->cntvoff = 0;
            power_.set_off(v.index);
        }
        (void)power_.request_on(0, {entry_.value, tree_.value});
        set_state(MachineState::running);
        platform_.wake(0);
        return LoadError::none;
    }

    // Everything that the outside or a vCPU thread may have left to do. The deadline (ticks) of the next call.
    std::uint64_t handle_events() {
        const MachineState s = state();
        if ((s == MachineState::resetting || s == MachineState::stopping) && all_idle()) {
            flush_console();
            if (s == MachineState::stopping) {
                report(kNoVcpu, "powered off");
                set_state(MachineState::off);
            } else {
                (void)start(false);
            }
        }
        const std::uint64_t console = serve_console();
        const std::uint64_t timer = serve_timers();
        return console < timer ? console : timer;
    }

    // Nothing has come for the receiver, or it has no room (the guest's reading then takes care of it).
    bool may_sleep() {
        Guard guard(uart_lock_, platform_, kNoVcpu);
        return uart_.room() == 0 || platform_.console_wait();
    }

    // From outside: reboots a running machine, starts one that is off.
    void reboot() {
        if (state() == MachineState::off || state() == MachineState::failed) {
            (void)start(false);
        } else {
            round_up(MachineState::resetting);
        }
    }

    // ---- the vCPU threads' ---------------------------------------------------------------------

    // Sleeps until the vCPU is switched on; then its page is set up to begin.
    void wait_for_power(Vcpu& v) {
        for (;;) {
            PowerStates::Start start;
            set_idle(v.index, false);
            if (running() && power_.begin(v.index, start)) {
                begin(v, start);
                return;
            }
            set_idle(v.index, true);
            if (!running()) {
                platform_.poke();
            }
            platform_.park(v.index, abi::kForever);
        }
    }

    // The vCPU has left its guest: switched off, or the machine is being rounded up.
    void leave(Vcpu& v) {
        {
            Guard guard(gic_lock_, platform_, v.index);
            gic_.forget(v.index);
        }
        power_.set_off(v.index);
    }

    bool running() const { return state() == MachineState::running; }
    MachineState state() const { return sys::atomic_load<__ATOMIC_SEQ_CST>(stats_.state); }

    // SYSTEM_OFF, SYSTEM_RESET: the first request wins.
    void round_up(MachineState to) {
        MachineState expected = MachineState::running;
        if (!sys::atomic_replace<__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST>(stats_.state, expected, to)) {
            return;
        }
        for (VcpuIndex v = 0; v < vcpus(); ++v) {
            platform_.kick(v, abi::vcpu::kKickExit);
            platform_.wake(v);
        }
        platform_.poke();
    }

    // A vCPU cannot go on: the guest stops, and says why.
    void fail(VcpuIndex self, std::string_view why) {
        report(self, why);
        round_up(MachineState::stopping);
    }

    void settle_interrupts(Vcpu& v) {
        if (!gic_.needs_attention(v.index)) [[likely]] {
            return;
        }
        Kicks kicks;
        {
            Guard guard(gic_lock_, platform_, v.index);
            gic_.before_entry(v.index, kicks);
        }
        deliver(kicks);
    }

    void send_sgi(Vcpu& v, std::uint64_t value) {
        Kicks kicks;
        {
            Guard guard(gic_lock_, platform_, v.index);
            gic_.send_sgi(v.index, value, kicks);
        }
        deliver(kicks);
    }

    SysregResult access_sysreg(Vcpu& v, SysregAccess& access) {
        if (access.read && names_feature(access.reg)) {
            access.value = ids_.value(access.reg.crm(), access.reg.op2());
            return SysregResult::done;
        }
        if (access.reg.crn() != 14) {  // all but timers and counters
            const SysregResult result = vmm::access_sysreg(ids_, v.registers, config_.cpu.ctr, 0, access);
            v.page->el1.mdscr_el1 = v.registers.stepping();
            return result;
        }
        const std::uint64_t now = platform_.now();
        Kicks kicks;
        SysregResult result{};
        {
            Guard guard(gic_lock_, platform_, v.index);
            result = vmm::access_sysreg(ids_, v.registers, config_.cpu.ctr, now, access);
            gic_.set_ppi(v.index, v.index, kPhysicalTimer, v.registers.timer.line(now), kicks);
        }
        deliver(kicks);
        if (result == SysregResult::timer) {
            platform_.poke();
        }
        return result;
    }

    // What a vCPU's firmware call asks for. True: the vCPU is off, its thread leaves the guest.
    bool obey(Vcpu& v, const Firmware::Outcome& outcome) {
        switch (outcome.action) {
            case Firmware::Action::none:
            case Firmware::Action::stop_vcpu: break;
            case Firmware::Action::start_vcpu: wake(outcome.target); break;
            case Firmware::Action::suspend: suspend(v); break;
            case Firmware::Action::power_off: round_up(MachineState::stopping); break;
            case Firmware::Action::reset: round_up(MachineState::resetting); break;
        }
        return outcome.action == Firmware::Action::stop_vcpu;
    }

    // CPU_SUSPEND: until an interrupt may be there for the vCPU.
    void suspend(Vcpu& v) {
        platform_.sync(v.index, abi::kGroupTimer);
        const std::uint64_t b = std::uint64_t{1} << v.index;
        __atomic_fetch_or(&suspended_, b, __ATOMIC_SEQ_CST);
        bool pending = false;
        {
            Guard guard(gic_lock_, platform_, v.index);
            pending = gic_.has_pending(v.index);
        }
        const abi::VcpuPage& page = *v.page;
        const bool timer = (page.cntv_ctl & 3) == 1 && (page.vtimer & 0x100) != 0;
        if (!pending && running()) {
            platform_.park(v.index, timer ? page.cntv_cval + page.cntvoff : abi::kForever);
            v.page->left = platform_.now();
        }
        __atomic_fetch_and(&suspended_, ~b, __ATOMIC_SEQ_CST);
    }

    void wake(VcpuIndex v) { platform_.wake(v); }

    P& platform() { return platform_; }
    Vcpu& vcpu(VcpuIndex v) { return vcpu_[v]; }
    const Bus& bus() const { return bus_; }
    const GuestMemory& memory() const { return memory_; }
    const Firmware& firmware() const { return firmware_; }
    const Stats& stats() const { return stats_; }
    unsigned vcpus() const { return static_cast<unsigned>(config_.pages.size()); }

private:
    struct DistributorWindow {
        Machine& machine;
        std::uint64_t read(Access a) {
            Guard guard(machine.gic_lock_, machine.platform_, a.vcpu);
            return machine.gic_.read_distributor(a);
        }
        void write(Access a, std::uint64_t value) {
            Kicks kicks;
            {
                Guard guard(machine.gic_lock_, machine.platform_, a.vcpu);
                machine.gic_.write_distributor(a, value, kicks);
            }
            machine.deliver(kicks);
        }
    };
    struct RedistributorWindow {
        Machine& machine;
        std::uint64_t read(Access a) {
            Guard guard(machine.gic_lock_, machine.platform_, a.vcpu);
            return machine.gic_.read_redistributor(a);
        }
        void write(Access a, std::uint64_t value) {
            Kicks kicks;
            {
                Guard guard(machine.gic_lock_, machine.platform_, a.vcpu);
                machine.gic_.write_redistributor(a, value, kicks);
            }
            machine.deliver(kicks);
        }
    };
    struct UartWindow {
        Machine& machine;
        std::uint64_t read(Access a) {
            return machine.uart_access(a, [&](std::uint64_t now) {
                const std::uint64_t value = machine.uart_.read(a, now);
                if (a.offset == 0) {  // there may be room again
                    machine.feed_uart();
                }
                return value;
            });
        }
        void write(Access a, std::uint64_t value) {
            (void)machine.uart_access(a, [&](std::uint64_t now) {
                machine.uart_.write(a, value, now);
                machine.drain_uart(a.offset == 0 && static_cast<char>(value) == '\n');
                return std::uint64_t{0};
            });
        }
    };

    template <typename Operation>
    std::uint64_t uart_access(const Access& a, Operation operation) {
        Kicks kicks;
        std::uint64_t value = 0;
        bool poke = false;
        {
            Guard guard(uart_lock_, platform_, a.vcpu);
            value = operation(uart_.wants_time() ? platform_.now() : 0);
            update_uart_line(a.vcpu, kicks);
            poke = !flush_expected_ && !uart_.to_send().empty();
            flush_expected_ = flush_expected_ || poke;
        }
        deliver(kicks);
        if (poke) {
            platform_.poke();
        }
        return value;
    }

    // Under the UART's lock.
    void update_uart_line(VcpuIndex self, Kicks& kicks) {
        if (uart_.line() != uart_line_) {
            uart_line_ = !uart_line_;
            Guard guard(gic_lock_, platform_, self);
            gic_.set_spi(self, kFirstSpi + config_.board.uart_spi, uart_line_, kicks);
        }
    }
    // A line of text goes out at its end; anything else when it gets long, or when the event loop comes.
    void drain_uart(bool now) {
        std::span<const char> text = uart_.to_send();
        if (!now && text.size() < Pl011::kLine / 2) {
            return;
        }
        while (!text.empty()) {
            const std::size_t taken = platform_.console_write(text);
            if (taken == 0) {
                break;
            }
            uart_.sent(static_cast<unsigned>(taken));
            text = uart_.to_send();
        }
        stats_.console_dropped = uart_.dropped();
    }
    void feed_uart() {
        std::array<char, Pl011::kDepth> buffer;
        for (unsigned room = uart_.room(); room != 0; room = uart_.room()) {
            const std::size_t count = platform_.console_read(std::span(buffer).first(room));
            for (std::size_t i = 0; i < count; ++i) {
                uart_.receive(buffer[i]);
            }
            if (count == 0 && platform_.console_wait()) {
                break;
            }
        }
    }

    std::uint64_t serve_console() {
        Kicks kicks;
        std::uint64_t deadline = 0;
        {
            Guard guard(uart_lock_, platform_, kNoVcpu);
            const std::uint64_t now = platform_.now();
            const std::uint64_t flush_after = config_.ticks_per_second / 1000;
            feed_uart();
            deadline = uart_.deadline(now);
            if (uart_.to_send().empty()) {
                flush_expected_ = false;
                flush_at_ = 0;
            } else if (flush_at_ == 0) {
                flush_at_ = now + flush_after;
            } else if (now >= flush_at_) {
                drain_uart(true);
                uart_.expire(now);
                flush_expected_ = !uart_.to_send().empty();
                flush_at_ = flush_expected_ ? now + flush_after : 0;
            }
            if (flush_at_ != 0 && flush_at_ < deadline) {
                deadline = flush_at_;
            }
            update_uart_line(kNoVcpu, kicks);
        }
        deliver(kicks);
        return deadline;
    }
    void flush_console() {
        Guard guard(uart_lock_, platform_, kNoVcpu);
        drain_uart(true);
    }

    std::uint64_t serve_timers() {
        Kicks kicks;
        std::uint64_t deadline = abi::kForever;
        {
            Guard guard(gic_lock_, platform_, kNoVcpu);
            const std::uint64_t now = platform_.now();
            for (Vcpu& v : vcpus_span()) {
                const PhysicalTimer& timer = v.registers.timer;
                gic_.set_ppi(kNoVcpu, v.index, kPhysicalTimer, timer.line(now), kicks);
                const std::uint64_t next = timer.deadline(now);
                deadline = next < deadline ? next : deadline;
            }
        }
        deliver(kicks);
        return deadline;
    }

    void deliver(const Kicks& kicks) {
        for (std::uint32_t left = kicks.look | kicks.exit; left != 0; left &= left - 1) {
            const VcpuIndex v = static_cast<VcpuIndex>(__builtin_ctz(left));
            platform_.kick(v, bit(kicks.exit, v) ? abi::vcpu::kKickExit : abi::vcpu::kKickLook);
            if (bit(__atomic_load_n(&suspended_, __ATOMIC_SEQ_CST), v)) {
                platform_.wake(v);
            }
        }
    }

    // Registers of a vCPU that PSCI starts (DEN0022E 6.4): EL1h, everything masked, MMU and caches off.
    void begin(Vcpu& v, const PowerStates::Start& start) {
        abi::VcpuPage& page = *v.page;
        for (std::uint64_t& x : page.x) {
            x = 0;
        }
        page.x[0] = start.context;
        page.sp_el0 = 0;
        page.pc = start.entry;
        page.pstate = 0x3c5;
        page.el1 = {};
        v.registers.mdscr = 0;
        page.el1.sctlr_el1 = 0x30d0'0800;  // RES1 bits
        page.cntv_ctl = page.cntv_cval = 0;
        page.fpcr = page.fpsr = 0;
        for (std::uint64_t& half : page.v) {
            half = 0;
        }
        page.vmpidr = 0x8000'0000u | v.index;
        page.vpidr = 0;
        page.loaded = abi::kGroupAll | abi::kGroupInterrupts;
        page.left = page.away = 0;
        v.meter.because(Cause::start);
    }

    LoadError load(bool ram_is_zero) {
        Image image;
        if (const LoadError error = parse_image(config_.kernel, image); error != LoadError::none) {
            return error;
        }
        Layout at;
        if (const LoadError error = plan(image, config_.initrd.size(), config_.ram_bytes, at);
            error != LoadError::none) {
            return error;
        }
        char* ram = static_cast<char*>(config_.ram);
        if (!ram_is_zero) {
            platform_.zero(ram, config_.ram_bytes);
        }
        std::array<std::uint8_t, 64> rng_seed;
        random_.fill(rng_seed);
        TreeInput in;
        in.board = config_.board;
        in.vcpus = vcpus();
        in.gic = config_.gic;
        in.ram_bytes = config_.ram_bytes;
        in.command_line = config_.command_line;
        in.initrd = config_.board.ram + at.initrd;
        in.initrd_bytes = config_.initrd.size();
        if (random_.trusted()) {
            in.kaslr_seed = random_.next();
            in.rng_seed = rng_seed;
        }
        if (make_device_tree(in, {reinterpret_cast<std::byte*>(ram + at.tree), kTreeBytes}) == 0) {
            return LoadError::tree_too_big;
        }
        __builtin_memcpy(ram + at.kernel, config_.kernel.data(), image.file_bytes);
        if (!config_.initrd.empty()) {
            __builtin_memcpy(ram + at.initrd, config_.initrd.data(), config_.initrd.size());
        }
        platform_.publish(ram + at.kernel, image.file_bytes);
        platform_.publish(ram + at.tree, kTreeBytes + config_.initrd.size());
        entry_ = config_.board.ram + at.kernel;
        tree_ = config_.board.ram + at.tree;
        return LoadError::none;
    }

    void report(VcpuIndex self, std::string_view what) {
        Guard guard(uart_lock_, platform_, self);
        for (const std::string_view part : {std::string_view("\r\nvmm: "), what, std::string_view("\r\n")}) {
            (void)platform_.console_write(part);
        }
    }

    void set_state(MachineState s) { sys::atomic_store<__ATOMIC_SEQ_CST>(stats_.state, s); }
    void set_idle(VcpuIndex v, bool idle) {
        const std::uint64_t b = std::uint64_t{1} << v;
        if (idle) {
            __atomic_fetch_or(&idle_, b, __ATOMIC_SEQ_CST);
        } else {
            __atomic_fetch_and(&idle_, ~b, __ATOMIC_SEQ_CST);
        }
    }
    bool all_idle() const { return __atomic_load_n(&idle_, __ATOMIC_SEQ_CST) == (std::uint64_t{1} << vcpus()) - 1; }
    std::span<Vcpu> vcpus_span() { return {vcpu_.data(), vcpus()}; }

    P& platform_;
    MachineConfig config_;
    GuestMemory memory_;
    IdRegisters ids_;
    Stats own_stats_{};
    Stats& stats_;
    Random random_;  // the event loop's
    Lock<P> gic_lock_;
    Gic gic_;
    Lock<P> uart_lock_;
    Pl011 uart_;
    bool uart_line_ = false;
    bool flush_expected_ = false;  // the event loop knows that something waits to be sent
    std::uint64_t flush_at_ = 0;   // when it will send it
    PowerStates power_;
    Firmware firmware_;
    DistributorWindow distributor_{*this};
    RedistributorWindow redistributors_{*this};
    UartWindow uart_window_{*this};
    Bus bus_;
    std::array<Vcpu, kMaxVcpus> vcpu_{};
    std::uint64_t idle_ = 0;       // bit n: vCPU thread n is outside its guest and stays there
    std::uint64_t suspended_ = 0;  // bit n: vCPU n is in CPU_SUSPEND
    Ipa entry_, tree_;
};

}  // namespace twain::vmm
