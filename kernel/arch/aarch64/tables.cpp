// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel's own translation tables. make_tables() and enable_translation() run with the MMU off at physical
// addresses: they use nothing but PC-relative addresses.
#include "kernel_tables.hpp"
#include "layout.hpp"
#include "machine.hpp"
#include "sysreg.hpp"

namespace twain::kernel {

extern "C" {
extern char image_start[], text_end[], rodata_end[], image_end[], vectors[], core_memory[];
void make_tables(u64 base, const abi::BootInfo* boot);
void enable_translation();
}

namespace {

struct alignas(kPage) Table {
    u64 entry[512];
};
constexpr u64 kValid = 1, kTable = 3, kPageEntry = 3;
constexpr u64 kBlock1 = u64{1} << 30, kBlock2 = u64{1} << 21;
constexpr unsigned kEdges = 2 * abi::kMaxRam;

Table root, linear1, image1, image2, image3, devices3, identity1;
Table edges[kEdges];  // level 2 of the linear map where RAM does not fill a gigabyte
unsigned edges_used;

u64 address(const void* symbol) { return reinterpret_cast<u64>(symbol); }
unsigned index(u64 virt, unsigned shift) { return static_cast<unsigned>(virt >> shift) & 511; }
constexpr u64 kData = Regime::kNormal | Regime::kNoExecute | Regime::kAlways | Regime::kLinear;

// RAM in the linear map: gigabytes where they are full, two megabytes at the edges.
void map_ram(u64 base, u64 end) {
    base = align_up(base, kBlock2);
    end = align_down(end, kBlock2);
    while (base < end) {
        u64& slot = linear1.entry[index(base, 30)];
        if (base % kBlock1 == 0 && end - base >= kBlock1 && !slot) {
            slot = base | kData | kValid;
            base += kBlock1;
            continue;
        }
        if (!slot) {
            if (edges_used == kEdges) return;
            slot = address(&edges[edges_used++]) | kTable;
        }
        auto* level2 = reinterpret_cast<Table*>(slot & ~u64{0xfff});
        level2->entry[index(base, 21)] = base | kData | kValid;
        base += kBlock2;
    }
}

void map_image(u64 base) {
    const u64 text = address(text_end) - address(image_start);
    const u64 constants = address(rodata_end) - address(image_start);
    const u64 bytes = address(image_end) - address(image_start);
    const u64 cores = address(core_memory) - address(image_start);
    for (u64 at = 0; at < bytes; at += kPage) {
        u64 entry = (base + at) | Regime::kNormal | Regime::kAlways | kPageEntry;
        if (at >= text) entry |= Regime::kNoExecute;
        if (at < constants) entry |= Regime::kReadOnly;
        const bool guard = at >= cores && at < cores + abi::kMaxCores * 4 * kPage && (at - cores) % (4 * kPage) == 0;
        image3.entry[at / kPage] = guard ? 0 : entry;
    }
}

}  // namespace

void map_device(u64 offset, Phys at, u64 bytes) {
    for (u64 done = 0; done < bytes; done += kPage) {
        const u64 attributes = Regime::kDevice | Regime::kNoExecute | Regime::kAlways | kPageEntry;
        write_kernel_descriptor(devices3.entry[(offset + done) / kPage], (at.value + done) | attributes);
    }
    dsb_ish();
    isb();
}

void map_window(CpuId core, Phys state, Phys shared) {
    u64 window = layout::kWindows + core * layout::kWindowBytes;
    const Phys pages[] = {state, shared};
    for (const Phys at : pages) {
        u64& entry = devices3.entry[index(window, 12)];
        write_kernel_descriptor(entry, 0);
        flush_kernel_page(window);
        write_kernel_descriptor(entry, at.value | Regime::kNormal | Regime::kNoExecute | Regime::kAlways | kPageEntry);
        window += kPage;
    }
    dsb_ish();
    isb();
}

// The way from physical to virtual addresses is behind us.
void drop_identity() {
    root.entry[0] = 0;
    dsb_ish();
    flush_kernel_translations();
}

void make_tables(u64 base, const abi::BootInfo* boot) {
    root.entry[0] = address(&identity1) | kTable;
    identity1.entry[index(base, 30)] = align_down(base, kBlock1) | Regime::kNormal | Regime::kAlways | kValid;
    root.entry[index(layout::kLinear, 39)] = address(&linear1) | kTable;
    root.entry[index(layout::kImage, 39)] = address(&image1) | kTable;
    image1.entry[index(layout::kImage, 30)] = address(&image2) | kTable;
    image2.entry[index(layout::kImage, 21)] = address(&image3) | kTable;
    image2.entry[index(layout::kDevices, 21)] = address(&devices3) | kTable;
    map_image(base);
    for (u32 i = 0; i < boot->ram_count && i < abi::kMaxRam; ++i) {
        u64 end = boot->ram[i].base + boot->ram[i].bytes;
        if (end > layout::kMaxRamEnd) end = layout::kMaxRamEnd;
        map_ram(boot->ram[i].base, end);
    }
    // The boot information itself may lie in a 2 MiB block that RAM fills only in part.
    dsb_sy();
}

void enable_translation() {
    enable_kernel_regime(address(&root), address(vectors) - address(image_start) + layout::kImage);
}

}  // namespace twain::kernel
