// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exception vectors of a guest of ours: faults that are expected and interrupts are taken by support.cpp.
    .section .text.vectors, "ax"
    .global vectors
    .balign 2048
vectors:
    .rept 4
    .balign 128
    b bad_vector
    .endr
    .balign 128
    b synchronous
    .balign 128
    b interrupt
    .rept 10
    .balign 128
    b bad_vector
    .endr

    .macro save_all
    sub sp, sp, #272
    stp x0, x1, [sp, #0]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x29, [sp, #144]
    mrs x0, elr_el1
    mrs x1, spsr_el1
    stp x30, x0, [sp, #160]
    str x1, [sp, #176]
    .endm
    .macro restore_all
    ldp x30, x0, [sp, #160]
    ldr x1, [sp, #176]
    msr elr_el1, x0
    msr spsr_el1, x1
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
    ldp x18, x29, [sp, #144]
    ldp x0, x1, [sp, #0]
    add sp, sp, #272
    eret
    .endm

synchronous:
    save_all
    mrs x0, esr_el1
    mrs x1, far_el1
    ldp x3, x2, [sp, #160]          // x30, ELR
    bl take_fault                   // -> where to go on
    str x0, [sp, #168]
    restore_all
interrupt:
    save_all
    bl take_interrupt
    restore_all
bad_vector:
    mrs x0, esr_el1
    mrs x1, far_el1
    mrs x2, elr_el1
    b take_bad
