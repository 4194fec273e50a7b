// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Memory: split, derive, make_pool.
#include "test.hpp"

namespace twain::test {

namespace {

void derive() {
    Scratch scratch;
    const sys::Memory page = scratch.memory(4 * kPage);
    const Slot to = scratch.slot();
    expect("memory.derive/bad_arg", Error::bad_arg, page.derive(0, 0, to, rights::all));
    expect("memory.derive/bad_arg", Error::bad_arg, page.derive(1, kPage, to, rights::all));
    expect("memory.derive/bad_arg", Error::bad_arg, page.derive(0, 100, to, rights::all));
    expect("memory.derive/bad_arg", Error::bad_arg, page.derive(kPage, 4 * kPage, to, rights::all));
    expect("memory.derive/sum_wraps", Error::bad_arg, page.derive(0 - kPage, 2 * kPage, to, rights::all));
    expect("memory.derive/sum_wraps", Error::bad_arg, page.derive(kPage, 0 - kPage, to, rights::all));
    expect("memory.derive/bad_slot", Error::bad_slot, page.derive(0, kPage, 0, rights::all));
    expect("memory.derive/bad_slot", Error::bad_slot, page.derive(0, kPage, abi::cspace::kSlots, rights::all));
    expect("memory.derive/occupied", Error::occupied, page.derive(0, kPage, page.slot, rights::all));
    expect_ok("memory.derive/rights_only_shrink", page.derive(2 * kPage, kPage, to, kRead));
    const sys::Memory part{to};
    const Slot inner = scratch.slot();
    expect_ok("memory.derive/rights_only_shrink", part.derive(0, kPage, inner, rights::all));
    check("memory.derive/rights_only_shrink", kSelf.inspect(inner)->rights == kRead);
    check("memory.derive/place", kSelf.inspect(to)->base == kSelf.inspect(page.slot)->base + 2 * kPage);
    check("memory.derive/never_exclusive", kSelf.inspect(to)->flags == 0);
    expect("memory.derive/depth", Error::depth,
           sys::Memory{scratch.deepest(page.slot)}.derive(0, kPage, scratch.slot(), 7));
    expect("memory.method/bad_method", Error::bad_method, status(page.slot, kNoMethod));
}

void derive_from_pool() {
    Scratch scratch;
    (void)scratch.small_pool();
    // The kernel's own memory now: nobody gets a window into it.
    expect("memory.derive/busy", Error::busy, sys::Memory{kSpare}.derive(0, kPage, scratch.slot(), rights::all));
    expect("cspace.copy/busy", Error::busy, kSelf.copy(scratch.slot(), kSpare));
    expect("space.map/busy", Error::busy,
           kSpace.map(sys::Memory{kSpare}, 0, 0x20'0000'0000, kPage, kRead, scratch.slot()));
    expect("memory.make_pool/busy", Error::busy, sys::Memory{kSpare}.make_pool(scratch.slot()));
    expect("memory.split/busy", Error::busy, sys::Memory{kSpare}.split(kPage, scratch.slot()));
}

void make_pool() {
    Scratch scratch;
    const Slot to = scratch.slot();
    const sys::Memory spare{kSpare};
    expect("memory.make_pool/bad_slot", Error::bad_slot, spare.make_pool(0));
    expect("memory.make_pool/bad_slot", Error::bad_slot, spare.make_pool(abi::cspace::kSlots));
    expect("memory.make_pool/occupied", Error::occupied, spare.make_pool(kRam));
    const sys::Memory derived = scratch.memory(8 * kPage);
    expect("memory.make_pool/rights", Error::rights, derived.make_pool(to));  // not exclusive
    expect("memory.split/rights", Error::rights, derived.split(kPage, to));
    const sys::Memory copy{scratch.copy(kSpare)};
    expect("memory.split/rights", Error::rights, copy.split(kPage, to));
    expect("memory.make_pool/rights", Error::rights, copy.make_pool(to));
    need(kSelf.remove(copy.slot));
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    expect("memory.make_pool/device", Error::rights, sys::Memory{device}.make_pool(to));
    {
        Scratch inner;
        (void)inner.copy(kSpare);
        expect("memory.make_pool/busy", Error::busy, spare.make_pool(to));
        expect("memory.split/busy", Error::busy, spare.split(kPage, to));
    }
    expect_ok("memory.make_pool/free_again", spare.make_pool(to));
    expect_equal("memory.make_pool/free_again", kSpareBytes, sys::Pool{to}.stat()->bytes);
}

// A split cannot be undone, so these pieces are cut from the end of memory that nothing else uses.
void split() {
    constexpr Slot kPiece = 60, kTail = 61;
    const sys::Memory spare{kSpare};
    expect("memory.split/bad_arg", Error::bad_arg, spare.split(0, kPiece));
    expect("memory.split/bad_arg", Error::bad_arg, spare.split(100, kPiece));
    expect("memory.split/bad_arg", Error::bad_arg, spare.split(kSpareBytes, kPiece));
    expect("memory.split/bad_arg", Error::bad_arg, spare.split(0 - kPage, kPiece));
    expect("memory.split/bad_slot", Error::bad_slot, spare.split(kPage, 0));
    expect("memory.split/bad_slot", Error::bad_slot, spare.split(kPage, abi::cspace::kSlots));
    expect("memory.split/occupied", Error::occupied, spare.split(kPage, kRam));
    const u64 base = kSelf.inspect(kSpare)->base;
    expect_ok("memory.split/two_parts", spare.split(kSpareBytes - 4 * kPage, kPiece));
    expect_ok("memory.split/two_parts", sys::Memory{kPiece}.split(3 * kPage, kTail));
    const auto rest = kSelf.inspect(kPiece);
    check("memory.split/two_parts", rest->base == base + kSpareBytes - 4 * kPage && rest->bytes == 3 * kPage &&
                                        rest->flags == abi::cspace::kInspectExclusive);
    check("memory.split/two_parts", kSelf.inspect(kSpare)->bytes == kSpareBytes - 4 * kPage);
    Scratch scratch;
    expect("memory.make_pool/bad_arg", Error::bad_arg, sys::Memory{kPiece}.make_pool(scratch.slot()));  // < 16K
    expect("memory.split/siblings_apart", Error::bad_arg,
           spare.derive(kSpareBytes - 4 * kPage, kPage, scratch.slot(), 7));
}

}  // namespace

void test_memory() {
    derive();
    derive_from_pool();
    make_pool();
    split();
}

}  // namespace twain::test
