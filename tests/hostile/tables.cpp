// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Page tables: 4K granule, 48 bits. The upper half has all RAM, the text of it read-only; the lower half an identity map
// for the kernel alone, and pages of its users.
#include "hostile.hpp"

extern "C" char __image_start[], __text_end[];

namespace hostile {

Tables own_tables, victim_tables;
alignas(4096) State state;
alignas(4096) u64 user_pages[32][512];

namespace {

constexpr u64 kPage = 3, kBlock = 1, kNormal = 0x700, kDevice = 0x404, kReadOnly = 0x80, kForUser = 0x40,
              kNotGlobal = 0x800;
constexpr u64 kPxn = u64{1} << 53, kUxn = u64{1} << 54;
constexpr u64 kRamBlocks = 16;

// The physical address, whether translation is on or not.
u64 at(const void* place) {
    const u64 address = reinterpret_cast<u64>(place);
    return address >> 63 != 0 ? address - kHigh : address;
}

template <typename Entry>
bool fill(u64* table, Entry entry) {
    bool changed = false;
    for (u64 n = 0; n < 512; ++n) {
        const u64 value = entry(n);
        if (table[n] != value) {
            *const_cast<volatile u64*>(&table[n]) = value;
            changed = true;
        }
    }
    return changed;
}

u64 user_page(u64 n) {
    const u64 page = at(user_pages[n]) | kNormal | kNotGlobal | kPage;
    switch (n) {
        case 0: return page | kForUser | kReadOnly | kPxn;
        case 1:
        case 2:
        case 3:
        case 4: return page | kForUser | kPxn | kUxn;
        case 5: return page | kForUser | kReadOnly | kPxn | kUxn;
        case 6: return page | kForUser | kPxn;
        case 16: return page | kPxn | kUxn;
        default: return 0;
    }
}

u64 image_page(u64 n) {
    const u64 address = kRam + n * 4096;
    const bool text = (address >= at(__image_start) && address < at(__text_end)) || address == at(__words);
    return address | kNormal | kPage | kUxn | (text ? kReadOnly : kPxn);
}

}  // namespace

bool make_tables(Tables* t) {
    bool changed = false;
    changed |= fill(t->low0, [&](u64 n) {
        return n == 0 ? at(t->low1) | kPage : n == kUser >> 39 ? at(t->user1) | kPage : 0;
    });
    changed |= fill(t->low1, [&](u64 n) {
        return n == 0 ? kDevice | kBlock | kPxn | kUxn : n == 1 ? kRam | kNormal | kBlock | kUxn : 0;
    });
    changed |= fill(t->user1, [&](u64 n) { return n == 0 ? at(t->user2) | kPage : 0; });
    changed |= fill(t->user2, [&](u64 n) { return n == 0 ? at(t->user3) | kPage : 0; });
    changed |= fill(t->user3, user_page);
    changed |= fill(t->high0, [&](u64 n) { return n == 256 ? at(t->high1) | kPage : 0; });
    changed |= fill(t->high1, [&](u64 n) {
        switch (n) {
            case 0: return kDevice | kBlock | kPxn | kUxn;
            case 1: return at(t->high2) | kPage;
            case 2: return kRam | kNormal | kBlock | kPxn | kUxn;  // writable()
            default: return u64{0};
        }
    });
    changed |= fill(t->high2, [&](u64 n) {
        return n == 0 ? at(t->high3) | kPage : n < kRamBlocks ? (kRam + (n << 21)) | kNormal | kBlock | kPxn | kUxn : 0;
    });
    changed |= fill(t->high3, image_page);
    return changed;
}

}  // namespace hostile
