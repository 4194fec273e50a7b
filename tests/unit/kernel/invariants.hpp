// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What must hold between any two entries into the kernel, whatever was called before, and a picture of all of its state
// that does not depend on where things lie in memory. For unit tests, searches and the fuzzer alike.
#pragma once

#include <map>
#include <stdexcept>
#include <vector>

#include "kernel/core/guest.hpp"
#include "kernel/core/irq.hpp"
#include "machine.hpp"

namespace twain::kernel::test {

struct Broken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Throws Broken unless `holds`.
void require(bool holds, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE());

// All capabilities, in the order of the derivation tree, and all objects, in the order of their first capabilities. Found
// from the first of the boot capabilities alone. Throws if the tree is not well formed.
class Census {
public:
    struct Entry {
        Slot* slot;
        const Entry* parent;   // in the tree
        const Object* inside;  // the capability space or the object that holds it
        u64 index;             // which of its slots
    };

    explicit Census(CSpace& root);

    std::vector<Entry> slots;
    std::vector<Object*> objects;

    template <typename T>
    std::vector<T*> all() const {
        std::vector<T*> found;
        for (Object* object : objects) {
            if (object->type == T::kType) found.push_back(static_cast<T*>(object));
        }
        return found;
    }
    bool alive(const void* object) const { return numbers_.contains(object); }
    // A name for an object that is the same in two states that differ in addresses only; 0: nullptr.
    u64 number(const void* object) const;
    const Entry* entry(const Slot& slot) const;

private:
    void walk(Slot& first);
    void place(const Object& object, Slot& slot, u64 index);
    void name(CSpace& root);

    std::map<const Slot*, std::size_t> known_;
    std::map<const void*, u64> numbers_;
};

void check_capabilities(const Census& census);
void check_memory(const Census& census);   // every block of every pool belongs to something
void check_threads(const Census& census);  // queues, links, donated time
void check_all(const Census& census);
void check_all(CSpace& root);

// What a picture leaves out.
struct Omit {
    const Thread* result_of = nullptr;  // its x0..x7 and pc: what a system call may change even if it fails
    bool registers = false;             // of all threads
    bool time = false;                  // budgets used and deadlines, but not whether they are armed or exhausted
};
std::vector<u64> picture(const Census& census, Omit omit = {});

}  // namespace twain::kernel::test
