// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Shadow translations, where the kernel is at EL1: what may be filled, viewed and dropped.
#include <iterator>

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
    expect("vcpu.fill/bad_arg", Error::bad_arg,
           machine.fill((0 - 2 * kPage) | 1, kGuestRam | abi::kFillRead));  // the kernel's
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000 | 1, kHole | abi::kFillRead));
    expect("vcpu.fill/rights", Error::rights, machine.fill(0x1000 | 1, kGuestRam | abi::kFillRead | abi::kFillWrite));
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    need(machine.space.map(sys::Memory{device}, 0, kDevice, kPage, kReadWrite, scratch.slot()));
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.fill(0x1000 | 1, kDevice | abi::kFillRead));
    unsigned done = 1;
    expect("vcpu.fill/bad_arg", Error::bad_arg, machine.vcpu.fill(abi::kShadowFills + 1, done));
    expect_equal("vcpu.fill/bad_arg", 0, done);
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
    for (u64 root = 1;
         root < abi::kShadowRoots && (last = machine.fill(0x1000 | root, kGuestRam | abi::kFillRead)).ok(); ++root) {
    }
    expect("vcpu.fill/no_memory", Error::no_memory, last);
    last = sys::Status{};
    for (unsigned root = abi::kShadowRoots - 1; root > 0 && last; --root) last = machine.vcpu.view(0, root, 0);
    expect("vcpu.view/no_memory", Error::no_memory, last);
}

// A guest at virtual EL0 that loads a word and stops, from wherever its translations are made to say that memory is.
class Reader {
public:
    static constexpr u64 kOther = kGuestRam + kPage;  // the page that it reads, kValue in it
    static constexpr u64 kValue = 0x7e57;

    explicit Reader(Scratch& scratch) : machine(scratch, kObjects), data_(scratch.memory()), mapping_(scratch.slot()) {
        const sys::Memory code = scratch.memory();
        const u64 at = scratch.map(code);
        *reinterpret_cast<volatile u64*>(at) = 0xd420'0000'b940'0022;  // LDR W2, [X1]; BRK
        *reinterpret_cast<volatile u64*>(scratch.map(data_)) = kValue;
        asm volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(at) : "memory");
        need(machine.space.map(code, 0, kCode, kPage, kReadExec, scratch.slot()));
        map();
        need(machine.vcpu.view(0, kRoot, kUpperRoot));
        machine.page().shadow.view[0] = machine.page().shadow.view[1] = 0;
        machine.page().shadow.deadline = abi::kForever;
    }
    void map() const { need(machine.space.map(data_, 0, kOther, kPage, kReadWrite, mapping_)); }
    void unmap() const { need(kSelf.remove(mapping_)); }
    sys::Status fill(u64 at, u64 flags = abi::kFillRead, u64 root = kRoot) const {
        return machine.fill(at | root, kOther | flags);
    }
    sys::Status fill_upper(u64 at) const { return fill(at, abi::kFillRead, kUpperRoot); }

    // Does it read kValue there? Else it must fault.
    bool reads(u64 at) const {
        const u64 ec = run(at, 0);
        check("vcpu_run/shadow", ec == 0x3c || (ec == 0x24 && machine.page().far == at));
        check("vcpu_run/shadow", ec == 0x24 || machine.page().x[2] == kValue);
        return ec == 0x3c;
    }
    // ESR_EL1.EC of the exit.
    u64 run(u64 at, u64 pstate) const {
        abi::VcpuPage& page = machine.page();
        need(machine.fill(kCode | kRoot, kCode | abi::kFillExecute));
        page.pstate = pstate;
        page.pc = kCode;
        page.x[1] = at;
        page.x[2] = 0;
        const auto exit = machine.vcpu.run();
        check("vcpu_run/shadow", exit.ok() && *exit == abi::Exit::trap);
        return page.esr >> 26;
    }

    static constexpr u64 kRoot = 5, kUpperRoot = 6;
    static constexpr u64 kCode = kGuestRam + 2 * kPage, kVectors = kGuestRam + 4 * kPage;  // nothing there: it faults
    Machine machine;

private:
    sys::Memory data_;
    Slot mapping_;
};

// Addresses that share tables with each other, of every level.
constexpr u64 kPlaces[] = {0x1000,      0x2000,      0x4'0000,       0x20'0000,
                           0x4000'0000, 0x4000'1000, 0x80'0000'0000, 0x7fff'ffff'f000};
constexpr u64 kUpper = 0xffff'0000'0000'0000;

unsigned readable(const Reader& guest) {
    unsigned found = 0;
    for (const u64 at : kPlaces) found += guest.reads(at) ? 1 : 0;
    return found;
}

// Single steps of virtual EL0, and of virtual EL1 with KDE; both go to the guest's vectors. Nobody else is stepped.
void steps() {
    Scratch scratch;
    const Reader guest(scratch);
    abi::VcpuPage& page = guest.machine.page();
    need(guest.fill(0x1000));
    // Where the guest is afterwards: 0 at its breakpoint, which is an exit; else the offset of its vector, or beyond.
    const auto step = [&](u64 mdscr, u64 pstate) {
        page.el1.mdscr_el1 = mdscr;
        page.el1.vbar_el1 = Reader::kVectors;
        const u64 ec = guest.run(0x1000, pstate);
        return ec == 0x3c ? 0 : page.pc - Reader::kVectors;
    };
    constexpr u64 kEl0 = 0, kEl1 = 0x1c5;  // debug exceptions not masked
    const auto stepped = [&](u64 instructions) {
        return page.el1.esr_el1 >> 26 == 0x32 && page.el1.elr_el1 == Reader::kCode + 4 * instructions &&
               !(page.el1.spsr_el1 & abi::kPstateStep);
    };
    check("vcpu_run/steps_user",
          step(~abi::kMdscrKernel, kEl0 | abi::kPstateStep) == 0x400 && stepped(1) && page.x[2] == Reader::kValue);
    check("vcpu_run/steps_user", step(abi::kMdscrStep, kEl0) == 0x400 && stepped(0));  // its step is over already
    // The kernel leaves those of virtual EL1 to the VMM, who knows what it has rewritten.
    check("vcpu_run/steps_kernel",
          step(~u64{0}, kEl1 | abi::kPstateStep) == Reader::kCode + 4 - Reader::kVectors && page.esr >> 26 == 0x32);
    check("vcpu_run/steps_kernel", step(~abi::kMdscrKernel, kEl1 | abi::kPstateStep) == 0);
    check("vcpu_run/steps_kernel", step(~u64{0}, 0x3c5 | abi::kPstateStep) == 0);
    check("vcpu_run/steps_nobody", step(abi::kMdscrKernel, kEl0 | abi::kPstateStep) == 0);
    page.el1.mdscr_el1 = 0;
    check("vcpu_run/steps_nobody", guest.reads(0x1000));
}

// What was dropped is gone, though its tables may be used again, whoever fills next and where.
void dropping() {
    Scratch scratch;
    const Reader guest(scratch);
    const auto fill_all = [&] {
        for (const u64 at : kPlaces) need(guest.fill(at));
    };
    fill_all();
    check("vcpu.fill/translates", readable(guest) == std::size(kPlaces));
    expect_ok("vcpu.drop/page", guest.machine.vcpu.drop(Reader::kRoot, kPlaces[1], kPage));
    check("vcpu.drop/page", !guest.reads(kPlaces[1]) && readable(guest) == std::size(kPlaces) - 1);
    expect_ok("vcpu.drop/root", guest.machine.vcpu.drop(Reader::kRoot, 0, 0));
    check("vcpu.drop/root", readable(guest) == 0);
    for (const u64 at : kPlaces) {  // one alone comes back
        need(guest.fill(at));
        check("vcpu.drop/root", guest.reads(at) && readable(guest) == 1);
        need(guest.machine.vcpu.drop(Reader::kRoot, 0, 0));
    }
    // A block where tables hang, a table where a block was, fragments.
    fill_all();
    need(guest.machine.vcpu.drop(Reader::kRoot, 0, 0));
    need(guest.fill(0x20'0000 + 0x1000, abi::kFillRead | abi::kFillFragment));
    need(guest.fill(0x20'0000 + 0x3000, abi::kFillRead | abi::kFillFragment));
    check("vcpu.drop/fragments", guest.reads(0x20'1000) && guest.reads(0x20'3000));
    need(guest.machine.vcpu.drop(Reader::kRoot, 0x20'3000, kPage));
    check("vcpu.drop/fragments", !guest.reads(0x20'1000) && !guest.reads(0x20'3000));
    need(guest.fill(0x20'2000));
    check("vcpu.drop/fragments", guest.reads(0x20'2000) && !guest.reads(0x20'1000) && !guest.reads(0x20'3000));
    // The memory goes: from all roots, for good.
    fill_all();
    for (u64 root = 10; root < 30; ++root) need(guest.fill(0x1000, abi::kFillRead, root));
    for (u64 i = 0; i < 40; ++i) need(guest.fill_upper(kUpper + (i << 39) + (i << 30) + (i << 21)));
    check("mapping.remove/shadow", readable(guest) == std::size(kPlaces));
    guest.unmap();
    check("mapping.remove/shadow", readable(guest) == 0);
    expect("mapping.remove/shadow", Error::bad_arg, guest.fill(0x1000));
    guest.map();
    check("mapping.remove/shadow", readable(guest) == 0);
    need(guest.fill(0x2000));
    check("mapping.remove/shadow", guest.reads(0x2000) && readable(guest) == 1);
}

// Tables that were dropped serve again elsewhere, when there are no others.
void reuse() {
    Scratch scratch;
    const Reader guest(scratch);
    u64 most = 0;
    for (u64 round = 0; round < 4; ++round) {
        u64 filled = 0;
        sys::Status last;
        while ((last = guest.fill(round * 0x1000'0000'0000 + (filled << 30))).ok()) ++filled;
        expect("vcpu.fill/reuses", Error::no_memory, last);
        if (round == 0) most = filled;
        check("vcpu.fill/reuses", filled > 1 && filled >= most);
        need(guest.machine.vcpu.drop(Reader::kRoot, 0, 0));
    }
}

// Hundreds of tables: tests/fuzz measures how long the kernel is at it.
void long_drops() {
    Scratch scratch;
    const Reader guest(scratch);
    for (unsigned round = 0; round < 2; ++round) {
        for (u64 i = 0; i < 511; i += 3) need(guest.fill_upper(kUpper + (i << 39)));
        for (u64 i = 0; i < 508; i += 3) need(guest.fill_upper(0xffff'ffff'0000'0000 - (i << 30)));
        for (u64 i = 0; i < 508; i += 3) need(guest.fill_upper(0xffff'ffff'c000'0000 + (i << 21)));
        for (u64 i = 0; i < 512; ++i) need(guest.fill(i << 12));
        if (round == 0) {
            expect_ok("vcpu.drop/in_steps", guest.machine.vcpu.drop(Reader::kUpperRoot, 0, 0));
            expect_ok("vcpu.drop/in_steps", guest.machine.vcpu.drop(Reader::kRoot, 0, 0));
        } else {
            guest.unmap();
        }
        check("vcpu.drop/in_steps", readable(guest) == 0);
    }
}

// While another core fills without a pause, memory is taken from the guest, and views change under a core that enters them.
void races() {
    Scratch scratch;
    const Reader guest(scratch);
    static const Reader* shared;
    shared = &guest;
    Worker filler(scratch,
                  [](Worker& self) {
                      while (self.word[0] == 0) {
                          for (u64 i = 1; i < 16; ++i) {
                              shared->machine.page().shadow.fill[i] = {(0x10'0000 + i * kPage) | Reader::kRoot,
                                                                       Reader::kOther | abi::kFillRead};
                          }
                          shared->machine.page().shadow.fill[0] = shared->machine.page().shadow.fill[1];
                          unsigned done = 0;
                          (void)shared->machine.vcpu.fill(16, done);
                          need(shared->machine.vcpu.view(0, Reader::kRoot,
                                                         self.word[1].fetch_add(1) % 2 != 0 ? Reader::kUpperRoot : 0));
                      }
                  },
                  {.core = 1});
    need(filler.start());
    bool gone = true, back = false;
    for (unsigned i = 0; i < 60; ++i) {
        guest.unmap();
        for (u64 at = 1; at < 16; ++at) gone = gone && !guest.reads(0x10'0000 + at * kPage);
        guest.map();
        back = wait_for([&] { return guest.reads(0x10'1000); }) && back;
        back = i == 0 || back;
    }
    filler.word[0] = 1;
    check("mapping.remove/while_filling", gone);
    check("vcpu.view/while_entering", back && wait_for([&] { return filler.done(); }) && filler.word[1] > 60);
}

}  // namespace

void test_shadow() {
    if (at_el2()) {
        skip("shadow.cpp", "kernel at EL2");
        return;
    }
    arguments();
    without_memory();
    steps();
    dropping();
    reuse();
    long_drops();
    if (cores() > 1) {
        races();
    } else {
        skip("mapping.remove/while_filling", "one core");
        skip("vcpu.view/while_entering", "one core");
    }
}

}  // namespace twain::test
