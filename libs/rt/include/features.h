// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What libstdc++'s os_defines.h wants of glibc: picolibc is no version of it.
#pragma GCC system_header
#define __GLIBC_PREREQ(major, minor) 0
#include <sys/features.h>
