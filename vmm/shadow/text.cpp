// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
#include "vmm/shadow/text.hpp"

#include "vmm/shadow/stub.hpp"

namespace twain::vmm {
namespace {

constexpr unsigned kWords = 1024, kLineWords = 16;
constexpr std::uint64_t kVectorBytes = 2048;

bool reaches(std::uint64_t from, std::uint64_t to) {
    constexpr std::uint64_t kSure = kBranchReach - (std::uint64_t{2} << 20);
    return from - to < kSure || to - from < kSure;
}

}  // namespace

void TextCopies::put(std::size_t index, std::uint32_t word) {
    __atomic_store_n(&to_[index], word, __ATOMIC_RELAXED);
    Words& written = written_[index < kPages * kWords ? 0 : 1];
    written.first = index < written.first ? index : written.first;
    written.end = index >= written.end ? index + 1 : written.end;
}

std::array<TextCopies::Written, 2> TextCopies::take_written() {
    std::array<Written, 2> taken;
    for (std::size_t i = 0; i < taken.size(); ++i) {
        if (const Words w = written_[i]; w.end != 0) {
            taken[i] = {to_ + w.first, (w.end - w.first) * 4};
        }
    }
    written_ = {};
    return taken;
}

// ---- islands

bool TextCopies::avoided(std::uint64_t at) const {
    for (unsigned i = 0; i < avoided_count_ && i < avoided_.size(); ++i) {
        if (avoided_[i] == at) {
            return true;
        }
    }
    return false;
}

void TextCopies::avoid(Gva at) { avoided_[avoided_count_++ % avoided_.size()] = at.value & ~(kIslandSpan - 1); }

// 2 MiB that the guest's tables leave out, below the text if possible: a kernel's modules grow upwards.
std::uint64_t TextCopies::find_hole(const abi::El1State& el1, std::uint64_t at) const {
    const std::uint64_t middle = at & ~(kIslandSpan - 1);
    for (unsigned n = 1; n < 120; ++n) {
        const std::uint64_t distance = (n % 60 + 1) * kIslandSpan;
        const std::uint64_t candidate = n < 60 ? middle - distance : middle + distance;
        const Translation t = translate(el1, memory_, {candidate});
        const bool unmapped = (t.fault & ~3u) == kFaultTranslation && (t.fault & 3u) <= 2;
        if (unmapped && candidate >> 47 == 0x1'ffff && !avoided(candidate)) {
            return candidate;
        }
    }
    return 0;
}

unsigned TextCopies::island_for(const abi::El1State& el1, std::uint64_t at) {
    for (unsigned i = 0; i < islands_; ++i) {
        if (island_[i].used + kStubWords <= kIslandWords && reaches(at, island_[i].at)) {
            return i;
        }
    }
    const std::uint64_t hole = islands_ < kIslands ? find_hole(el1, at) : 0;
    for (unsigned i = 0; i < islands_; ++i) {
        if (island_[i].at == hole) {
            return kNone;
        }
    }
    if (hole == 0) {
        return kNone;
    }
    island_[islands_] = {hole, 0};
    return islands_++;
}

std::uint64_t TextCopies::address_of(std::uint32_t index) const {
    const unsigned word = index - kPages * kWords;
    return island_[word / kIslandWords].at + 4 * (word % kIslandWords);
}

bool TextCopies::stubs(Gva at, Ipa& page) const {
    for (unsigned i = 0; i < islands_; ++i) {
        const std::uint64_t offset = at.value - island_[i].at;
        if (offset < std::uint64_t{kIslandPages} * 4096) {
            page = base_ + (std::uint64_t{kPages + i * kIslandPages} * 4096 + (offset & ~std::uint64_t{4095}));
            return true;
        }
    }
    return false;
}

std::uint64_t TextCopies::resume(std::uint64_t pc) const {
    Ipa page;
    if ((pc & 4095) == 0 || !stubs({pc}, page)) {  // a stub's first word is no use, so its page's neither
        return pc;
    }
    const std::size_t index = (page.value - base_.value + (pc & 4095)) / 4;
    return is_pointer(to_[index - 1]) ? pc - 4 : pc;
}

// ---- copies

std::uint32_t TextCopies::rewritten(const abi::El1State& el1, std::uint32_t word, std::uint64_t at) {
    if ((word & 0xff00'0000) != 0xd500'0000 || at == 0 || !has_stub(word, at - el1.vbar_el1 >= kVectorBytes)) {
        return exchanged(word);
    }
    // The same instruction at the same place has the same stub for ever: code that changes to and fro uses up none.
    std::size_t hash = ((at >> 2) * 0x9e37'79b1 >> 6 ^ word) % kSites;
    while (site_[hash].stub != 0 && (site_[hash].at != at || site_[hash].word != word)) {
        hash = (hash + 1) % kSites;
    }
    Site& site = site_[hash];
    if (site.stub == 0) {
        const unsigned i = sites_ < kSites - kSites / 8 ? island_for(el1, at) : kNone;
        if (i == kNone) {
            return exchanged(word);
        }
        Island& island = island_[i];
        if (island.used % kWords + kStubWords > kWords) {  // within one page
            island.used += kWords - island.used % kWords;
        }
        const std::uint32_t first = kPages * kWords + i * kIslandWords + island.used;
        std::array<std::uint32_t, kStubWords> code{};
        const unsigned words = make_stub(word, island.at + 4 * island.used, at, code);
        for (unsigned w = 0; w < words; ++w) {
            put(first + w, code[w]);
        }
        __atomic_thread_fence(__ATOMIC_RELEASE);
        island.used += words;
        ++sites_;
        site = {at, word, first};
    }
    return branch(at, address_of(site.stub));
}

void TextCopies::rewrite(const abi::El1State& el1, unsigned copy, unsigned first, unsigned end) {
    const Copy& c = copies_[copy];
    const char* from = memory_.pointer({c.page << 12}, 4096);
    const auto* words = reinterpret_cast<const std::uint32_t*>(from);
    const std::uint32_t* copies = to_ + std::size_t{copy} * kWords;
    for (unsigned i = first; i < end; ++i) {
        const std::uint32_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
        const std::uint32_t now = may_be_privileged(word) ? rewritten(el1, word, c.at == 0 ? 0 : c.at + 4 * i) : word;
        if (now != copies[i]) {
            put(std::size_t{copy} * kWords + i, now);
        }
    }
}

// Some cores invalidate the whole instruction cache a hundred times while they boot: what has not changed is passed over.
void TextCopies::rewrite_page(const abi::El1State& el1, unsigned copy, bool if_changed) {
    const char* from = memory_.pointer({copies_[copy].page << 12}, 4096);
    const auto* words = reinterpret_cast<const std::uint64_t*>(from);
    std::uint64_t sum = 1;
    for (unsigned i = 0; i < kWords / 2; ++i) {
        sum = (sum ^ __atomic_load_n(&words[i], __ATOMIC_RELAXED)) * 0x9e37'79b9'7f4a'7c15;
    }
    if (!if_changed || sum != copies_[copy].sum) {
        copies_[copy].sum = sum;
        rewrite(el1, copy, 0, kWords);
    }
}

bool TextCopies::get(const abi::El1State& el1, Ipa page, Gva at, bool refresh, Ipa& copy) {
    const Copy wanted{page.value >> 12, bit(at.value, 55) ? at.value & ~std::uint64_t{4095} : 0, 0};
    unsigned slot = slot_of(wanted.page);
    for (; index_[slot] != 0; slot = (slot + 1) % kSlots) {
        const Copy& c = copies_[index_[slot] - 1u];
        if (c.page == wanted.page && c.at == wanted.at) {
            break;
        }
    }
    unsigned n = index_[slot] - 1u;
    if (index_[slot] == 0) {
        if (used_ == kPages) {
            return false;
        }
        n = used_++;
        copies_[n] = wanted;
        index_[slot] = static_cast<std::uint16_t>(n + 1);
        refresh = true;
    }
    if (refresh) {
        rewrite_page(el1, n, false);
    }
    copy = base_ + std::uint64_t{n} * 4096;
    return true;
}

bool TextCopies::update_line(const abi::El1State& el1, Ipa at) {
    bool any = false;
    const unsigned first = static_cast<unsigned>(at.value & 4095) / 4 & ~(kLineWords - 1);
    for (unsigned slot = slot_of(at.value >> 12); index_[slot] != 0; slot = (slot + 1) % kSlots) {
        if (copies_[index_[slot] - 1u].page == at.value >> 12) {
            copies_[index_[slot] - 1u].sum = 0;  // of a page that it may become again
            rewrite(el1, index_[slot] - 1u, first, first + kLineWords);
            any = true;
        }
    }
    return any;
}

void TextCopies::update_all(const abi::El1State& el1) {
    for (unsigned n = 0; n < used_; ++n) {
        rewrite_page(el1, n, true);
    }
}

void TextCopies::forget() {
    used_ = sites_ = islands_ = 0;
    index_.fill(0);
    site_.fill({});
}

}  // namespace twain::vmm
