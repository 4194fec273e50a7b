// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Typed views of device-tree nodes, over libfdt.
#pragma once

#include <libfdt.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernel/api/abi.hpp"

namespace twain::loader {

// Big-endian cells of one property.
class Cells {
public:
    Cells() = default;
    Cells(const fdt32_t* data, int bytes) : data_{data}, count_{bytes > 0 ? static_cast<unsigned>(bytes) / 4 : 0} {}

    unsigned count() const { return count_; }
    std::uint32_t at(unsigned index) const { return index < count_ ? fdt32_to_cpu(data_[index]) : 0; }
    // A number of 0 to 2 cells.
    std::uint64_t number(unsigned index, unsigned cells) const {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < cells; ++i) {
            value = value << 32 | at(index + i);
        }
        return value;
    }

private:
    const fdt32_t* data_ = nullptr;
    unsigned count_ = 0;
};

class Node {
public:
    Node(const void* tree, int offset) : tree_{tree}, offset_{offset} {}

    bool exists() const { return offset_ >= 0; }
    int offset() const { return offset_; }
    const void* tree() const { return tree_; }

    // `status` is absent or "okay" (specification 2.3.4).
    bool enabled() const;
    bool is_compatible(const char* name) const { return fdt_node_check_compatible(tree_, offset_, name) == 0; }
    // The first string of a property; empty if there is none or it is not terminated.
    std::string_view text(const char* property) const;
    Cells cells(const char* property) const;
    Node parent() const { return {tree_, fdt_parent_offset(tree_, offset_)}; }

    // Entry of `reg`, in the addresses of the processor: through each parent's `ranges`.
    std::optional<abi::Range> reg(unsigned index) const;
    // Numbers of cells for children (specification 2.3.5); 1 or 2, else nothing.
    std::optional<unsigned> address_cells() const { return cell_count("#address-cells", 2); }
    std::optional<unsigned> size_cells() const { return cell_count("#size-cells", 1); }

    // INTID of an entry of `interrupts`, three or more cells as the GIC's binding says; 0: none.
    std::uint32_t intid(unsigned index) const;

private:
    std::optional<unsigned> cell_count(const char* property, unsigned otherwise) const;

    const void* tree_;
    int offset_;
};

// The first enabled node with one of the compatible strings, or one that does not exist.
Node find_compatible(const void* tree, std::initializer_list<const char*> names);

}  // namespace twain::loader
