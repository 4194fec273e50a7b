// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The console's keyboard: Ctrl-A commands, the supervisor's command line, keys for the guests.
#include "console/console.hpp"

namespace twain::console {

namespace {

constexpr char kCtrlA = 0x01;
constexpr char kCtrlC = 0x03;
constexpr char kCtrlU = 0x15;
constexpr char kDelete = 0x7f;
constexpr std::string_view kPrompt = "> ";

}  // namespace

void Console::editor_begin() {
    Line& line = sources_[kEditor].line;
    line.reset();
    for (const char c : kPrompt) {
        line.put(static_cast<unsigned char>(c));
    }
    command_bytes_ = 0;
}

void Console::set_focus(unsigned source) {
    close_open();
    focus_ = source;
    if (source == kSupervisor) {
        notice(kSupervisor, "keyboard: supervisor (ps, caps, stat, kill NAME, reboot NAME, log, off)");
        editor_begin();
    } else {
        const Source& s = sources_[source];
        close_open();
        put_tag(kSupervisor, false);
        output_.put("-- keyboard: ");
        output_.put(std::string_view{s.label, s.label_bytes});
        output_.put("\r\n");
    }
    show_now();
}

void Console::help() {
    notice(kSupervisor, "Ctrl-A 1, 2, ...: keyboard to a guest");
    for (unsigned i = 1; i <= guests_; ++i) {
        put_tag(kSupervisor, false);
        output_.put("--    ");
        output_.put_number(i);
        output_.put(' ');
        output_.put(std::string_view{sources_[i].label, sources_[i].label_bytes});
        output_.put(i == focus_ ? " (now)\r\n" : "\r\n");
    }
    notice(kSupervisor, "Ctrl-A 0: supervisor   Ctrl-A a: send Ctrl-A   Ctrl-A x: quit   Ctrl-A ?: this help");
    show_now();
}

KeyResult Console::editor_key(char c) {
    Line& line = sources_[kEditor].line;
    KeyResult result;
    if (c == '\r' || c == '\n') {
        if (command_bytes_ != 0) {
            result.kind = KeyResult::Kind::command;
            result.command = {command_, command_bytes_};
        }
        finish_line(kEditor);
        editor_begin();
    } else if (c == kCtrlC || c == kCtrlU) {
        editor_begin();
    } else if (c == '\b' || c == kDelete) {
        if (command_bytes_ != 0) {
            --command_bytes_;
            for (const char d : std::string_view{"\b\x1b[K"}) {
                line.put(static_cast<unsigned char>(d));
            }
        }
    } else if (c >= ' ' && c < kDelete && command_bytes_ < kCommand) {
        command_[command_bytes_++] = c;
        line.put(static_cast<unsigned char>(c));
    }
    show_now();
    return result;
}

KeyResult Console::silent_key(char c) {
    KeyResult result;
    if (c == '\r' || c == '\n') {
        silent_ = false;
        result.kind = KeyResult::Kind::command;
        result.command = {command_, command_bytes_};
        if (focus_ == kSupervisor) {
            editor_begin();
            show_now();
        }
    } else if (command_bytes_ < kCommand) {
        command_[command_bytes_++] = c;
    }
    return result;
}

KeyResult Console::key(char c) {
    KeyResult result;
    if (output_.space() < kWorst) {  // the terminal does not listen: nothing could be echoed
        return result;
    }
    if (silent_) {
        return silent_key(c);
    }
    if (!prefix_) {
        if (c == kCtrlA) {
            prefix_ = true;
        } else if (focus_ == kSupervisor) {
            return editor_key(c);
        } else {
            result = {KeyResult::Kind::byte, focus_, c, {}};
        }
        return result;
    }
    prefix_ = false;
    if (c >= '0' && c <= '9') {
        const unsigned source = static_cast<unsigned>(c - '0');
        if (source <= guests_) {
            set_focus(source);
        } else {
            notice(kSupervisor, "no such guest");
            show_now();
        }
    } else if (c == 'a' || c == kCtrlA) {
        if (focus_ != kSupervisor) {
            result = {KeyResult::Kind::byte, focus_, kCtrlA, {}};
        }
    } else if (c == 'x') {
        result.kind = KeyResult::Kind::quit;
    } else if (c == '?' || c == 'h') {
        help();
    } else if (c == ':') {
        silent_ = true;
        command_bytes_ = 0;
    } else {
        notice(kSupervisor, "Ctrl-A ? helps");
        show_now();
    }
    return result;
}

}  // namespace twain::console
