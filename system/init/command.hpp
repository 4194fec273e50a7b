// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The supervisor's command line: a word, for some commands a name.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace twain::init {

enum class Verb { ps, caps, stat, kill, reboot, log, off, help, bad };

struct Command {
    Verb verb = Verb::bad;
    std::string_view word;      // as typed
    std::string_view argument;  // kill, reboot; caps: may be empty
    std::string_view error;     // bad: what is wrong
};

// Never fails: what cannot be understood is Verb::bad with a reason. Views point into `line`.
Command parse_command(std::string_view line);

// Collects bytes into lines. A line that is too long is one bad line, whatever its end looks like.
class LineReader {
public:
    static constexpr std::size_t kMax = 128;

    // A complete line, without its end, valid until the next call; nothing: not complete yet.
    std::optional<std::string_view> put(char c);
    bool too_long() const { return too_long_; }  // of the line that put() has just given

private:
    std::array<char, kMax> bytes_{};
    std::size_t count_ = 0;
    bool overflow_ = false;
    bool too_long_ = false;
};

}  // namespace twain::init
