// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Writes one JSON object as one line (RFC 8259), piece by piece into a sink, so that its length has no bound. Whatever
// bytes a string holds, the line stays ASCII and stays a line.
#pragma once

#include <cstdint>
#include <string_view>

namespace twain::init {

// Sink: void write(std::string_view).
template <typename Sink>
class Json {
public:
    explicit Json(Sink& sink) : sink_(sink) { open('{'); }
    Json(const Json&) = delete;
    Json& operator=(const Json&) = delete;
    ~Json() { sink_.write("}\n"); }

    // Members of the current object, elements of the current array (there the key is empty).
    void text(std::string_view key, std::string_view value) {
        name(key);
        quoted(value);
    }
    void number(std::string_view key, std::uint64_t value) {
        name(key);
        decimal(value);
    }
    // Addresses: JSON numbers lose bits above 2^53 in some readers.
    void hex(std::string_view key, std::uint64_t value) {
        name(key);
        char digits[18];
        std::size_t at = sizeof digits;
        do {
            digits[--at] = "0123456789abcdef"[value & 15];
            value >>= 4;
        } while (value != 0);
        digits[--at] = 'x';
        digits[--at] = '0';
        quoted({digits + at, sizeof digits - at});
    }
    void boolean(std::string_view key, bool value) {
        name(key);
        sink_.write(value ? "true" : "false");
    }
    void begin_object(std::string_view key = {}) {
        name(key);
        open('{');
    }
    void begin_array(std::string_view key = {}) {
        name(key);
        open('[');
    }
    void end_object() { close('}'); }
    void end_array() { close(']'); }

    // A string in pieces.
    void begin_text(std::string_view key) {
        name(key);
        sink_.write("\"");
    }
    void more_text(std::string_view value) { escaped(value); }
    void end_text() { sink_.write("\""); }

private:
    void open(char bracket) {
        sink_.write({&bracket, 1});
        first_ = true;
    }
    void close(char bracket) {
        sink_.write({&bracket, 1});
        first_ = false;
    }
    void name(std::string_view key) {
        if (!first_) {
            sink_.write(",");
        }
        first_ = false;
        if (!key.empty()) {
            quoted(key);
            sink_.write(":");
        }
    }
    void quoted(std::string_view value) {
        sink_.write("\"");
        escaped(value);
        sink_.write("\"");
    }
    void escaped(std::string_view value) {
        std::size_t plain = 0;
        for (std::size_t i = 0; i < value.size(); ++i) {
            const unsigned char c = static_cast<unsigned char>(value[i]);
            if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
                continue;
            }
            sink_.write(value.substr(plain, i - plain));
            plain = i + 1;
            if (c == '\n') {
                sink_.write("\\n");
            } else if (c == '"' || c == '\\') {
                const char pair[2] = {'\\', static_cast<char>(c)};
                sink_.write({pair, 2});
            } else {
                const char code[6] = {'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
                sink_.write({code, 6});
            }
        }
        sink_.write(value.substr(plain));
    }
    void decimal(std::uint64_t value) {
        char digits[20];
        std::size_t at = sizeof digits;
        do {
            digits[--at] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        sink_.write({digits + at, sizeof digits - at});
    }

    Sink& sink_;
    bool first_ = true;
};

}  // namespace twain::init
