// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// memset, memcpy, memmove: picolibc's are built for size and go byte by byte, which makes init zero a guest's
// memory in seconds instead of milliseconds. General registers only: no caller's FP state becomes live.
// AAPCS64; overlapping unaligned accesses finish what the loops leave.

// void* memset(void* to = x0, int value = w1, size_t bytes = x2)
    .section .text.memset, "ax"
    .global memset
    .type memset, %function
memset:
    mov     x3, x0
    and     x1, x1, #0xff
    orr     x1, x1, x1, lsl #8
    orr     x1, x1, x1, lsl #16
    orr     x1, x1, x1, lsl #32
    cmp     x2, #16
    b.lo    3f
    add     x4, x0, x2              // end
    subs    x2, x2, #256
    b.lo    8f
9:  stp     x1, x1, [x3]
    stp     x1, x1, [x3, #16]
    stp     x1, x1, [x3, #32]
    stp     x1, x1, [x3, #48]
    stp     x1, x1, [x3, #64]
    stp     x1, x1, [x3, #80]
    stp     x1, x1, [x3, #96]
    stp     x1, x1, [x3, #112]
    stp     x1, x1, [x3, #128]
    stp     x1, x1, [x3, #144]
    stp     x1, x1, [x3, #160]
    stp     x1, x1, [x3, #176]
    stp     x1, x1, [x3, #192]
    stp     x1, x1, [x3, #208]
    stp     x1, x1, [x3, #224]
    stp     x1, x1, [x3, #240]
    add     x3, x3, #256
    subs    x2, x2, #256
    b.hs    9b
8:  adds    x2, x2, #256            // 0..255 left
    b.eq    5f
    subs    x2, x2, #64
    b.lo    2f
1:  stp     x1, x1, [x3]
    stp     x1, x1, [x3, #16]
    stp     x1, x1, [x3, #32]
    stp     x1, x1, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hs    1b
2:  adds    x2, x2, #64             // 0..63 left; the last 16 may overlap what is done
    b.eq    5f
6:  cmp     x2, #16
    b.ls    7f
    stp     x1, x1, [x3], #16
    sub     x2, x2, #16
    b       6b
7:  stp     x1, x1, [x4, #-16]
    ret
3:  cbz     x2, 5f
4:  strb    w1, [x3], #1
    subs    x2, x2, #1
    b.ne    4b
5:  ret
    .size memset, . - memset

// void* memcpy(void* to = x0, const void* from = x1, size_t bytes = x2)
    .section .text.memcpy, "ax"
    .global memcpy
    .type memcpy, %function
memcpy:
    mov     x3, x0
forwards:
    subs    x2, x2, #64
    b.lo    2f
1:  ldp     x4, x5, [x1]
    ldp     x6, x7, [x1, #16]
    ldp     x8, x9, [x1, #32]
    ldp     x10, x11, [x1, #48]
    add     x1, x1, #64
    stp     x4, x5, [x3]
    stp     x6, x7, [x3, #16]
    stp     x8, x9, [x3, #32]
    stp     x10, x11, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hs    1b
2:  add     x2, x2, #64
3:  subs    x2, x2, #8
    b.lo    4f
    ldr     x4, [x1], #8
    str     x4, [x3], #8
    b       3b
4:  adds    x2, x2, #8
    b.eq    6f
5:  ldrb    w4, [x1], #1
    strb    w4, [x3], #1
    subs    x2, x2, #1
    b.ne    5b
6:  ret
    .size memcpy, . - memcpy

// void* memmove(void* to = x0, const void* from = x1, size_t bytes = x2): in the same section, so that it can
// go on in memcpy where the target does not begin inside the source.
    .global memmove
    .type memmove, %function
memmove:
    mov     x3, x0
    sub     x4, x0, x1
    cmp     x4, x2
    b.hs    forwards
    add     x1, x1, x2
    add     x3, x3, x2
1:  subs    x2, x2, #16
    b.lo    2f
    ldp     x4, x5, [x1, #-16]!
    stp     x4, x5, [x3, #-16]!
    b       1b
2:  adds    x2, x2, #16
    b.eq    4f
3:  ldrb    w4, [x1, #-1]!
    strb    w4, [x3, #-1]!
    subs    x2, x2, #1
    b.ne    3b
4:  ret
    .size memmove, . - memmove
    .section .note.GNU-stack, "", %progbits
