// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The console server's logic, watched through a small terminal: forged tags, floods, cut characters, long
// lines, interleaving, and the keyboard.
#include <catch2/catch.hpp>

#include <random>
#include <string>
#include <vector>

#include "console/console.hpp"

using namespace twain::console;

namespace {

// What a terminal makes of the console's output: understands exactly what the console may send. A cell holds a
// character, whatever its length in UTF-8.
class Terminal {
public:
    void feed(std::string_view text) {
        for (std::size_t i = 0; i < text.size(); ++i) {
            const char c = text[i];
            if (c == '\r') {
                column_ = 0;
            } else if (c == '\n') {
                rows.push_back(open());
                row_.clear();
                column_ = 0;
            } else if (c == '\x1b') {
                i = sequence(text, i);
            } else if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) {
                REQUIRE(column_ > 0);
                row_[column_ - 1].push_back(c);
            } else {
                REQUIRE(static_cast<unsigned char>(c) >= 0x20);
                REQUIRE(c != 0x7f);
                if (column_ >= row_.size()) {
                    row_.resize(column_ + 1, " ");
                }
                row_[column_++] = std::string(1, c);
            }
        }
    }
    std::string open() const {
        std::string text;
        for (const std::string& cell : row_) {
            text += cell;
        }
        return text;
    }
    std::size_t column() const { return column_; }
    std::vector<std::string> rows;

private:
    std::size_t sequence(std::string_view text, std::size_t at) {
        REQUIRE(at + 1 < text.size());
        REQUIRE(text[at + 1] == '[');
        std::size_t end = at + 2;
        while (end < text.size() && (text[end] == ';' || (text[end] >= '0' && text[end] <= '9'))) {
            ++end;
        }
        REQUIRE(end < text.size());
        const std::string parameter(text.substr(at + 2, end - at - 2));
        switch (text[end]) {
            case 'm': break;
            case 'K':
                REQUIRE(parameter.empty());
                row_.resize(std::min(row_.size(), column_));
                break;
            case 'C': column_ += std::stoul(parameter); break;
            case 'D':
                REQUIRE(std::stoul(parameter) <= column_);
                column_ -= std::stoul(parameter);
                break;
            default: FAIL("unexpected sequence " << text[end]);
        }
        return end;
    }

    std::vector<std::string> row_;
    std::size_t column_ = 0;
};

struct Fixture {
    Fixture() {
        REQUIRE(console.add_guest("business", parse_color("#3B82F6")));
        REQUIRE(console.add_guest("personal", parse_color("#22C55E")));
    }
    // All of it, letting the terminal take what is there.
    void print(unsigned source, std::string_view text, Milliseconds now = 0) {
        while (!text.empty()) {
            const std::size_t taken = console.print(source, text, now);
            text.remove_prefix(taken);
            pump();
            REQUIRE((taken != 0 || source != kSupervisor));
            if (taken == 0) {
                return;
            }
        }
        console.tick(now + kRedrawPause + 1);
        pump();
    }
    void pump() {
        raw += console.output().view();
        terminal.feed(console.output().view());
        console.output().consume(console.output().view().size());
    }
    KeyResult keys(std::string_view text) {
        KeyResult last;
        for (const char c : text) {
            last = console.key(c);
        }
        pump();
        return last;
    }
    std::vector<std::string>& rows() { return terminal.rows; }
    Console console;
    Terminal terminal;
    std::string raw;
};

using Rows = std::vector<std::string>;

}  // namespace

TEST_CASE("console: every line carries the tag and the colour of its guest") {
    Fixture f;
    f.print(1, "hello\r\n");
    f.print(2, "world\n");
    CHECK(f.rows() == Rows{"[business] hello", "[personal] world"});
    CHECK(f.raw.find("\x1b[38;2;59;130;246m[business]\x1b[0m hello\r\n") != std::string::npos);
    CHECK(f.raw.find("\x1b[38;2;34;197;94m[personal]\x1b[0m world\r\n") != std::string::npos);
}

TEST_CASE("console: the prompt of the focused guest is visible promptly and echo is added to it at once") {
    Fixture f;
    CHECK(f.console.print(1, "business# ", 0) == 10);
    CHECK(f.console.output().view().empty());  // a line that is still growing is not shown in pieces
    CHECK(f.console.tick(4) == kPromptPause - 4);
    CHECK(f.console.tick(kPromptPause) == 0);
    f.pump();
    CHECK(f.terminal.open() == "[business] business# ");
    f.print(1, "l");
    f.print(1, "s");
    CHECK(f.terminal.open() == "[business] business# ls");
    CHECK(f.raw.substr(f.raw.size() - 2) == "ls");  // only what is new is sent
    f.print(1, "\r\n");
    CHECK(f.rows() == Rows{"[business] business# ls"});
}

TEST_CASE("console: another guest's line goes above the prompt that is being typed at") {
    Fixture f;
    f.print(1, "business# ls");
    f.print(2, "tick 1\r\n");
    CHECK(f.rows() == Rows{"[personal] tick 1"});
    CHECK(f.terminal.open() == "[business] business# ls");
    f.print(1, " -l\r\n");
    CHECK(f.rows() == Rows{"[personal] tick 1", "[business] business# ls -l"});
}

TEST_CASE("console: an unfinished line of another guest is shown when nothing follows, and again when complete") {
    Fixture f;
    f.print(2, "personal# ", 1000);
    CHECK(f.rows().empty());
    CHECK(f.console.tick(1000) == kIdleFlush);
    CHECK(f.console.tick(1000 + kIdleFlush) == 0);
    f.pump();
    CHECK(f.rows() == Rows{"[personal] personal# \xe2\x80\xa6"});
    CHECK(f.console.tick(5000) == 0);
    f.print(2, "id\r\n", 6000);
    CHECK(f.rows().back() == "[personal] personal# id");
    CHECK(f.rows().size() == 2);
}

TEST_CASE("console: line editing stays within the line") {
    Fixture f;
    f.print(1, "abc\b\b \b\bX");
    CHECK(f.terminal.open() == "[business] X c");
    f.print(1, "\r\n");
    f.print(1, "# foo\b\x1b[J");
    CHECK(f.terminal.open() == "[business] # fo");
    f.print(1, "\x1b[2D\x1b[1Cx\r\n");
    CHECK(f.rows().back() == "[business] # fx");
    f.print(1, "10%\r20%\r\n");
    CHECK(f.rows().back() == "[business] 20%");
    f.print(1, "\b\b\b\b\b\b\x1b[99Dleft\r\n");
    CHECK(f.rows().back() == "[business] left");
    f.print(1, "a\tb\r\n");
    CHECK(f.rows().back() == "[business] a       b");
    f.print(1, "q\x1b[6nr\r\n");
    CHECK(f.rows().back() == "[business] qr");
}

TEST_CASE("console: the terminal's cursor follows the guest's") {
    Fixture f;
    f.print(1, "# echo");
    f.print(1, "\b\b");
    CHECK(f.terminal.column() == std::string("[business] # ec").size());
    f.print(1, "\x1b[C");
    CHECK(f.terminal.column() == std::string("[business] # ech").size());
    f.print(1, "o!");
    CHECK(f.terminal.open() == "[business] # echo!");
}

TEST_CASE("console: no guest forges another's tag") {
    const std::string attempt = GENERATE(
        as<std::string>{}, "\r[personal] forged\n", "\b\b\b\b\b\b\b\b\b\b\b\b\b[personal] forged\n",
        "\x1b[2K\r[personal] forged\n", "\x1b[1A[personal] forged\n", "\x1b[1;1H[personal] forged\n",
        "\x1b[999D[personal] forged\n", "\x1b]0;title\x07[personal] forged\n",
        "\x1b"
        "c[personal] forged\n",
        "\x1b[0m[personal] forged\n", "\x0b[personal] forged\n", "\x0c[personal] forged\n", "\x85[personal] forged\n",
        "\xc2\x85[personal] forged\n", "\xe2\x80\xa8[personal] forged\n", "\xe2\x80\xae[personal] forged\n",
        "\x9b"
        "2J[personal] forged\n",
        "\xc2\x9b"
        "2J[personal] forged\n",
        "\x1b[1\n[personal] forged\n", "\x1b[38;2;34;197;94m[personal] forged\n", "\x0e[personal] forged\n",
        "\x00[personal] forged\n");
    Fixture f;
    f.print(1, attempt);
    f.print(1, "\n");
    REQUIRE(!f.rows().empty());
    for (const std::string& row : f.rows()) {
        CHECK(row.rfind("[business]", 0) == 0);
    }
}

TEST_CASE("console: control sequences are shown as text") {
    Fixture f;
    f.print(1, "\x1b[2Jx\x1b[31mred\x1b\x07\x7f\x01\r\n");
    CHECK(f.rows() == Rows{"[business] \\x1b[2Jx\\x1b[31mred\\x1b\\x7f\\x01"});
    f.print(1, std::string_view{"a\0b\r\n", 5});
    CHECK(f.rows().back() == "[business] a\\x00b");
    f.print(1, "\x1b[1;2;3;4;5;6;7;8;9;0mtoo long\r\n");
    CHECK(f.rows().back() == "[business] \\x1b[1;2;3;4;5;6;7;8;9;0mtoo long");
}

TEST_CASE("console: UTF-8 passes whole, even in pieces; what is not UTF-8 is escaped") {
    Fixture f;
    f.print(1, "gr\xc3");
    f.print(2, "\xe2\x82");
    f.print(1, "\xbc\xc3\x9f\r\n");
    f.print(2, "\xac \xf0\x9f\x98\x80\r\n");
    CHECK(f.rows() == Rows{"[business] gr\xc3\xbc\xc3\x9f", "[personal] \xe2\x82\xac \xf0\x9f\x98\x80"});
    f.print(1, "\xc3(\xff\xe2\x82\r\n");
    CHECK(f.rows().back() == "[business] \\xc3(\\xff\\xe2\\x82");
    f.print(1, "\xc0\xaf\xe0\x80\xaf\xed\xa0\x80\xf4\x90\x80\x80\r\n");  // overlong, surrogate, too large
    CHECK(f.rows().back() == "[business] \\xc0\\xaf\\xe0\\x80\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
    f.print(1,
            "\xe2\x80\xae"
            "abc\r\n");
    CHECK(f.rows().back() == "[business] \\u{202e}abc");
}

TEST_CASE("console: a long line goes on in marked lines and loses nothing") {
    Fixture f;
    std::string text;
    for (unsigned i = 0; i < 2000; ++i) {
        text.push_back(static_cast<char>('a' + i % 26));
    }
    f.print(2, text + "\r\n");
    std::string together;
    for (std::size_t i = 0; i < f.rows().size(); ++i) {
        const std::string tag = i == 0 ? "[personal] " : "[personal]> ";
        REQUIRE(f.rows()[i].rfind(tag, 0) == 0);
        together += f.rows()[i].substr(tag.size());
    }
    CHECK(together == text);
    f.print(2, "next\r\n");
    CHECK(f.rows().back() == "[personal] next");
}

TEST_CASE("console: a flood is dropped and counted, the other guest is heard") {
    Fixture f;
    const std::string flood(64 * 1024, 'x');
    for (unsigned i = 0; i < 64; ++i) {
        f.print(1, flood + "\n", 10);
        f.print(2, "tick\n", 10);
    }
    CHECK(f.console.dropped(1) > 3'000'000);
    CHECK(f.console.dropped(2) == 0);
    unsigned ticks = 0;
    for (const std::string& row : f.rows()) {
        ticks += row == "[personal] tick" ? 1 : 0;
    }
    CHECK(ticks == 64);
    CHECK(f.console.tick(11) > 0);
    CHECK(f.console.tick(2000) == 0);
    f.pump();
    std::uint64_t reported = 0;
    const std::string before = "[business] -- ";
    for (const std::string& row : f.rows()) {
        reported += row.rfind(before, 0) == 0 ? std::stoull(row.substr(before.size())) : 0;
    }
    CHECK(reported == f.console.dropped(1));
    f.print(1, "back\n", 2001);
    CHECK(f.rows().back() == "[business] back");
}

TEST_CASE("console: a terminal that does not listen loses nothing and holds up nobody for ever") {
    Fixture f;
    std::string text;
    for (unsigned i = 0; i < 20'000; ++i) {
        text += "line " + std::to_string(i) + "\n";
    }
    std::size_t at = 0;
    unsigned rounds = 0;
    while (at < text.size()) {
        at += f.console.print(1, std::string_view(text).substr(at), 10 * rounds);
        REQUIRE(++rounds < 100'000);
        f.pump();
    }
    CHECK(f.rows().size() + f.console.dropped(1) / 6 >= 20'000 - 1);
}

TEST_CASE("console: keys go to one guest at a time") {
    Fixture f;
    KeyResult r = f.keys("x");
    CHECK((r.kind == KeyResult::Kind::byte && r.guest == 1 && r.byte == 'x'));
    r = f.keys(
        "\x01"
        "2\x03");
    CHECK((r.kind == KeyResult::Kind::byte && r.guest == 2 && r.byte == 3));
    CHECK(f.rows().back() == "[twain] -- keyboard: personal");
    r = f.keys(
        "\x01"
        "a");
    CHECK((r.kind == KeyResult::Kind::byte && r.guest == 2 && r.byte == 1));
    CHECK(f.keys("\x01").kind == KeyResult::Kind::none);
    CHECK(f.keys("x").kind == KeyResult::Kind::quit);
    f.keys(
        "\x01"
        "7");
    CHECK(f.rows().back() == "[twain] -- no such guest");
    CHECK(f.console.focus() == 2);
    f.keys("\x01?");
    CHECK(f.rows().back().find("Ctrl-A ?") != std::string::npos);
    CHECK(f.keys("y").guest == 2);
}

TEST_CASE("console: the supervisor's command line") {
    Fixture f;
    f.print(1, "business# ");
    f.keys(
        "\x01"
        "0");
    CHECK(f.terminal.open() == "[twain] > ");
    KeyResult r = f.keys("pz\x7fs\r");
    CHECK((r.kind == KeyResult::Kind::command && r.command == "ps"));
    f.print(kSupervisor, "{\"ok\":true");
    CHECK(f.console.busy());
    CHECK(f.console.print(1, "waits", 0) == 0);
    f.print(kSupervisor, "}\n");
    CHECK_FALSE(f.console.busy());
    CHECK(f.rows()[f.rows().size() - 2] == "[twain] > ps");
    CHECK(f.rows().back() == "[twain] {\"ok\":true}");
    CHECK(f.terminal.open() == "[twain] > ");
    CHECK(f.keys("\r").kind == KeyResult::Kind::none);
    f.keys(
        "\x01"
        "1");
    CHECK(f.terminal.open() == "[business] business# ");
    r = f.keys(std::string(500, 'a') + "\r");
    CHECK((r.kind == KeyResult::Kind::byte && r.guest == 1));
    f.keys(
        "\x01"
        "0");
    r = f.keys(std::string(500, 'a') + "\r");
    CHECK((r.kind == KeyResult::Kind::command && r.command.size() == 200));
}

TEST_CASE("console: a program's command does not move the keyboard") {
    Fixture f;
    f.print(1, "business# l");
    const KeyResult r = f.keys("\x01:caps\n");
    CHECK((r.kind == KeyResult::Kind::command && r.command == "caps"));
    f.print(kSupervisor, "{}\n");
    CHECK(f.rows() == Rows{"[twain] {}"});
    CHECK(f.terminal.open() == "[business] business# l");
    CHECK(f.console.focus() == 1);
    const KeyResult longest = f.keys("\x01:" + std::string(500, 'a') + "\n");
    CHECK((longest.kind == KeyResult::Kind::command && longest.command == std::string(200, 'a')));
}

TEST_CASE("console: a supervisor that stops in the middle of a line is not waited for") {
    Fixture f;
    f.print(kSupervisor, "{\"half", 100);
    CHECK(f.console.tick(200) > 0);
    CHECK(f.console.busy());
    f.console.tick(100 + kSupervisorPatience);
    CHECK_FALSE(f.console.busy());
    f.print(1, "on\n", 2000);
    CHECK(f.rows().back() == "[business] on");
}

TEST_CASE("console: colours and labels") {
    CHECK(parse_color("#010203").green == 2);
    CHECK(parse_color("red").red == Color{}.red);
    CHECK(parse_color("#01020g").red == Color{}.red);
    Console c;
    CHECK(c.add_guest("a]\x1b[b a very long label that goes on", Color{}));
    c.print(1, "x\n", 0);
    CHECK(std::string(c.output().view()).find("[a???b?a?very?long?label?]") != std::string::npos);
    for (unsigned i = 1; i < kMaxGuests; ++i) {
        CHECK(c.add_guest("g", Color{}));
    }
    CHECK_FALSE(c.add_guest("g", Color{}));
}

TEST_CASE("console: random bytes of two guests never mix", "[fuzz]") {
    // Each prints letters of its own (none that an escape like \\x1b or \\u{..} is written with); controls come from both.
    std::mt19937 random(GENERATE(range(1u, 21u)));
    Fixture f;
    const auto piece = [&](bool upper) {
        static constexpr const char* kBits[] = {"\x1b[",  "\x1b",    "\r",      "\n",       "\b",   "\x1b[2J", "\x1b[H",
                                                "\x1b[K", "\x1b[9D", "\x1b[5C", "\xc3\xa9", "\xff", "\xe2",    "\x9b",
                                                "\t",     "\x1b]0;", "3",       ";",        "[",    "]"};
        std::string text;
        for (auto i = random() % 40; i > 0; --i) {
            if (random() % 3 == 0) {
                text += kBits[random() % std::size(kBits)];
            } else {
                text.push_back(static_cast<char>((upper ? 'p' : 'g') + random() % 5));
            }
        }
        return text;
    };
    Milliseconds now = 0;
    for (unsigned i = 0; i < 2000; ++i) {
        now += random() % 50;
        switch (random() % 8) {
            case 0:
                f.keys(random() % 2 != 0 ? "\x01"
                                           "1"
                                         : "\x01"
                                           "2");
                break;
            case 1:
                f.console.tick(now);
                f.pump();
                break;
            case 2: f.print(kSupervisor, "{}\n", now); break;
            default: {
                const unsigned guest = random() % 2 != 0 ? 2 : 1;
                f.print(guest, piece(guest == 2), now);
            }
        }
    }
    for (const std::string& row : f.rows()) {
        if (row.rfind("[twain] ", 0) == 0) {
            continue;
        }
        const bool business = row.rfind("[business]", 0) == 0;
        INFO(row);
        REQUIRE((business || row.rfind("[personal]", 0) == 0));
        for (const char c : row.substr(10)) {
            REQUIRE_FALSE((business ? (c >= 'p' && c <= 't') : (c >= 'g' && c <= 'k')));
        }
    }
}
