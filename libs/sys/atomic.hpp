// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Atomic access to plain variables of any small type, enumerations too: the builtins whose names end in _n take only
// integers and pointers from some compilers. (std::atomic_ref would do, but <atomic> wants threads of its own.)
#pragma once

namespace twain::sys {

template <int kOrder, typename T>
T atomic_load(const T& from) {
    T value;
    __atomic_load(&from, &value, kOrder);
    return value;
}

template <int kOrder, typename T>
void atomic_store(T& to, T value) {
    __atomic_store(&to, &value, kOrder);
}

// Sets `at` to `desired` if it is `expected`; else `expected` is what it is.
template <int kOrder, int kFailureOrder, typename T>
bool atomic_replace(T& at, T& expected, T desired) {
    return __atomic_compare_exchange(&at, &expected, &desired, false, kOrder, kFailureOrder);
}

}  // namespace twain::sys
