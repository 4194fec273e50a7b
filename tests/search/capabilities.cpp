// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// All that one holder of capabilities can do with a few slots of his own and what he makes, each long operation cut at
// every point where it may be interrupted, so that every other call comes in between.
//
//   objects     3 slots: a capability space (one at a time, two of its slots used), an endpoint, a thread that refers to a space;
//   memory      4 slots: two ranges of 16 KiB: sub-ranges, a split, a pool made of one, objects in it, mappings
//
// Usage: search-capabilities objects|memory
#include <cstdio>
#include <cstring>

#include "search.hpp"

namespace twain::kernel::test {

namespace {

namespace cs = abi::cspace;
namespace mem = abi::memory;

constexpr u64 kFirst = 32;
constexpr u64 kInner = 2;                              // slots 1.. of each made one
constexpr u64 kThread = 40, kSpace = 41, kRange = 42;  // made before; they stay
constexpr u64 kHalf = 16 * 1024;

class Capabilities {
public:
    // `slots`: how many of the root's capability space take part.
    explicit Capabilities(u64 slots) : world_(1, u64{256} << 10), search_(world_), slots_(slots) {}

    int objects() {
        need(world_.create(Type::thread, kThread));
        for (u64 to = kFirst; to < kFirst + slots_; ++to) {
            move("create cspace", to, 0, [=, this] { return count(Type::cspace) < 2 && create(Type::cspace, to); });
            move("create endpoint", to, 0,
                 [=, this] { return count(Type::endpoint) < 1 && create(Type::endpoint, to); });
            move("configure the thread with", to, 0, [=, this] { return ask(kThread, abi::thread::configure, to); });
        }
        for (u64 through = kFirst - 1; through < kFirst + slots_; ++through) {
            const bool own = through == kFirst - 1;
            const u64 space = own ? u64{abi::kRootCSpace} : through, first = own ? kFirst : 1,
                      slots = own ? slots_ : kInner;
            for (u64 to = first; to < first + slots; ++to) {
                for (u64 from = kFirst; from < kFirst + slots_; ++from) {
                    copy(space, to, from, rights::all, 0);
                    if (own) copy(space, to, from, 1, 0);
                    if (own) copy(space, to, from, rights::all, 5);
                }
                take(space, to);
            }
        }
        return search_.run("capabilities, objects");
    }

    int memory() {
        need(world_.create(Type::space, kSpace));
        need(world_.invoke(abi::kRootRam, mem::split, 2 * kHalf, kRange));
        for (u64 from = kFirst - 1; from < kFirst + slots_; ++from) {
            const u64 source = from == kFirst - 1 ? kRange : from;
            for (u64 to = kFirst; to < kFirst + slots_; ++to) {
                if (source == to) continue;
                move("split", source, to, [=, this] { return ask(source, mem::split, kHalf, to); });
                move("make pool of", source, to, [=, this] { return ask(source, mem::make_pool, to); });
                move("derive read-only half of", source, to,
                     [=, this] { return memory_at(source) && ask(source, mem::derive, kHalf, kPage, to, 1); });
                move("map a page of", source, to, [=, this] {
                    return memory_at(source) && ask(kSpace, abi::space::map, source, 0, 0x1000 * to, kPage, 1, to);
                });
                move("create endpoint from", source, to, [=, this] {
                    return at(source).type() == Type::pool &&
                           ask(source, abi::pool::create, static_cast<u64>(Type::endpoint), to);
                });
                copy(abi::kRootCSpace, to, source, rights::all, 0);
            }
        }
        for (u64 slot = kFirst; slot < kFirst + slots_; ++slot) take(abi::kRootCSpace, slot);
        move("revoke", kRange, 0, [this] { return take_back(abi::kRootCSpace, kRange, false); });
        return search_.run("capabilities, memory");
    }

private:
    static void need(const Answer& answer) { require(answer.ok(), "the world is not made"); }
    Slot& at(u64 slot) { return world_.at(slot); }
    bool memory_at(u64 slot) { return at(slot).type() == Type::memory; }
    bool create(Type type, u64 to) { return ask(abi::kRootPool, abi::pool::create, static_cast<u64>(type), to); }
    unsigned count(Type type) {
        unsigned found = 0;
        for (const Object* object : Census(*world_.root->cspace).objects) found += object->type == type;
        return found;
    }

    template <typename Do>
    void move(const char* what, u64 a, u64 b, Do work) {
        search_.add(std::string(what) + " " + std::to_string(a) + (b ? " to " + std::to_string(b) : ""), work);
    }
    void copy(u64 space, u64 to, u64 from, u8 mask, u64 badge) {
        search_.add("copy " + std::to_string(from) + " to " + std::to_string(space) + ":" + std::to_string(to) +
                        " rights " + std::to_string(mask) + " badge " + std::to_string(badge),
                    [=, this] { return is_space(space) && ask(space, cs::copy, to, from, mask, badge); });
    }
    bool is_space(u64 slot) { return at(slot).type() == Type::cspace; }
    void take(u64 space, u64 slot) {
        const std::string where = std::to_string(space) + ":" + std::to_string(slot);
        search_.add("remove " + where, [=, this] { return is_space(space) && take_back(space, slot, true); });
        search_.add("revoke " + where, [=, this] { return is_space(space) && take_back(space, slot, false); });
    }

    // One step of a call: where it may be interrupted, it is. False: refused, and then nothing has changed.
    bool ask(u64 slot, u64 method, u64 a2, u64 a3 = 0, u64 a4 = 0, u64 a5 = 0, u64 a6 = 0, u64 a7 = 0) {
        fake::state().preempt = [] { return true; };
        fake::state().flush_steps = 0;  // how far one has got is no part of a state
        const u64 pc = world_.root->frame.pc;
        const bool taking = at(slot).type() == Type::cspace && method != cs::copy;
        const u64 dying = taking ? 0 : below_dying();
        world_.call(*world_.root, abi::Sys::invoke, {slot, method, a2, a3, a4, a5, a6, a7});
        again_ = world_.root->frame.pc == pc;
        world_.root->frame.pc = pc;
        require(taking || below_dying() <= dying, "something was derived from what is being revoked");
        if (again_) return true;
        return abi::tag_error(world_.root->frame.x[1]) == Error::none;
    }
    bool take_back(u64 space, u64 index, bool itself) {
        Slot* slot = at(space).object<CSpace>().find(index);
        if (!slot || slot->empty() || !ask(space, itself ? cs::remove : cs::revoke, index)) return false;
        if (again_) return true;
        if (Slot* left = at(space).empty()
                             ? nullptr
                             : at(space).object<CSpace>().find(index)) {  // its space may have gone with it
            require(itself ? left->empty() : !left->empty() && !left->has_children() && !left->dying(),
                    "not all was taken back");
        }
        return true;
    }
    // How many children there are of what is being revoked: they only get fewer.
    u64 below_dying() {
        u64 all = 0;
        for (const Census::Entry& entry : Census(*world_.root->cspace).slots) {
            if (entry.parent) all += entry.parent->slot->dying();
        }
        return all;
    }

    World world_;
    Search search_;
    const u64 slots_;
    bool again_ = false;
};

}  // namespace

}  // namespace twain::kernel::test

int main(int argc, char** argv) {
    using twain::kernel::test::Capabilities;
    if (argc == 2 && std::strcmp(argv[1], "objects") == 0) return Capabilities(3).objects();
    if (argc == 2 && std::strcmp(argv[1], "memory") == 0) return Capabilities(4).memory();
    std::fprintf(stderr, "usage: search-capabilities objects|memory\n");
    return 2;
}
