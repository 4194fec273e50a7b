// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Capabilities at random against a naive model: a tree of named nodes that knows nothing of lists, leaves and locks.
// After every call the error, every slot, the derivation tree, the references that objects hold and the free memory of
// every pool are compared.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "world.hpp"

namespace twain::kernel::test {

namespace {

namespace cs = abi::cspace;
namespace mem = abi::memory;

constexpr u64 kSlots = 12;  // of each capability space that take part: 100..111
constexpr u64 kFirst = 100;

struct Place {
    u64 space;  // 0: the root task's; otherwise the model's number of the capability space
    u64 slot;
    auto operator<=>(const Place&) const = default;
};

struct Node {
    Type type = Type::null;
    u8 rights = 0;
    u64 badge = 0;
    u64 object = 0;  // the model's number; 0: memory
    u64 base = 0, bytes = 0;
    bool exclusive = false;
    bool owner = false;
    Node* parent = nullptr;
    std::vector<Node*> children;
    Place place{};
    u64 held_by = 0;  // a reference in an object: which
    // What has no parent here hangs on the root pool, or is memory.
    unsigned depth_in_kernel() const { return parent ? parent->depth_in_kernel() + 1 : type == Type::memory ? 0 : 1; }
};

class Model {
public:
    std::map<Place, Node*> slots;
    std::vector<std::unique_ptr<Node>> nodes;
    u64 next_object = 1;

    Node* at(Place place) const {
        const auto found = slots.find(place);
        return found == slots.end() ? nullptr : found->second;
    }
    Node& add(Node* parent, Place place, Node node) {
        nodes.push_back(std::make_unique<Node>(std::move(node)));
        Node* fresh = nodes.back().get();
        fresh->parent = parent;
        fresh->place = place;
        fresh->children.clear();
        if (parent) parent->children.push_back(fresh);
        if (!fresh->held_by) slots[place] = fresh;
        return *fresh;
    }
    void revoke(Node* node) {
        while (!node->children.empty()) remove(node->children.back());
    }
    void remove(Node* node) {
        revoke(node);
        if (node->owner) destroy(*node);
        if (!node->held_by) slots.erase(node->place);
        if (node->parent) std::erase(node->parent->children, node);
        for (auto each = nodes.begin(); each != nodes.end(); ++each) {
            if (each->get() == node) {
                nodes.erase(each);
                return;
            }
        }
    }

private:
    void destroy(Node& owner) {
        for (bool again = true; again;) {  // what the object holds, and what lies in it
            again = false;
            for (const auto& each : nodes) {
                const bool inside = owner.type == Type::cspace && !each->held_by && each->place.space == owner.object;
                const bool mapped =
                    owner.type == Type::space && each->type == Type::mapping && each->object == owner.object;
                const bool held = each->held_by && each->held_by == owner.object && owner.type != Type::mapping;
                if (!inside && !mapped && !held) continue;
                remove(each.get());
                again = true;
                break;
            }
        }
    }
};

class Twin {  // kernel and model side by side
public:
    explicit Twin(unsigned seed) : random_(seed) {
        if (seed % 2) fake::state().preempt = [this] { return random_() % 3 == 0; };
        // What takes part hangs on a part of the memory; the rest of the world stands still.
        need(world_.invoke(abi::kRootRam, mem::split, u64{8} << 20, 30));
        memory_ = 30;
        model_.add(nullptr, {0, memory_},
                   memory_node(rights::all, world_.at(memory_).load().base().value, world_.at(memory_).badge(), true));
        need(world_.create(Type::cspace, kFirst));
        need(world_.create(Type::cspace, kFirst + 1));
        need(world_.create(Type::notification, kFirst + 2));
        need(world_.create(Type::space, kFirst + 3));
        need(world_.create(Type::thread, kFirst + 4));
        need(world_.invoke(abi::kRootSystem, abi::system::make_irq, abi::kRootPool, kFirst + 5, 40, 0, 0));
        for (u64 i = 0; i < 6; ++i) {
            Node node;
            node.type =
                std::array{Type::cspace, Type::cspace, Type::notification, Type::space, Type::thread, Type::irq}[i];
            node.rights = rights::all;
            node.owner = true;
            node.object = model_.next_object++;
            model_.add(nullptr, {0, kFirst + i}, node);  // under the pool, which is never removed
            ids_[node.object] = world_.object<Object>(kFirst + i).id;
            if (i < 2) spaces_[node.object] = &world_.object<CSpace>(kFirst + i);
        }
        start_ = free_bytes();
        compare();
    }

    void step() {
        switch (pick(10)) {
            case 0:
            case 1:
            case 2: copy(); break;
            case 3: take(true); break;
            case 4: take(false); break;
            case 5: create(); break;
            case 6: memory(); break;
            case 7: map(); break;
            case 8: bind(); break;
            default: configure(); break;
        }
        compare();
    }

    void finish() {
        for (u64 slot = kFirst; slot < kFirst + kSlots; ++slot) {
            if (!world_.at(slot).empty()) need(world_.invoke(abi::kRootCSpace, cs::remove, slot));
        }
        need(world_.invoke(abi::kRootCSpace, cs::revoke, memory_));
        REQUIRE_FALSE(world_.at(memory_).has_children());
        for (u64 slot : split_) need(world_.invoke(abi::kRootCSpace, cs::revoke, slot));
        REQUIRE(free_bytes() > start_);  // the first objects are gone too
    }

private:
    static void need(const Answer& answer) { REQUIRE(answer.ok()); }
    u64 pick(u64 below) { return random_() % below; }
    u64 free_bytes() { return world_.invoke(abi::kRootPool, abi::pool::stat).x[3]; }
    static Node memory_node(u8 rights, u64 base, u64 bytes, bool exclusive) {
        Node node;
        node.type = Type::memory;
        node.rights = rights;
        node.base = base;
        node.bytes = bytes;
        node.exclusive = exclusive;
        node.owner = exclusive;
        return node;
    }
    u64 own_slot() { return kFirst + pick(kSlots); }
    Place any_place(u64& through) {  // a slot of some capability space, and the slot of the capability to it
        std::vector<std::pair<u64, u64>> spaces{{abi::kRootCSpace, 0}};
        for (u64 slot = kFirst; slot < kFirst + kSlots; ++slot) {
            const Node* node = model_.at({0, slot});
            if (node && node->type == Type::cspace && (node->rights & 7) == 7) spaces.push_back({slot, node->object});
        }
        const auto [slot, object] = spaces[pick(spaces.size())];
        through = slot;
        return {object, own_slot()};
    }
    Slot* slot_of(Place place) {
        if (place.space == 0) return world_.root->cspace->find(place.slot);
        const auto found = spaces_.find(place.space);
        return found == spaces_.end() ? nullptr : found->second->find(place.slot);
    }
    bool made_pool(const Node& node) const {
        return node.type == Type::memory && std::any_of(node.children.begin(), node.children.end(),
                                                        [](const Node* child) { return child->type == Type::pool; });
    }

    void copy() {
        u64 through = 0;
        const Place to = any_place(through);
        const u64 from = own_slot();
        const u8 mask = static_cast<u8>(pick(2) ? 0xff : pick(256));
        const u64 badge = pick(3) ? 0 : 1 + pick(3);
        const Answer answer = world_.invoke(through, cs::copy, to.slot, from, mask, badge);
        Node* source = model_.at({0, from});
        Error want = Error::none;
        if (model_.at(to)) {
            want = Error::occupied;
        } else if (!source) {
            want = Error::bad_slot;
        } else if (source->depth_in_kernel() >= Slot::kMaxDepth) {
            want = Error::depth;
        } else if (made_pool(*source)) {
            want = Error::busy;
        } else if (source->type == Type::mapping) {
            want = Error::bad_type;
        } else if (badge && ((source->type != Type::endpoint && source->type != Type::notification) || source->badge)) {
            want = Error::bad_arg;
        }
        REQUIRE(answer.error() == want);
        if (want != Error::none) return;
        Node node = *source;
        node.rights &= mask;
        node.owner = node.exclusive = false;
        if (badge) node.badge = badge;
        model_.add(source, to, node);
    }

    void take(bool itself) {
        u64 through = 0;
        const Place place = any_place(through);
        Node* node = model_.at(place);
        const Answer answer = world_.invoke(through, itself ? cs::remove : cs::revoke, place.slot);
        REQUIRE(answer.error() == (node ? Error::none : Error::bad_slot));
        if (!node) return;
        if (itself) {
            model_.remove(node);
        } else {
            model_.revoke(node);
        }
    }

    void create() {
        std::vector<u64> pools{abi::kRootPool};
        for (u64 slot = kFirst; slot < kFirst + kSlots; ++slot) {
            const Node* node = model_.at({0, slot});
            if (node && node->type == Type::pool && (node->rights & 1)) pools.push_back(slot);
        }
        const u64 pool = pools[pick(pools.size())];
        const Type types[] = {Type::cspace, Type::space, Type::thread, Type::endpoint, Type::reply, Type::notification};
        const Type type = types[pick(6)];
        const u64 to = own_slot();
        const Answer answer = world_.create(type, to, 0, 0, pool);
        if (model_.at({0, to})) {
            REQUIRE(answer.error() == Error::occupied);
            return;
        }
        if (answer.error() == Error::no_memory) {  // small pools do end
            REQUIRE(pool != abi::kRootPool);
            return;
        }
        need(answer);
        Node node;
        node.type = type;
        node.rights = rights::all;
        node.owner = true;
        node.object = model_.next_object++;
        ids_[node.object] = world_.object<Object>(to).id;
        if (type == Type::cspace) spaces_[node.object] = &world_.object<CSpace>(to);
        model_.add(pool == abi::kRootPool ? nullptr : model_.at({0, pool}), {0, to}, node);
    }

    void memory() {
        const u64 from = pick(4) ? own_slot() : memory_;
        Node* source = model_.at({0, from});
        const u64 to = own_slot();
        const u64 pages = 1 + pick(16), offset = pick(8);
        switch (pick(3)) {
            case 0: {
                const u8 mask = static_cast<u8>(pick(256));
                if (!source || source->type != Type::memory) return;
                const Answer answer = world_.invoke(from, mem::derive, offset * kPage, pages * kPage, to, mask);
                const bool fits = (offset + pages) * kPage <= source->bytes;
                const bool good = fits && !made_pool(*source) && !model_.at({0, to});
                REQUIRE(answer.ok() == good);
                if (good) {
                    model_.add(source, {0, to},
                               memory_node(source->rights & mask, source->base + offset * kPage, pages * kPage, false));
                }
                return;
            }
            case 1: {
                if (!source || source->type != Type::memory) return;
                const bool good = source->exclusive && (source->rights & rights::mem_own) && source->children.empty() &&
                                  source->bytes >= 4 * kPage && !model_.at({0, to});
                if (good && source->bytes > u64{4} << 20) return;  // not all of it
                const Answer answer = world_.invoke(from, mem::make_pool, to);
                REQUIRE(answer.ok() == good);
                if (!good) return;
                Node node;
                node.type = Type::pool;
                node.rights = rights::all;
                node.owner = true;
                node.object = model_.next_object++;
                ids_[node.object] = world_.object<Object>(to).id;
                model_.add(source, {0, to}, node);
                return;
            }
            default: {
                if (!source || source->type != Type::memory || split_.size() >= 4) return;
                const u64 free = 200 + split_.size();  // exclusive roots cannot be removed: they get slots of their own
                const u64 keep = source->bytes - (16 + pages) * kPage;
                const bool good = source->exclusive && (source->rights & rights::mem_own) && source->children.empty() &&
                                  source->bytes > (16 + pages) * kPage;
                const Answer answer = world_.invoke(from, mem::split, keep, free);
                REQUIRE(answer.ok() == good);
                if (!good) return;
                model_.add(nullptr, {0, free},
                           memory_node(source->rights, source->base + keep, source->bytes - keep, true));
                source->bytes = keep;
                split_.push_back(free);
                return;
            }
        }
    }

    void map() {
        const u64 space = own_slot(), memory = pick(2) ? own_slot() : memory_, to = own_slot();
        const u64 at = pick(64) * kPage, pages = 1 + pick(8), want = 1 + pick(3);
        const Node* target = model_.at({0, space});
        Node* source = model_.at({0, memory});
        if (!target || target->type != Type::space) return;
        const Answer answer = world_.invoke(space, abi::space::map, memory, 0, at, pages * kPage, want, to);
        bool good = (target->rights & rights::space_map) && source && source->type == Type::memory &&
                    source->bytes >= pages * kPage && (source->rights & want) == want && !made_pool(*source) &&
                    !model_.at({0, to});
        for (const auto& each : model_.nodes) {
            if (each->type == Type::mapping && each->object == target->object && at < each->base + each->bytes &&
                each->base < at + pages * kPage) {
                good = false;
            }
        }
        if (answer.error() == Error::no_memory) return;
        REQUIRE(answer.ok() == good);
        if (!good) return;
        Node node;
        node.type = Type::mapping;
        node.rights = rights::all;
        node.owner = true;
        node.object = target->object;  // the space; base: where it is mapped
        node.base = at;
        node.bytes = pages * kPage;
        model_.add(source, {0, to}, node);
    }

    void bind() {
        const u64 irq = own_slot(), note = own_slot();
        Node* line = model_.at({0, irq});
        Node* target = model_.at({0, note});
        if (!line || line->type != Type::irq) return;
        const bool unbind = pick(3) == 0;
        const Answer answer = world_.invoke(irq, abi::irq::bind, unbind ? 0 : note);
        Node* held = nullptr;
        for (const auto& each : model_.nodes) {
            if (each->held_by == line->object) held = each.get();
        }
        if (!(line->rights & rights::irq_bind)) {
            REQUIRE(answer.error() == Error::rights);
        } else if (unbind) {
            need(answer);
            if (held) model_.remove(held);
        } else {
            const bool good =
                target && target->type == Type::notification && (target->rights & rights::note_signal) && !held;
            REQUIRE(answer.ok() == good);
            if (good) hold(*line, *target);
        }
    }

    void configure() {
        const u64 thread = own_slot(), space = own_slot();
        Node* holder = model_.at({0, thread});
        Node* target = model_.at({0, space});
        if (!holder || holder->type != Type::thread) return;
        const bool as_cspace = pick(2);
        const Answer answer =
            world_.invoke(thread, abi::thread::configure, as_cspace ? space : 0, as_cspace ? 0 : space);
        const Type type = as_cspace ? Type::cspace : Type::space;
        const bool good = (holder->rights & rights::thread_control) && target && target->type == type &&
                          (as_cspace || (target->rights & rights::space_use));
        REQUIRE(answer.ok() == good);
        if (!good) return;
        for (const auto& each : model_.nodes) {
            if (each->held_by == holder->object && each->type == type) {
                model_.remove(each.get());
                break;
            }
        }
        hold(*holder, *target);
    }

    void hold(const Node& holder, Node& target) {
        Node node = target;
        node.owner = false;
        node.held_by = holder.object;
        model_.add(&target, {~u64{0}, holder.object}, node);
    }

    // ---- comparison
    void compare() {
        std::map<const Slot*, const Node*> seen;
        const auto look = [&](u64 space, u64 slot) {
            const Place place{space, slot};
            const Node* node = model_.at(place);
            Slot* real = slot_of(place);
            INFO("space " << space << " slot " << slot);
            if (!node) {
                REQUIRE((!real || real->empty()));
                return;
            }
            REQUIRE(real);
            const Capability cap = real->load();
            REQUIRE(cap.type() == node->type);
            REQUIRE(cap.rights() == node->rights);
            REQUIRE_FALSE(real->dying());
            if (node->type == Type::memory) {
                REQUIRE(cap.base().value == node->base);
                REQUIRE(cap.bytes() == node->bytes);
                REQUIRE(cap.exclusive() == node->exclusive);
            } else if (node->type != Type::mapping) {
                REQUIRE(cap.badge == node->badge);
                REQUIRE(cap.object<Object>().id == ids_[node->object]);
            }
            seen[real] = node;
        };
        look(0, memory_);
        for (u64 slot : split_) look(0, slot);
        for (u64 slot = kFirst; slot < kFirst + kSlots; ++slot) look(0, slot);
        std::set<u64> alive;
        for (const auto& node : model_.nodes) {
            if (node->type == Type::cspace && node->owner) alive.insert(node->object);
        }
        std::erase_if(spaces_, [&](const auto& each) { return !alive.contains(each.first); });
        for (u64 object : alive) {
            for (u64 slot = kFirst; slot < kFirst + kSlots; ++slot) look(object, slot);
        }
        // The tree: below every slot there are as many as the model says, and the first of a parent's is deeper by one.
        for (const auto& [real, node] : seen) {
            const unsigned depth = real->depth();
            u64 below = 0;
            for (const Slot* each = real->next(); each && each->depth() > depth; each = each->next()) {
                ++below;
                REQUIRE(each->prev()->next() == each);
                const auto known = seen.find(each);
                if (known == seen.end()) continue;  // held by an object
                const Node* up = known->second;
                while (up && up != node) up = up->parent;
                REQUIRE(up == node);
            }
            REQUIRE(below == count(*node));
            REQUIRE(depth == node->depth_in_kernel());
        }
    }
    static u64 count(const Node& node) {
        u64 all = 0;
        for (const Node* child : node.children) all += 1 + count(*child);
        return all;
    }

    World world_;
    Model model_;
    std::mt19937 random_;
    std::map<u64, u32> ids_;
    std::map<u64, CSpace*> spaces_;
    std::vector<u64> split_;
    u64 memory_ = 0;
    u64 start_ = 0;
};

}  // namespace

TEST_CASE("capability spaces, memory and references behave as the naive model says") {
    const auto seed = GENERATE(range(1u, 41u));
    Twin twin(seed);
    for (int step = 0; step < 600; ++step) {
        INFO("seed " << seed << " step " << step);
        twin.step();
    }
    twin.finish();
}

}  // namespace twain::kernel::test
