// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The line that a guest is printing, as a row of characters with a cursor. What stays within the line is carried out
// (backspace, carriage return, erase to the end, cursor left and right), so that line editors look right.
// Everything else that could move a terminal's cursor or change its state becomes visible text (`\x1b[2J`),
// so that no byte of a guest reaches the terminal uninterpreted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace twain::console {

class Line {
public:
    static constexpr std::size_t kCells = 512;

    enum class Event { none, newline };

    // One byte of output. full() must have been false before.
    Event put(unsigned char byte);

    // One more byte might not fit: take what is there as a line of its own and clear().
    bool full() const { return count_ + kReserve > kCells; }
    bool empty() const { return count_ == 0; }
    std::size_t size() const { return count_; }
    std::size_t cursor() const { return cursor_; }
    char32_t cell(std::size_t i) const { return cells_[i]; }

    // Begins a new row; a sequence that is still incomplete goes on.
    void clear() {
        count_ = 0;
        cursor_ = 0;
        stable_ = 0;
    }
    // Forgets everything, also half a sequence.
    void reset() {
        clear();
        pending_ = 0;
        state_ = State::ground;
    }

    // How many leading cells have not changed since the last mark().
    std::size_t stable() const { return stable_; }
    void mark() { stable_ = count_; }

private:
    enum class State { ground, escape, csi, utf8 };
    static constexpr std::size_t kSequence = 12;  // longest escape sequence that is looked at
    static constexpr std::size_t kReserve = 80;   // cells that one byte can make at most, with what is pending
    static constexpr std::size_t kTab = 8;

    void put_cell(char32_t c);
    void put_escaped(unsigned char byte);  // \xNN
    void put_code_escaped(char32_t code);  // \u{NNNN}
    void give_up();                        // what is pending becomes visible text
    Event ground(unsigned char byte);
    void finish_csi();
    void finish_utf8();

    char32_t cells_[kCells] = {};
    std::size_t count_ = 0;
    std::size_t cursor_ = 0;
    std::size_t stable_ = 0;
    unsigned char sequence_[kSequence] = {};
    std::size_t pending_ = 0;   // bytes in sequence_
    std::size_t expected_ = 0;  // length of the UTF-8 sequence
    State state_ = State::ground;
};

// Writes `code` as UTF-8; the number of bytes (1..4).
std::size_t encode_utf8(char32_t code, char* to);

}  // namespace twain::console
