// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Character classes in place of glibc's; see c++locale.h. Programs use <cctype>.
#pragma GCC system_header
namespace std {
struct ctype_base {
    using __to_type = const int*;
    using mask = unsigned short;
    static const mask upper = 1, lower = 2, alpha = 4, digit = 8, xdigit = 16, space = 32, print = 64, cntrl = 128,
                      punct = 256, blank = 512, alnum = alpha | digit, graph = alnum | punct;
};
}  // namespace std
