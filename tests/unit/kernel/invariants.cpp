// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "invariants.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "kernel/core/pool.hpp"

namespace twain::kernel::test {

using abi::Type;

void require(bool holds, const char* what, const char* file, int line) {
    if (holds) [[likely]]
        return;
    const char* name = std::strrchr(file, '/');
    throw Broken(std::string(what) + " (" + (name ? name + 1 : file) + ":" + std::to_string(line) + ")");
}

namespace {

constexpr u64 kLeaf = CSpace::kLeafSlots;

template <typename T, typename Work>
void each_of(const Queue<T>& queue, Work work) {
    const T* first = queue.front();
    if (!first) return;
    const Link* const end = first->prev;
    for (Link* link = const_cast<T*>(first); link != end; link = link->next) work(*static_cast<T*>(link));
}

bool is_object(Type type) { return type != Type::memory && type != Type::system && type != Type::null; }

}  // namespace

// ---------------------------------------------------------------------------------------------- census

Census::Census(CSpace& root) {
    // The kernel gives its capabilities out once and they cannot be removed: their lists hold everything.
    for (u64 index = 1; index < kLeaf; ++index) {
        Slot* slot = root.find(index);
        if (slot && !slot->empty() && slot->depth() == 0 && !slot->prev()) walk(*slot);
    }
    std::size_t placed = 0;
    const auto put = [&](const Object& object, Slot& slot, u64 index) {
        if (slot.empty()) return;
        place(object, slot, index);
        ++placed;
    };
    for (Object* object : objects) {
        switch (object->type) {
            case Type::cspace: {
                auto& space = *static_cast<CSpace*>(object);
                for (u64 first = 0; first < abi::cspace::kSlots; first += kLeaf) {
                    Slot* leaf = space.find(first);
                    for (u64 i = 0; leaf && i < kLeaf; ++i) put(space, leaf[i], first + i);
                }
                break;
            }
            case Type::thread:
                for (u64 i = 0; i < Thread::kRefs; ++i) put(*object, static_cast<Thread*>(object)->refs[i], i);
                break;
            case Type::vcpu:
                for (u64 i = 0; i < Vcpu::kRefs; ++i) put(*object, static_cast<Vcpu*>(object)->refs[i], i);
                break;
            case Type::irq: put(*object, static_cast<Irq*>(object)->ref, 0); break;
            default: break;
        }
    }
    require(placed == slots.size(), "a slot of the tree lies in nothing that lives");
    name(root);
}

void Census::walk(Slot& first) {
    std::vector<std::size_t> path;
    const Slot* before = nullptr;
    for (Slot* slot = &first; slot; slot = slot->next()) {
        require(known_.try_emplace(slot, slots.size()).second, "a slot is in the tree twice");
        require(!slot->empty(), "an empty slot is in the tree");
        require(slot->prev() == before, "the tree's links do not match");
        require(slot->depth() <= path.size(), "a slot is deeper than its parent's children");
        before = slot;
        path.resize(slot->depth());
        // Parents are put in as numbers first: the vector moves.
        slots.push_back({slot, path.empty() ? nullptr : reinterpret_cast<const Entry*>(path.back() + 1), nullptr, 0});
        path.push_back(slots.size() - 1);
        if (slot->owner() && is_object(slot->type())) objects.push_back(&slot->object<Object>());
    }
}

void Census::place(const Object& object, Slot& slot, u64 index) {
    const auto found = known_.find(&slot);
    require(found != known_.end(), "a capability is not in the tree");
    Entry& entry = slots[found->second];
    require(!entry.inside, "a slot belongs to two objects");
    entry.inside = &object;
    entry.index = index;
}

// Capability spaces are named as they are met from the root's slots on, then what else they hold, by slot; what only an
// object that is not in reach owns comes last, in the order of the tree.
void Census::name(CSpace& root) {
    for (Entry& entry : slots) {
        if (entry.parent) entry.parent = &slots[reinterpret_cast<std::size_t>(entry.parent) - 1];
    }
    const auto give = [&](const Object& object) { return numbers_.try_emplace(&object, numbers_.size() + 1).second; };
    std::vector<CSpace*> queue{&root};
    give(root);
    const auto scan = [&] {
        for (std::size_t at = 0; at < queue.size(); ++at) {
            for (u64 first = 0; first < abi::cspace::kSlots; first += kLeaf) {
                const Slot* leaf = queue[at]->find(first);
                for (u64 i = 0; leaf && i < kLeaf; ++i) {
                    if (leaf[i].empty() || !leaf[i].owner() || !is_object(leaf[i].type())) continue;
                    auto& object = leaf[i].object<Object>();
                    if (give(object) && object.type == Type::cspace) queue.push_back(static_cast<CSpace*>(&object));
                }
            }
        }
        queue.clear();
    };
    scan();
    for (Object* object : objects) {
        if (!give(*object) || object->type != Type::cspace) continue;
        queue.push_back(static_cast<CSpace*>(object));
        scan();
    }
}

u64 Census::number(const void* object) const {
    if (!object) return 0;
    const auto found = numbers_.find(object);
    require(found != numbers_.end(), "something refers to an object that is gone");
    return found->second;
}

const Census::Entry* Census::entry(const Slot& slot) const {
    const auto found = known_.find(&slot);
    return found == known_.end() ? nullptr : &slots[found->second];
}

// ---------------------------------------------------------------------------------------------- capabilities

void check_capabilities(const Census& census) {
    std::set<const Object*> owned;
    for (const Census::Entry& entry : census.slots) {
        const Slot& slot = *entry.slot;
        const Capability cap = slot.peek();
        require(slot.depth() <= Slot::kMaxDepth + 1, "the tree is too deep");
        require(slot.type() > Type::null && slot.type() <= Type::system, "a capability of no type");
        if (is_object(slot.type())) {
            const auto& object = cap.object<Object>();
            require(census.alive(&object), "a capability to an object that is gone");
            require(object.type == slot.type(), "a capability of another type than its object");
            if (slot.owner()) require(owned.insert(&object).second, "an object has two first capabilities");
        }
        const Home home = !entry.inside || entry.inside->type == Type::cspace ? Home::cspace
                          : entry.inside->type == Type::thread                ? Home::thread
                          : entry.inside->type == Type::vcpu                  ? Home::vcpu
                                                                              : Home::irq;
        require(slot.home() == home, "a slot does not know where it lies");
        if (!entry.parent) continue;
        const Slot& up = *entry.parent->slot;
        const Capability from = up.peek();
        if (up.dying()) continue;  // still: nothing new below it, which the search sees by itself
        if (slot.type() == Type::memory && up.type() == Type::memory) {
            require(!(cap.rights() & ~from.rights()), "memory with more rights than it was derived from");
            require(cap.base() >= from.base() && inside(cap.base() - from.base(), cap.bytes(), from.bytes()),
                    "memory outside of what it was derived from");
            require(!cap.exclusive(), "derived memory is exclusive");
            require(cap.device() == from.device(), "memory has become a device, or a device memory");
        } else if (slot.type() == Type::memory && up.type() == Type::system) {
            require(cap.device() && !cap.exclusive(), "memory of the system is no device");
        } else if (!slot.owner()) {
            require(slot.type() == up.type() && &cap.object<Object>() == &from.object<Object>(),
                    "a copy of something else than its parent");
            require(!(cap.rights() & ~from.rights()), "a copy with more rights than its parent");
            require(cap.badge == from.badge || !from.badge, "a badge has been replaced");
        } else {
            const Type want = slot.type() == Type::mapping || (slot.type() == Type::pool) ? Type::memory : Type::pool;
            const bool part = slot.type() == Type::pool && up.type() == Type::pool &&
                              slot.object<Pool>().pool == &from.object<Pool>();
            require(up.type() == want || part || slot.type() == Type::memory,
                    "an object's first capability is in the wrong place");
        }
    }
    // References and the pointers that stand for them.
    const auto refers = [&](const Slot& slot, const void* pointer) {
        require(pointer == (slot.empty() ? nullptr : &slot.object<Object>()),
                "a pointer that its reference does not cover");
    };
    for (const Thread* thread : census.all<Thread>()) {
        refers(thread->refs[Thread::ref_cspace], thread->cspace);
        refers(thread->refs[Thread::ref_space], thread->space);
        refers(thread->refs[Thread::ref_sched], thread->sched);
        if (thread->bound) refers(thread->refs[Thread::ref_note], thread->note);
        if (thread->sched) require(thread->sched->bound == thread, "a scheduling context is somebody else's");
    }
    for (const Sched* sched : census.all<Sched>()) {
        if (sched->bound)
            require(census.alive(sched->bound) && sched->bound->sched == sched, "a scheduling context of nobody");
    }
    for (const Irq* irq : census.all<Irq>()) {
        refers(irq->ref, irq->note);
        require(Irq::of(irq->intid) == irq, "an interrupt is not in the table");
    }
    for (const Vcpu* vcpu : census.all<Vcpu>()) {
        refers(vcpu->refs[Vcpu::ref_space], vcpu->space);
        require((vcpu->page != nullptr) == !vcpu->refs[Vcpu::ref_page].empty(), "a state page without its reference");
    }
    for (u32 intid = Irq::kFirst; intid < Irq::kEnd; ++intid) {
        if (Irq::of(intid)) require(census.alive(Irq::of(intid)), "the table names an interrupt that is gone");
    }
    for (const Mapping* mapping : census.all<Mapping>()) {
        require(census.alive(mapping->space), "a mapping in a space that is gone");
        require(census.entry(*mapping->slot) && &mapping->slot->object<Mapping>() == mapping,
                "a mapping has lost its slot");
        require(mapping->done <= mapping->bytes, "more is mapped than was asked for");
        for (u64 at = 0; at < mapping->bytes; at += kPage) {
            u64 size = 0;
            const u64 entry = mapping->space->tables.find(mapping->at + at, size);
            if (at < mapping->done) {
                require((entry & PageTable<machine::TableFormat>::kAddress) == mapping->to.value + at,
                        "a page is not where it was mapped");
            }
        }
    }
}

void check_memory(const Census& census) {
    std::map<const Pool*, u64> used;
    std::set<const Pool*> spaces;  // whose page tables also take memory
    for (const Object* object : census.objects) {
        if (object->type == Type::pool) continue;
        require(census.alive(object->pool), "an object outlives its pool");
        used[object->pool] += u64{1} << (object->order + Pool::kUnitShift);
        if (object->type == Type::space) spaces.insert(object->pool);
        if (object->type == Type::thread && static_cast<const Thread*>(object)->fpu) {
            used[object->pool] += u64{1} << (Pool::order_of<machine::FpuState>() + Pool::kUnitShift);
        }
        if (object->type != Type::cspace) continue;
        for (u64 first = 0; first < abi::cspace::kSlots; first += kLeaf) {
            if (static_cast<const CSpace*>(object)->find(first)) used[object->pool] += kPage;
        }
    }
    for (const Pool* pool : census.all<Pool>()) {
        const u64 head = pool->head();
        require(pool->free_bytes() <= pool->bytes() - head, "a pool has more free than it is large");
        const u64 taken = pool->bytes() - head - pool->free_bytes();
        require(taken >= used[pool], "an object lies in memory that is free");
        if (spaces.contains(pool)) {
            require((taken - used[pool]) % kPage == 0 && taken > used[pool], "memory that is not a table is nobody's");
        } else {
            require(taken == used[pool], "memory of a pool is nobody's");
        }
    }
}

// ---------------------------------------------------------------------------------------------- threads

namespace {

// In which queues a thread stands, by walking all of them.
std::map<const Thread*, unsigned> queued(const Census& census) {
    std::map<const Thread*, unsigned> times;
    const auto walk = [&](const Queue<Thread>& queue, auto check) {
        each_of(queue, [&](Thread& thread) {
            require(census.alive(&thread), "a thread in a queue is gone");
            require(thread.next && thread.next->prev == static_cast<Link*>(&thread), "a queue is torn");
            require(++times[&thread] == 1, "a thread stands in two queues");
            check(thread);
        });
    };
    for (CpuId id = 0; id < machine::cores(); ++id) {
        Cpu& cpu = machine::cpu(id);
        for (unsigned level = 0; level < abi::sched::kPriorities; ++level) {
            require(cpu.ready[level].empty() == !(cpu.ready_levels >> level & 1), "the bitmap of levels is wrong");
            walk(cpu.ready[level], [&](Thread& thread) {
                require(thread.runnable(), "a thread that cannot run is in a ready queue");
                require(thread.core == id, "a thread is in another core's ready queue");
                require(thread.active && thread.active->runnable(), "a thread without time is in a ready queue");
                require(cpu.current != &thread, "a thread is running and queued");
            });
        }
        const auto check_inbox = [&](InboxQueue& inbox, Post Thread::*place) {
            u64 number = 0;
            each_of(inbox.posts, [&](Post& post) {
                require(census.alive(post.thread), "a thread in a mailbox is gone");
                require(&(post.thread->*place) == &post && post.inside == &inbox,
                        "a thread in a mailbox is not marked");
                require(post.number > number, "a mailbox is not in order");
                number = post.number;
            });
        };
        check_inbox(cpu.mailbox, &Thread::mail);
        check_inbox(cpu.knocks, &Thread::knock);
    }
    for (Endpoint* endpoint : census.all<Endpoint>()) {
        walk(endpoint->waiting, [&](Thread& thread) {
            require(thread.endpoint == endpoint, "a thread stands at an endpoint and does not know it");
            require(thread.state == (endpoint->receivers ? State::receiving : State::calling), "a queue of both sorts");
        });
    }
    return times;
}

void check_place(const Thread& thread, bool linked) {
    const Cpu& here = machine::cpu(thread.core);
    switch (thread.state) {
        case State::ready:
        case State::guest:
            require(!thread.endpoint && !thread.server && !thread.reply, "a ready thread waits for an answer");
            if (here.current != &thread && !thread.mail.inside && !(thread.vcpu && thread.vcpu->sleeping)) {
                require(linked == (thread.active && thread.active->runnable()), "a ready thread has been forgotten");
            }
            break;
        case State::calling:
            require((thread.endpoint != nullptr) + (thread.server != nullptr) + (thread.reply != nullptr) == 1,
                    "a caller is lost, or in two places");
            if (thread.endpoint) require(linked || thread.mail.inside, "a caller is in no queue");
            break;
        case State::receiving:
            require(thread.endpoint && linked && thread.endpoint->receivers, "a receiver is in no queue");
            break;
        case State::waiting: require(!linked && (thread.note || thread.vcpu), "a thread waits for nothing"); break;
        case State::replying: require(thread.mail.inside, "an answer is lost"); break;
        case State::stopped:
        case State::faulted:
            require(!linked && !thread.endpoint && !thread.server && !thread.reply, "a stopped thread still waits");
            require(!thread.armed(), "a stopped thread has a deadline");
            require(!thread.mail.inside, "a stopped thread is in a mailbox");
            if (thread.state == State::stopped) require(!thread.caller, "a stopped thread has a caller");
            break;
    }
}

// Time that a thread does not run on itself went along its call, from server to server.
void check_time(const Census& census, std::set<const Sched*>& in_use, const Thread& thread) {
    if (thread.active) {
        require(census.alive(thread.active), "a thread runs on time that is gone");
        require(in_use.insert(thread.active).second, "two threads run on one scheduling context");
        require(thread.active->user == &thread, "a scheduling context does not know who runs on it");
        if (thread.active != thread.sched) {
            const Thread* from = thread.caller;
            require(from && from->lent == thread.active, "a thread keeps time that it was lent");
        }
    }
    if (thread.lent) {
        require(thread.state == State::calling || thread.state == State::replying,
                "a thread has lent its time and goes on");
        require(!thread.active, "a thread has lent its time and runs on other");
    }
    if (thread.sched && !thread.active && !thread.lent)
        require(thread.sched->user != &thread, "a thread has lost its time");
    if (thread.sched && thread.state != State::calling && thread.state != State::replying) {
        require(thread.sched->user == &thread, "time that was lent has not come back");
    }
}

}  // namespace

void check_threads(const Census& census) {
    const auto times = queued(census);
    std::map<const Sched*, u64> loans;
    for (const Thread* thread : census.all<Thread>()) {
        if (thread->lent) ++loans[thread->lent];
    }
    for (const Sched* sched : census.all<Sched>()) {
        require(sched->loans == loans[sched] && sched->loans <= Sched::kMostLoans, "the loans of time are miscounted");
    }
    std::set<const Sched*> in_use;
    for (const Thread* thread : census.all<Thread>()) {
        const bool linked = times.contains(thread);
        require(linked == thread->linked(), "a thread is linked, but in no queue");
        if (machine::cpu(thread->core).current == thread) {
            require(thread->runnable(), "a thread that cannot run is running");
            require(!linked, "a thread is running and queued");
            require(thread->active, "a thread runs without time");
        }
        require(!thread->stopping, "a thread is being stopped for ever");
        check_place(*thread, linked);
        if (thread->server) {
            require(census.alive(thread->server) && thread->server->caller == thread,
                    "a server does not know its caller");
        }
        if (thread->caller) {
            require(census.alive(thread->caller), "a caller is gone");
            require(thread->caller->server == thread && thread->caller->state == State::calling,
                    "a caller has another server");
        }
        if (thread->reply)
            require(census.alive(thread->reply) && thread->reply->caller == thread, "a reply does not know its caller");
        if (thread->note)
            require(census.alive(thread->note) && thread->note->waiter == thread, "a notification has another waiter");
        if (thread->endpoint) require(census.alive(thread->endpoint), "a thread stands at an endpoint that is gone");
        if (thread->vcpu)
            require(census.alive(thread->vcpu) && thread->vcpu->runner == thread, "a vCPU has another runner");
        check_time(census, in_use, *thread);
    }
    for (const Reply* reply : census.all<Reply>()) {
        if (reply->caller)
            require(census.alive(reply->caller) && reply->caller->reply == reply, "a reply holds somebody else");
    }
    for (const Notification* note : census.all<Notification>()) {
        if (note->waiter)
            require(census.alive(note->waiter) && note->waiter->note == note, "a notification wakes somebody else");
    }
    for (CpuId id = 0; id < machine::cores(); ++id) {
        const Cpu& cpu = machine::cpu(id);
        if (cpu.sched) require(census.alive(cpu.sched), "a core charges a scheduling context that is gone");
        if (cpu.loaded) require(census.alive(cpu.loaded), "a core holds the registers of a vCPU that is gone");
        if (!cpu.current) continue;
        require(census.alive(cpu.current) && cpu.current->core == id, "a core runs a thread that is not its own");
        if (!cpu.hazard) require(cpu.sched == cpu.current->active, "a core charges somebody else");
    }
}

void check_all(CSpace& root) { check_all(Census(root)); }

void check_all(const Census& census) {
    check_capabilities(census);
    check_memory(census);
    check_threads(census);
}

// ---------------------------------------------------------------------------------------------- picture

namespace {

// How far the tearing down of a capability space has got: what lies behind its leaves, which no one else needs to know.
u32 cursor(const CSpace& space) {
    constexpr std::size_t kBehind = CSpace::kLeavesOffset + CSpace::kLeaves * sizeof(void*);
    static_assert(sizeof(CSpace) == align_up(kBehind + sizeof(u32), alignof(CSpace)));
    u32 cursor = 0;
    std::memcpy(&cursor, reinterpret_cast<const char*>(&space) + kBehind, sizeof cursor);
    return cursor;
}

class Painter {
public:
    Painter(const Census& census, Omit omit) : census_(census), omit_(omit) {}

    std::vector<u64> paint() {
        for (const Census::Entry& entry : census_.slots) {
            const Slot& slot = *entry.slot;
            const Capability cap = slot.peek();
            add(name(entry.inside), entry.index, slot.depth() | slot.owner() << 8 | slot.dying() << 9);
            add(cap.head & ~Capability::kAddressMask, cap.badge);
            add(slot.type() == Type::memory ? cap.head & Capability::kAddressMask
                : is_object(slot.type())    ? name(&cap.object<Object>())
                                            : 0);
        }
        for (const Object* object : census_.objects) {
            add(name(object));
            switch (object->type) {
                case Type::cspace: add(cursor(*static_cast<const CSpace*>(object))); break;
                case Type::thread: paint(*static_cast<const Thread*>(object)); break;
                case Type::sched: paint(*static_cast<const Sched*>(object)); break;
                case Type::endpoint: {
                    auto& endpoint = *static_cast<const Endpoint*>(object);
                    add(endpoint.core);
                    if (!endpoint.waiting.empty()) add(endpoint.receivers);
                    paint(endpoint.waiting);
                    break;
                }
                case Type::reply: add(name(static_cast<const Reply*>(object)->caller)); break;
                case Type::notification: {
                    auto& note = *static_cast<const Notification*>(object);
                    add(note.bits, name(note.waiter), timer(note));
                    break;
                }
                case Type::irq: {
                    auto& irq = *static_cast<const Irq*>(object);
                    add(irq.intid, irq.core, irq.unacknowledged, irq.badge, fake::state().enabled[irq.intid]);
                    break;
                }
                case Type::vcpu: {
                    auto& vcpu = *static_cast<const Vcpu*>(object);
                    add(name(vcpu.runner), vcpu.live, vcpu.kicks, vcpu.sleeping);
                    break;
                }
                case Type::mapping: {
                    auto& mapping = *static_cast<const Mapping*>(object);
                    add(name(mapping.space), mapping.at.value, mapping.bytes, mapping.done);
                    add(mapping.to.value, mapping.rights, mapping.device, mapping.protecting, mapping.cursor);
                    break;
                }
                default: break;
            }
        }
        for (CpuId id = 0; id < machine::cores(); ++id) {
            Cpu& cpu = machine::cpu(id);
            add(name(cpu.current), name(cpu.sched), cpu.hazard, cpu.guest_mode);
            for (u64 levels = cpu.ready_levels; levels; levels &= levels - 1) {
                const unsigned level = static_cast<unsigned>(__builtin_ctzll(levels));
                add(level);
                paint(cpu.ready[level]);
            }
            for (const InboxQueue* inbox : {&cpu.mailbox, &cpu.knocks}) {
                each_of(inbox->posts, [&](const Post& post) { add(name(post.thread)); });
                add(0);
            }
        }
        return std::move(words_);
    }

private:
    template <typename... Words>
    void add(Words... words) {
        (words_.push_back(static_cast<u64>(words)), ...);
    }
    u64 name(const void* object) const { return census_.number(object); }
    template <typename T>
    u64 timer(const T& timed) const {
        return !timed.armed() ? 0 : omit_.time ? 1 : timed.deadline();
    }

    void paint(const Queue<Thread>& queue) {
        each_of(queue, [&](const Thread& thread) { add(name(&thread)); });
        add(0);
    }
    void paint(const Thread& thread) {
        add(State{thread.state}, thread.core, thread.bound, thread.mail.inside != nullptr,
            thread.knock.inside != nullptr, thread.fault);
        add(name(thread.active), name(thread.lent), name(thread.caller), name(thread.server), name(thread.reply));
        add(name(thread.endpoint), name(thread.note), name(thread.vcpu), thread.receive_slot, timer(thread));
        if (thread.state == State::calling) add(thread.badge);
        if (omit_.registers) return;
        const bool result = &thread == omit_.result_of;
        for (unsigned i = result ? 8 : 0; i < 31; ++i) add(thread.frame.x[i]);
        add(thread.frame.sp, thread.frame.pstate, thread.thread_pointer);
        if (!result) add(thread.frame.pc);
    }
    void paint(const Sched& sched) {
        add(name(sched.user), sched.priority, sched.core, sched.hard, sched.exhausted);
        add(sched.budget.amount(), sched.budget.period(), timer(sched));
        if (!omit_.time) add(sched.budget.left(), sched.budget.next(), sched.used);
    }

    const Census& census_;
    const Omit omit_;
    std::vector<u64> words_;
};

}  // namespace

std::vector<u64> picture(const Census& census, Omit omit) { return Painter(census, omit).paint(); }

}  // namespace twain::kernel::test
