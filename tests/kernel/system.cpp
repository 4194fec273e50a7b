// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The system capability, and the log call.
#include "test.hpp"

namespace twain::test {

namespace {

sys::Status log(Slot system, u64 bytes) { return sys::Status{sys::svc<abi::Sys::log>(sys::Regs{system, bytes}).x1}; }

void device_memory() {
    Scratch scratch;
    const Slot to = scratch.slot();
    constexpr u64 kClock = 0x0901'0000;
    const auto& boot = *reinterpret_cast<const abi::BootInfo*>(abi::kBootInfoAddress);
    expect("system.make_memory/rights", Error::rights,
           sys::System{scratch.copy(abi::kRootSystem, rights::sys_power)}.make_memory(to, kClock, kPage));
    expect("system.make_memory/bad_slot", Error::bad_slot, kSystem.make_memory(0, kClock, kPage));
    expect("system.make_memory/bad_slot", Error::bad_slot, kSystem.make_memory(abi::cspace::kSlots, kClock, kPage));
    expect("system.make_memory/occupied", Error::occupied, kSystem.make_memory(kPool, kClock, kPage));
    expect("system.make_memory/bad_arg", Error::bad_arg, kSystem.make_memory(to, kClock + 4, kPage));
    expect("system.make_memory/bad_arg", Error::bad_arg, kSystem.make_memory(to, kClock, 4));
    expect("system.make_memory/bad_arg", Error::bad_arg, kSystem.make_memory(to, kClock, 0));
    expect("system.make_memory/bad_arg", Error::bad_arg, kSystem.make_memory(to, 0 - kPage, kPage));
    expect("system.make_memory/sum_wraps", Error::bad_arg, kSystem.make_memory(to, kClock, 0 - kPage));
    expect("system.make_memory/never_ram", Error::bad_arg, kSystem.make_memory(to, boot.ram[0].base, kPage));
    expect("system.make_memory/never_ram", Error::bad_arg,
           kSystem.make_memory(to, boot.ram[0].base - kPage, 2 * kPage));
    expect("system.make_memory/never_ram", Error::bad_arg, kSystem.make_memory(to, 0, u64{1} << 47));
    expect("system.make_memory/never_gic", Error::bad_arg, kSystem.make_memory(to, boot.gicd.base, kPage));
    expect("system.make_memory/never_gic", Error::bad_arg,
           kSystem.make_memory(to, boot.gicr.base + boot.gicr.bytes - kPage, kPage));
    expect("system.make_memory/depth", Error::depth,
           sys::System{scratch.deepest(abi::kRootSystem)}.make_memory(to, kClock, kPage));
    need(kSystem.make_memory(to, kClock, kPage));
    expect("system.make_memory/never_runs", Error::rights,
           kSpace.map(sys::Memory{to}, 0, 0x20'0000'0000, kPage, kReadExec, scratch.slot()));
    // There is no own or execute right in it to begin with.
    expect_equal("system.make_memory/rights_of_devices", kReadWrite, kSelf.inspect(to)->rights);
}

void log_and_info() {
    Scratch scratch;
    const sys::System power_only{scratch.copy(abi::kRootSystem, rights::sys_power)};
    const sys::System info_only{scratch.copy(abi::kRootSystem, rights::sys_info)};
    expect("system.power/rights", Error::rights, info_only.power(abi::system::kPowerOff));
    expect("system.power/unsupported", Error::unsupported, kSystem.power(2));
    expect("system.log_read/rights", Error::rights, power_only.log_read(0).status());
    expect("system.uart/rights", Error::rights, info_only.release_uart());
    expect("system.uart/bad_arg", Error::bad_arg, status(abi::kRootSystem, abi::system::uart, 2));
    expect("system.info/rights", Error::rights, power_only.info(0).status());
    expect("system.info/bad_arg", Error::bad_arg, kSystem.info(cores()).status());
    expect("system.info/bad_arg", Error::bad_arg, status(abi::kRootSystem, abi::system::info, ~u64{0}));
    expect("system.method/bad_method", Error::bad_method, status(abi::kRootSystem, kNoMethod));
    expect("log/rights", Error::rights, log(info_only.slot, 1));
    expect("log/rights", Error::rights, log(kPool, 1));
    expect("log/bad_slot", Error::bad_slot, log(scratch.slot(), 1));
    expect("log/bad_slot", Error::bad_slot, log(abi::cspace::kSlots, 1));
    expect("log/bad_arg", Error::bad_arg, log(abi::kRootSystem, 49));
    expect("log/bad_arg", Error::bad_arg, log(abi::kRootSystem, ~u64{0}));
    expect_ok("log/nothing", log(abi::kRootSystem, 0));
    const auto info = kSystem.info(0);
    check("system.info/values", info->version == abi::kVersion && info->ticks_per_second == sys::ticks_per_second() &&
                                    info->cores >= 1 && info->cores <= abi::kMaxCores && (info->boot_flags & 2));
    const u64 idle = kSystem.info(0)->idle_ticks;
    pause(5000);
    check("system.info/idle_counts", kSystem.info(0)->idle_ticks - idle > sys::ticks_per_second() / 250);
}

// On this machine: PSCI, and nothing else, by SMC or HVC.
void firmware() {
    Scratch scratch;
    constexpr u64 kNotSupported = 0xffff'ffff, kUnknown = 0x8200'1234;
    const auto& boot = *reinterpret_cast<const abi::BootInfo*>(abi::kBootInfoAddress);
    expect("system.firmware/rights", Error::rights,
           sys::System{scratch.copy(abi::kRootSystem, 0xf)}.firmware(kUnknown).status());
    for (const u64 width : {u64{0}, u64{1} << 30}) {
        for (const u64 psci :
             {0x8400'0000, 0x8400'0002, 0x8400'0003, 0x8400'0008, 0x8400'0009, 0x8400'001f, 0x8400'0020, 0x8400'003f}) {
            expect("system.firmware/bad_arg", Error::bad_arg, kSystem.firmware(psci | width).status());
        }
        expect("system.firmware/bad_arg", Error::bad_arg, kSystem.firmware(0x0200'0000 | width).status());
    }
    expect("system.firmware/bad_arg", Error::bad_arg, kSystem.firmware(~u64{0}).status());
    expect("system.firmware/bad_arg", Error::bad_arg, kSystem.firmware(0x8401'0008).status());
    expect("system.firmware/bad_arg", Error::bad_arg, kSystem.firmware(u64{1} << 32 | kUnknown).status());
    if (boot.psci_conduit == 2) {
        expect("system.firmware/hypervisor", Error::bad_arg, kSystem.firmware(0x8600'0000).status());
    } else {
        skip("system.firmware/hypervisor", "by SMC");
    }
    const auto answer = kSystem.firmware(kUnknown);
    expect_ok("system.firmware/unknown", answer.status());
    expect_equal("system.firmware/unknown", kNotSupported, *answer & 0xffff'ffff);
}

void log_text() {
    // What is written is read again, and a position from long ago leads to what is still there.
    u64 position = 0;
    for (auto piece = kSystem.log_read(position); piece->bytes; piece = kSystem.log_read(position))
        position = piece->next;
    kSystem.log("# a line for log_read\n");
    const auto piece = kSystem.log_read(position);
    const auto end = kSystem.log_read(piece->next);
    check("system.log_read/reads_back",
          piece.ok() && std::string_view(piece->text, piece->bytes) == "# a line for log_read\n");
    check("system.log_read/end", end.ok() && end->bytes == 0 && end->next == piece->next);
    check("system.log_read/future", kSystem.log_read(~u64{0} - 5).ok());
    // While the kernel leaves the UART alone, text goes to the ring only.
    need(kSystem.release_uart());
    kSystem.log("# FAIL this must not be seen\n");
    need(kSystem.reclaim_uart());
    check("system.uart/silent", kSystem.log_read(piece->next)->bytes > 0);
}

}  // namespace

void test_system() {
    device_memory();
    firmware();
    log_and_info();
    log_text();
}

}  // namespace twain::test
