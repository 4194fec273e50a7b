// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// More address spaces than the TLBs have numbers for: 8 bits of them, so 300 spaces begin a generation.
#include <cstring>

#include "guest.hpp"

extern "C" const std::byte tags_reader[], tags_reader_end[];
extern "C" const std::byte fastpath_server[], fastpath_server_end[];

namespace twain::test {

namespace {

constexpr unsigned kMany = 300;
constexpr u64 kCode = 0x40'0000, kWord = 0x40'1000, kCount = 0x40'2000;

// A page with a program, for any number of spaces.
sys::Memory code_page(Scratch& scratch, const std::byte* from, const std::byte* end) {
    const sys::Memory code = scratch.memory();
    const u64 window = scratch.map(code);
    std::memcpy(reinterpret_cast<void*>(window), from, static_cast<std::size_t>(end - from));
    __builtin___clear_cache(reinterpret_cast<char*>(window), reinterpret_cast<char*>(window + kPage));
    return code;
}

// A server in a space of its own, which answers calls with the word that it finds at kWord.
struct Island {
    sys::Thread thread;
    sys::Endpoint endpoint;
};

Island island(Scratch& scratch, sys::Memory code, sys::Memory word, u64 offset, unsigned core) {
    const sys::Space space = scratch.space();
    need(space.map(code, 0, kCode, kPage, kReadExec, scratch.slot()));
    need(space.map(word, offset, kWord, kPage, kRead, scratch.slot()));
    const Island made{scratch.thread(), scratch.endpoint(core)};
    need(made.thread.configure(kSelf, space, {}, scratch.sched(30, core), {}));
    need(made.thread.start(kCode, 0, made.endpoint.slot, kWord));
    return made;
}

// All of them are there at once, and each core has met all of its own before the first comes again.
void many_at_once() {
    Scratch scratch;
    const sys::Memory code = code_page(scratch, fastpath_server, fastpath_server_end);
    const sys::Memory words = scratch.memory(kMany * kPage);
    const u64 window = scratch.map(words, kMany * kPage);
    static Island islands[kMany];
    for (unsigned i = 0; i < kMany; ++i) {
        *reinterpret_cast<volatile u64*>(window + i * kPage) = 1000 + i;
        islands[i] = island(scratch, code, words, i * kPage, i % cores());
    }
    bool good = true;
    for (unsigned round = 0; round < 3; ++round) {
        for (unsigned i = 0; i < kMany; ++i) {
            const unsigned which = round == 2 ? kMany - 1 - i : i;
            const sys::Message answer = islands[which].endpoint.call(sys::message(0));
            good = good && answer.ok() && answer.word[1] == 1000 + which;
        }
    }
    check("tags.host/many_at_once", good);
}

// Begins generations: spaces that come, are used once, and go.
void use_up(Scratch& scratch, unsigned count) {
    const sys::Memory code = code_page(scratch, fastpath_server, fastpath_server_end), word = scratch.memory();
    for (unsigned i = 0; i < count; ++i) {
        Scratch inner;
        need(island(inner, code, word, 0, 0).endpoint.call(sys::message(0)).status());
    }
}

// A thread that never stops running keeps reading its own memory, and loses it when that is taken back, though the
// number of its space has been given away twice since it was last switched to.
void in_use() {
    Scratch scratch;
    const sys::Memory code = code_page(scratch, tags_reader, tags_reader_end), word = scratch.memory(),
                      count = scratch.memory();
    *reinterpret_cast<volatile u64*>(scratch.map(word)) = 0x7a65;
    const auto* counted = reinterpret_cast<volatile u64*>(scratch.map(count));
    const sys::Space space = scratch.space();
    const Slot mapping = scratch.slot();
    need(space.map(code, 0, kCode, kPage, kReadExec, scratch.slot()));
    need(space.map(word, 0, kWord, kPage, kRead, mapping));
    need(space.map(count, 0, kCount, kPage, kReadWrite, scratch.slot()));
    const sys::Thread reader = scratch.thread();
    need(reader.configure(kSelf, space, {}, scratch.sched(5, cores() - 1), {}));
    need(reader.start(kCode, 0, kWord, kCount));
    check("tags.host/in_use", wait_for([&] { return counted[1] > 0; }));
    use_up(scratch, 2 * kMany);
    const u64 before = counted[1];
    check("tags.host/in_use", wait_for([&] { return counted[1] > before; }) && counted[0] == 0x7a65);
    need(kSelf.remove(mapping));
    check("tags.host/in_use", wait_for([&] { return reader.state()->state == abi::ThreadState::faulted; }));
    check("tags.host/in_use", reader.state()->fault_address == kWord);
}

// Guests on every core while generations come and go; each finds its own memory.
void guests() {
    if (!at_el2()) {
        skip("tags.guest/many", "kernel at EL1");
        return;
    }
    Scratch scratch;
    const auto body = [](Worker& self) {
        for (; self.word[7] == 0; self.word[0].fetch_add(1), relax()) {
            for (unsigned i = 0; i < 2; ++i) {
                const auto exit = sys::Vcpu{self.slots[i]}.run();
                if (!exit.ok() || *exit != abi::Exit::trap) self.word[1].fetch_add(1);
                auto& page = *reinterpret_cast<abi::VcpuPage*>(self.word[2 + i].load());
                if ((page.x[2] & 0xffff) != self.word[4 + i]) self.word[1].fetch_add(1);
                page.pc -= 8;  // HVC has been left behind: once more
                page.x[2] = 0;
            }
        }
    };
    static std::byte guests_memory[8][2][sizeof(Guest)], workers_memory[8][sizeof(Worker)];
    Worker* workers[8] = {};
    for (unsigned core = 0; core < cores(); ++core) {
        auto* worker = new (workers_memory[core]) Worker(scratch, body, {.priority = 10, .core = core});
        for (unsigned i = 0; i < 2; ++i) {
            auto* guest = new (guests_memory[core][i]) Guest(scratch);
            const u64 number = 0x100 * core + i + 1;
            guest->ram(kPage - 8) = number;
            guest->enter_at(guest_loads);
            guest->page().x[1] = Guest::kRam + kPage - 8;
            worker->slots[i] = guest->vcpu.slot;
            worker->word[2 + i] = reinterpret_cast<u64>(&guest->page());
            worker->word[4 + i] = number;
        }
        workers[core] = worker;
        need(worker->start());
    }
    use_up(scratch, 2 * kMany);
    for (unsigned core = 0; core < cores(); ++core) {
        const u64 before = workers[core]->word[0];
        check("tags.guest/many",
              wait_for([&] { return workers[core]->word[0] > before; }) && workers[core]->word[1] == 0);
        workers[core]->word[7] = 1;
    }
    for (unsigned core = 0; core < cores(); ++core) {
        check("tags.guest/many", wait_for([&] { return workers[core]->done(); }));
        workers[core]->~Worker();
    }
}

// As many guest spaces, one after the other.
void guest_spaces() {
    if (!at_el2()) {
        skip("tags.guest/one_after_the_other", "kernel at EL1");
        return;
    }
    bool good = true;
    for (unsigned i = 0; i < kMany && good; ++i) {
        Scratch scratch;
        const Guest guest(scratch);
        guest.ram(kPage - 8) = i;
        guest.enter_at(guest_loads);
        guest.page().x[1] = Guest::kRam + kPage - 8;
        good = guest.hvc(1) && guest.page().x[2] == i;
    }
    check("tags.guest/one_after_the_other", good);
}

}  // namespace

void test_tags() {
    many_at_once();
    in_use();
    guests();
    guest_spaces();
}

}  // namespace twain::test
