// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Shadow translations, where the kernel is at EL1: what may be filled, viewed and dropped.
#include "test.hpp"

namespace twain::test {

namespace {

constexpr u64 kGuestRam = 0x4000'0000, kHole = 0x5000'0000, kDevice = 0x6000'0000;

struct Machine {
    Machine(Scratch& scratch, sys::Pool pool) : space(scratch.slot()), vcpu(scratch.slot()) {
        need(pool.create_space(space.slot, abi::SpaceKind::guest));
        need(pool.create_vcpu(vcpu.slot, space, 0));
        const sys::Memory state = scratch.memory();
        page_ = scratch.map(state);
        expect("vcpu.fill/busy", Error::busy, fill(0));
        expect("vcpu.view/busy", Error::busy, vcpu.view(0, 1, 0));
        expect("vcpu.drop/busy", Error::busy, vcpu.drop(1, 0, 0));
        need(vcpu.page(state));
        need(space.map(scratch.memory(), 0, kGuestRam, kPage, kReadExec, scratch.slot()));
    }
    abi::VcpuPage& page() const { return *reinterpret_cast<abi::VcpuPage*>(page_); }
    sys::Status fill(u64 count) const { return status(vcpu.slot, abi::vcpu::fill, count); }
    sys::Status fill(u64 at, u64 to) const {
        page().shadow.fill[0] = {at, to};
        return fill(1);
    }

    sys::Space space;
    sys::Vcpu vcpu;

private:
    u64 page_;
};

void arguments() {
    Scratch scratch;
    const Machine machine(scratch, kObjects);
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(abi::kShadowFills + 1));
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000, kGuestRam | abi::kFillRead));  // root 0
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000 | abi::kShadowRoots, kGuestRam | abi::kFillRead));
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(u64{1} << 50 | 1, kGuestRam | abi::kFillRead));
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill((0 - 2 * kPage) | 1, kGuestRam | abi::kFillRead));  // the kernel's
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000 | 1, kHole | abi::kFillRead));
    expect("vcpu.fill/rights", Error::rights, machine.fill(0x1000 | 1, kGuestRam | abi::kFillRead | abi::kFillWrite));
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    need(machine.space.map(sys::Memory{device}, 0, kDevice, kPage, kReadWrite, scratch.slot()));
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000 | 1, kDevice | abi::kFillRead));
    unsigned done = 0;
    machine.page().shadow.fill[0] = {0x1000 | 1, kGuestRam | abi::kFillRead};
    machine.page().shadow.fill[1] = {0x2000 | 1, kGuestRam | abi::kFillRead | abi::kFillExecute};
    machine.page().shadow.fill[2] = {0x3000 | 1, kHole | abi::kFillRead};
    expect("vcpu.fill/installs", Error::bad_arg, machine.vcpu.fill(3, done));
    expect_equal("vcpu.fill/installs", 2, done);
    expect("vcpu.view/bad_arg", Error::bad_arg, machine.vcpu.view(abi::kShadowViews, 1, 0));
    expect("vcpu.view/bad_arg", Error::bad_arg, machine.vcpu.view(0, 0, 0));
    expect("vcpu.view/bad_arg", Error::bad_arg, machine.vcpu.view(0, abi::kShadowRoots, 0));
    expect("vcpu.view/bad_arg", Error::bad_arg, machine.vcpu.view(0, 1, abi::kShadowRoots));
    expect("vcpu.view/bad_arg", Error::bad_arg, machine.vcpu.view(0, 1, 1));  // a lower root is no upper one
    expect_ok("vcpu.view/makes", machine.vcpu.view(0, 1, 2));
    expect("vcpu.drop/bad_arg", Error::bad_arg, machine.vcpu.drop(0, 0, 0));
    expect("vcpu.drop/bad_arg", Error::bad_arg, machine.vcpu.drop(abi::kShadowRoots, 0, 0));
    expect_ok("vcpu.drop/nothing_there", machine.vcpu.drop(9, 0, 0));
    expect_ok("vcpu.drop/nothing_there", machine.vcpu.drop(1, 0x1000, kPage));
    expect_ok("vcpu.drop/nothing_there", machine.vcpu.drop(1, 0, 0));
    machine.page().shadow.view[0] = machine.page().shadow.view[1] = 77;  // nobody has made that view
    expect("vcpu_run/bad_arg", Error::bad_arg, machine.vcpu.run().status());
}

void without_memory() {
    Scratch scratch;
    const Machine machine(scratch, scratch.small_pool());
    sys::Status last;
    for (u64 root = 1; root < abi::kShadowRoots && (last = machine.fill(0x1000 | root, kGuestRam | abi::kFillRead)).ok(); ++root) {
    }
    expect("vcpu.fill/no_memory", Error::no_memory, last);
    last = sys::Status{};
    for (unsigned root = abi::kShadowRoots - 1; root > 0 && last; --root) last = machine.vcpu.view(0, root, 0);
    expect("vcpu.view/no_memory", Error::no_memory, last);
}

}  // namespace

void test_shadow() {
    if (at_el2()) {
        skip("shadow.cpp", "kernel at EL2");
        return;
    }
    arguments();
    without_memory();
}

}  // namespace twain::test
