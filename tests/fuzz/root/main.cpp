// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Random system calls by several threads on every core: the supervisor. It starts the workers, stops those that wait for
// something that never comes, takes pools away under everybody's hands, and after each round destroys all and counts.
// tools/twainlib/fuzz.py reads what it says:
//
//   FUZZ at CALLS
//   FUZZ FAIL WHAT, CALLS calls: details
//   FUZZ PASSED CALLS calls ...
#include "parameters.hpp"
#include "rt/panic.hpp"
#include "supervisor.hpp"
#include "worker.hpp"

#include <cstring>

extern "C" const std::byte victim_programs[], victim_end[];

namespace twain::fuzz {

namespace {

constexpr unsigned kMaxWorkers = 24;
constexpr Slot kWorkerThread = 100, kWorkerSched = 130, kGuardThread = 160, kGuardSched = 170, kGuardNote = 180,
               kSleeper = 190, kClock = 191, kClockMapping = 192, kParameters = 193;
constexpr unsigned kSupervisorPriority = 61, kGuardPriority = 62;
constexpr u64 kClockAt = 0x20'0000'0000, kParametersAt = 0x20'1000'0000;
constexpr unsigned kPatience = 2;  // sweeps that a worker may wait
constexpr unsigned kStuck = 4000;  // sweeps in which nobody makes any call

Parameters parameters;
unsigned core_count;
bool level2;
unsigned workers;
Worker all_workers[kMaxWorkers];
std::atomic<u64> heartbeat{0};
u64 restarts, faults, rounds;

u64 total(std::atomic<u64> Worker::*what) {
    u64 sum = 0;
    for (const Worker& each : all_workers) sum += (each.*what).load();
    return sum;
}

[[noreturn]] void finish() {
    (void)kSystem.power(abi::system::kPowerOff);
    for (;;) {
    }
}

[[noreturn]] void fail(std::string_view what, const Worker* worker = nullptr) {
    {
        Line line;
        line << "FUZZ FAIL " << what << ", " << total(&Worker::calls) << " calls: seed " << parameters.seed
             << ", round " << rounds;
        if (worker) {
            line << ", worker " << static_cast<u64>(worker - all_workers) << ", call "
                 << static_cast<u64>(worker->call.sys) << " in";
            for (const u64 each : worker->call.x) line.hex(each);
            line << " out";
            const sys::Regs& out = worker->answer;
            for (const u64 each : {out.x0, out.x1, out.x2}) line.hex(each);
            if (worker->changed) line << " changed slot " << u64{kFirst + worker->changed};
        }
    }
    finish();
}

void pause(u64 microseconds) {
    ++heartbeat;
    (void)sys::Notification{kSleeper}.wait(sys::after_ns(microseconds * 1000));
}

// ---- the real-time clock's interrupt (Arm PL031)

volatile std::uint32_t& clock(u64 offset) { return *reinterpret_cast<volatile std::uint32_t*>(kClockAt + offset); }
void ring(bool on) {
    if (on)
        clock(0x04) = clock(0x00);
    else
        clock(0x1c) = 1;
}

// ---- guards: a thread on each core that notices when the supervisor hangs

struct Guard {
    rt::ThreadStart start{&Guard::run, this};
    unsigned core = 0;
    alignas(16) std::byte stack[4096] = {};

    static void run(void* self) {
        const auto& guard = *static_cast<const Guard*>(self);
        u64 last = 0;
        unsigned idle = 0;
        for (;;) {
            (void)sys::Notification{kGuardNote + guard.core}.wait(sys::after_ms(50));
            const u64 now = heartbeat;
            idle = now == last ? idle + 1 : 0;
            last = now;
            if (idle * 50 < parameters.patience_ms) continue;
            Line() << "FUZZ FAIL hang, " << total(&Worker::calls) << " calls: seed " << parameters.seed << ", round "
                   << rounds << ", seen by core " << guard.core;
            idle = 0;
        }
    }
};
Guard guards[abi::kMaxCores];

sys::Sched make_sched(Slot to, unsigned priority, unsigned core) {
    need(kSystem.make_sched(kObjects, to, 0, 0,
                            {static_cast<std::uint8_t>(priority), static_cast<std::uint8_t>(core), false}));
    return sys::Sched{to};
}

void start_guards() {
    for (unsigned core = 0; core < core_count; ++core) {
        Guard& guard = guards[core];
        guard.core = core;
        need(kObjects.create_notification(kGuardNote + core));
        const sys::Thread thread{kGuardThread + core};
        need(kObjects.create_thread(thread.slot));
        need(thread.configure(kSelf, kSpace, {}, make_sched(kGuardSched + core, kGuardPriority, core), {}));
        need(thread.start(rt::thread_entry(), reinterpret_cast<u64>(guard.stack + sizeof guard.stack),
                          reinterpret_cast<u64>(&guard.start)));
    }
}

// ---- workers

constexpr sys::CSpace kOutside{73};

// From nothing, or from whatever has become of it.
void revive(Worker& worker) {
    ++restarts;
    const auto n = static_cast<unsigned>(&worker - all_workers);
    const sys::Thread thread{kWorkerThread + n};
    (void)kSelf.remove(thread.slot);
    (void)kSelf.remove(kWorkerSched + n);
    need(kObjects.create_thread(thread.slot));
    worker.thread = thread;
    worker.object = kSelf.inspect(thread.slot)->object;
    worker.sched = make_sched(kWorkerSched + n, 30 + n % 4, n % core_count);
    need(thread.configure(kOutside, kSpace, {}, worker.sched, {}));
    need(thread.start(rt::thread_entry(), worker.stack_top(), worker.entry_argument()));
    lend(n, worker.thread, worker.sched);
}

// A worker may be stopped by others, faulted by a call that does not exist, sent elsewhere. But its own code does not fault.
void judge(Worker& worker, const sys::Thread::State& state) {
    using abi::FaultKind;
    if (state.state != abi::ThreadState::faulted || state.fault == FaultKind::svc ||
        state.fault == FaultKind::instruction)
        return;
    const bool victim =
        state.pc - reinterpret_cast<u64>(victim_programs) < static_cast<u64>(victim_end - victim_programs);
    u64 x[5] = {};
    (void)worker.thread.read(30, x);
    if (victim || state.pc - 0x20'0000 >= 0x40'0000) return;
    Line line;
    line << "FUZZ fault " << static_cast<u64>(state.fault) << " at";
    line.hex(state.fault_address).hex(state.pc).hex(x[0]).hex(x[1]);
    ++faults;
}

void sweep(Worker& worker, Random& random) {
    if (worker.complaint.load()) fail(worker.complaint.load(), &worker);
    const u64 calls = worker.calls;
    const bool moved = calls != worker.seen;
    worker.seen = calls;
    worker.idle = moved ? 0 : worker.idle + 1;
    const auto state = worker.thread.state();
    if (!state.ok()) return revive(worker);
    switch (state->state) {
        case abi::ThreadState::faulted:
            judge(worker, *state);
            if (faults) fail("a worker's own code has faulted", &worker);
            [[fallthrough]];
        case abi::ThreadState::stopped:
            if (worker.idle > 1 || !worker.thread.resume()) revive(worker);
            return;
        case abi::ThreadState::ready:
        case abi::ThreadState::guest:
            if (worker.idle > 40) revive(worker);
            return;
        default: break;
    }
    if (worker.idle < kPatience || random.chance(30)) return;
    if (!worker.thread.stop() || !worker.thread.resume()) revive(worker);
    if (worker.idle > 10) revive(worker);
}

// Everybody but one worker is stopped; that one checks what failed calls do.
void check_quietly(Random& random) {
    Worker& chosen = all_workers[random.below(workers)];
    for (unsigned n = 0; n < workers; ++n) (void)all_workers[n].thread.stop();
    chosen.check = true;
    revive(chosen);
    for (unsigned i = 0; i < 200 && chosen.check && !chosen.complaint.load(); ++i) pause(100);
    chosen.check = false;
    if (chosen.complaint.load()) fail(chosen.complaint.load(), &chosen);
    for (unsigned n = 0; n < workers; ++n) {
        if (&all_workers[n] != &chosen) (void)all_workers[n].thread.resume();
    }
}

void round(Random& random, u64 calls_at_end) {
    open_arena();
    tend(random);
    for (unsigned n = 0; n < workers; ++n) {
        all_workers[n].seed(random.next());
        revive(all_workers[n]);
    }
    u64 next_check = total(&Worker::calls) + 500;
    unsigned idle = 0;
    u64 before = 0;
    for (;;) {
        pause(50 + random.below(150));
        const u64 calls = total(&Worker::calls);
        idle = calls == before ? idle + 1 : 0;
        if (idle > kStuck) fail("nobody makes any progress", &all_workers[0]);
        if (before && calls / parameters.report != before / parameters.report) Line() << "FUZZ at " << calls;
        before = calls;
        if (calls >= calls_at_end) break;
        for (unsigned n = 0; n < workers; ++n) sweep(all_workers[n], random);
        if (random.chance(5) && !empty_pool(random)) fail("a pool has not got its memory back");
        if (random.chance(5) && !play_exclusive(random)) fail("exclusive memory was not treated as such");
        ring(random.chance(30));
        tend(random);
        if (calls >= next_check) {
            check_quietly(random);
            next_check = calls + 1500;
        }
    }
    // Half of the time all goes while they are still at work.
    const bool abrupt = random.chance(50);
    if (!abrupt) {
        for (unsigned n = 0; n < workers; ++n) (void)all_workers[n].thread.stop();
    }
    if (abrupt && !empty_pool(random)) fail("a pool has not got its memory back");
    for (unsigned n = 0; n < workers; ++n) {
        need(kSelf.remove(kWorkerThread + n));
        need(kSelf.remove(kWorkerSched + n));
    }
    if (!close_arena(true)) fail("not all memory has come back");
    ++rounds;
}

void read_parameters() {
    const auto ram = kSystem.info(0).ok() ? kSelf.inspect(abi::kRootRam) : kSelf.inspect(0);
    need(sys::Memory{abi::kRootRam}.derive(ram->bytes - kPage, kPage, kParameters, abi::rights::mem_read));
    need(kSpace.map(sys::Memory{kParameters}, 0, kParametersAt, kPage, abi::rights::mem_read, kParameters + 1));
    Parameters given;
    std::memcpy(&given, reinterpret_cast<const void*>(kParametersAt), sizeof given);
    if (given.magic == kParametersMagic) parameters = given;
    need(kSelf.revoke(abi::kRootRam));
    if (parameters.report == 0) parameters.report = 1;
}

void print_result() {
    Line line;
    line << "FUZZ PASSED " << total(&Worker::calls) << " calls, " << total(&Worker::checks) << " failures checked, "
         << rounds << " rounds, " << restarts << " restarts; by error";
    for (unsigned error = 0; error < kErrors; ++error) {
        u64 sum = 0;
        for (const Worker& each : all_workers) sum += each.errors[error];
        line << " " << sum;
    }
}

void run() {
    core_count = static_cast<unsigned>(kSystem.info(0)->cores);
    level2 = kSystem.info(0)->exception_level == 2;
    read_parameters();
    prepare_memory();
    need(sys::Sched{abi::kRootSched}.configure(0, 0, {kSupervisorPriority, 0, false}));
    need(kObjects.create_notification(kSleeper));
    need(kSystem.make_memory(kClock, 0x0901'0000, kPage));
    need(kSpace.map(sys::Memory{kClock}, 0, kClockAt, kPage, abi::rights::mem_read | abi::rights::mem_write,
                    kClockMapping));
    clock(0x10) = 1;
    workers = static_cast<unsigned>(parameters.workers_per_core * core_count);
    if (workers > kMaxWorkers) workers = kMaxWorkers;
    start_guards();
    Random random(parameters.seed);
    u64 done = 0;
    // Once for nothing: what is made once and stays (tables of this program's space) is there from then on.
    open_arena();
    close_arena(false);
    while (done < parameters.calls) {
        const u64 left = parameters.calls - done;
        round(random, done + (left < parameters.calls_per_round ? left : parameters.calls_per_round));
        done = total(&Worker::calls);
    }
    print_result();
    finish();
}

}  // namespace

unsigned cores() { return core_count; }
bool at_el2() { return level2; }

void need(sys::Status status, const char* file, unsigned line) {
    if (status.ok()) return;
    Line() << "FUZZ FAIL the supervisor's own call, 0 calls: " << file << ":" << line << " "
           << sys::error_name(status.error()) << " " << u64{status.argument()} << ", seed " << parameters.seed << ", "
           << total(&Worker::calls) << " calls";
    finish();
}

Line& Line::operator<<(std::string_view text) {
    const std::size_t bytes = text.size() < sizeof text_ - 1 - used_ ? text.size() : sizeof text_ - 1 - used_;
    std::memcpy(text_ + used_, text.data(), bytes);
    used_ += bytes;
    return *this;
}

Line& Line::operator<<(u64 number) {
    char digits[20];
    std::size_t at = sizeof digits;
    do {
        digits[--at] = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number);
    return *this << std::string_view(digits + at, sizeof digits - at);
}

Line& Line::hex(u64 number) {
    char digits[17] = {' '};
    for (unsigned i = 0; i < 16; ++i) digits[1 + i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    std::size_t skip = 1;
    while (skip < 16 && digits[skip] == '0') ++skip;
    digits[skip - 1] = ' ';
    return *this << std::string_view(digits + skip - 1, 18 - skip);
}

Line::~Line() {
    text_[used_++] = '\n';
    kSystem.log({text_, used_});
}

}  // namespace twain::fuzz

int main() {
    twain::fuzz::run();
    return 0;
}
