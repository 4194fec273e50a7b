// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/bus.hpp"

namespace twain::vmm {

bool Bus::insert(const Window& window) {
    if (count_ == kMaxWindows || window.bytes == 0 || window.base.value + (window.bytes - 1) < window.base.value) {
        return false;
    }
    const std::uint64_t last = window.base.value + (window.bytes - 1);
    for (const Window& other : windows()) {
        if (window.base.value <= other.base.value + (other.bytes - 1) && other.base.value <= last) {
            return false;
        }
    }
    windows_[count_++] = window;
    return true;
}

}  // namespace twain::vmm
