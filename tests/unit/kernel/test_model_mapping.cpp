// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Mappings at random against a naive model: a list of ranges, each with what it shows and who may do what there. Spaces of
// processes and of a guest, memory and a device, ranges from a page to more than a gigabyte, memory that is derived and taken
// back under its mappings, a pool that runs dry, all of it interrupted now and then. After every operation the tables are
// walked from their roots: each descriptor lies in a range of the list and shows what that one says, none is missing, each is
// as large as it can be; and whoever lost a translation or a right had it flushed.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <vector>

#include "random.hpp"
#include "world.hpp"

namespace twain::kernel::test {

namespace {

constexpr u64 kMega = u64{2} << 20, kGiga = u64{1} << 30;
constexpr u64 kRam = 4 * kGiga;
constexpr unsigned kSpaces = 3, kMemories = 8, kMappings = 12;
constexpr unsigned kSmall = 2;                                       // this space's pool is small
constexpr unsigned kDevice = 2;                                      // this memory is a device
constexpr u64 kSpace = 20, kMemory = 30, kMapping = 50, kPool = 70;  // slots
constexpr u64 kAll = rights::mem_read | rights::mem_write | rights::mem_exec;

struct Model {
    struct Memory {
        bool there = false;
        u64 base = 0, bytes = 0, rights = 0;
        int parent = -1;
        bool device = false;
    };
    struct Mapping {
        bool there = false;
        unsigned space = 0, memory = 0;
        u64 at = 0, bytes = 0, to = 0, rights = 0;
    };
    std::array<Memory, kMemories> memories;
    std::array<Mapping, kMappings> mappings;
    std::array<bool, kSpaces> guest{};

    // What is derived from it, and the mappings of all that.
    void revoke(unsigned memory) {
        for (Mapping& each : mappings) each.there &= each.memory != memory;
        for (unsigned each = 0; each < kMemories; ++each) {
            if (!memories[each].there || memories[each].parent != int(memory)) continue;
            revoke(each);
            memories[each].there = false;
        }
    }
};

class Twin {
public:
    explicit Twin(Trace& trace) : trace_(trace), world_(1, kRam) {
        const auto need = [](const Answer& answer) { require(answer.ok(), "the twin is not made"); };
        need(world_.invoke(abi::kRootRam, abi::memory::split, kRam - World::kPoolBytes - 16 * kPage, kPool));
        need(world_.invoke(kPool, abi::memory::make_pool, kPool + 1));
        for (unsigned i = 0; i < kSpaces; ++i) make_space(i);
        // Two gigabytes that begin where a gigabyte does, some memory that does not, and a device.
        const u64 base = fake::kRamBase + World::kPoolBytes;
        add(0, -1, abi::kRootRam, align_up(base, kGiga), 2 * kGiga, kAll);
        add(1, -1, abi::kRootRam, base + 3 * kPage, 5 * kMega, kAll);
        need(world_.invoke(abi::kRootSystem, abi::system::make_memory, kMemory + kDevice,
                           fake::kDeviceBase & ~(kMega - 1), 4 * kMega));
        model_.memories[kDevice] = {
            true, fake::kDeviceBase & ~(kMega - 1), 4 * kMega, rights::mem_read | rights::mem_write, -1, true};
        fake::state().preempt = [this] { return (pauses_ = pauses_ * 5 + 3) % 64 < 8; };
        compare();
    }

    void step(Operation& draw) {
        pauses_ = draw.below(64);
        for (unsigned i = 0; i < kSpaces; ++i) flushes_[i] = flushes(i);
        switch (draw.below(16)) {
            case 0: renew_space(draw.below(kSpaces)); break;
            case 1:
            case 2: derive(draw); break;
            case 3: take_back(3 + draw.below(kMemories - 3), draw.one_in(2)); break;
            case 4: take_back(draw.below(kMemories), false); break;
            case 5:
            case 6:
            case 7: unmap(draw.below(kMappings)); break;
            case 8:
            case 9:
            case 10: protect(draw); break;
            default: map(draw); break;
        }
        compare();
    }

private:
    Space& space(unsigned i) { return world_.object<Space>(kSpace + i); }
    u64 flushes(unsigned i) { return space(i).tag.flushes; }

    void make_space(unsigned i) {
        model_.guest[i] = i == 1;
        const abi::SpaceKind kind = i == 1 ? abi::SpaceKind::guest : abi::SpaceKind::host;
        const u64 pool = i == kSmall ? kPool + 1 : u64{abi::kRootPool};
        require(world_.create(Type::space, kSpace + i, static_cast<u64>(kind), 0, pool).ok(), "a space is not made");
    }
    void add(unsigned to, int parent, u64 from, u64 base, u64 bytes, u64 rights) {
        const u64 offset = base - world_.at(from).load().base().value;
        require(world_.invoke(from, abi::memory::derive, offset, bytes, kMemory + to, rights).ok(),
                "memory is not derived");
        model_.memories[to] = {true, base, bytes, rights, parent, false};
    }

    void derive(Operation& draw) {
        const unsigned from = draw.below(kMemories), to = 3 + draw.below(kMemories - 3);
        const Model::Memory& parent = model_.memories[from];
        const u64 unit = std::array{kPage, kMega, kGiga}[draw.below(3)];
        const u64 offset = draw.below(4) * unit + (unit == kGiga ? 0 : draw.below(2) * draw.below(8) * kPage);
        const u64 bytes = (1 + draw.below(3)) * unit;
        const u64 mask = draw.below(3) ? kAll : 1 + draw.below(7);
        trace_.line("derive", u64{to}, "from", u64{from}, "at", offset, "bytes", bytes, "rights", mask);
        const Answer answer = world_.invoke(kMemory + from, abi::memory::derive, offset, bytes, kMemory + to, mask);
        const bool fits = parent.there && offset + bytes <= parent.bytes;
        const Error want = !parent.there               ? Error::bad_slot
                           : !fits                     ? Error::bad_arg
                           : model_.memories[to].there ? Error::occupied
                                                       : Error::none;
        require(answer.error() == want, "derive says something else");
        if (want != Error::none) return;
        model_.memories[to] = {true, parent.base + offset, bytes, parent.rights & mask, int(from), parent.device};
    }
    void take_back(unsigned memory, bool itself) {
        trace_.line(itself ? "remove memory" : "revoke memory", u64{memory});
        const Answer answer =
            world_.invoke(abi::kRootCSpace, itself ? abi::cspace::remove : abi::cspace::revoke, kMemory + memory);
        Model::Memory& gone = model_.memories[memory];
        require(answer.error() == (gone.there ? Error::none : Error::bad_slot), "memory is not taken back");
        if (!gone.there) return;
        lost(memory);
        model_.revoke(memory);
        gone.there = !itself;
    }
    // Those spaces must be flushed from which a mapping of this memory goes.
    void lost(unsigned memory) {
        for (const Model::Mapping& each : model_.mappings) {
            int from = int(each.memory);
            while (from >= 0 && from != int(memory)) from = model_.memories[unsigned(from)].parent;
            if (each.there && from >= 0) must_flush(each.space);
        }
    }
    void must_flush(unsigned i) { require(flushes(i) > flushes_[i], "a translation that is gone is not flushed"); }

    void renew_space(unsigned i) {
        trace_.line("renew space", u64{i});
        require(world_.invoke(abi::kRootCSpace, abi::cspace::remove, kSpace + i).ok(), "a space is not removed");
        for (Model::Mapping& each : model_.mappings) each.there &= each.space != i;
        make_space(i);
    }
    void unmap(unsigned i) {
        trace_.line("unmap", u64{i});
        const Answer answer = world_.invoke(abi::kRootCSpace, abi::cspace::remove, kMapping + i);
        Model::Mapping& mapping = model_.mappings[i];
        require(answer.error() == (mapping.there ? Error::none : Error::bad_slot), "a mapping is not removed");
        if (mapping.there) must_flush(mapping.space);
        mapping.there = false;
    }

    Error allowed(unsigned i, const Model::Memory& memory, u64 want) const {
        const bool both = (want & rights::mem_write) && (want & rights::mem_exec);
        if (want == 0 || want > kAll || (both && !model_.guest[i])) return Error::bad_arg;
        if ((memory.rights & want) != want) return Error::rights;
        return memory.device && (want & rights::mem_exec) ? Error::bad_arg : Error::none;
    }
    void protect(Operation& draw) {
        const unsigned i = draw.below(kMappings);
        const u64 want = draw.below(9);
        trace_.line("protect", u64{i}, "rights", want);
        const Answer answer = world_.invoke(kMapping + i, abi::mapping::protect, want);
        Model::Mapping& mapping = model_.mappings[i];
        if (!mapping.there) return require(answer.error() == Error::bad_slot, "a mapping that is gone is protected");
        const Error expected = allowed(mapping.space, model_.memories[mapping.memory], want);
        require((answer.error() == Error::none) == (expected == Error::none), "protect says something else");
        if (!answer.ok()) return;
        mapping.rights = want;
        must_flush(mapping.space);
    }
    void map(Operation& draw) {
        const unsigned to = draw.below(kSpaces), from = draw.below(kMemories), i = draw.below(kMappings);
        const Model::Memory& memory = model_.memories[from];
        // Mostly where large descriptors fit, and around places where something is already. Gigabytes only where not all of
        // them need pages.
        const u64 unit = std::array{kPage, kPage, kMega, kGiga}[draw.below(4)];
        u64 at = draw.below(4) * unit + draw.below(3) * kGiga;
        if (unit != kGiga && draw.one_in(3)) at += draw.below(600) * kPage;
        const u64 offset = draw.below(2) * unit + (unit != kGiga && draw.one_in(4) ? draw.below(600) * kPage : 0);
        const u64 bytes = (1 + draw.below(2)) * unit + (draw.one_in(3) ? draw.below(600) * kPage : 0);
        const u64 want = draw.below(2) ? 3 : draw.below(9);
        trace_.line("map memory", u64{from}, "from", offset, "in space", u64{to}, "at", at, "bytes", bytes, "rights",
                    want, "as", u64{i});
        const Answer answer =
            world_.invoke(kSpace + to, abi::space::map, kMemory + from, offset, at, bytes, want, kMapping + i);
        Model::Mapping& mapping = model_.mappings[i];
        Error expected = Error::none;
        bool overlaps = false;
        for (const Model::Mapping& each : model_.mappings) {
            overlaps |= each.there && each.space == to && each.at < at + bytes && at < each.at + each.bytes;
        }
        if (!memory.there) {
            expected = Error::bad_slot;
        } else if (offset + bytes > memory.bytes || at + bytes > abi::space::kEnd) {
            expected = Error::bad_arg;
        } else if (allowed(to, memory, want) != Error::none) {
            expected = allowed(to, memory, want);
        } else if (mapping.there || overlaps) {
            expected = Error::occupied;
        }
        if (answer.error() == Error::no_memory && (expected == Error::none || expected == Error::occupied)) {
            require(to == kSmall, "a large pool is empty");
            return;
        }
        require(answer.error() == expected, "map says something else");
        if (answer.ok()) mapping = {true, to, from, at, bytes, memory.base + offset, want};
    }

    // ---- comparison
    struct Found {
        u64 bytes = 0;  // mapped in all
        u64 descriptors = 0;
    };
    void look(unsigned i, u64 at, u64 size, u64 entry, Found& found) {
        const Model::Mapping* in = nullptr;
        for (const Model::Mapping& each : model_.mappings) {
            if (each.there && each.space == i && at >= each.at && at + size <= each.at + each.bytes) in = &each;
        }
        require(in, "something is mapped that nobody wants");
        const Model::Memory& memory = model_.memories[in->memory];
        const u64 to = in->to + (at - in->at), left = in->at + in->bytes - at;
        require((entry & 0xffff'ffff'f000) == to, "a page shows something else");
        require((entry >> 6 & 1) == (in->rights & rights::mem_read), "a page can be read, or not");
        require((entry >> 7 & 1) == (in->rights >> 1 & 1), "a page can be written, or not");
        require((entry >> 54 & 1) == !(in->rights & rights::mem_exec), "a page can be executed, or not");
        require((entry >> 2 & 0xf) == (memory.device ? 1 : 0xf), "memory is mapped as a device, or a device as memory");
        u64 best = kPage;
        for (const u64 larger : {kMega, kGiga}) {
            if (((at | to) & (larger - 1)) == 0 && left >= larger) best = larger;
        }
        // A table of a gigabyte in which there were tables stays.
        require(size == best || (best == kGiga && size == kMega), "a descriptor could be larger");
        found.bytes += size;
        ++found.descriptors;
    }
    void compare() {
        if (++compared_ % 64 == 0 && model_.memories[0].there) check_threads(Census(*world_.root->cspace));
        for (unsigned i = 0; i < kSpaces; ++i) {
            Found found;
            const auto table = [](u64 entry) {
                return static_cast<const u64*>(machine::to_virt({entry & 0xffff'ffff'f000}));
            };
            const auto each = [](const u64* entries, u64 at, u64 size, auto work) {
                for (u64 n = 0; n < 512; ++n) {
                    if (entries[n] & 1) work(entries[n], at + n * size);
                }
            };
            each(table(space(i).tables.root().value), 0, kGiga, [&](u64 first, u64 at1) {
                if (!(first & 2)) return look(i, at1, kGiga, first, found);
                each(table(first), at1, kMega, [&](u64 second, u64 at2) {
                    if (!(second & 2)) return look(i, at2, kMega, second, found);
                    each(table(second), at2, kPage, [&](u64 third, u64 at3) { look(i, at3, kPage, third, found); });
                });
            });
            u64 bytes = 0;
            for (const Model::Mapping& mapping : model_.mappings) {
                if (mapping.there && mapping.space == i) bytes += mapping.bytes;
            }
            require(found.bytes == bytes, "something is not mapped");
        }
        for (unsigned i = 0; i < kMappings; ++i) {
            const Slot* slot = world_.root->cspace->find(kMapping + i);
            require((slot && !slot->empty()) == model_.mappings[i].there, "a mapping is there, or not");
        }
        for (unsigned i = 0; i < kMemories; ++i) {
            const Slot* slot = world_.root->cspace->find(kMemory + i);
            require((slot && !slot->empty()) == model_.memories[i].there, "memory is there, or not");
        }
    }

    Trace& trace_;
    World world_;
    Model model_;
    std::array<u64, kSpaces> flushes_{};
    u32 pauses_ = 0;
    unsigned compared_ = 0;
};

}  // namespace

TEST_CASE("spaces show what the naive model says", "[model]") {
    for (unsigned seed = 1; seed <= 60; ++seed) REQUIRE(difference<Twin>(seed, 500) == "");
}

}  // namespace twain::kernel::test
