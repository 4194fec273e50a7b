// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The other side of each measurement: position-independent code that main.cpp copies into a process of its own.
// Markers: see tools/bench/counter.c.
    .section .rodata.partners, "a"
    .balign 8

    .global bench_partners_begin, bench_partners_end
bench_partners_begin:

// Server: x0 = endpoint. Answers each message with itself.
    .global bench_server
bench_server:
    mov     x19, x0
    mov     x1, xzr
1:  mov     x0, x19
    svc     #1                      // reply_wait
    b       1b

// Sleeper: x0 = notification. An interval that the signaller began ends when this thread runs.
    .global bench_sleeper
bench_sleeper:
    mov     x19, x0
1:  mov     x0, x19
    mov     x1, #-1                 // no deadline
    svc     #2                      // wait
    hint    #65
    b       1b

// Echo: x0 = notification to wait for, x1 = notification to signal.
    .global bench_echo
bench_echo:
    mov     x19, x0
    mov     x20, x1
1:  mov     x0, x19
    mov     x1, #-1
    svc     #2                      // wait
    mov     x0, x20
    svc     #3                      // signal
    b       1b

// Faulter: loads from where nothing is, for ever.
    .global bench_faulter
bench_faulter:
    mov     x1, #0x7000
1:  ldr     x0, [x1]
    b       1b

bench_partners_end:
    .section .note.GNU-stack, "", %progbits
