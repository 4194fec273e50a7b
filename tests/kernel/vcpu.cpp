// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// vCPU objects: arguments and rights, whatever the exception level.
#include "guest.hpp"

namespace twain::test {

void test_vcpu() {
    Scratch scratch;
    const sys::Space space = scratch.space(abi::SpaceKind::guest);
    const sys::Vcpu vcpu{scratch.slot()};
    need(kObjects.create_vcpu(vcpu.slot, space, 0));
    const sys::Memory memory = scratch.memory(2 * kPage);
    const sys::Vcpu run_only{scratch.copy(vcpu.slot, rights::vcpu_run)};
    const sys::Vcpu kick_only{scratch.copy(vcpu.slot, rights::vcpu_kick)};
    const Slot empty = scratch.slot();
    expect("vcpu_run/bad_slot", Error::bad_slot, sys::Vcpu{empty}.run().status());
    expect("vcpu_run/bad_slot", Error::bad_slot, sys::Vcpu{abi::cspace::kSlots}.run().status());
    expect("vcpu_run/bad_type", Error::bad_type, sys::Vcpu{kPool}.run().status());
    expect("vcpu_run/rights", Error::rights, kick_only.run().status());
    expect("vcpu_run/busy", Error::busy, vcpu.run().status());  // no page yet
    expect("vcpu.sync/busy", Error::busy, vcpu.sync(abi::kGroupAll));
    expect("vcpu.page/rights", Error::rights, run_only.page(memory));
    expect("vcpu.sync/rights", Error::rights, run_only.sync(abi::kGroupAll));
    expect("vcpu.kick/rights", Error::rights, run_only.kick(abi::vcpu::kKickLook));
    expect("vcpu.kick/bad_arg", Error::bad_arg, kick_only.kick(2));
    expect("vcpu.kick/bad_arg", Error::bad_arg, kick_only.kick(~u64{0}));
    expect_ok("vcpu.kick/nobody_runs_it", kick_only.kick(abi::vcpu::kKickLook));
    expect("vcpu.page/bad_slot", Error::bad_slot, vcpu.page(sys::Memory{empty}));
    expect("vcpu.page/bad_type", Error::bad_type, vcpu.page(sys::Memory{kPool}));
    expect("vcpu.page/rights", Error::rights, vcpu.page(sys::Memory{scratch.copy(memory.slot, kRead)}));
    expect("vcpu.page/bad_arg", Error::bad_arg, vcpu.page(memory, 8));
    expect("vcpu.page/bad_arg", Error::bad_arg, vcpu.page(memory, 2 * kPage));
    expect("vcpu.page/bad_arg", Error::bad_arg, vcpu.page(memory, 0 - kPage));
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    expect("vcpu.page/bad_arg", Error::bad_arg, vcpu.page(sys::Memory{device}));
    expect("vcpu.page/depth", Error::depth, vcpu.page(sys::Memory{scratch.deepest(memory.slot)}));
    expect("vcpu.sync/bad_arg", Error::bad_arg, vcpu.sync(8));
    expect("vcpu.method/bad_method", Error::bad_method, status(vcpu.slot, kNoMethod));
    expect("vcpu.fill/rights", Error::rights, status(run_only.slot, abi::vcpu::fill));
    expect("vcpu.view/rights", Error::rights, status(run_only.slot, abi::vcpu::view));
    expect("vcpu.drop/rights", Error::rights, status(run_only.slot, abi::vcpu::drop));
    if (at_el2()) {
        expect("vcpu.fill/unsupported", Error::unsupported, status(vcpu.slot, abi::vcpu::fill));
        expect("vcpu.view/unsupported", Error::unsupported, status(vcpu.slot, abi::vcpu::view));
        expect("vcpu.drop/unsupported", Error::unsupported, status(vcpu.slot, abi::vcpu::drop));
    } else {
        for (const char* id : {"vcpu.fill/unsupported", "vcpu.view/unsupported", "vcpu.drop/unsupported"})
            skip(id, "kernel at EL1");
    }
    const u64 page = scratch.map(memory, kPage);
    expect_ok("vcpu.page/version", vcpu.page(memory));
    check("vcpu.page/version", reinterpret_cast<const volatile abi::VcpuPage*>(page)->version == abi::kVersion);
    expect("vcpu.page/occupied", Error::occupied, vcpu.page(memory, kPage));
    // The page goes away: nothing can run any more, and another page may come.
    need(kSelf.revoke(memory.slot));
    expect("memory.revoke/takes_state_page", Error::busy, vcpu.run().status());
    expect_ok("memory.revoke/takes_state_page", vcpu.page(memory));
    need(kSelf.remove(space.slot));
    expect("space.remove/of_vcpu", Error::busy, vcpu.run().status());
}

}  // namespace twain::test
