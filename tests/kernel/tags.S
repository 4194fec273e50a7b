// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A program for an address space of its own. x0 = address of a word to read, x1 = of two to write: what was read, and
// how often. Position independent; copied to where it runs.
    .section .rodata
    .balign 16
    .global tags_reader, tags_reader_end
tags_reader:
    ldr     x2, [x0]
    str     x2, [x1]
    ldr     x3, [x1, #8]
    add     x3, x3, #1
    str     x3, [x1, #8]
    yield                       // an emulator that runs one core at a time goes on to the next
    b       tags_reader
tags_reader_end:
