// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "console/console.hpp"

namespace twain::console {

namespace {

constexpr char kDelete = 0x7f;
constexpr std::size_t kTerminalColumns = 80;  // beyond, an open line may have wrapped and cannot be taken away
constexpr std::string_view kEraseToEnd = "\x1b[K";
constexpr std::string_view kMore = "\x1b[2m\xe2\x80\xa6\x1b[0m";

constexpr int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

Color parse_color(std::string_view text) {
    Color color;
    if (text.size() != 7 || text[0] != '#') {
        return color;
    }
    std::uint8_t part[3] = {};
    for (std::size_t i = 0; i < 3; ++i) {
        const int high = hex_digit(text[1 + 2 * i]);
        const int low = hex_digit(text[2 + 2 * i]);
        if (high < 0 || low < 0) {
            return color;
        }
        part[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return {part[0], part[1], part[2]};
}

bool Console::add_guest(std::string_view label, Color color) {
    if (guests_ == kMaxGuests) {
        return false;
    }
    Source& source = sources_[++guests_];
    for (const char c : label.substr(0, kLabel)) {
        source.label[source.label_bytes++] = c > ' ' && c < kDelete && c != '[' && c != ']' ? c : '?';
    }
    source.color = color;
    if (guests_ == 1) {
        focus_ = 1;
    }
    return true;
}

// --- drawing ---------------------------------------------------------------------------------

void Console::put_tag(unsigned source, bool continuation) {
    const Source& s = sources_[source];
    output_.put("\x1b[38;2;");
    output_.put_number(s.color.red);
    output_.put(';');
    output_.put_number(s.color.green);
    output_.put(';');
    output_.put_number(s.color.blue);
    output_.put("m[");
    output_.put(std::string_view{s.label, s.label_bytes});
    output_.put(continuation ? "]>\x1b[0m " : "]\x1b[0m ");
}

void Console::put_cells(const Line& line, std::size_t from) {
    for (std::size_t i = from; i < line.size(); ++i) {
        char bytes[4];
        output_.put(std::string_view{bytes, encode_utf8(line.cell(i), bytes)});
    }
}

void Console::put_move(std::size_t from, std::size_t to) {
    if (from != to) {
        output_.put("\x1b[");
        output_.put_number(from > to ? from - to : to - from);
        output_.put(from > to ? 'D' : 'C');
    }
}

// Brings the open line on the terminal up to date; the terminal's cursor ends at `at_`, within the text.
void Console::draw_open() {
    Source& s = sources_[open_];
    if (s.line.stable() < shown_ || s.line.size() < shown_) {
        output_.put('\r');
        put_tag(open_, s.continued);
        put_cells(s.line, 0);
        output_.put(kEraseToEnd);
        at_ = s.line.size();
    } else if (s.line.size() > shown_) {
        put_move(at_, shown_);
        put_cells(s.line, shown_);
        at_ = s.line.size();
    }
    shown_ = s.line.size();
    s.line.mark();
    s.announced = true;
}

// Takes the unfinished line away from the terminal.
void Console::close_open() {
    if (open_ == kNobody) {
        return;
    }
    if (sources_[open_].label_bytes + 4 + shown_ < kTerminalColumns) {
        output_.put('\r');
        output_.put(kEraseToEnd);
    } else {
        put_move(at_, shown_);
        output_.put(kMore);
        output_.put("\r\n");
    }
    open_ = kNobody;
    closed_ = now_ + 1;  // 0: never
}

// Writes the line of `source` as a complete one and begins a new one.
void Console::finish_line(unsigned source) {
    Source& s = sources_[source];
    if (open_ == source) {
        draw_open();
        open_ = kNobody;
    } else {
        close_open();
        put_tag(source, s.continued);
        put_cells(s.line, 0);
    }
    output_.put("\r\n");
    s.line.clear();
    s.announced = true;
}

// Shows the unfinished line of whoever has the keyboard, with the cursor where it belongs.
void Console::show_now() {
    if (supervisor_line_) {
        return;
    }
    const unsigned owner = typist();
    Source& s = sources_[owner];
    if (open_ == kNobody) {
        if (s.line.empty()) {
            return;
        }
        put_tag(owner, s.continued);
        open_ = owner;
        shown_ = 0;
        at_ = 0;
    }
    draw_open();
    put_move(at_, s.line.cursor());
    at_ = s.line.cursor();
}

void Console::notice(unsigned source, std::string_view text) {
    close_open();
    put_tag(source, false);
    output_.put("-- ");
    output_.put(text);
    output_.put("\r\n");
}

void Console::report(unsigned source, std::string_view text) {
    if (source <= guests_ && !supervisor_line_ && output_.space() >= kWorst) {
        notice(source, text);
        show_now();
    }
}

// --- output of the sources -------------------------------------------------------------------

std::size_t Console::print(unsigned source, std::string_view bytes, Milliseconds now) {
    now_ = now;
    if (bytes.empty() || source > guests_) {
        return bytes.size();
    }
    if (source == kSupervisor) {
        return print_supervisor(bytes, now);
    }
    return supervisor_line_ ? 0 : print_guest(source, bytes, now);
}

std::size_t Console::print_supervisor(std::string_view bytes, Milliseconds now) {
    Source& s = sources_[kSupervisor];
    std::size_t done = 0;
    for (const char c : bytes) {
        if (output_.space() < kWorst) {
            break;
        }
        ++done;
        if (!supervisor_line_) {
            close_open();
            put_tag(kSupervisor, false);
            supervisor_line_ = true;
        }
        if (c == '\n') {
            output_.put("\r\n");
            supervisor_line_ = false;
        } else {
            output_.put(static_cast<unsigned char>(c) < 0x20 || c == kDelete ? '?' : c);
        }
    }
    s.changed = now;
    return done;
}

void Console::refill(Source& source, Milliseconds now) {
    const Milliseconds passed = now > source.filled ? now - source.filled : 0;
    const std::uint64_t more = passed < kBurstBytes ? passed * kBytesPerMillisecond : kBurstBytes;
    source.allowance = source.allowance + more < kBurstBytes ? source.allowance + more : kBurstBytes;
    source.filled = now;
}

void Console::report_dropped(unsigned source) {
    Source& s = sources_[source];
    if (!s.line.empty()) {
        finish_line(source);
    }
    s.line.reset();
    s.continued = false;
    close_open();
    put_tag(source, false);
    output_.put("-- ");
    output_.put_number(s.dropped);
    output_.put(" bytes dropped: printed too fast\r\n");
    s.dropped = 0;
    s.dropping = false;
}

std::size_t Console::print_guest(unsigned source, std::string_view bytes, Milliseconds now) {
    Source& s = sources_[source];
    refill(s, now);
    if (s.dropping) {
        if (s.allowance < kResumeBytes || output_.space() < kWorst) {
            s.dropped += bytes.size();
            s.dropped_total += bytes.size();
            return bytes.size();
        }
        report_dropped(source);
    }
    std::size_t done = 0;
    for (const char c : bytes) {
        if (output_.space() < kWorst) {
            break;
        }
        if (s.allowance == 0) {
            s.dropping = true;
            s.dropped += bytes.size() - done;
            s.dropped_total += bytes.size() - done;
            done = bytes.size();
            break;
        }
        --s.allowance;
        ++done;
        if (s.line.full()) {
            finish_line(source);
            s.continued = true;
        }
        s.announced = false;
        if (s.line.put(static_cast<unsigned char>(c)) == Line::Event::newline) {
            finish_line(source);
            s.continued = false;
        }
    }
    if (done != 0) {
        s.changed = now;
    }
    if (open_ == source) {  // an echo goes out at once
        draw_open();
    }
    return done;
}

Milliseconds Console::tick(Milliseconds now) {
    now_ = now;
    Milliseconds next = 0;
    const auto due = [&](Milliseconds at) {
        if (at <= now) {
            return true;
        }
        next = next == 0 || at - now < next ? at - now : next;
        return false;
    };
    if (supervisor_line_) {
        if (!due(sources_[kSupervisor].changed + kSupervisorPatience)) {
            return next;
        }
        output_.put(kMore);
        output_.put("\r\n");
        supervisor_line_ = false;
    }
    for (unsigned i = 1; i <= guests_; ++i) {
        Source& s = sources_[i];
        if (output_.space() < kWorst) {
            break;
        }
        if (s.dropping) {
            refill(s, now);
            const std::uint64_t missing = s.allowance < kResumeBytes ? kResumeBytes - s.allowance : 0;
            if (due(now + missing / kBytesPerMillisecond)) {
                report_dropped(i);
            }
        }
        if (i == focus_ || s.line.empty() || s.announced) {
            continue;
        }
        if (due(s.changed + kIdleFlush)) {
            close_open();
            put_tag(i, s.continued);
            put_cells(s.line, 0);
            output_.put(kMore);
            output_.put("\r\n");
            s.announced = true;
        }
    }
    const Source& s = sources_[typist()];
    const bool shown = open_ == kNobody ? s.line.empty() : at_ == s.line.cursor() && shown_ == s.line.size();
    if (!shown && output_.space() >= kWorst && due(s.changed + kPromptPause) &&
        (closed_ == 0 || due(closed_ + kRedrawPause))) {
        show_now();
    }
    return next;
}

}  // namespace twain::console
