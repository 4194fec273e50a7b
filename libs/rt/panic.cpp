// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "rt/panic.hpp"

#include <algorithm>
#include <cstring>

#include "kernel/api/abi.hpp"
#include "rt/env.hpp"
#include "rt/start.hpp"
#include "sys/svc.hpp"

namespace twain::rt {

void log(std::string_view text) {
    const auto slot = is_root_task() ? std::optional<std::uint32_t>{abi::kRootSystem} : find_slot("klog");
    if (!slot) {
        return;
    }
    while (!text.empty()) {
        std::uint64_t words[6] = {};
        const std::size_t bytes = std::min(text.size(), sizeof words);
        std::memcpy(words, text.data(), bytes);
        sys::svc<abi::Sys::log>(sys::Regs{*slot, bytes, words[0], words[1], words[2], words[3], words[4], words[5]});
        text.remove_prefix(bytes);
    }
}

void panic(std::string_view why, std::string_view detail) {
    log(process_name());
    log(": panic: ");
    log(why);
    log(detail);
    log("\n");
    // Where the text is, for the supervisor, which reads it from this process's memory.
    register const char* x0 asm("x0") = why.data();
    register std::uint64_t x1 asm("x1") = why.size();
    register const char* x2 asm("x2") = detail.data();
    register std::uint64_t x3 asm("x3") = detail.size();
    asm volatile("udf %0" ::"i"(kPanicUdf), "r"(x0), "r"(x1), "r"(x2), "r"(x3) : "memory");
    for (;;) {
    }
}

}  // namespace twain::rt
