// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// mmap, mprotect, munmap, mremap, madvise against a model of what each page must be; copy on write; huge pages.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "check.hpp"

namespace check {
namespace {

constexpr std::size_t kHuge = 2u << 20;

volatile char* map(std::size_t bytes, int protection = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
                   int fd = -1) {
    return static_cast<volatile char*>(need_map(mmap(nullptr, bytes, protection, flags, fd, 0), "mmap"));
}

void unmap(volatile char* at, std::size_t bytes) { need(munmap(const_cast<char*>(at), bytes), "munmap"); }

void protect(volatile char* at, std::size_t bytes, int protection) {
    need(mprotect(const_cast<char*>(at), bytes, protection), "mprotect");
}

// Random operations on a window of pages; after each, a random page must be what the model says.
class Model {
public:
    static constexpr unsigned kPages = 96;

    explicit Model(std::uint32_t seed) : numbers_(seed), window_(map(kPages * kPage, PROT_NONE)) {}
    ~Model() { unmap(window_, kPages * kPage); }

    int run(unsigned steps) {
        int wrong = 0;
        for (unsigned i = 0; i < steps; ++i) {
            change();
            for (unsigned look = 0; look < 4; ++look) {
                wrong += as_expected(numbers_.below(kPages)) ? 0 : 1;
            }
        }
        for (unsigned n = 0; n < kPages; ++n) {
            wrong += as_expected(n) ? 0 : 1;
        }
        return wrong;
    }

private:
    enum class Access : std::uint8_t { gone, none, read, write };
    struct Page {
        Access access = Access::none;
        char value = 0;
    };

    char* at(unsigned n) const { return const_cast<char*>(window_) + n * kPage; }

    void change() {
        const unsigned first = numbers_.below(kPages),
                       count = 1 + numbers_.below(kPages - first < 24 ? kPages - first : 24);
        switch (numbers_.below(8)) {
            case 0:
                unmap(at(first), count * kPage);
                set(first, count, Access::gone, 0);
                break;
            case 1:
            case 2: {
                const bool read_only = numbers_.below(4) == 0;
                need_map(mmap(at(first), count * kPage, read_only ? PROT_READ : PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                         "mmap");
                set(first, count, read_only ? Access::read : Access::write, 0);
                break;
            }
            case 3:
            case 4: {
                const Access to = static_cast<Access>(1 + numbers_.below(3));
                const int protection = to == Access::none   ? PROT_NONE
                                       : to == Access::read ? PROT_READ
                                                            : PROT_READ | PROT_WRITE;
                for (unsigned n = first; n < first + count; ++n) {
                    if (pages_[n].access != Access::gone) {
                        protect(at(n), kPage, protection);
                        pages_[n].access = to;
                    }
                }
                break;
            }
            case 5:
                for (unsigned n = first; n < first + count; ++n) {
                    if (pages_[n].access != Access::gone) {
                        need(madvise(at(n), kPage, MADV_DONTNEED), "madvise");
                        pages_[n].value = 0;
                    }
                }
                break;
            default:
                for (unsigned n = first; n < first + count; ++n) {
                    if (pages_[n].access == Access::write) {
                        pages_[n].value = static_cast<char>(numbers_.below(127) + 1);
                        *const_cast<volatile char*>(at(n) + numbers_.below(kPage) / 2) = 0;
                        at(n)[kPage - 1] = pages_[n].value;
                    }
                }
        }
    }
    void set(unsigned first, unsigned count, Access access, char value) {
        for (unsigned n = first; n < first + count; ++n) {
            pages_[n] = {access, value};
        }
    }
    bool as_expected(unsigned n) {
        volatile char* last = at(n) + kPage - 1;
        char seen = 0;
        const Raised on_read = signal_of([&] { seen = *last; });
        const Raised on_write = signal_of([&] { *last = pages_[n].value; });
        switch (pages_[n].access) {
            case Access::gone: return on_read.code == SEGV_MAPERR && on_write.code == SEGV_MAPERR;
            case Access::none: return on_read.code == SEGV_ACCERR && on_write.code == SEGV_ACCERR;
            case Access::read: return on_read.signal == 0 && seen == pages_[n].value && on_write.code == SEGV_ACCERR;
            case Access::write: return on_read.signal == 0 && seen == pages_[n].value && on_write.signal == 0;
        }
        return false;
    }

    Numbers numbers_;
    volatile char* window_;
    std::array<Page, kPages> pages_{};
};

bool filled(const volatile char* at, std::size_t bytes, char with, std::size_t step = kPage) {
    for (std::size_t i = 0; i < bytes; i += step) {
        if (at[i] != with) {
            return false;
        }
    }
    return true;
}

void fill(volatile char* at, std::size_t bytes, char with) { std::memset(const_cast<char*>(at), with, bytes); }

[[gnu::noinline]] int deep(int levels) {
    volatile char frame[2000];
    frame[0] = 1;
    return levels == 0 ? 0 : deep(levels - 1) + (frame[0] != 0 ? 1 : 0);
}

void files() {
    const int fd = static_cast<int>(need(open("/tmp/map", O_RDWR | O_CREAT | O_TRUNC, 0600), "/tmp/map"));
    need(ftruncate(fd, 16 * kPage), "ftruncate");
    volatile char* one = map(16 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    volatile char* two = map(16 * kPage, PROT_READ, MAP_SHARED, fd);
    volatile char* own = map(16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    fill(one, 16 * kPage, 'a');
    ok("two mappings of a file agree", filled(two, 16 * kPage, 'a'));
    own[0] = 'p';
    char byte = 0;
    ok("a private one keeps its own", pread(fd, &byte, 1, 0) == 1 && byte == 'a' && own[0] == 'p' && own[kPage] == 'a',
       byte);
    need(pwrite(fd, "z", 1, 3 * kPage), "pwrite");
    ok("write(2) is seen in the mappings", one[3 * kPage] == 'z' && two[3 * kPage] == 'z' && own[3 * kPage] == 'z',
       one[3 * kPage]);
    ok("and what a child writes",
       reap(child([&] {
           one[5 * kPage] = 'c';
           return 0;
       })) == 0 &&
           two[5 * kPage] == 'c',
       two[5 * kPage]);
    need(ftruncate(fd, kPage), "ftruncate");
    ok("what is cut off is gone", signal_of([&] { (void)two[kPage]; }).signal == SIGBUS);
    close(fd);
}

}  // namespace

void memory() {
    for (const std::uint32_t seed : {1u, 2u, 3u, 4u}) {
        const int wrong = Model(seed).run(400);
        ok("random mmap, mprotect, munmap against a model", wrong == 0, wrong);
    }
    volatile char* a = map(64 * kPage);
    fill(a, 64 * kPage, 'm');
    auto* moved = static_cast<volatile char*>(
        need_map(mremap(const_cast<char*>(a), 64 * kPage, 256 * kPage, MREMAP_MAYMOVE), "mremap"));
    ok("mremap moves and grows", filled(moved, 64 * kPage, 'm') && filled(moved + 64 * kPage, 192 * kPage, 0));
    volatile char* target = map(256 * kPage);
    need_map(mremap(const_cast<char*>(moved), 256 * kPage, 256 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                    const_cast<char*>(target)),
             "mremap");
    ok("what was moved away is gone",
       filled(target, 64 * kPage, 'm') && signal_of([&] { (void)moved[0]; }).code == SEGV_MAPERR);
    unmap(target, 256 * kPage);
    volatile char* sparse =
        map(std::size_t{64} << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    for (std::size_t i = 0; i < 64; ++i) {
        sparse[i << 30] = static_cast<char>(i + 1);
    }
    int wrong = 0;
    for (std::size_t i = 0; i < 64; ++i) {
        wrong += sparse[i << 30] == static_cast<char>(i + 1) && sparse[(i << 30) + kHuge] == 0 ? 0 : 1;
    }
    ok("a page in each of 64 gigabytes", wrong == 0, wrong);
    unmap(sparse, std::size_t{64} << 30);
    volatile char* again = map(1024 * kPage);
    for (int round = 0; round < 8; ++round) {
        fill(again, 1024 * kPage, static_cast<char>('0' + round));
        wrong += filled(again, 1024 * kPage, static_cast<char>('0' + round)) ? 0 : 1;
        need(madvise(const_cast<char*>(again), 1024 * kPage, MADV_DONTNEED), "madvise");
        wrong += filled(again, 1024 * kPage, 0) ? 0 : 1;
    }
    ok("thrown away and touched again", wrong == 0, wrong);
    unmap(again, 1024 * kPage);
    ok("a stack that grows", deep(2000) == 2000);
    files();
}

void copy_on_write() {
    constexpr std::size_t kBytes = 256 * kPage;
    volatile char* data = map(kBytes);
    fill(data, kBytes, 'o');
    ok("a child changes, the parent keeps", reap(child([&] {
                                                fill(data, kBytes, 'c');
                                                return filled(data, kBytes, 'c') ? 0 : 1;
                                            })) == 0 &&
                                                filled(data, kBytes, 'o'));
    int pipes[2];
    need(pipe(pipes), "pipe");
    const pid_t waits = child([&] {
        char byte = 0;
        return read(pipes[0], &byte, 1) == 1 && filled(data, kBytes, 'o') ? 0 : 1;
    });
    fill(data, kBytes, 'p');
    need(write(pipes[1], "", 1), "write");
    ok("a parent changes, the child keeps", reap(waits) == 0 && filled(data, kBytes, 'p'));
    // Generations: each changes one page and forks the next, which must see all changes and no others.
    struct Generation {
        static int run(volatile char* at, int n) {
            if (n == 20) {
                for (int i = 0; i < 20; ++i) {
                    if (at[static_cast<std::size_t>(i) * kPage] != static_cast<char>('A' + i)) {
                        return 1;
                    }
                }
                return 0;
            }
            at[static_cast<std::size_t>(n) * kPage] = static_cast<char>('A' + n);
            const pid_t next = child([&] { return run(at, n + 1); });
            const int below = reap(next);
            return below != 0 || at[static_cast<std::size_t>(n + 1) * kPage] != 'p' ? 1 : 0;
        }
    };
    ok("20 generations", Generation::run(data, 0) == 0);
    ok("the kernel writes to a shared page",
       reap(child([&] {
           need(write(pipes[1], "k", 1), "write");
           return read(pipes[0], const_cast<char*>(data + 100 * kPage), 1) == 1 && data[100 * kPage] == 'k' ? 0 : 1;
       })) == 0 &&
           data[100 * kPage] == 'p',
       data[100 * kPage]);
    const std::size_t zero_bytes = 64 * kPage;
    volatile char* zeros = map(zero_bytes);
    const bool was_zero = filled(zeros, zero_bytes, 0);
    zeros[7 * kPage] = 1;
    ok("of the page of zeros one copy",
       was_zero && filled(zeros, 7 * kPage, 0) && filled(zeros + 8 * kPage, 56 * kPage, 0));
}

void huge_pages() {
    (void)write_text("/sys/kernel/mm/transparent_hugepage/enabled", "always");
    constexpr std::size_t kBytes = 8 * kHuge;
    volatile char* room = map(kBytes + kHuge);
    auto* data = reinterpret_cast<volatile char*>((reinterpret_cast<std::uintptr_t>(room) + kHuge - 1) & ~(kHuge - 1));
    need(madvise(const_cast<char*>(data), kBytes, MADV_HUGEPAGE), "madvise");
    fill(data, kBytes, 'h');
    ok("transparent huge pages are used", number_in("/proc/self/smaps", "AnonHugePages:") >= 2048);
    ok("and hold what was written", filled(data, kBytes, 'h', 512));
    protect(data + kPage, kPage, PROT_READ);
    ok("one page of it read-only", signal_of([&] { data[kPage] = 1; }).code == SEGV_ACCERR &&
                                       signal_of([&] { data[0] = 'h'; }).signal == 0 && filled(data, kHuge, 'h'));
    protect(data + kPage, kPage, PROT_READ | PROT_WRITE);
    unmap(data + 3 * kHuge + 5 * kPage, 3 * kPage);
    ok("three pages of it unmapped", signal_of([&] { (void)data[3 * kHuge + 6 * kPage]; }).code == SEGV_MAPERR &&
                                         data[3 * kHuge + 4 * kPage] == 'h' && data[3 * kHuge + 8 * kPage] == 'h');
    need(madvise(const_cast<char*>(data + 4 * kHuge + kPage), kPage, MADV_DONTNEED), "madvise");
    ok("one page of it thrown away",
       data[4 * kHuge + kPage] == 0 && data[4 * kHuge] == 'h' && data[4 * kHuge + 2 * kPage] == 'h');
    ok("a child's copy of it", reap(child([&] {
                                   data[5 * kHuge + 9 * kPage] = 'c';
                                   return data[5 * kHuge] == 'h' && data[5 * kHuge + 10 * kPage] == 'h' ? 0 : 1;
                               })) == 0 &&
                                   filled(data + 5 * kHuge, kHuge, 'h'));
    unmap(room, kBytes + kHuge);
    (void)write_text("/proc/sys/vm/nr_hugepages", "4");
    void* reserved = mmap(nullptr, 2 * kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    ok("reserved huge pages", reserved != MAP_FAILED);
    if (reserved != MAP_FAILED) {
        auto* r = static_cast<volatile char*>(reserved);
        fill(r, 2 * kHuge, 'r');
        ok("and a child's copy", reap(child([&] {
                                     r[kHuge] = 'x';
                                     return r[0] == 'r' && r[kHuge + kPage] == 'r' ? 0 : 1;
                                 })) == 0 &&
                                     filled(r, 2 * kHuge, 'r'));
        need(munmap(reserved, 2 * kHuge), "munmap");
    }
    (void)write_text("/proc/sys/vm/nr_hugepages", "0");
}

}  // namespace check
