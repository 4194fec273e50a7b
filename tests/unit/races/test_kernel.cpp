// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel's core on four cores that run at the same time: threads on all of them call each other, defer answers, signal,
// wait with deadlines, send capabilities, make and remove, while a supervisor stops and resumes them and takes away what they
// use. ThreadSanitizer looks for what nothing orders; in the end all invariants hold. TWAIN_RACES_SECONDS: how long.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "parallel.hpp"
#include "world.hpp"

namespace twain::kernel {

namespace {
std::atomic<bool> finish{false};
}
bool parallel::finished() { return finish.load(); }

namespace test {

namespace {

using abi::Sys;

constexpr CpuId kCores = 4;
constexpr unsigned kThreads = 8;  // two a core; core 0's are less urgent than the supervisor
constexpr u64 kEndpoint = 20, kNote = 30, kReply = 40, kGift = 44, kPark = 45, kFirst = 2000;

// Seconds that pass in the stress.
double seconds() {
    const char* given = std::getenv("TWAIN_RACES_SECONDS");
    return given ? std::atof(given) : 3;
}

class Core {
public:
    Core(CpuId id, Thread* supervisor, const std::vector<u64>& slots)
        : id_(id), supervisor_(supervisor), slots_(slots), random_(id + 1) {}

    void run(std::atomic<unsigned>& done) {
        parallel::become(id_);
        Cpu& cpu = machine::cpu(id_);
        if (id_) cpu.online.release(true);
        while (!parallel::finished()) {
            try {
                parallel::take_interrupts(cpu);
                resolve_hazards(cpu);
                Thread& thread = *cpu.current;
                if (&thread == supervisor_) {
                    supervise(thread);
                } else {
                    act(thread);
                }
                thread.frame.pc += 4;
                handle_syscall(cpu, number_);
                ++calls;
            } catch (const fake::Idle&) {
            }
        }
        // Others may still wait for this core.
        for (++done; done < kCores;) {
            if (machine::preemption_pending()) serve_other_cores(cpu);
            std::this_thread::yield();
        }
    }
    u64 calls = 0;

private:
    u64 pick(u64 below) { return random_() % below; }
    void make(Thread& thread, Sys number, std::initializer_list<u64> x) {
        number_ = static_cast<u64>(number);
        std::fill(thread.frame.x, thread.frame.x + 8, 0);
        std::copy(x.begin(), x.end(), thread.frame.x);
    }
    void act(Thread& thread) {
        const u64 endpoint = kEndpoint + pick(kCores), note = kNote + pick(4);
        const u64 tag = pick(8) ? pick(4) : abi::kTagCap | pick(4);
        const Ticks soon = machine::now() + pick(200);
        switch (pick(13)) {
            case 0:
            case 1: return make(thread, Sys::call, {endpoint, tag, 1, 2, 3, 4, 5, kGift});
            case 2:
            case 3:
            case 4: return make(thread, Sys::reply_wait, {kEndpoint + id_, tag, 1, 2, 3, 4, 5, kGift});
            case 5: return make(thread, Sys::wait, {pick(2) ? note : kEndpoint + id_, soon});
            case 6:
            case 7: return make(thread, Sys::signal, {note});
            case 8: return make(thread, Sys::invoke, {kReply + pick(2), abi::reply::capture});
            case 9: return make(thread, Sys::invoke, {kReply + pick(2), abi::reply::send, tag & 3, 1, 2, 3});
            case 10: return make(thread, Sys::invoke, {note, abi::notification::arm, pick(3) ? soon : abi::kForever});
            case 11: return change(thread);
            default: return make(thread, Sys::yield, {});
        }
    }
    // Structural work: what is made has slots of its own for each core.
    void change(Thread& thread) {
        const u64 mine = kFirst + id_ * 200 + pick(3);
        switch (pick(4)) {
            case 0:
                return make(thread, Sys::invoke,
                            {abi::kRootPool, abi::pool::create, static_cast<u64>(Type::notification), mine});
            case 1: return make(thread, Sys::invoke, {abi::kRootCSpace, abi::cspace::remove, mine});
            case 2: return make(thread, Sys::invoke, {abi::kRootCSpace, abi::cspace::copy, mine, kNote, rights::all});
            default: return make(thread, Sys::signal, {mine});
        }
    }
    void supervise(Thread& thread) {
        const u64 slot = slots_[pick(slots_.size())];
        switch (turn_++ % 4) {
            case 0: return make(thread, Sys::invoke, {slot, abi::thread::stop});
            case 1: {
                const u64 received = 1000 + 4 * (slot - 1000);
                if (pick(2)) return make(thread, Sys::invoke, {abi::kRootCSpace, abi::cspace::remove, received});
                return make(thread, Sys::invoke, {kReply + pick(2), abi::reply::send, 1});
            }
            case 2: return make(thread, Sys::invoke, {slots_[turn_ / 4 % slots_.size()], abi::thread::resume});
            default: return make(thread, Sys::wait, {kPark, machine::now() + 50 + pick(200)});
        }
    }

    const CpuId id_;
    Thread* supervisor_;
    const std::vector<u64>& slots_;
    std::mt19937 random_;
    u64 number_ = 0;
    unsigned turn_ = 0;
};

}  // namespace

TEST_CASE("threads on four cores race through calls, answers, signals, timers and removals") {
    finish = false;
    World world(kCores);
    for (u64 i = 0; i < kCores; ++i) world.endpoint(kEndpoint + i, static_cast<CpuId>(i));
    for (u64 i = 0; i < 4; ++i) world.notification(kNote + i);
    for (u64 i = 0; i < 2; ++i) world.reply(kReply + i);
    world.notification(kGift);
    world.notification(kPark);
    // All are made before the other cores come up, so that a thread of theirs is queued by the first interrupt.
    std::vector<u64> slots;
    for (unsigned i = 0; i < kThreads; ++i) {
        world.thread(i % kCores);
        slots.push_back(world.next_slot - 2);
        REQUIRE(world.invoke(slots.back(), abi::thread::receive, 1000 + 4 * (slots.back() - 1000)).ok());
    }

    std::vector<Core> cores;
    for (CpuId id = 0; id < kCores; ++id) cores.emplace_back(id, id ? nullptr : world.root, slots);
    std::atomic<unsigned> done{0};
    std::vector<std::thread> threads;
    for (CpuId id = 1; id < kCores; ++id) threads.emplace_back([&, id] { cores[id].run(done); });
    threads.emplace_back([] {
        std::this_thread::sleep_for(std::chrono::duration<double>(seconds()));
        finish = true;
    });
    cores[0].run(done);
    for (std::thread& thread : threads) thread.join();

    u64 calls = 0;
    for (const Core& core : cores) {
        REQUIRE(core.calls > 100);
        calls += core.calls;
    }
    world.check();
    WARN(calls << " calls");
}

}  // namespace test
}  // namespace twain::kernel
