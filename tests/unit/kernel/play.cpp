// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "play.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "invariants.hpp"
#include "kernel/core/switch_to.hpp"
#include "random.hpp"
#include "world.hpp"

namespace twain::kernel::test {

namespace {

using abi::Sys;

constexpr u64 kRam = u64{8} << 20;
constexpr CpuId kCores = 2;

// What a byte stands for in a register: small numbers, which are slots, methods, types, rights and badges; then sizes and
// addresses; then what is out of every range.
u64 value_of(u8 byte) {
    if (byte < 0x80) return byte;
    const u64 low = byte & 0xf;
    switch (byte >> 4) {
        case 0x8: return (low + 1) * kPage;
        case 0x9: return kPage << low;
        case 0xa: return abi::kTagCap | low;
        case 0xb: return fake::state().clock + (low << 10);                              // deadlines
        case 0xc: return low | (low & 1) << 8 | (low & 2 ? abi::sched::kHardLimit : 0);  // SchedParam
        case 0xd: return u64{1} << (18 + 3 * low);
        case 0xe: return 100 + low * 700;  // ticks, and slots far away
        default: {
            constexpr std::array<u64, 16> kOdd = {~u64{0},
                                                  ~u64{0} - kPage + 1,
                                                  u64{1} << 63,
                                                  kPage - 1,
                                                  255,
                                                  8191,
                                                  8192,
                                                  u64{1} << 32,
                                                  fake::kDeviceBase,
                                                  fake::kRamBase,
                                                  abi::space::kEnd,
                                                  abi::space::kEnd - kPage,
                                                  abi::kTagNote,
                                                  u64{1} << 56,
                                                  1023,
                                                  4095};
            return kOdd[low];
        }
    }
}

}  // namespace

class Player::Table {
public:
    Table() : world_(kCores, kRam), root_(*world_.root->cspace) {
        const auto need = [](const Answer& answer) { require(answer.ok(), "the table is not laid"); };
        world_.next_slot = 60;  // all slots below 128, where a byte reaches them
        world_.endpoint(40, 0);
        world_.endpoint(41, 1);
        world_.notification(42);
        world_.notification(43);
        world_.reply(44);
        need(world_.create(Type::cspace, 45));
        need(world_.create(Type::space, 46, static_cast<u64>(abi::SpaceKind::host)));
        need(world_.create(Type::space, 47, static_cast<u64>(abi::SpaceKind::guest)));
        need(world_.invoke(abi::kRootRam, abi::memory::split, u64{1} << 20, 48));
        need(world_.invoke(abi::kRootRam, abi::memory::derive, 0, u64{64} << 10, 49, rights::all));
        need(world_.create(Type::vcpu, 50, 47, 0));
        need(world_.invoke(50, abi::vcpu::page, 49, 0));
        need(world_.invoke(abi::kRootSystem, abi::system::make_irq, abi::kRootPool, 51, 40, 0, 1));
        for (const CpuId core : {0u, 0u, 1u, 1u}) {
            world_.thread(core, static_cast<u8>(10 + core), 50'000, 100'000, core == 1);
            need(world_.invoke(world_.next_slot - 2, abi::thread::receive, 90 + world_.next_slot - 60));
        }
        world_.settle();
        look();
        fake::keep();
    }

    void enter(std::span<const u8> entry, Game& game) {
        draws_ = entry[0] * 7u + entry[1];
        fake::state().preempt = [this] { return (draws_ = draws_ * 5 + 3) % 4 == 0; };
        const unsigned what = entry[0] >> 3;
        switch (what) {
            case 0: world_.interrupt(0); break;
            case 1: world_.interrupt(1); break;
            case 2: world_.pass(value_of(entry[2]) % 100'000); break;
            case 3: line(); break;
            default: {
                Thread* thread = pick(entry[0] & 7);
                if (!thread) return;
                if (what == 4) {
                    fault_of(*thread);
                } else {
                    call(*thread, entry, game);
                }
            }
        }
        look();
    }

    // What there is now; all of it must be well.
    void look() {
        census_.emplace(root_);
        check_all(*census_);
    }

private:
    // The n-th of the threads that can run.
    Thread* pick(unsigned n) {
        std::vector<Thread*> able;
        for (Thread* thread : census_->all<Thread>()) {
            if (thread->runnable() && !thread->vcpu &&
                (thread->linked() || machine::cpu(thread->core).current == thread)) {
                able.push_back(thread);
            }
        }
        return able.empty() ? nullptr : able[n % able.size()];
    }

    void call(Thread& thread, std::span<const u8> entry, Game& game) {
        world_.run(thread);
        const u64 number = entry[1] < 16 ? entry[1] : static_cast<u64>(Sys::invoke);
        for (unsigned i = 0; i < 8; ++i) thread.frame.x[i] = value_of(entry[2 + i]);
        const CpuId core = thread.core;
        Cpu& cpu = machine::cpu(core);
        const u64 pc = thread.frame.pc;
        const bool continues = goes_on(thread);
        const auto before = picture(*census_, {.result_of = &thread});
        fake::on(core, [&] {
            thread.frame.pc += 4;
            handle_syscall(cpu, number);
        });
        ++game.calls;
        // It is back at once, and not to make the call again: refused?
        if (cpu.current == &thread && !thread.vcpu && thread.frame.pc != pc && !continues) {
            const Error error = abi::tag_error(thread.frame.x[1]);
            if (error != Error::none && error != Error::timeout) {
                ++game.refused;
                require(error <= Error::unsupported, "an error that there is not");
                require(picture(Census(root_), {.result_of = &thread}) == before,
                        "a refused call has changed something");
            }
        }
        world_.go_on(core);
    }

    // A mapping that was begun goes on, or is taken back if it cannot.
    static bool goes_on(const Thread& thread) {
        const Slot* slot = thread.cspace->find(thread.frame.x[7]);
        return slot && slot->type() == Type::mapping;
    }

    void fault_of(Thread& thread) {
        world_.run(thread);
        const CpuId core = thread.core;
        fake::on(core, [&] { fault(machine::cpu(core), abi::FaultKind::data, 0x92000046, 0x1234); });
        world_.go_on(core);
    }

    // The device pulls its line, as trap.cpp takes it.
    void line() {
        Irq* irq = Irq::of(40);
        if (!irq || !irq->note || irq->unacknowledged) return;
        fake::on(irq->core, [&] {
            irq->unacknowledged = true;
            signal(machine::cpu(irq->core), *irq->note, irq->badge);
        });
        world_.go_on(irq->core);
    }

    World world_;
    CSpace& root_;
    std::optional<Census> census_;  // as the last entry has left it
    unsigned draws_ = 0;
};

Player::Player() : table_(std::make_unique<Table>()) {}
Player::~Player() = default;

void Player::play(std::span<const u8> bytes, Game& game) {
    fake::revert();
    table_->look();
    for (; bytes.size() >= kEntryBytes; bytes = bytes.subspan(kEntryBytes)) {
        ++game.entries;
        table_->enter(bytes.first(kEntryBytes), game);
    }
}

std::string Player::message(std::span<const u8> bytes, Game& game) {
    try {
        play(bytes, game);
        return {};
    } catch (const Broken& broken) {
        return broken.what();
    }
}

std::string Player::broken_by(std::vector<u8> bytes, Game& game) {
    const u64 before = game.entries;
    const std::string what = message(bytes, game);
    if (what.empty()) return {};
    bytes.resize((game.entries - before) * kEntryBytes);
    shrink(bytes, kEntryBytes, [&](const std::vector<u8>& less) {
        Game again;
        return message(less, again) == what;
    });
    return what + "\n" + notation(bytes);
}

std::vector<u8> random_game(unsigned seed, std::size_t entries) {
    std::mt19937 random(seed);
    const auto below = [&](unsigned limit) { return static_cast<u8>(random() % limit); };
    const auto one_of = [&](std::initializer_list<unsigned> choice) {
        return static_cast<u8>(choice.begin()[random() % choice.size()]);
    };
    const auto free = [&] { return static_cast<u8>(70 + below(20)); };
    const auto used = [&] {
        return static_cast<u8>(below(4) ? 40 + below(28) : below(3) ? 70 + below(20) : 1 + below(16));
    };
    const auto thread = [&] { return static_cast<u8>(60 + 2 * below(4)); };
    std::vector<u8> game;
    for (std::size_t at = 0; at < entries; ++at) {
        std::array<u8, kEntryBytes> entry{};
        for (u8& byte : entry) byte = below(256);
        if (entry[0] >> 3 > 4) {
            const auto invoke = [&](std::initializer_list<u8> words) {
                entry[1] = static_cast<u8>(Sys::invoke);
                std::copy(words.begin(), words.end(), entry.begin() + 2);
            };
            switch (below(24)) {
                case 0: invoke({5, 0, one_of({2, 5, 6, 8, 9, 10, 12}), free(), below(2), below(2)}); break;
                case 1:
                case 2:
                    invoke({one_of({1, 1, 1, 45}), 0, free(), used(), one_of({0xf4, 7, 3, 1}), one_of({0, 0, 0, 3})});
                    break;
                case 3: invoke({one_of({1, 1, 1, 45}), one_of({1, 2, 3}), free()}); break;
                case 4: invoke({1, one_of({1, 2, 2, 2, 3, 3}), used()}); break;
                case 5:
                    invoke({used(), one_of({0, 1, 2}), static_cast<u8>(0x80 + below(8)), one_of({71, 0x81, 0x83}),
                            free(), 0xf4});
                    break;
                case 6:
                    invoke({one_of({46, 47}), 0, one_of({48, 49, 7, 16}), 0, static_cast<u8>(0x80 + below(16)),
                            static_cast<u8>(0x80 + below(8)), one_of({1, 3, 5, 2}), free()});
                    break;
                case 7: invoke({free(), 0, one_of({1, 2, 3})}); break;
                case 8:
                    invoke({thread(), 0, one_of({0, 1, 45}), one_of({0, 2, 46}), one_of({0, 40, 41}), 0,
                            one_of({0, 42, 43})});
                    break;
                case 9:
                case 10: invoke({thread(), one_of({1, 3, 3, 3, 7}), 0x80, 0x81}); break;
                case 11: invoke({thread(), one_of({2, 2, 4, 5, 6}), below(36), 1}); break;
                case 12:
                    invoke({static_cast<u8>(thread() + 1), 0, 0xe4, 0xe8, static_cast<u8>(0xc0 + below(8))});
                    break;
                case 13: invoke({44, below(2)}); break;
                case 14: invoke({one_of({42, 43}), 0, static_cast<u8>(0xb0 + below(16))}); break;
                case 15: invoke({51, below(2), one_of({0, 42, 43})}); break;
                case 16: invoke({50, one_of({1, 1, 2, 0}), below(2)}); break;
                case 17:
                    invoke({4, one_of({0, 1, 2, 6, 4}), one_of({5, 5, 0, 1}), free(), 0xe4, 0xe8,
                            static_cast<u8>(0xc0 + below(8))});
                    break;
                case 18: entry[1] = static_cast<u8>(Sys::signal), entry[2] = one_of({42, 43}); break;
                case 19:
                    entry[1] = static_cast<u8>(Sys::call), entry[2] = one_of({40, 41}), entry[3] = one_of({1, 2, 0xa1}),
                    entry[9] = used();
                    break;
                case 20:
                    entry[1] = static_cast<u8>(Sys::reply_wait), entry[2] = one_of({40, 41}),
                    entry[3] = one_of({1, 2, 0xa1}), entry[9] = used();
                    break;
                case 21:
                    entry[1] = static_cast<u8>(Sys::wait), entry[2] = one_of({40, 41, 42, 43}),
                    entry[3] = one_of({0, 0xb5, 0xb1});
                    break;
                case 22: entry[1] = one_of({4, 6}), entry[2] = 50; break;
                default: entry[1] = static_cast<u8>(Sys::invoke); break;
            }
        } else if (entry[0] >> 3 == 4 && below(8)) {
            entry[0] &= 7;  // faults are rarer
        }
        game.insert(game.end(), entry.begin(), entry.end());
    }
    return game;
}

std::string notation(std::span<const u8> bytes) {
    constexpr const char* kCalls[] = {"call", "reply_wait", "wait", "signal", "vcpu_run", "invoke", "yield", "log"};
    constexpr const char* kEvents[] = {"core 0 takes its interrupt", "core 1 takes its interrupt", "time passes",
                                       "the device's line", "faults"};
    std::string text;
    for (std::size_t at = 0; bytes.size() >= kEntryBytes; bytes = bytes.subspan(kEntryBytes), ++at) {
        char line[200];
        const unsigned what = bytes[0] >> 3;
        if (what <= 4) {
            std::snprintf(line, sizeof line, "%4zu  thread %u: %s %#llx\n", at, bytes[0] & 7, kEvents[what],
                          static_cast<unsigned long long>(value_of(bytes[2])));
            text += line;
            continue;
        }
        const unsigned number = bytes[1] < 16 ? bytes[1] : static_cast<unsigned>(Sys::invoke);
        std::snprintf(line, sizeof line, "%4zu  thread %u: %s", at, bytes[0] & 7,
                      number < 8 ? kCalls[number] : "svc of nothing");
        text += line;
        for (unsigned i = 2; i < kEntryBytes; ++i) {
            std::snprintf(line, sizeof line, " %#llx", static_cast<unsigned long long>(value_of(bytes[i])));
            text += line;
        }
        text += '\n';
    }
    return text;
}

}  // namespace twain::kernel::test
