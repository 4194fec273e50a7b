// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Plain text on the PL011, before anybody drives it (Arm DDI 0183, UARTDR and UARTFR). Firmware has set the line
// up; on QEMU it needs no setting up.
#pragma once

#include <cstdint>
#include <string_view>

namespace twain::loader {

class Console {
public:
    explicit Console(std::uint64_t base) : base_{base} {}  // 0: nowhere

    const Console& text(std::string_view text) const;
    const Console& number(std::uint64_t value) const;
    const Console& choice(std::uint64_t bits) const;  // "2 or 3"
    const Console& hex(std::uint64_t value) const;
    const Console& mega(std::uint64_t bytes) const;  // "512 MB"

private:
    void put(char c) const;
    std::uint64_t base_;
};

}  // namespace twain::loader
