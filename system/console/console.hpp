// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The console: several guests and the supervisor on one terminal. Portable; main.cpp connects it with rings.
//
// Output. Every line on the terminal begins with the tag of who printed it: `[business] text`. A line is written in one
// piece when it is complete. Only the line of whoever has the keyboard is shown while it grows (a prompt, an echo), as
// soon as it pauses for a moment; if somebody else prints, it is taken away and drawn again below (`\r`, ESC [ K).
// Unfinished lines of the others are shown, with a `…` at the end, when nothing has come for a while, and
// again in full when complete.
// A line longer than the buffer goes on in lines whose tag is `[business]>`.
//
// Keyboard. Ctrl-A 1, 2, ... chooses a guest, Ctrl-A 0 the supervisor, Ctrl-A a sends Ctrl-A, Ctrl-A x quits, Ctrl-A ? helps.
// Ctrl-A : TEXT Enter gives the supervisor one command, without echo and without moving the keyboard (for programs).
//
// Fairness. Each guest has an allowance of bytes that time fills up again; what exceeds it is dropped and counted, and
// the number is printed.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "console/line.hpp"
#include "console/output.hpp"

namespace twain::console {

using Milliseconds = std::uint64_t;

struct Color {
    std::uint8_t red = 0xc0, green = 0xc0, blue = 0xc0;
};

// "#RRGGBB"; anything else: a neutral grey.
Color parse_color(std::string_view text);

inline constexpr unsigned kMaxGuests = 8;
inline constexpr unsigned kSupervisor = 0;  // source number; guests are 1.. in key order

inline constexpr Milliseconds kPromptPause = 10;  // until the unfinished line of whoever has the keyboard is shown
inline constexpr Milliseconds kRedrawPause = 50;  // until it is drawn again after others have printed
inline constexpr Milliseconds kIdleFlush = 200;   // until an unfinished line of another is shown
inline constexpr Milliseconds kSupervisorPatience = 1000;  // until its unfinished line no longer holds up the guests
inline constexpr std::uint64_t kBytesPerMillisecond = 64;
inline constexpr std::uint64_t kBurstBytes = 256 * 1024;
inline constexpr std::uint64_t kResumeBytes = 16 * 1024;  // a dropped guest is heard again with this much allowance

// What a key has led to: at most one of these.
struct KeyResult {
    enum class Kind { none, byte, command, quit };
    Kind kind = Kind::none;
    unsigned guest = 0;  // byte: to this guest (1..)
    char byte = 0;
    std::string_view command;  // command: without newline; valid until the next key
};

class Console {
public:
    constexpr explicit Console(std::string_view system_label = "twain") {
        for (const unsigned i : {kSupervisor, kEditor}) {
            sources_[i].label_bytes = system_label.copy(sources_[i].label, kLabel);
            sources_[i].color = {0xe0, 0xc0, 0x60};
        }
    }

    // Guests in key order. `label` is copied; false: too many. The first one gets the keyboard.
    bool add_guest(std::string_view label, Color color);
    unsigned guests() const { return guests_; }

    // What `source` printed. Returns how many bytes were taken: fewer if the output is full, or none while the supervisor
    // is in the middle of a line; the caller keeps the rest.
    std::size_t print(unsigned source, std::string_view bytes, Milliseconds now);

    KeyResult key(char c);

    // Shows unfinished lines that are due. The time until the next one is due; 0: nothing is waiting.
    Milliseconds tick(Milliseconds now);

    // A line of the console's own about `source`.
    void report(unsigned source, std::string_view text);

    Output& output() { return output_; }
    unsigned focus() const { return focus_; }
    // The supervisor is in the middle of a line: keys and guests wait until it is complete (or tick() loses patience).
    bool busy() const { return supervisor_line_; }
    std::uint64_t dropped(unsigned source) const { return sources_[source].dropped_total; }

private:
    static constexpr std::size_t kLabel = 24;
    static constexpr std::size_t kCommand = 200;
    static constexpr unsigned kEditor = kMaxGuests + 1;  // the command line that is being typed
    static constexpr unsigned kNobody = kMaxGuests + 2;
    static constexpr std::size_t kWorst = 8192;  // output that one byte can cause, at most

    struct Source {
        char label[kLabel] = {};
        std::size_t label_bytes = 0;
        Color color;
        Line line;
        bool continued = false;  // the line began on an earlier row
        bool announced = true;   // the unfinished line has been shown as it is
        bool dropping = false;
        Milliseconds changed = 0;
        Milliseconds filled = 0;
        std::uint64_t allowance = kBurstBytes;
        std::uint64_t dropped = 0;  // not yet reported
        std::uint64_t dropped_total = 0;
    };

    std::size_t print_guest(unsigned source, std::string_view bytes, Milliseconds now);
    std::size_t print_supervisor(std::string_view bytes, Milliseconds now);
    void refill(Source& source, Milliseconds now);
    void report_dropped(unsigned source);
    void notice(unsigned source, std::string_view text);
    void put_tag(unsigned source, bool continuation);
    void put_cells(const Line& line, std::size_t from);
    void put_move(std::size_t from, std::size_t to);
    void finish_line(unsigned source);
    void close_open();
    void draw_open();
    void show_now();
    unsigned typist() const { return focus_ == kSupervisor ? kEditor : focus_; }
    void set_focus(unsigned source);
    void help();
    void editor_begin();
    KeyResult editor_key(char c);
    KeyResult silent_key(char c);

    std::array<Source, kMaxGuests + 2> sources_{};  // supervisor, guests, editor
    Output output_;
    unsigned guests_ = 0;
    unsigned focus_ = kSupervisor;
    unsigned open_ = kNobody;       // whose unfinished line stands on the terminal
    std::size_t shown_ = 0;         // its cells on the terminal
    std::size_t at_ = 0;            // where the terminal's cursor is
    Milliseconds now_ = 0;          // of the last call that said
    Milliseconds closed_ = 0;       // when a line was last taken away
    bool supervisor_line_ = false;  // the supervisor is in the middle of a line
    bool prefix_ = false;           // Ctrl-A was pressed
    bool silent_ = false;           // Ctrl-A : was pressed
    char command_[kCommand] = {};
    std::size_t command_bytes_ = 0;
};

}  // namespace twain::console
