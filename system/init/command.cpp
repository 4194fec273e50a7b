// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "system/init/command.hpp"

namespace twain::init {

namespace {

enum class Name { none, may, must };

struct Known {
    std::string_view word;
    Verb verb;
    Name name;
};

constexpr Known kKnown[] = {
    {"ps", Verb::ps, Name::none},     {"caps", Verb::caps, Name::may},      {"stat", Verb::stat, Name::none},
    {"kill", Verb::kill, Name::must}, {"reboot", Verb::reboot, Name::must}, {"log", Verb::log, Name::none},
    {"off", Verb::off, Name::none},   {"help", Verb::help, Name::none},
};

std::string_view next_word(std::string_view& line) {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) {
        line.remove_prefix(1);
    }
    std::size_t length = 0;
    while (length < line.size() && line[length] != ' ' && line[length] != '\t') {
        ++length;
    }
    const std::string_view word = line.substr(0, length);
    line.remove_prefix(length);
    return word;
}

}  // namespace

Command parse_command(std::string_view line) {
    Command command;
    command.word = next_word(line);
    command.argument = next_word(line);
    const std::string_view extra = next_word(line);
    if (command.word.empty()) {
        command.error = "empty command";
        return command;
    }
    for (const Known& known : kKnown) {
        if (known.word != command.word) {
            continue;
        }
        if (known.name == Name::must && command.argument.empty()) {
            command.error = "the name of a process or guest is missing";
        } else if (!extra.empty() || (known.name == Name::none && !command.argument.empty())) {
            command.error = "too many words";
        } else {
            command.verb = known.verb;
        }
        return command;
    }
    command.error = "unknown command";
    return command;
}

std::optional<std::string_view> LineReader::put(char c) {
    if (c == '\n' || c == '\r') {
        const std::size_t count = count_;
        too_long_ = overflow_;
        count_ = 0;
        overflow_ = false;
        if (count == 0) {
            return std::nullopt;
        }
        return std::string_view{bytes_.data(), count};
    }
    if (count_ == kMax) {
        overflow_ = true;
    } else {
        bytes_[count_++] = c;
    }
    return std::nullopt;
}

}  // namespace twain::init
