// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A platform for machines on the host: the guest is a function, threads are the test's own or none.
#pragma once

#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "vmm/machine/platform.hpp"

namespace twain::vmm::test {

struct Stopped {};  // thrown into vCPU threads at the end of a test

class FakePlatform {
public:
    // What the guest does at an entry: fills in the page's exit information.
    std::function<RunResult(VcpuIndex)> guest = [](VcpuIndex) { return RunResult{}; };
    std::uint64_t time = 1'000'000;
    std::string printed;
    std::string typed;
    std::size_t console_room = ~std::size_t{0};
    // Threads that wait for a lock look again and again, unless a test wants to know better.
    std::function<void(VcpuIndex)> rests = [](VcpuIndex) { std::this_thread::yield(); };
    std::function<void(VcpuIndex)> rouses = [](VcpuIndex) {};
    unsigned pokes = 0;
    unsigned syncs = 0;

    RunResult run(VcpuIndex v) {
        if (take(kicked_[v])) {
            return {abi::Error::none, abi::Exit::kicked};
        }
        return guest(v);
    }
    // For a guest that computes for ever: until somebody wants the vCPU to exit.
    RunResult spin(VcpuIndex v) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return kicked_[v] || stop_; });
        if (stop_) {
            throw Stopped{};
        }
        kicked_[v] = false;
        return {abi::Error::none, abi::Exit::kicked};
    }
    void sync(VcpuIndex, std::uint32_t) { ++syncs; }
    void kick(VcpuIndex v, std::uint64_t reason) {
        if (reason == abi::vcpu::kKickExit) {
            set(kicked_[v]);
        }
    }
    std::uint64_t now() { return __atomic_load_n(&time, __ATOMIC_RELAXED); }
    void park(VcpuIndex v, std::uint64_t) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return woken_[v] || stop_; });
        if (stop_) {
            throw Stopped{};
        }
        woken_[v] = false;
    }
    void wake(VcpuIndex v) { set(woken_[v]); }
    void poke() {
        const std::lock_guard lock(mutex_);
        ++pokes;
        changed_.notify_all();
    }
    void yield() { std::this_thread::yield(); }
    void rest(VcpuIndex v) { rests(v); }
    void rouse(VcpuIndex v) { rouses(v); }
    std::size_t console_write(std::span<const char> text) {
        const std::size_t count = std::min(text.size(), console_room);
        printed.append(text.data(), count);
        console_room -= console_room == ~std::size_t{0} ? 0 : count;
        return count;
    }
    std::size_t console_read(std::span<char> buffer) {
        const std::size_t count = std::min(buffer.size(), typed.size());
        std::memcpy(buffer.data(), typed.data(), count);
        typed.erase(0, count);
        return count;
    }
    bool console_wait() { return typed.empty(); }
    void zero(void* at, std::uint64_t bytes) { std::memset(at, 0, bytes); }
    void publish(const void*, std::uint64_t) {}

    // The event loop of a threaded test: handles events until `done`.
    template <typename Machine, typename Done>
    void serve(Machine& machine, Done done) {
        while (!done()) {
            (void)machine.handle_events();
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, std::chrono::milliseconds(1));
        }
    }
    void stop() { set(stop_); }

private:
    bool take(bool& flag) {
        const std::lock_guard lock(mutex_);
        if (stop_) {
            throw Stopped{};
        }
        return std::exchange(flag, false);
    }
    void set(bool& flag) {
        const std::lock_guard lock(mutex_);
        flag = true;
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool kicked_[kMaxVcpus] = {};
    bool woken_[kMaxVcpus] = {};
    bool stop_ = false;
};
static_assert(Platform<FakePlatform>);

}  // namespace twain::vmm::test
