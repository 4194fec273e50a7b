// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The kernel's portable core under libFuzzer: the input is a game (tests/unit/kernel/play.hpp). What breaks is written as
// a file that tests/fuzz/corpus/kernel takes as it is: the unit tests play all of them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "invariants.hpp"
#include "play.hpp"

using namespace twain::kernel;
using namespace twain::kernel::test;

namespace {

constexpr std::size_t kEntries = 64;  // enough for every known hard case; more makes each input slower
Game played;
Player& player() {
    static Player one;
    return one;
}

void count() {
    std::fprintf(stderr, "played %llu calls, %llu refused\n", static_cast<unsigned long long>(played.calls),
                 static_cast<unsigned long long>(played.refused));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    std::atexit(count);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    try {
        player().play({data, std::min(size, kEntries * kEntryBytes)}, played);
    } catch (const Broken& broken) {
        std::fprintf(stderr, "broken: %s\n%s", broken.what(), notation({data, size}).c_str());
        std::abort();
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(u8* data, std::size_t size, std::size_t limit);

// Every fourth time a whole entry that makes sense is put in; bytes alone seldom make one.
extern "C" std::size_t LLVMFuzzerCustomMutator(u8* data, std::size_t size, std::size_t limit, unsigned seed) {
    size -= size % kEntryBytes;
    if (seed % 4 == 0 || size < kEntryBytes) {
        const std::vector<u8> entry = random_game(seed, 1);
        const std::size_t at = size ? seed / 4 % (size / kEntryBytes + 1) * kEntryBytes : 0;
        if (size + kEntryBytes <= limit) {
            std::memmove(data + at + kEntryBytes, data + at, size - at);
            std::copy(entry.begin(), entry.end(), data + at);
            return size + kEntryBytes;
        }
    }
    if (seed % 4 == 1 && size > kEntryBytes) {  // one entry less
        const std::size_t at = seed / 4 % (size / kEntryBytes) * kEntryBytes;
        std::memmove(data + at, data + at + kEntryBytes, size - at - kEntryBytes);
        return size - kEntryBytes;
    }
    return LLVMFuzzerMutate(data, size, limit);
}
