// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Prints a generated kSystem as JSON, so that a test compares what the compiler made of it with the table that
// the claim checker has judged.
#include <cstdio>

#include "system/init/tables.hpp"

using namespace twain::tables;

namespace {

void text(const char* s) {
    std::putchar('"');
    for (; *s != 0; ++s) {
        const unsigned char c = static_cast<unsigned char>(*s);
        if (c == '"' || c == '\\') {
            std::printf("\\%c", c);
        } else if (c < 32) {
            std::printf("\\u%04x", c);
        } else {
            std::putchar(c);
        }
    }
    std::putchar('"');
}

unsigned long long number(std::uint64_t value) { return value; }

void capabilities(std::span<const Capability> list) {
    std::printf("[");
    for (const Capability& c : list) {
        std::printf("%s[%u,%u,%u,%llu,", &c == list.data() ? "" : ",", c.slot, c.object, c.rights, number(c.badge));
        text(c.name);
        std::printf(",%u]", c.line);
    }
    std::printf("]");
}

void maps(std::span<const Map> list) {
    std::printf("[");
    for (const Map& m : list) {
        std::printf("%s[%u,%llu,%llu,%llu,%u,", &m == list.data() ? "" : ",", m.object, number(m.offset),
                    number(m.bytes), number(m.address), m.rights);
        text(m.name);
        std::printf("]");
    }
    std::printf("]");
}

void process(const Process& p) {
    std::printf("{\"name\":");
    text(p.name);
    std::printf(",\"role\":%u,\"guest\":", static_cast<unsigned>(p.role));
    text(p.guest);
    std::printf(",\"program\":");
    text(p.program);
    std::printf(",\"entry\":%llu,\"stack\":%llu,\"pool\":%llu,\"thread\":%u,\"segments\":[", number(p.entry),
                number(p.stack_bytes), number(p.pool_bytes), p.thread);
    for (const Segment& s : p.segments) {
        std::printf("%s[%llu,%llu,%llu,%llu,%u]", &s == p.segments.data() ? "" : ",", number(s.file_offset),
                    number(s.file_bytes), number(s.address), number(s.bytes), s.rights);
    }
    std::printf("],\"settings\":[");
    for (const Setting& s : p.settings) {
        std::printf("%s[", &s == p.settings.data() ? "" : ",");
        text(s.key);
        std::printf(",");
        text(s.value);
        std::printf("]");
    }
    std::printf("],\"capabilities\":");
    capabilities(p.capabilities);
    std::printf(",\"maps\":");
    maps(p.maps);
    std::printf("}");
}

}  // namespace

int main() {
    std::printf("{\"name\":");
    text(kSystem.name);
    std::printf(",\"config\":");
    text(kSystem.config_sha256);
    std::printf(",\"claims\":");
    text(kSystem.claims_sha256);
    std::printf(",\"objects\":[");
    for (const Object& o : kSystem.objects) {
        std::printf("%s[", &o == kSystem.objects.data() ? "" : ",");
        text(o.name);
        std::printf(",%u,%u,%u,%u,%u,%u,%llu,%llu,", static_cast<unsigned>(o.kind), o.priority, o.core, o.flags,
                    o.owner, o.line, number(o.a), number(o.b));
        text(o.module);
        std::printf("]");
    }
    std::printf("],\"processes\":[");
    for (const Process& p : kSystem.processes) {
        std::printf("%s", &p == kSystem.processes.data() ? "" : ",");
        process(p);
    }
    std::printf("],\"init\":");
    capabilities(kSystem.init);
    std::printf(",\"init_maps\":");
    maps(kSystem.init_maps);
    std::printf("}\n");
}
