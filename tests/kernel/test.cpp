// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "test.hpp"

#include <cstring>

namespace twain::test {

namespace {

unsigned checks = 0, failures = 0;
Slot next_slot = 256;
u64 next_memory = 0;
u64 next_window = 0x10'0000'0000;
sys::Notification sleeper;

class Line {
public:
    Line& operator<<(std::string_view text) {
        const std::size_t bytes = text.size() < sizeof text_ - used_ ? text.size() : sizeof text_ - used_;
        std::memcpy(text_ + used_, text.data(), bytes);
        used_ += bytes;
        return *this;
    }
    Line& operator<<(u64 number) {
        char digits[20];
        std::size_t at = sizeof digits;
        do {
            digits[--at] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number);
        return *this << std::string_view(digits + at, sizeof digits - at);
    }
    ~Line() {
        *this << "\n";
        kSystem.log({text_, used_});
    }

private:
    char text_[240];
    std::size_t used_ = 0;
};

std::string_view file_of(Where where) {
    const std::string_view file(where.file);
    const std::size_t at = file.rfind("tests/kernel/");
    return at == std::string_view::npos ? file : file.substr(at);
}

void passed(std::string_view id) { Line() << "ok " << id; }

template <typename... Details>
void report(std::string_view id, bool good, Where where, Details... details) {
    ++checks;
    if (good) {
        passed(id);
        return;
    }
    ++failures;
    Line line;
    line << "FAIL " << id << " " << file_of(where) << ":" << where.line;
    (void)(line << ... << details);
}

void prepare() {
    sleeper = sys::Notification{50};
    const sys::Memory all{abi::kRootRam};
    constexpr u64 kPoolBytes = 0x80'0000;
    need(all.split(kPoolBytes, kSpare));
    need(sys::Memory{kSpare}.split(kSpareBytes, kRam));
    need(sys::Memory{kRam}.split(0x800'0000, kLarge));
    need(all.make_pool(kPool));
    need(kObjects.create_notification(sleeper.slot));
}

void finish() {
    if (failures) {
        Line() << "KERNEL TESTS FAILED " << failures << " of " << checks;
    } else {
        Line() << "KERNEL TESTS PASSED " << checks;
    }
    (void)kSystem.power(abi::system::kPowerOff);
}

}  // namespace

void check(std::string_view id, bool good, Where where) { report(id, good, where); }

void expect_equal(std::string_view id, u64 want, u64 got, Where where) {
    report(id, want == got, where, " wanted ", want, ", got ", got);
}

void expect(std::string_view id, Error want, sys::Status got, Where where) {
    report(id, got.error() == want, where, " wanted ", sys::error_name(want), ", got ", sys::error_name(got.error()),
           " ", u64{got.argument()});
}

void expect_ok(std::string_view id, sys::Status got, Where where) { expect(id, Error::none, got, where); }

void skip(std::string_view id, std::string_view why) { Line() << "skip " << id << " " << why; }

void need(sys::Status status, Where where) {
    if (status) return;
    Line() << "FAIL needed " << file_of(where) << ":" << where.line << " " << sys::error_name(status.error()) << " "
           << u64{status.argument()};
    ++failures;
    finish();
}

u64 free_bytes() { return kObjects.stat()->free + sys::Pool{abi::kRootPool}.stat()->free; }

unsigned cores() { return static_cast<unsigned>(kSystem.info(0)->cores); }
bool at_el2() { return kSystem.info(0)->exception_level == 2; }

void pause(u64 microseconds) { (void)sleeper.wait(sys::after_ns(microseconds * 1000)); }

// ---- Scratch

Scratch::Scratch() : first_(next_slot), memory_(next_memory) {}

Scratch::~Scratch() {
    while (next_slot > first_) (void)kSelf.remove(--next_slot);
    next_memory = memory_;
}

Slot Scratch::slot() { return next_slot++; }

sys::Notification Scratch::notification() {
    const sys::Notification made{slot()};
    need(kObjects.create_notification(made.slot));
    return made;
}

sys::Endpoint Scratch::endpoint(unsigned core) {
    const sys::Endpoint made{slot()};
    need(kObjects.create_endpoint(made.slot, core));
    return made;
}

sys::Reply Scratch::reply() {
    const sys::Reply made{slot()};
    need(kObjects.create_reply(made.slot));
    return made;
}

sys::CSpace Scratch::cspace() {
    const sys::CSpace made{slot()};
    need(kObjects.create_cspace(made.slot));
    return made;
}

sys::Space Scratch::space(abi::SpaceKind kind) {
    const sys::Space made{slot()};
    need(kObjects.create_space(made.slot, kind));
    return made;
}

sys::Thread Scratch::thread() {
    const sys::Thread made{slot()};
    need(kObjects.create_thread(made.slot));
    return made;
}

sys::Sched Scratch::sched(unsigned priority, unsigned core, u64 budget, u64 period, bool hard) {
    const sys::Sched made{slot()};
    need(kSystem.make_sched(kObjects, made.slot, budget, period,
                            {static_cast<std::uint8_t>(priority), static_cast<std::uint8_t>(core), hard}));
    return made;
}

sys::Memory Scratch::memory(u64 bytes, sys::Rights rights) {
    const sys::Memory made{slot()};
    need(sys::Memory{kRam}.derive(next_memory, bytes, made.slot, rights));
    next_memory += bytes;
    return made;
}

u64 Scratch::map(sys::Memory memory, u64 bytes, sys::Rights rights) {
    const u64 at = next_window;
    next_window += bytes;
    need(kSpace.map(memory, 0, at, bytes, rights, slot()));
    return at;
}

sys::Pool Scratch::small_pool() {
    // The pool is a child of a child: the spare memory itself cannot be removed, but it can be revoked.
    const sys::Pool made{slot()};
    need(sys::Memory{kSpare}.make_pool(made.slot));
    return made;
}

Slot Scratch::copy(Slot from, sys::Rights rights, u64 badge) {
    const Slot made = slot();
    need(kSelf.copy(made, from, rights, badge));
    return made;
}

Slot Scratch::deepest(Slot from) {
    for (;;) {
        const Slot next = slot();
        const sys::Status status = kSelf.copy(next, from);
        if (status.error() == Error::depth) return from;
        need(status);
        from = next;
    }
}

// ---- Worker

Worker::Worker(Scratch& scratch, Body body, Options options) : body_(body), start_{&Worker::run, this} {
    thread = scratch.thread();
    sched = options.sched ? sys::Sched{options.sched} : scratch.sched(options.priority, options.core);
    need(thread.configure(sys::CSpace{options.cspace}, kSpace, sys::Endpoint{options.fault}, sched,
                          sys::Notification{options.note}));
}

Worker::~Worker() { (void)thread.stop(); }

sys::Status Worker::start() {
    done_ = false;
    const u64 top = reinterpret_cast<u64>(stack_ + sizeof stack_);
    return thread.start(rt::thread_entry(), top, reinterpret_cast<u64>(&start_));
}

void Worker::run(void* self) {
    auto& worker = *static_cast<Worker*>(self);
    worker.body_(worker);
    worker.done_ = true;
    for (;;) (void)worker.thread.stop();
}

}  // namespace twain::test

int main() {
    using namespace twain::test;
    prepare();
    test_pool();
    test_cspace();
    test_memory();
    test_mapping();
    test_thread();
    test_ipc();
    test_transfer();
    test_reply();
    test_notification();
    test_irq();
    test_sched();
    test_fault();
    test_system();
    test_vcpu();
    test_guest();
    test_shadow();
    test_steps();
    test_tags();
    test_registers();
    test_cores();
    test_dma();
    test_crowd();
    test_shared_errors();
    finish();
    return 0;
}
