// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The parts of init that need no kernel: memory stock, environment, JSON, command lines.
#include <catch2/catch.hpp>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "system/init/command.hpp"
#include "system/init/environment.hpp"
#include "system/init/json.hpp"
#include "system/init/stock.hpp"

using namespace twain;
using namespace twain::init;

namespace {

// Remembers what each memory capability covers; refuses the n-th split.
struct Ranges {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> of{{}};
    unsigned refuse = 0;
};
struct FakeSplitter {
    Ranges* ranges;
    sys::Status split(abi::Slot memory, std::uint64_t keep, abi::Slot rest) {
        if (ranges->refuse != 0 && --ranges->refuse == 0) {
            return sys::Status{abi::Error::no_memory};
        }
        const auto [base, bytes] = ranges->of.at(memory);
        REQUIRE((keep != 0 && keep < bytes && keep % kPage == 0));
        ranges->of.resize(std::max<std::size_t>(ranges->of.size(), rest + 1));
        ranges->of[rest] = {base + keep, bytes - keep};
        ranges->of[memory].second = keep;
        return {};
    }
    abi::Slot next_slot() { return static_cast<abi::Slot>(ranges->of.size()); }
};

struct Text {
    void write(std::string_view piece) { all += piece; }
    std::string all;
};

}  // namespace

TEST_CASE("stock: pieces are exact, aligned, disjoint, and never lost") {
    std::mt19937 random(GENERATE(range(1u, 30u)));
    Ranges ranges;
    Stock stock{FakeSplitter{&ranges}};
    std::uint64_t total = 0;
    for (const auto& [base, bytes] : {std::pair<std::uint64_t, std::uint64_t>{0x4480'3000, 0x800'0000},
                                      {0x4000'1000, 0x20'5000},
                                      {0x6000'0000, 0x100'0000}}) {
        ranges.of.emplace_back(base, bytes);
        stock.add({static_cast<abi::Slot>(ranges.of.size() - 1), base, bytes});
        total += bytes;
    }
    std::vector<Piece> taken;
    for (unsigned i = 0; i < 60; ++i) {
        const std::uint64_t align = random() % 4 == 0 ? kBlock : kPage;
        const std::uint64_t bytes = (1 + random() % (align == kBlock ? 2048 : 40)) * kPage;
        const auto piece = stock.take(bytes, align);
        if (!piece) {
            CHECK(piece.error() == abi::Error::no_memory);
            continue;
        }
        CHECK(piece->bytes == bytes);
        CHECK(piece->base % align == 0);
        CHECK(ranges.of.at(piece->slot) == std::pair{piece->base, piece->bytes});
        total -= bytes;
        for (const Piece& other : taken) {
            CHECK((piece->base + piece->bytes <= other.base || other.base + other.bytes <= piece->base));
        }
        taken.push_back(*piece);
    }
    CHECK(stock.free_bytes() == total);
}

TEST_CASE("stock: what does not fit or is refused takes nothing") {
    Ranges ranges;
    Stock stock{FakeSplitter{&ranges}};
    ranges.of.emplace_back(0x4010'0000, 0x80'0000);
    stock.add({1, 0x4010'0000, 0x80'0000});
    CHECK(stock.take(0x80'1000, kPage).error() == abi::Error::no_memory);
    CHECK(stock.take(0x80'0000, kBlock).error() == abi::Error::no_memory);
    CHECK(stock.take(~std::uint64_t{0} << 12, kPage).error() == abi::Error::no_memory);
    const unsigned at = GENERATE(1u, 2u);
    ranges.refuse = at;
    CHECK_FALSE(stock.take(kBlock, kBlock));
    CHECK(stock.free_bytes() == 0x80'0000);
    CHECK(stock.take(kBlock, kBlock));
}

TEST_CASE("environment: what is written can be found again") {
    static constexpr tables::Capability kCaps[] = {
        {16, 0, 1, 0, "events", 1}, {17, 0, 1, 0, "irq", 1}, {18, 0, 1, 0, "", 1}};
    static constexpr tables::Map kMaps[] = {{0, 0, 4096, 0x1'0000'0000, 3, "regs"}, {0, 0, 4096, 0x1'0000'2000, 3, ""}};
    static constexpr tables::Setting kSettings[] = {{"name", "uart"}, {"empty", ""}};
    const tables::System system{"two", "", "", {}, {}, {}, {}};
    const tables::Process process{"uart", tables::Role::driver, "", "pl011", 0, 0, 0, 0, {}, kCaps, kMaps, kSettings};
    const std::size_t bytes = environment_bytes(system, process);
    std::vector<std::uint64_t> page((bytes + 7) / 8);
    char* raw = reinterpret_cast<char*>(page.data());
    CHECK_FALSE(write_environment({raw, bytes - 1}, system, process));
    constexpr std::uint8_t kSeed[40] = {1, 2, 3};
    REQUIRE(write_environment({raw, bytes}, system, process, kSeed));
    const auto* header = reinterpret_cast<const rt::EnvHeader*>(raw);
    CHECK(header->magic == rt::kEnvMagic);
    CHECK(header->bytes == bytes);
    REQUIRE(header->count == 5);
    CHECK((header->seed_bytes == 32 && header->seed[2] == 3));
    CHECK(std::string(raw + header->process_name) == "uart");
    CHECK(std::string(raw + header->system_name) == "two");
    const auto* entries = reinterpret_cast<const rt::EnvEntry*>(header + 1);
    CHECK((entries[1].kind == rt::EnvEntry::Kind::capability && entries[1].value == 17));
    CHECK(std::string(raw + entries[1].name) == "irq");
    CHECK((entries[2].kind == rt::EnvEntry::Kind::region && entries[2].value == 0x1'0000'0000 &&
           entries[2].bytes == 4096));
    CHECK(std::string(raw + entries[3].value) == "uart");
    CHECK(std::string(raw + entries[4].value).empty());
}

TEST_CASE("json: one line, whatever is in it") {
    Text text;
    {
        Json json{text};
        json.boolean("ok", true);
        json.text("s", "a\"b\\c\nd\x01\x7f\xc3\xbc");
        json.number("n", ~std::uint64_t{0});
        json.number("z", 0);
        json.hex("h", 0xabc0);
        json.begin_array("list");
        json.begin_object();
        json.end_object();
        json.number({}, 1);
        json.begin_array();
        json.end_array();
        json.end_array();
        json.begin_object("o");
        json.text("k", "");
        json.end_object();
        json.begin_text("t");
        json.more_text("1\r");
        json.more_text("2");
        json.end_text();
    }
    CHECK(text.all ==
          "{\"ok\":true,\"s\":\"a\\\"b\\\\c\\nd\\u0001\\u007f\\u00c3\\u00bc\",\"n\":18446744073709551615,\"z\":0,\"h\":"
          "\"0xabc0\","
          "\"list\":[{},1,[]],\"o\":{\"k\":\"\"},\"t\":\"1\\u000d2\"}\n");
}

TEST_CASE("commands: understood, or refused with a reason") {
    CHECK(parse_command("ps").verb == Verb::ps);
    CHECK(parse_command("  kill \t business ").verb == Verb::kill);
    CHECK(parse_command("kill business").argument == "business");
    CHECK(parse_command("caps").verb == Verb::caps);
    CHECK(parse_command("caps uart").argument == "uart");
    CHECK(parse_command("reboot x").verb == Verb::reboot);
    for (const char* bad :
         {"", "   ", "kill", "reboot ", "ps all", "kill a b", "PS", "pss", "\x01", "off now", "log 3"}) {
        const Command command = parse_command(bad);
        CHECK(command.verb == Verb::bad);
        CHECK_FALSE(command.error.empty());
    }
}

TEST_CASE("commands: lines from bytes, with a bound") {
    LineReader reader;
    std::vector<std::string> lines;
    std::vector<bool> too_long;
    for (const char c : "\r\nps\n\ncaps\r" + std::string(500, 'x') + "\nlog\nhalf") {
        if (const auto line = reader.put(c)) {
            lines.emplace_back(*line);
            too_long.push_back(reader.too_long());
        }
    }
    REQUIRE(lines.size() == 4);
    CHECK(lines[0] == "ps");
    CHECK(lines[1] == "caps");
    CHECK(lines[2].size() == LineReader::kMax);
    CHECK(lines[3] == "log");
    CHECK(too_long == std::vector<bool>{false, false, true, false});
}
