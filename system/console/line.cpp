// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "console/line.hpp"

namespace twain::console {

namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr unsigned char kEscape = 0x1b;

// Characters that a terminal does not draw in a cell of their own, or that reorder others: direction marks and
// overrides, separators, zero-width ones, private use, non-characters. Also C1 controls.
constexpr bool invisible(char32_t c) {
    return c < 0xa0 || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           (c >= 0x0300 && c <= 0x036f) || c == 0x061c || (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff ||
           (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || c >= 0xe0000;
}

// Length of the sequence that `lead` begins; 0: it begins none (RFC 3629).
constexpr std::size_t utf8_length(unsigned char lead) {
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return 3;
    }
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

}  // namespace

std::size_t encode_utf8(char32_t code, char* to) {
    if (code < 0x80) {
        to[0] = static_cast<char>(code);
        return 1;
    }
    if (code < 0x800) {
        to[0] = static_cast<char>(0xc0 | (code >> 6));
        to[1] = static_cast<char>(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = static_cast<char>(0xe0 | (code >> 12));
        to[1] = static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        to[2] = static_cast<char>(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = static_cast<char>(0xf0 | (code >> 18));
    to[1] = static_cast<char>(0x80 | ((code >> 12) & 0x3f));
    to[2] = static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    to[3] = static_cast<char>(0x80 | (code & 0x3f));
    return 4;
}

void Line::put_cell(char32_t c) {
    if (cursor_ >= kCells) {
        return;
    }
    if (cursor_ < stable_) {
        stable_ = cursor_;
    }
    cells_[cursor_++] = c;
    if (cursor_ > count_) {
        count_ = cursor_;
    }
}

void Line::put_escaped(unsigned char byte) {
    put_cell(U'\\');
    put_cell(U'x');
    put_cell(static_cast<char32_t>(kHex[byte >> 4]));
    put_cell(static_cast<char32_t>(kHex[byte & 15]));
}

void Line::put_code_escaped(char32_t code) {
    put_cell(U'\\');
    put_cell(U'u');
    put_cell(U'{');
    for (int shift = 20; shift >= 0; shift -= 4) {
        if (shift <= 12 || (code >> shift) != 0) {
            put_cell(static_cast<char32_t>(kHex[(code >> shift) & 15]));
        }
    }
    put_cell(U'}');
}

void Line::give_up() {
    const std::size_t count = pending_;
    pending_ = 0;
    state_ = State::ground;
    for (std::size_t i = 0; i < count; ++i) {
        if (sequence_[i] >= 0x20 && sequence_[i] < 0x7f) {
            put_cell(sequence_[i]);
        } else {
            put_escaped(sequence_[i]);
        }
    }
}

void Line::finish_csi() {
    // ECMA-48 5.4: ESC [ parameters final. sequence_ holds all of it.
    const unsigned char final_byte = sequence_[pending_ - 1];
    std::size_t number = 0;
    bool plain = true;
    for (std::size_t i = 2; i + 1 < pending_; ++i) {
        plain = plain && sequence_[i] >= '0' && sequence_[i] <= '9';
        number = plain ? number * 10 + (sequence_[i] - '0') : 0;
    }
    const bool given = pending_ > 3;
    const std::size_t steps = given && number != 0 ? number : 1;
    if (plain) {
        switch (final_byte) {
            case 'J':
            case 'K':
                if (number == 0) {
                    count_ = cursor_;
                    stable_ = stable_ < count_ ? stable_ : count_;
                    pending_ = 0;
                }
                break;
            case 'C':
                cursor_ = steps < count_ - cursor_ ? cursor_ + steps : count_;
                pending_ = 0;
                break;
            case 'D':
                cursor_ = steps < cursor_ ? cursor_ - steps : 0;
                pending_ = 0;
                break;
            case 'n':  // a question about the cursor: there is no terminal to answer it
                pending_ = number == 6 ? 0 : pending_;
                break;
            default: break;
        }
    }
    give_up();
}

void Line::finish_utf8() {
    char32_t code = sequence_[0] & (0xffu >> (expected_ + 1));
    for (std::size_t i = 1; i < expected_; ++i) {
        code = (code << 6) | (sequence_[i] & 0x3fu);
    }
    const bool overlong = (expected_ == 3 && code < 0x800) || (expected_ == 4 && code < 0x10000);
    if (overlong || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) {
        give_up();
        return;
    }
    pending_ = 0;
    state_ = State::ground;
    if (invisible(code)) {
        put_code_escaped(code);
    } else {
        put_cell(code);
    }
}

Line::Event Line::ground(unsigned char byte) {
    switch (byte) {
        case '\n': return Event::newline;
        case '\r': cursor_ = 0; return Event::none;
        case '\b': cursor_ -= cursor_ > 0 ? 1 : 0; return Event::none;
        case '\t': do { put_cell(U' ');
            } while (cursor_ % kTab != 0);
            return Event::none;
        case '\a': return Event::none;
        case kEscape:
            sequence_[0] = byte;
            pending_ = 1;
            state_ = State::escape;
            return Event::none;
        default: break;
    }
    if (byte >= 0x20 && byte < 0x7f) {
        put_cell(byte);
        return Event::none;
    }
    expected_ = utf8_length(byte);
    if (expected_ == 0) {
        put_escaped(byte);
        return Event::none;
    }
    sequence_[0] = byte;
    pending_ = 1;
    state_ = State::utf8;
    return Event::none;
}

Line::Event Line::put(unsigned char byte) {
    switch (state_) {
        case State::ground: return ground(byte);
        case State::escape:
            if (byte == '[') {
                sequence_[pending_++] = byte;
                state_ = State::csi;
                return Event::none;
            }
            break;
        case State::csi:
            if (byte >= 0x20 && byte < 0x7f && pending_ < kSequence) {
                sequence_[pending_++] = byte;
                if (byte >= 0x40) {
                    finish_csi();
                }
                return Event::none;
            }
            break;
        case State::utf8:
            if (byte >= 0x80 && byte < 0xc0) {
                sequence_[pending_++] = byte;
                if (pending_ == expected_) {
                    finish_utf8();
                }
                return Event::none;
            }
            break;
    }
    give_up();
    return ground(byte);
}

}  // namespace twain::console
