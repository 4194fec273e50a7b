// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Bare-metal program with known instruction counts for the counter's own test: in series 3 ten intervals of
// 202 instructions of the "kernel" and 5 of the "user" range, in series 0 one empty one.
    .global _start
_start:
    hint    #64
    hint    #65
    hint    #69                     // series 3
    mov     x1, #10
again:
    hint    #64
    bl      user_part
    mov     x0, #100
1:  subs    x0, x0, #1
    b.ne    1b
    hint    #65
    subs    x1, x1, #1
    b.ne    again
    mov     w0, #0x18               // semihosting: SYS_EXIT
    adr     x1, exit_block
    hlt     #0xf000
exit_block:
    .quad   0x20026, 0              // ADP_Stopped_ApplicationExit, status
    .balign 0x1000
user_part:
    nop
    nop
    nop
    nop
    ret
    .balign 0x1000
