// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Device trees for the tests: QEMU's own (trees/, made by `-M virt,...,dumpdtb=` and packed by dtc), and changes of
// them. A tree always lies right below memory that nobody may touch: libfdt is not compiled with the sanitizers.
#pragma once

#include <libfdt.h>
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

// Aligned to 8 bytes as the boot protocol wants it, and at most 7 bytes before a page without access.
class GuardedBuffer {
public:
    explicit GuardedBuffer(std::size_t size) : mapped_{(size + kPage - 1) / kPage * kPage + kPage} {
        base_ = static_cast<unsigned char*>(
            mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        REQUIRE(base_ != MAP_FAILED);
        REQUIRE(mprotect(base_ + mapped_ - kPage, kPage, PROT_NONE) == 0);
        data_ = base_ + mapped_ - kPage - (size + 7) / 8 * 8;
    }
    GuardedBuffer(GuardedBuffer&& other) noexcept { swap(other); }
    GuardedBuffer& operator=(GuardedBuffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~GuardedBuffer() {
        if (base_ != nullptr) {
            munmap(base_, mapped_);
        }
    }
    unsigned char* data() { return data_; }
    const unsigned char* data() const { return data_; }

private:
    static constexpr std::size_t kPage = 4096;
    void swap(GuardedBuffer& other) noexcept {
        std::swap(base_, other.base_);
        std::swap(data_, other.data_);
        std::swap(mapped_, other.mapped_);
    }
    unsigned char* base_ = nullptr;
    unsigned char* data_ = nullptr;
    std::size_t mapped_ = 0;
};

class Tree {
public:
    explicit Tree(const std::string& name) {
        std::ifstream file{std::string{TWAIN_TREES} + "/" + name, std::ios::binary};
        const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
        REQUIRE(!bytes.empty());
        assign(bytes.data(), bytes.size());
    }
    Tree(const void* data, std::size_t size) { assign(data, size); }

    const void* data() const { return data_.data(); }
    unsigned char* bytes() { return data_.data(); }
    std::size_t size() const { return size_; }

    // Changes the tree through libfdt: `change(tree)` with room to grow.
    template <typename Change>
    void edit(Change change) {
        std::vector<std::uint64_t> room(size_ / 8 + 1024);
        REQUIRE(fdt_open_into(data(), room.data(), static_cast<int>(room.size() * 8)) == 0);
        change(static_cast<void*>(room.data()));
        REQUIRE(fdt_pack(room.data()) == 0);
        assign(room.data(), fdt_totalsize(room.data()));
    }

    // Sets a property of the node at `path`, which is made if it is not there.
    void set(const std::string& path, const char* property, const std::vector<std::uint32_t>& cells) {
        std::vector<fdt32_t> value;
        for (const std::uint32_t cell : cells) {
            value.push_back(cpu_to_fdt32(cell));
        }
        edit([&](void* tree) {
            REQUIRE(fdt_setprop(tree, node(tree, path), property, value.data(), static_cast<int>(4 * value.size())) ==
                    0);
        });
    }
    void set(const std::string& path, const char* property, const char* text) {
        edit([&](void* tree) {
            const int bytes = static_cast<int>(std::strlen(text)) + 1;
            REQUIRE(fdt_setprop(tree, node(tree, path), property, text, bytes) == 0);
        });
    }
    void remove(const std::string& path) {
        edit([&](void* tree) { REQUIRE(fdt_del_node(tree, fdt_path_offset(tree, path.c_str())) == 0); });
    }

private:
    void assign(const void* data, std::size_t size) {
        GuardedBuffer fresh{size};
        if (size != 0) {
            std::memcpy(fresh.data(), data, size);
        }
        data_ = std::move(fresh);
        size_ = size;
    }
    static int node(void* tree, const std::string& path) {
        const int found = fdt_path_offset(tree, path.c_str());
        if (found >= 0) {
            return found;
        }
        const auto slash = path.rfind('/');
        const int parent = slash == 0 ? 0 : node(tree, path.substr(0, slash));
        const int made = fdt_add_subnode(tree, parent, path.c_str() + slash + 1);
        REQUIRE(made >= 0);
        return made;
    }

    GuardedBuffer data_{0};
    std::size_t size_ = 0;
};
