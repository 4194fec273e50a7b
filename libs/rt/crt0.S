// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Entry of every program. In: x0 = address of the environment page (root task: of the boot information),
// SP = top of the stack, all memory loaded and zeroed. The rest of the work is start.cpp's.
    .section .text._start, "ax"
    .global _start
    .type _start, %function
_start:
    mov x29, xzr
    mov x30, xzr
    bl twain_rt_start
    udf #0
    .size _start, . - _start

// Entry for further threads of a process (rt/thread.hpp): x0 = ThreadStart.
    .section .text.twain_rt_thread_entry, "ax"
    .global twain_rt_thread_entry
    .type twain_rt_thread_entry, %function
twain_rt_thread_entry:
    mov x29, xzr
    mov x30, xzr
    bl twain_rt_thread_start
    udf #0
    .size twain_rt_thread_entry, . - twain_rt_thread_entry
    .section .note.GNU-stack, "", %progbits
