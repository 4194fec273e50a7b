// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Headers such as <iterator> declare stream iterators, whose base classes name these types. No locale and no
// stream is ever linked.
#pragma GCC system_header
#define _GLIBCXX_NUM_CATEGORIES 0
namespace std {
using __c_locale = int*;
int __convert_from_v(const __c_locale&, char*, int, const char*, ...);
}  // namespace std
