// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The header of an arm64 Image (Linux, Documentation/arch/arm64/booting.rst). The file is the guest owner's: anything may
// be in it, and nothing but its size is believed before it is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace twain::vmm {

inline constexpr std::uint64_t kImageAlignment = 0x20'0000;  // text_offset counts from such a base

enum class LoadError : std::uint8_t {
    none,
    truncated,     // shorter than its headers say
    not_an_image,  // no arm64 magic
    compressed,    // gzip: the tool unpacks kernels, the VMM does not
    big_endian,
    no_size,         // image_size is zero: older than Linux 3.17
    kernel_too_big,  // with its zeroed data, for the guest's RAM
    initrd_too_big,  // does not fit behind the kernel
    tree_too_big,    // the device tree: an absurd command line
};
const char* message_of(LoadError error);

struct Image {
    std::uint64_t text_offset = 0;
    std::uint64_t memory_bytes = 0;  // what the kernel takes from there on, zeroed data included
    std::uint64_t file_bytes = 0;    // what is to be copied
};

LoadError parse_image(std::span<const std::byte> file, Image& image);

// Where things go in a guest's RAM. Offsets from its base.
struct Layout {
    std::uint64_t kernel = 0;
    std::uint64_t tree = 0;  // kTreeBytes are reserved, inside one 2 MiB block
    std::uint64_t initrd = 0;
};
inline constexpr std::uint64_t kTreeBytes = 0x1'0000;

LoadError plan(const Image& image, std::uint64_t initrd_bytes, std::uint64_t ram_bytes, Layout& layout);

}  // namespace twain::vmm
