// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Init against a fake kernel: a system is made, taken apart, made again; the kernel refuses at every step; the
// supervisor answers.
#include <catch2/catch.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "fake_kernel.hpp"
#include "ring/byte_ring.hpp"
#include "rt/env.hpp"
#include "system/init/builder.hpp"
#include "system/init/supervisor.hpp"

using namespace twain;
using namespace twain::init;
using tables::Kind;

namespace {

constexpr std::uint64_t kRam = 0x4000'0000;
constexpr std::uint64_t kRamBytes = 48 << 20;
constexpr std::uint64_t kArchive = kRam + 0x10'0000;
constexpr std::uint64_t kFree = kRam + 0x20'3000;
constexpr std::uint64_t kUart = 0x900'0000;
constexpr std::uint64_t kRingBytes = 20 << 10;

// A driver and a VMM, one ring between supervisor and console (which the tests play), a file.
class World {
public:
    World() : kernel(kRam, kRamBytes) {
        arena_ = static_cast<char*>(
            mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        const std::uint64_t start = round_up(reinterpret_cast<std::uint64_t>(arena_), kBlock);
        windows = {start, start + (64 << 20)};
        init_base_ = start + (128 << 20);
        make_boot();
        make_tables();
        kernel.give_ram(abi::kRootRam, kFree + (16 << 20), kRam + kRamBytes - kFree - (16 << 20));
        kernel.give_ram(abi::kRootRam + 1, kFree, 16 << 20);
        kernel.give_archive(kArchive, 0x10'0000);
        // RAM is never clean.
        std::memset(kernel.physical(kFree), 0x5a, kRam + kRamBytes - kFree);
    }
    ~World() { munmap(arena_, kArenaBytes); }

    fake::Kernel kernel;
    abi::BootInfo boot{};
    Windows windows;
    tables::System system{};

    const fake::Cap& cap(abi::Slot slot) {
        const fake::Cap* found = kernel.find(slot);
        REQUIRE(found != nullptr);
        return *found;
    }
    std::uint64_t init_address(unsigned region) const { return init_base_ + region * 0x10'0000; }

    std::vector<tables::Object> objects;
    std::vector<tables::Process> processes;

private:
    static constexpr std::size_t kArenaBytes = 256 << 20;

    void make_boot() {
        boot.magic = abi::kBootMagic;
        boot.version = abi::kVersion;
        boot.uart = {kUart, 0x1000};
        boot.archive = {kArchive, 0x10'0000};
        module("pl011", 0, 5000);
        module("vmm", 0x2000, 9000);
        module("kernel", 0x5000, 20'000);
    }
    void module(const char* name, std::uint64_t offset, std::uint64_t bytes) {
        abi::Module& m = boot.modules[boot.module_count++];
        std::strncpy(m.name, name, sizeof m.name - 1);
        m.phys = kArchive + offset;
        m.bytes = bytes;
        for (std::uint64_t i = 0; i < bytes; ++i) {
            kernel.physical(m.phys)[i] = static_cast<char>(i * 7 + offset);
        }
    }
    tables::Index object(const char* name, Kind kind, tables::Index owner, std::uint64_t a = 0, std::uint64_t b = 0,
                         const char* file = "") {
        objects.push_back({name, kind, 5, 0, 0, owner, 1, a, b, file});
        return static_cast<tables::Index>(objects.size() - 1);
    }

    void make_tables() {
        using namespace abi::rights;
        constexpr tables::Index kSystem = tables::kSystemOwner;
        const auto init_events = object("init.events", Kind::notification, kSystem);
        const auto uart_events = object("uart.events", Kind::notification, kSystem);
        const auto vmm_events = object("vmm.g.events", Kind::notification, kSystem);
        const auto out_data = object("ring.supervisor.out.data", Kind::ram, kSystem, kRingBytes, kPage);
        const auto out_head = object("ring.supervisor.out.head", Kind::ram, kSystem, kPage, kPage);
        const auto in_data = object("ring.supervisor.in.data", Kind::ram, kSystem, kRingBytes, kPage);
        const auto in_head = object("ring.supervisor.in.head", Kind::ram, kSystem, kPage, kPage);
        const auto file = object("file.kernel", Kind::file, kSystem, 0, 0, "kernel");
        const auto regs = object("uart.regs", Kind::device, 0, kUart, 0x1000);
        const auto irq = object("uart.irq", Kind::irq, 0, 33, 0);
        const auto uart_sched = object("uart.sched", Kind::sched, 0, 1'000'000, 10'000'000);
        const auto uart_thread = object("uart.thread", Kind::thread, 0, uart_sched);
        const auto uart_cspace = object("uart.cspace", Kind::cspace, 0);
        const auto ram = object("g.ram", Kind::ram, 1, 8 << 20, kBlock);
        const auto page = object("g.vcpu0.page", Kind::ram, 1, kPage, kPage);
        const auto vcpu = object("g.vcpu0", Kind::vcpu, 1, 0, objects.size() + 1);  // refers forward
        const auto space = object("g.space", Kind::guest_space, 1);
        const auto loop_sched = object("vmm.g.sched", Kind::sched, 1, 1'000'000, 10'000'000);
        const auto loop = object("vmm.g.thread", Kind::thread, 1, loop_sched);
        const auto vcpu_sched = object("g.vcpu0.sched", Kind::sched, 1, 0, 0);
        const auto vcpu_thread = object("g.vcpu0.thread", Kind::thread, 1, vcpu_sched);
        const auto log = object("kernel.log", Kind::log, kSystem);

        segments_ = {{0, 4096, 0x40'0000, 4096, mem_read | mem_exec},
                     {4096, 904, 0x40'1000, 12'000, mem_read | mem_write}};
        uart_caps_ = {{16, uart_events, note_wait, 0, "events", 1},
                      {17, irq, irq_bind | irq_ack, 0, "irq", 1},
                      {18, uart_events, note_signal, 2, "irq.note", 1},
                      {19, log, sys_log, 0, "klog", 1}};
        uart_maps_ = {{regs, 0, 0x1000, tables::kMapBase, mem_read | mem_write, "regs"}};
        vmm_caps_ = {{16, vmm_events, note_wait, 0, "events", 1},
                     {17, ram, mem_read | mem_write | mem_exec, 0, "guest.ram", 1},
                     {18, space, space_map | space_use, 0, "guest.space", 1},
                     {19, vcpu, vcpu_run | vcpu_kick | vcpu_configure, 0, "vcpu0", 1},
                     {20, page, mem_read | mem_write, 0, "vcpu0.page", 1},
                     {21, vcpu_thread, thread_control, 0, "vcpu0.thread", 1}};
        vmm_maps_ = {{ram, 0, 8 << 20, tables::kMapBase, mem_read | mem_write, "guest.ram"},
                     {page, 0, kPage, tables::kMapBase + (16 << 20), mem_read | mem_write, "vcpu0.page"},
                     {file, 0, round_up(20'000, kPage), tables::kMapBase + (32 << 20), mem_read, "kernel"}};
        settings_ = {{"name", "x"}};
        init_caps_ = {{0, init_events, note_wait, 0, "events", 1},
                      {0, init_events, note_arm, 4, "timer", 1},
                      {0, uart_events, note_signal, 8, "supervisor.out.bell", 1},
                      {0, uart_events, note_signal, 16, "supervisor.in.bell", 1},
                      {0, uart_cspace, cspace_inspect, 0, "uart.cspace", 1}};
        init_maps_ = {{out_data, 0, kRingBytes, init_address(0), mem_read | mem_write, "supervisor.out.data"},
                      {out_head, 0, kPage, init_address(1), mem_read, "supervisor.out.head"},
                      {in_data, 0, kRingBytes, init_address(2), mem_read, "supervisor.in.data"},
                      {in_head, 0, kPage, init_address(3), mem_read | mem_write, "supervisor.in.head"}};
        processes = {{"uart", tables::Role::driver, "", "pl011", 0x40'0010, 0x4000, 0x20000, uart_thread, segments_,
                      uart_caps_, uart_maps_, settings_},
                     {"vmm.g", tables::Role::vmm, "g", "vmm", 0x40'0020, 0x8000, 0x40000, loop, segments_, vmm_caps_,
                      vmm_maps_, settings_}};
        system = {"test", "c0ffee", "", objects, processes, init_caps_, init_maps_};
    }

    char* arena_ = nullptr;
    std::uint64_t init_base_ = 0;
    std::vector<tables::Segment> segments_;
    std::vector<tables::Capability> uart_caps_, vmm_caps_, init_caps_;
    std::vector<tables::Map> uart_maps_, vmm_maps_, init_maps_;
    std::vector<tables::Setting> settings_;
};

std::string reason(const Failure& f) {
    return f ? std::string(f.step) + " " + f.name + ": " + std::string(sys::error_name(f.status.error())) : "";
}

// Everything that is not init's.
std::size_t foreign_mappings(World& w) {
    std::size_t count = 0;
    for (const auto& [slot, cap] : w.kernel.root()) {
        count += cap.type == abi::Type::mapping && cap.object != fake::Kernel::kRootSpaceObject ? 1 : 0;
    }
    return count;
}

// Plays the console's end of the control channel.
struct ConsoleEnd {
    explicit ConsoleEnd(World& w) {
        out_data = physical(w, "ring.supervisor.out.data");
        out_head = physical(w, "ring.supervisor.out.head");
        in_data = physical(w, "ring.supervisor.in.data");
        in_head = physical(w, "ring.supervisor.in.head");
        out = ring::ByteConsumer({out_data, kRingBytes, out_head, kPage});
        in = ring::ByteProducer({in_data, kRingBytes, in_head, kPage});
    }
    char* physical(World& w, const char* name) {
        for (const auto& [slot, cap] : w.kernel.root()) {
            if (cap.type == abi::Type::mapping && cap.object == fake::Kernel::kRootSpaceObject) {
                for (const tables::Map& m : w.system.init_maps) {
                    if (std::string(w.system.objects[m.object].name) == name && m.address == cap.address) {
                        return w.kernel.physical(cap.base);
                    }
                }
            }
        }
        FAIL("init does not map " << name);
        return nullptr;
    }
    std::string read() {
        std::string all;
        char bytes[512];
        for (std::size_t n = 0; (n = out.read(bytes).bytes) != 0;) {
            all.append(bytes, n);
        }
        return all;
    }
    char *out_data, *out_head, *in_data, *in_head;
    ring::ByteConsumer out;
    ring::ByteProducer in;
};

// The system is made and runs, and the supervisor has the console.
struct System : World {
    System() {
        REQUIRE_FALSE(builder.create_system());
        supervisor.attach();
        supervisor.start_all();
    }
    Builder builder{system, boot, windows};
    Supervisor supervisor{builder};
};
struct Running : System {
    // What has been said when so much time has passed.
    std::string pass(std::uint64_t ms) {
        sys::fake_now += sys::to_ticks(ms * 1'000'000, sys::ticks_per_second());
        supervisor.restart_due();
        return console.read();
    }
    ConsoleEnd console{*this};
};

// Is it a JSON object on one line? A recognizer, no more.
class JsonCheck {
public:
    static bool line(std::string_view text) {
        JsonCheck check{text};
        return check.value() && check.at_ + 1 == text.size() && text.back() == '\n';
    }

private:
    explicit JsonCheck(std::string_view text) : text_(text) {}
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c) { return peek() == c && ++at_ != 0; }
    bool string() {
        if (!take('"')) {
            return false;
        }
        while (peek() != '"') {
            if (static_cast<unsigned char>(peek()) < 0x20 || static_cast<unsigned char>(peek()) > 0x7e) {
                return false;
            }
            at_ += peek() == '\\' ? 2 : 1;
        }
        return take('"');
    }
    bool list(char end, bool keys) {
        ++at_;
        if (take(end)) {
            return true;
        }
        do {
            if (keys && !(string() && take(':'))) {
                return false;
            }
            if (!value()) {
                return false;
            }
        } while (take(','));
        return take(end);
    }
    bool value() {
        switch (peek()) {
            case '{': return list('}', true);
            case '[': return list(']', false);
            case '"': return string();
            case 't': at_ += 4; return true;
            case 'f': at_ += 5; return true;
            default: {
                const std::size_t begin = at_;
                while (peek() >= '0' && peek() <= '9') {
                    ++at_;
                }
                return at_ != begin;
            }
        }
    }
    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

TEST_CASE("init: makes the system that the tables describe") {
    World w;
    Builder builder{w.system, w.boot, w.windows};
    REQUIRE(reason(builder.create_system()).empty());
    REQUIRE(reason(builder.build(0)).empty());
    REQUIRE(reason(builder.build(1)).empty());

    for (tables::Index p = 0; p < 2; ++p) {
        const tables::Process& process = w.system.processes[p];
        const auto& slots = w.kernel.slots(w.cap(builder.cspace(p).slot).object);
        CHECK(slots.size() == process.capabilities.size() + 1);
        for (const tables::Capability& c : process.capabilities) {
            REQUIRE(slots.contains(c.slot));
            const fake::Cap& live = slots.at(c.slot);
            CHECK(live.rights == c.rights);
            CHECK(live.badge == c.badge);
            CHECK(live.type == w.cap(builder.object_slot(c.object)).type);
            const auto info = builder.cspace(p).inspect(c.slot);
            REQUIRE(info);
            CHECK(std::string(builder.object_name(*info)) == w.system.objects[c.object].name);
        }
        const fake::ThreadModel& thread = w.kernel.threads.at(builder.object_id(process.thread));
        CHECK(thread.started);
        CHECK((thread.pc == process.entry && thread.sp == tables::kStackTop && thread.x0 == tables::kEnvAddress));
        CHECK(thread.fault_badge == p + 1u);
        CHECK(thread.note == builder.object_id(process.capabilities[0].object));
        CHECK(thread.cspace == w.cap(builder.cspace(p).slot).object);
    }
}

TEST_CASE("init: loads programs, zeroes what was there, writes the environment") {
    World w;
    Builder builder{w.system, w.boot, w.windows};
    REQUIRE_FALSE(builder.create_system());
    REQUIRE_FALSE(builder.build(1));
    const fake::Cap text = w.cap(builder.mapping_slot(1, 0));
    CHECK((text.address == 0x40'0000 && text.bytes == 4096 && text.rights == 5));
    CHECK(std::memcmp(w.kernel.physical(text.base), w.kernel.physical(kArchive + 0x2000), 4096) == 0);
    const fake::Cap data = w.cap(builder.mapping_slot(1, 1));
    CHECK((data.address == 0x40'1000 && data.bytes == 12'288 && data.rights == 3));
    CHECK(std::memcmp(w.kernel.physical(data.base), w.kernel.physical(kArchive + 0x3000), 904) == 0);
    const auto zero = [&](std::uint64_t base, std::uint64_t bytes) {
        const char* at = w.kernel.physical(base);
        return std::all_of(at, at + bytes, [](char c) { return c == 0; });
    };
    CHECK(zero(data.base + 904, data.bytes - 904));
    const fake::Cap stack = w.cap(builder.mapping_slot(1, 2));
    CHECK((stack.address + stack.bytes == tables::kStackTop && stack.bytes == 0x8000));
    CHECK(zero(stack.base, stack.bytes));
    const fake::Cap environment = w.cap(builder.mapping_slot(1, 3));
    CHECK((environment.address == tables::kEnvAddress && environment.rights == 1));
    CHECK(reinterpret_cast<const rt::EnvHeader*>(w.kernel.physical(environment.base))->magic == rt::kEnvMagic);
    const fake::Cap ram = w.cap(builder.mapping_slot(1, 4));
    CHECK(ram.base % kBlock == 0);
    CHECK(zero(ram.base, ram.bytes));
    for (const auto& [slot, cap] : w.kernel.root()) {  // no window stays open
        CHECK((slot != Builder::kWindowMapping && slot != Builder::kFileMapping));
    }
}

TEST_CASE("init: each process gets random bytes of its own, and others in its next life") {
    const auto seed = [](World& w, Builder& builder, tables::Index process) {
        const fake::Cap environment = w.cap(builder.mapping_slot(process, 3));
        const auto& header = *reinterpret_cast<const rt::EnvHeader*>(w.kernel.physical(environment.base));
        return std::string(reinterpret_cast<const char*>(header.seed), header.seed_bytes);
    };
    World w;
    SECTION("the firmware drew some") {
        w.boot.seed_bytes = abi::kMaxSeed;
        w.boot.seed[5] = 0x55;
        Builder builder{w.system, w.boot, w.windows};
        REQUIRE_FALSE(builder.create_system());
        std::set<std::string> seen;
        for (unsigned round = 0; round < 3; ++round) {
            for (const tables::Index p : {tables::Index{0}, tables::Index{1}}) {
                REQUIRE_FALSE(builder.build(p));
                CHECK(seed(w, builder, p).size() == 32);
                CHECK(seen.insert(seed(w, builder, p)).second);
                REQUIRE_FALSE(builder.dismantle(p));
            }
        }
    }
    SECTION("too few to be worth anything") {
        w.boot.seed_bytes = 8;
        Builder builder{w.system, w.boot, w.windows};
        REQUIRE_FALSE(builder.create_system());
        REQUIRE_FALSE(builder.build(1));
        CHECK(seed(w, builder, 1).empty());
    }
}

TEST_CASE("init: private memory is nobody else's") {
    World w;
    Builder builder{w.system, w.boot, w.windows};
    REQUIRE_FALSE(builder.create_system());
    REQUIRE_FALSE(builder.build(0));
    REQUIRE_FALSE(builder.build(1));
    std::vector<fake::Cap> all;
    for (const tables::Index p : {tables::Index{0}, tables::Index{1}}) {
        const auto found = w.kernel.mappings_of(w.cap(builder.mapping_slot(p, 0)).object);
        CHECK(found.size() == builder.mappings(p));
        for (const fake::Cap& mapping : found) {
            for (const fake::Cap& other : all) {
                CHECK((mapping.base + mapping.bytes <= other.base || other.base + other.bytes <= mapping.base));
            }
        }
        all.insert(all.end(), found.begin(), found.end());
    }
}

TEST_CASE("init: taking a process apart leaves nothing of it, and it can be made again") {
    World w;
    Builder builder{w.system, w.boot, w.windows};
    REQUIRE_FALSE(builder.create_system());
    const std::size_t before = w.kernel.count();
    REQUIRE_FALSE(builder.build(0));
    const std::size_t with_uart = w.kernel.count();
    for (unsigned round = 0; round < 3; ++round) {
        REQUIRE_FALSE(builder.build(1));
        const std::uint64_t ram = builder.memory(13).base;
        std::memset(w.kernel.physical(ram), 0x77, 4096);  // the guest's secrets
        REQUIRE(reason(builder.dismantle(1)).empty());
        CHECK(w.kernel.count() == with_uart);
        CHECK(w.kernel.threads.size() == 1);
        CHECK(builder.status(1).state == ProcessState::killed);
        CHECK(w.kernel.threads.at(builder.object_id(w.system.processes[0].thread)).started);
    }
    REQUIRE(reason(builder.dismantle(1)).empty());  // twice does no harm
    REQUIRE_FALSE(builder.dismantle(0));
    CHECK(w.kernel.count() == before);
    CHECK(foreign_mappings(w) == 0);
    REQUIRE_FALSE(builder.build(1));
    CHECK(w.kernel.physical(builder.memory(13).base)[0] == 0);
}

TEST_CASE("init: the kernel refuses at any step: reported, undone, and tried again") {
    std::uint64_t steps = 0;
    {
        World w;
        Builder builder{w.system, w.boot, w.windows};
        REQUIRE_FALSE(builder.create_system());
        w.kernel.invokes = 0;
        REQUIRE_FALSE(builder.build(1));
        steps = w.kernel.invokes;
    }
    World w;
    Builder builder{w.system, w.boot, w.windows};
    REQUIRE_FALSE(builder.create_system());
    REQUIRE_FALSE(builder.build(0));
    const std::size_t before = w.kernel.count();
    unsigned refused = 0;
    for (std::uint64_t step = 1; step <= steps; ++step) {
        w.kernel.invokes = 0;
        w.kernel.fail_at = step;
        const Failure failure = builder.build(1);
        w.kernel.fail_at = 0;
        if (failure) {  // looking up an object's id may fail without harm
            ++refused;
            CHECK(*failure.step != 0);
            CHECK(failure.status.error() == abi::Error::no_memory);
            CHECK(builder.status(1).state == ProcessState::failed);
            CHECK(w.kernel.count() == before);
        } else {
            REQUIRE_FALSE(builder.dismantle(1));
        }
    }
    CHECK(refused > 30);
    CHECK(reason(builder.build(1)).empty());
}

TEST_CASE("init: a system that cannot be made says why") {
    std::uint64_t steps = 0;
    {
        World w;
        Builder builder{w.system, w.boot, w.windows};
        REQUIRE_FALSE(builder.create_system());
        steps = w.kernel.invokes;
    }
    for (std::uint64_t step = 1; step <= steps; ++step) {
        World w;
        w.kernel.fail_at = step;
        Builder builder{w.system, w.boot, w.windows};
        const Failure failure = builder.create_system();
        if (failure) {
            CHECK(*failure.step != 0);
        }
    }
}

TEST_CASE("init: tables that make no sense are refused before anything is done") {
    World w;
    SECTION("a capability of an object that is not there") {
        tables::Capability bad{16, 999, 1, 0, "x", 1};
        w.processes[0].capabilities = {&bad, 1};
        Builder builder{w.system, w.boot, w.windows};
        CHECK(std::string(builder.create_system().name) == "uart");
    }
    SECTION("a slot that is the process's own") {
        tables::Capability bad{1, 0, 1, 0, "x", 1};
        w.processes[0].capabilities = {&bad, 1};
        Builder builder{w.system, w.boot, w.windows};
        CHECK(builder.create_system());
    }
    SECTION("a vCPU without space") {
        w.objects[15].b = 500;
        Builder builder{w.system, w.boot, w.windows};
        CHECK(std::string(builder.create_system().name) == "g.vcpu0");
    }
    SECTION("a file that the archive lacks") {
        w.objects[7].module = "nothing";
        Builder builder{w.system, w.boot, w.windows};
        CHECK(std::string(builder.create_system().name) == "nothing");
    }
    SECTION("more memory than there is") {
        w.objects[13].a = 1 << 30;
        Builder builder{w.system, w.boot, w.windows};
        const Failure failure = builder.create_system();
        CHECK(std::string(failure.name) == "g.ram");
        CHECK(failure.status.error() == abi::Error::no_memory);
    }
    SECTION("a segment beyond its file") {
        w.boot.modules[0].bytes = 4000;
        Builder builder{w.system, w.boot, w.windows};
        REQUIRE_FALSE(builder.create_system());
        CHECK(builder.build(0));
        CHECK(reason(builder.build(1)).empty());
    }
}

TEST_CASE_METHOD(Running, "supervisor: every answer is one JSON line") {
    CHECK(kernel.uart_kernel == 0);
    CHECK(console.read().empty());
    for (const char* command :
         {"ps", "caps", "caps uart", "stat", "log", "help", "kill g", "ps", "caps g", "reboot g", "ps", "stat"}) {
        supervisor.obey(command);
        const std::string line = console.read();
        INFO(command << " -> " << line);
        CHECK(JsonCheck::line(line));
        CHECK(line.rfind("{\"ok\":true,\"cmd\":\"" + std::string(command).substr(0, std::string(command).find(' ')),
                         0) == 0);
    }
    for (const char* command :
         {"", "nonsense \x01\xff", "kill", "kill nobody", "reboot nobody", "caps nobody", "ps x"}) {
        supervisor.obey(command);
        const std::string line = console.read();
        INFO(command << " -> " << line);
        CHECK(JsonCheck::line(line));
        CHECK(line.rfind("{\"ok\":false,", 0) == 0);
        CHECK(line.find("\"error\":\"") != std::string::npos);
    }
}

TEST_CASE_METHOD(Running, "supervisor: names what the kernel says") {
    supervisor.obey("caps uart");
    const std::string line = console.read();
    CHECK(
        line.find(
            "{\"slot\":18,\"type\":\"notification\",\"object\":\"uart.events\",\"rights\":[\"signal\"],\"badge\":2,") !=
        std::string::npos);
    CHECK(line.find("{\"slot\":19,\"type\":\"system\",\"object\":\"kernel.log\",\"rights\":[\"log\"]") !=
          std::string::npos);
    CHECK(line.find("{\"object\":\"uart.regs\",\"address\":\"0x100000000\",\"base\":\"0x9000000\",\"bytes\":4096,"
                    "\"rights\":[\"read\",\"write\"]") != std::string::npos);
}

TEST_CASE_METHOD(Running, "supervisor: a fault stops one process, and says which and why") {
    const auto vcpu_thread = builder.object_id(20);
    for (const auto& [object, thread] : kernel.threads) {
        kernel.threads[object].started = true;
    }
    supervisor.fault(2, sys::message(static_cast<std::uint32_t>(abi::FaultKind::data), 0x92000046, 0xdead0, 0x40'1234,
                                     0x3fff'e000, vcpu_thread));
    const std::string line = console.read();
    CHECK(line ==
          "{\"event\":\"fault\",\"process\":\"vmm.g\",\"thread\":\"g.vcpu0.thread\",\"reason\":\"data\",\"address\":"
          "\"0xdead0\","
          "\"pc\":\"0x401234\",\"sp\":\"0x3fffe000\",\"esr\":\"0x92000046\"}\n");
    CHECK(kernel.log.find("init: vmm.g stopped: data fault at 0xdead0, pc 0x401234") != std::string::npos);
    CHECK_FALSE(kernel.threads.at(builder.object_id(18)).started);
    CHECK(kernel.threads.at(builder.object_id(11)).started);
    CHECK(builder.status(1).state == ProcessState::faulted);
    supervisor.fault(0, {});
    supervisor.fault(77, {});
    supervisor.obey("reboot g");
    CHECK(console.read().find("\"state\":\"running\"") != std::string::npos);
    supervisor.obey("ps");
    CHECK(console.read().find("\"faults\":1,\"restarts\":1") != std::string::npos);
}

TEST_CASE_METHOD(Running, "supervisor: a driver that dies is made again, later each time") {
    const auto die = [&] {
        const auto thread = builder.object_id(11);
        supervisor.fault(1, sys::message(static_cast<std::uint32_t>(abi::FaultKind::data), 0, 0, 0, 0, thread));
        supervisor.restart_due();
        return console.read();
    };
    std::uint64_t delay = RestartPlan::kFirst;
    for (unsigned i = 1; i <= 15; ++i) {
        CHECK(die().find(",\"restart_ms\":" + std::to_string(delay) + "}\n") != std::string::npos);
        CHECK(builder.status(0).state == ProcessState::faulted);
        CHECK(kernel.uart_kernel == 1);  // who else would say what is wrong?
        CHECK(kernel.armed == sys::after_ms(delay));
        CHECK(pass(delay - 1).empty());
        CHECK(pass(1) == "{\"event\":\"restarted\",\"process\":\"uart\",\"restarts\":" + std::to_string(i) + "}\n");
        CHECK(builder.status(0).state == ProcessState::running);
        CHECK(kernel.uart_kernel == 0);
        CHECK(kernel.armed == abi::kForever);
        delay = std::min<std::uint64_t>(2 * delay, RestartPlan::kLast);
    }
    CHECK(delay == RestartPlan::kLast);
    (void)pass(RestartPlan::kHealthy);
    CHECK(die().find("\"restart_ms\":" + std::to_string(RestartPlan::kFirst)) != std::string::npos);

    supervisor.obey("ps");
    CHECK(console.read().find("\"state\":\"faulted\",\"faults\":16,\"restarts\":15,\"restart_ms\":10,") !=
          std::string::npos);
    supervisor.obey("reboot uart");  // by hand, before its time: once, not twice
    CHECK(console.read().find("\"restarts\":16}") != std::string::npos);
    CHECK(pass(RestartPlan::kLast).empty());
}

TEST_CASE_METHOD(Running, "supervisor: a driver that is killed is made again, a VMM is not") {
    for (unsigned i = 0; i < 20; ++i) {  // a person's doing says nothing about its health
        supervisor.obey("kill uart");
        CHECK(console.read().find("\"state\":\"killed\",\"restarts\":" + std::to_string(i) + ",\"restart_ms\":10}") !=
              std::string::npos);
        CHECK(pass(RestartPlan::kFirst).find("\"event\":\"restarted\"") != std::string::npos);
    }
    supervisor.obey("kill g");
    CHECK(console.read().find("restart_ms") == std::string::npos);
    CHECK(pass(RestartPlan::kHealthy).empty());
    CHECK(builder.status(1).state == ProcessState::killed);
    CHECK(builder.status(0).state == ProcessState::running);
}

TEST_CASE_METHOD(Running, "supervisor: a driver that cannot be made again is tried again, later each time") {
    supervisor.obey("kill uart");
    console.read();
    const std::uint64_t program = boot.modules[0].bytes;
    boot.modules[0].bytes = 4000;
    std::uint64_t delay = RestartPlan::kFirst;
    for (unsigned i = 0; i < 5; ++i) {
        const std::string line = pass(delay);
        CHECK(std::count(line.begin(), line.end(), '\n') == 1);
        CHECK(line.find("\"event\":\"failed\",\"process\":\"uart\"") != std::string::npos);
        CHECK(kernel.uart_kernel == 1);
        delay = RestartPlan::kFirst << i;
    }
    boot.modules[0].bytes = program;
    CHECK(pass(delay).find("\"event\":\"restarted\"") != std::string::npos);
}

TEST_CASE_METHOD(Running, "supervisor: a program's last words are reported, wherever they claim to be") {
    const std::uint64_t data = cap(builder.mapping_slot(0, 1)).base;
    const std::uint32_t udf = 0x7077;
    std::memcpy(kernel.physical(cap(builder.mapping_slot(0, 0)).base) + 0x20, &udf, sizeof udf);
    std::memcpy(kernel.physical(data) + 0x100, "no irq: \x1b[31m", 13);
    const auto thread = builder.object_id(11);
    auto& registers = kernel.threads.at(thread).registers;
    const auto fault = [&](std::uint64_t why, std::uint64_t bytes, std::uint64_t detail, std::uint64_t detail_bytes) {
        registers[0] = why;
        registers[1] = bytes;
        registers[2] = detail;
        registers[3] = detail_bytes;
        supervisor.fault(
            1, sys::message(static_cast<std::uint32_t>(abi::FaultKind::undefined), 0x2000000, 0, 0x40'0020, 0, thread));
        return console.read();
    };
    CHECK(fault(0x40'1100, 8, 0x40'1108, 5).find("\"reason\":\"panic\",\"message\":\"no irq: \\u001b[31m\"") !=
          std::string::npos);
    for (const std::uint64_t address : {std::uint64_t{0}, std::uint64_t{0x40'3fff}, ~std::uint64_t{0},
                                        tables::kStackTop - 1, std::uint64_t{0x3f'ffff}}) {
        for (const std::uint64_t bytes :
             {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100'000}, ~std::uint64_t{0}}) {
            CHECK(JsonCheck::line(fault(address, bytes, 0x40'1100, bytes)));
        }
    }
}

TEST_CASE_METHOD(Running, "supervisor: commands come through the ring in pieces; a peer that lies is cut off") {
    console.in.write("he");
    supervisor.take_commands();
    CHECK(console.read().empty());
    console.in.write("lp\nbad\n" + std::string(300, 'x') + "\n");
    supervisor.take_commands();
    const std::string answers = console.read();
    CHECK(std::count(answers.begin(), answers.end(), '\n') == 3);
    CHECK(answers.find("too long") != std::string::npos);
    reinterpret_cast<ring::ProducerPage*>(console.in_data)->tail += 1'000'000;
    supervisor.take_commands();
    supervisor.take_commands();
    console.in = ring::ByteProducer({console.in_data, kRingBytes, console.in_head, kPage});
    console.in.write("help\n");
    supervisor.take_commands();
    CHECK(console.read().find("\"cmd\":\"help\"") != std::string::npos);
}

TEST_CASE_METHOD(Running, "supervisor: a console that does not read is given up on") {
    for (unsigned i = 0; i < 100; ++i) {
        supervisor.obey("caps");
    }
    reinterpret_cast<ring::ConsumerPage*>(console.out_head)->head = 12345678;
    for (unsigned i = 0; i < 3; ++i) {
        supervisor.obey("caps");
    }
    supervisor.obey("off");
    CHECK(kernel.power == abi::system::kPowerOff);
}
