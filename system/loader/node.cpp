// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "loader/node.hpp"

#include <initializer_list>

namespace twain::loader {
namespace {

constexpr unsigned kMaxDepth = 8;                        // of buses with `ranges`
constexpr std::uint32_t kFirstPpi = 16, kFirstSpi = 32;  // GIC architecture: INTIDs

std::string_view terminated(const void* data, int bytes) {
    const auto* text = static_cast<const char*>(data);
    for (int i = 0; text != nullptr && i < bytes; ++i) {
        if (text[i] == '\0') {
            return {text, static_cast<std::size_t>(i)};
        }
    }
    return {};
}

}  // namespace

std::string_view Node::text(const char* property) const {
    int bytes = 0;
    const void* data = fdt_getprop(tree_, offset_, property, &bytes);
    return terminated(data, bytes);
}

Cells Node::cells(const char* property) const {
    int bytes = 0;
    const void* data = fdt_getprop(tree_, offset_, property, &bytes);
    return data != nullptr ? Cells{static_cast<const fdt32_t*>(data), bytes} : Cells{};
}

bool Node::enabled() const {
    const std::string_view status = text("status");
    return status.empty() || status == "okay" || status == "ok";
}

std::optional<unsigned> Node::cell_count(const char* property, unsigned otherwise) const {
    const Cells value = cells(property);
    const unsigned count = value.count() > 0 ? value.at(0) : otherwise;
    return count <= 2 ? std::optional{count} : std::nullopt;
}

std::optional<abi::Range> Node::reg(unsigned index) const {
    Node bus = parent();
    if (!bus.exists()) {
        return std::nullopt;
    }
    auto address_cells = bus.address_cells();
    const auto size_cells = bus.size_cells();
    if (!address_cells || !size_cells || *address_cells == 0) {
        return std::nullopt;
    }
    const Cells entries = cells("reg");
    const unsigned entry = *address_cells + *size_cells;
    if (index >= entries.count() / entry) {
        return std::nullopt;
    }
    abi::Range range{entries.number(index * entry, *address_cells),
                     entries.number(index * entry + *address_cells, *size_cells)};
    if (range.base + range.bytes < range.base) {
        return std::nullopt;
    }
    // Up through the buses: (child address, parent address, length) each; an empty `ranges` changes nothing.
    for (unsigned depth = 0; bus.offset() != 0; ++depth) {
        const Node above = bus.parent();
        const auto parent_cells = above.exists() ? above.address_cells() : std::nullopt;
        const auto length_cells = bus.size_cells();
        int bytes = 0;
        if (depth == kMaxDepth || !parent_cells || !length_cells ||
            fdt_getprop(tree_, bus.offset(), "ranges", &bytes) == nullptr) {
            return std::nullopt;
        }
        const Cells windows = bus.cells("ranges");
        const unsigned window = *address_cells + *parent_cells + *length_cells;
        bool mapped = bytes == 0;
        for (unsigned at = 0; !mapped && window != 0 && at + window <= windows.count(); at += window) {
            const std::uint64_t child = windows.number(at, *address_cells);
            const std::uint64_t length = windows.number(at + *address_cells + *parent_cells, *length_cells);
            if (range.base >= child && range.bytes <= length && range.base - child <= length - range.bytes) {
                range.base = windows.number(at + *address_cells, *parent_cells) + (range.base - child);
                mapped = true;
            }
        }
        if (!mapped || range.base + range.bytes < range.base) {
            return std::nullopt;
        }
        bus = above;
        address_cells = parent_cells;
    }
    return range;
}

std::uint32_t Node::intid(unsigned index) const {
    // The interrupt controller says how many cells an entry has; all of them agree on the first two.
    const Node gic = find_compatible(tree_, {"arm,gic-v3", "arm,cortex-a15-gic", "arm,gic-400"});
    const Cells width = gic.exists() ? gic.cells("#interrupt-cells") : Cells{};
    const unsigned entry = width.count() > 0 ? width.at(0) : 0;
    const Cells entries = cells("interrupts");
    if (entry < 3 || entry > 4 || index >= entries.count() / entry) {
        return 0;
    }
    const std::uint32_t type = entries.at(index * entry);
    const std::uint32_t number = entries.at(index * entry + 1);
    if (type == 0 && number < 988) {
        return kFirstSpi + number;
    }
    return type == 1 && number < 16 ? kFirstPpi + number : 0;
}

Node find_compatible(const void* tree, std::initializer_list<const char*> names) {
    for (const char* name : names) {
        for (int at = fdt_node_offset_by_compatible(tree, -1, name); at >= 0;
             at = fdt_node_offset_by_compatible(tree, at, name)) {
            if (Node{tree, at}.enabled()) {
                return {tree, at};
            }
        }
    }
    return {tree, -FDT_ERR_NOTFOUND};
}

}  // namespace twain::loader
