// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Capability space: copy, remove, revoke, inspect.
#include "test.hpp"

namespace twain::test {

namespace {

void copy() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const sys::Endpoint endpoint = scratch.endpoint();
    const sys::Thread thread = scratch.thread();
    const Slot to = scratch.slot(), empty = scratch.slot();
    const sys::CSpace inspect_only{scratch.copy(kSelf.slot, rights::cspace_inspect)};
    expect("cspace.copy/rights", Error::rights, inspect_only.copy(to, note.slot));
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(0, note.slot));
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(abi::cspace::kSlots, note.slot));
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(to, empty));
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(to, 0));
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(to, abi::cspace::kSlots + 3));
    expect("cspace.copy/occupied", Error::occupied, kSelf.copy(endpoint.slot, note.slot));
    expect("cspace.copy/occupied", Error::occupied, kSelf.copy(note.slot, note.slot));
    expect("cspace.copy/bad_arg", Error::bad_arg, kSelf.copy(to, thread.slot, rights::all, 1));
    expect("cspace.copy/bad_arg", Error::bad_arg, kSelf.copy(to, kRam, rights::all, 1));
    const Slot badged = scratch.copy(note.slot, rights::all, 5);
    expect("cspace.copy/bad_arg", Error::bad_arg, kSelf.copy(to, badged, rights::all, 6));
    expect_ok("cspace.copy/keeps_badge", kSelf.copy(to, badged));
    expect_equal("cspace.copy/keeps_badge", 5, kSelf.inspect(to)->badge);
    need(kSelf.remove(to));
    need(kSelf.copy(to, note.slot, rights::note_wait));
    const Slot again = scratch.copy(to, rights::all);
    expect_equal("cspace.copy/rights_only_shrink", rights::note_wait, kSelf.inspect(again)->rights);
    expect("cspace.copy/depth", Error::depth, kSelf.copy(scratch.slot(), scratch.deepest(note.slot)));
    const sys::Memory page = scratch.memory();
    (void)scratch.map(page);
    expect("cspace.copy/bad_type", Error::bad_type, kSelf.copy(scratch.slot(), page.slot + 1));  // the mapping
    expect("cspace.method/bad_method", Error::bad_method, status(kSelf.slot, kNoMethod));
    expect("cspace.method/bad_method", Error::bad_method, status(kSelf.slot, 4));
}

// The table's leaves come from the space's own pool.
void copy_without_memory() {
    Scratch scratch;
    const sys::Pool pool = scratch.small_pool();
    const sys::CSpace small{scratch.slot()};
    need(pool.create_cspace(small.slot));
    sys::Status last;
    unsigned slot = 1;
    for (; slot < abi::cspace::kSlots; slot += 128) {
        last = small.copy(slot, kPool);
        if (!last) break;
    }
    expect("cspace.copy/no_memory", Error::no_memory, last);
    expect_ok("cspace.copy/beside_no_memory", small.copy(2, kPool));
}

// A table's leaf is made for what comes into it, not for a call that fails.
void failure_takes_nothing() {
    Scratch scratch;
    const Slot empty = scratch.slot();
    constexpr Slot kFar = 7000;  // nobody has used that leaf
    const u64 before = free_bytes();
    expect("cspace.copy/bad_slot", Error::bad_slot, kSelf.copy(kFar, empty));
    expect("pool.create/bad_arg", Error::bad_arg, kObjects.create_endpoint(kFar, cores()));
    expect_equal("cspace.copy/failure_takes_nothing", before, free_bytes());
    need(kSelf.copy(kFar, kPool));
    need(kSelf.remove(kFar));
}

void inspect() {
    Scratch scratch;
    const sys::CSpace no_look{scratch.copy(kSelf.slot, rights::cspace_insert | rights::cspace_remove)};
    expect("cspace.inspect/rights", Error::rights, no_look.inspect(1).status());
    expect("cspace.inspect/bad_slot", Error::bad_slot, kSelf.inspect(abi::cspace::kSlots).status());
    const auto nothing = kSelf.inspect(scratch.slot());
    check("cspace.inspect/empty", nothing.ok() && nothing->type == abi::Type::null && nothing->rights == 0);
    check("cspace.inspect/empty", kSelf.inspect(0).ok() && kSelf.inspect(8000)->type == abi::Type::null);
    const sys::Notification note = scratch.notification();
    const Slot badged = scratch.copy(note.slot, rights::note_signal, 0x99);
    const auto seen = kSelf.inspect(badged);
    check("cspace.inspect/badge", seen->type == abi::Type::notification && seen->rights == rights::note_signal &&
                                      seen->badge == 0x99 && seen->object == kSelf.inspect(note.slot)->object);
    const auto spare = kSelf.inspect(kSpare);
    check("cspace.inspect/exclusive", spare->flags == abi::cspace::kInspectExclusive && spare->bytes == kSpareBytes);
    const sys::Memory page = scratch.memory(2 * kPage, kReadWrite);
    check("cspace.inspect/memory", kSelf.inspect(page.slot)->flags == 0 &&
                                       kSelf.inspect(page.slot)->bytes == 2 * kPage &&
                                       kSelf.inspect(page.slot)->rights == kReadWrite);
    const Slot mapping = scratch.slot();
    constexpr u64 kAt = 0x20'0000'0000;
    need(kSpace.map(page, kPage, kAt, kPage, kRead, mapping));
    const auto mapped = kSelf.inspect(mapping);
    check("cspace.inspect/mapping",
          mapped->type == abi::Type::mapping && mapped->address == kAt && mapped->bytes == kPage &&
              mapped->base == kSelf.inspect(page.slot)->base + kPage && mapped->rights == kRead &&
              mapped->object == kSelf.inspect(kSpace.slot)->object);
    const Slot device = scratch.slot();
    need(kSystem.make_memory(device, 0x0901'0000, kPage));
    check("cspace.inspect/device", kSelf.inspect(device)->flags == abi::cspace::kInspectDevice);
}

void remove() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const sys::CSpace insert_only{scratch.copy(kSelf.slot, rights::cspace_insert)};
    const Slot empty = scratch.slot();
    expect("cspace.remove/rights", Error::rights, insert_only.remove(note.slot));
    expect("cspace.revoke/rights", Error::rights, insert_only.revoke(note.slot));
    expect("cspace.remove/bad_slot", Error::bad_slot, kSelf.remove(empty));
    expect("cspace.remove/bad_slot", Error::bad_slot, kSelf.remove(0));
    expect("cspace.remove/bad_slot", Error::bad_slot, kSelf.remove(abi::cspace::kSlots));
    expect("cspace.revoke/bad_slot", Error::bad_slot, kSelf.revoke(empty));
    expect("cspace.revoke/bad_slot", Error::bad_slot, kSelf.revoke(abi::cspace::kSlots));
    expect("cspace.remove/busy", Error::busy, kSelf.remove(kSpare));  // nobody could ever have that memory again
    expect("cspace.remove/busy", Error::busy, kSelf.remove(abi::kRootSystem));
    const Slot copy = scratch.copy(note.slot), copy2 = scratch.copy(copy);
    expect_ok("cspace.remove/copy", kSelf.remove(copy));
    expect("cspace.remove/takes_children", Error::bad_slot, kSelf.remove(copy2));
    expect_ok("cspace.remove/object_lives_on", note.signal());
    const Slot copy3 = scratch.copy(note.slot);
    expect_ok("cspace.remove/first_capability", kSelf.remove(note.slot));
    expect("cspace.remove/first_capability", Error::bad_slot, sys::Notification{copy3}.signal());
}

void revoke() {
    Scratch scratch;
    const sys::Notification note = scratch.notification();
    const Slot deepest = scratch.deepest(note.slot);
    const Slot wide = scratch.copy(note.slot);
    Slot last = 0;
    for (unsigned i = 0; i < 1000; ++i) last = scratch.copy(wide);
    const u64 before = free_bytes();
    expect_ok("cspace.revoke/deep_tree", kSelf.revoke(note.slot));
    expect("cspace.revoke/deep_tree", Error::bad_slot, kSelf.remove(deepest));
    expect("cspace.revoke/wide_tree", Error::bad_slot, kSelf.remove(last));
    expect("cspace.revoke/wide_tree", Error::bad_slot, kSelf.remove(wide));
    expect_ok("cspace.revoke/itself_stays", note.signal());
    expect_ok("cspace.revoke/derive_again", kSelf.copy(wide, note.slot));
    expect_equal("cspace.revoke/no_leak", before, free_bytes());
    expect_ok("cspace.revoke/nothing_to_do", kSelf.revoke(last - 1 == 0 ? last : wide));
}

// A space that holds capabilities of which it was itself made, and one in another.
void nested() {
    Scratch scratch;
    const u64 before = free_bytes();
    {
        Scratch inner;
        const sys::CSpace outer = inner.cspace();
        const sys::CSpace self = inner.cspace();
        need(self.copy(1, self.slot));
        need(self.copy(2, outer.slot));
        need(outer.copy(1, self.slot));
        need(outer.copy(7000, outer.slot));
        expect_ok("cspace.remove/holds_itself", kSelf.remove(self.slot));
        expect("cspace.remove/holds_itself", Error::bad_slot, outer.remove(1));
        const sys::Notification note = inner.notification();
        need(outer.copy(3, note.slot));
        expect_ok("cspace.remove/takes_what_is_inside", kSelf.remove(outer.slot));
        expect_ok("cspace.remove/takes_what_is_inside", note.signal());
    }
    expect_equal("cspace.remove/no_leak", before, free_bytes());
}

}  // namespace

void test_cspace() {
    copy();
    copy_without_memory();
    failure_takes_nothing();
    inspect();
    remove();
    revoke();
    nested();
    Scratch scratch;
    expect("invoke/bad_slot", Error::bad_slot, status(scratch.slot(), 0));
    expect("invoke/bad_slot", Error::bad_slot, status(abi::cspace::kSlots, 0));
    expect("invoke/bad_slot", Error::bad_slot, sys::Status{sys::svc<abi::Sys::invoke>(sys::Regs{~u64{0}, 0}).x1});
}

}  // namespace twain::test
