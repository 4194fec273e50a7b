// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// libstdc++ as configured for Linux, on top of picolibc: no POSIX threads, no futex. Header files only; what is
// linked of libstdc++ (the red-black tree, hashing) depends on neither.
#pragma GCC system_header
#include_next <bits/c++config.h>
#undef _GLIBCXX_HAS_GTHREADS
#undef _GLIBCXX_HAVE_LINUX_FUTEX
