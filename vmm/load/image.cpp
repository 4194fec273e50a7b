// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/load/image.hpp"

#include <cstring>

namespace twain::vmm {
namespace {

struct Header {
    std::uint32_t code[2];
    std::uint64_t text_offset;
    std::uint64_t image_size;
    std::uint64_t flags;
    std::uint64_t reserved[3];
    std::uint32_t magic;
    std::uint32_t pe_offset;
};
static_assert(sizeof(Header) == 64);
constexpr std::uint32_t kMagic = 0x644d'5241;  // "ARM\x64"
constexpr std::uint64_t kBigEndian = 1;
constexpr std::uint64_t kMostRam = std::uint64_t{1} << 39;

// An EFI stub makes the Image a PE file as well, whose section table tells how long it ought to be.
bool cut_short(std::span<const std::byte> file, std::uint32_t pe_offset) {
    constexpr std::size_t kHeaderBytes = 24, kSectionBytes = 40;
    const auto u16 = [&](std::size_t at) {
        return static_cast<std::uint32_t>(static_cast<unsigned>(file[at]) | static_cast<unsigned>(file[at + 1]) << 8);
    };
    const auto u32 = [&](std::size_t at) { return u16(at) | u16(at + 2) << 16; };
    if (pe_offset == 0) {
        return false;
    }
    if (file.size() < kHeaderBytes || pe_offset > file.size() - kHeaderBytes) {
        return true;
    }
    if (u32(pe_offset) != 0x4550) {  // "PE\0\0": none, so the word means something else
        return false;
    }
    const std::size_t sections = u16(pe_offset + 6);
    std::size_t at = std::size_t{pe_offset} + kHeaderBytes + u16(pe_offset + 20);
    for (std::size_t i = 0; i < sections; ++i, at += kSectionBytes) {
        if (file.size() < kSectionBytes || at > file.size() - kSectionBytes) {
            return true;
        }
        if (std::uint64_t{u32(at + 20)} + u32(at + 16) > file.size()) {
            return true;
        }
    }
    return false;
}

}  // namespace

const char* message_of(LoadError error) {
    switch (error) {
        case LoadError::none: return "loaded";
        case LoadError::truncated: return "the kernel is shorter than its headers say";
        case LoadError::not_an_image: return "the kernel is not an arm64 Image";
        case LoadError::compressed: return "the kernel is compressed";
        case LoadError::big_endian: return "the kernel is big-endian";
        case LoadError::no_size: return "the kernel's header states no size";
        case LoadError::kernel_too_big: return "the kernel does not fit into the guest's memory";
        case LoadError::initrd_too_big: return "the initrd does not fit into the guest's memory";
        case LoadError::tree_too_big: return "the device tree becomes too big";
    }
    return "unknown";
}

LoadError parse_image(std::span<const std::byte> file, Image& image) {
    if (file.size() >= 2 && file[0] == std::byte{0x1f} && file[1] == std::byte{0x8b}) {
        return LoadError::compressed;
    }
    Header h;
    if (file.size() < sizeof h) {
        return LoadError::truncated;
    }
    std::memcpy(&h, file.data(), sizeof h);
    if (h.magic != kMagic) {
        return LoadError::not_an_image;
    }
    if ((h.flags & kBigEndian) != 0) {
        return LoadError::big_endian;
    }
    if (h.image_size == 0) {
        return LoadError::no_size;
    }
    if (cut_short(file, h.pe_offset)) {
        return LoadError::truncated;
    }
    if (h.image_size > kMostRam || h.text_offset > kMostRam) {
        return LoadError::kernel_too_big;
    }
    image.text_offset = h.text_offset;
    image.memory_bytes = h.image_size;
    image.file_bytes = file.size() < h.image_size ? file.size() : h.image_size;
    return LoadError::none;
}

LoadError plan(const Image& image, std::uint64_t initrd_bytes, std::uint64_t ram_bytes, Layout& layout) {
    layout.kernel = image.text_offset;
    if (image.text_offset > ram_bytes || image.memory_bytes > ram_bytes - image.text_offset) {
        return LoadError::kernel_too_big;
    }
    const std::uint64_t kernel_end = image.text_offset + image.memory_bytes;
    layout.tree = (kernel_end + kImageAlignment - 1) & ~(kImageAlignment - 1);
    if (layout.tree > ram_bytes || kTreeBytes > ram_bytes - layout.tree) {
        return LoadError::kernel_too_big;
    }
    layout.initrd = layout.tree + kTreeBytes;
    return initrd_bytes > ram_bytes - layout.initrd ? LoadError::initrd_too_big : LoadError::none;
}

}  // namespace twain::vmm
