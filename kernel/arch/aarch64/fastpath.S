// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// call and reply_wait between two threads of one core, when nothing else is going on. The same as the beginning of
// sys_call() and sys_reply_wait() in core/ipc.cpp, which do it when anything is: each of the two routines only
// reads until its commit point, and goes to slow_syscall before it with nothing changed.
//
// The message stays where it is, in x2..x7. x8..x18 are free (a system call destroys them), x28..x30 are stored.
#include "regime.inc"
#include "offsets.inc"

// x0 = slot -> x10 = endpoint, x11 = badge. The head is read twice: a badge between two equal heads belongs to it.
.macro look_up right
    ldr     x9, [sp, #THREAD_CSPACE - THREAD_FRAME]
    cmp     x0, #CSPACE_SLOTS
    b.hs    slow_syscall
    lsr     x10, x0, #7
    add     x9, x9, x10, lsl #3
    ldr     x9, [x9, #CSPACE_LEAVES]
    and     x10, x0, #127
    cbz     x9, slow_syscall
    add     x9, x9, x10, lsl #5
    ldar    x10, [x9]
    add     x12, x9, #8
    ldar    x11, [x12]
    ldr     x12, [x9]
    cmp     x10, x12
    b.ne    slow_syscall
    lsr     x12, x10, #56
    cmp     x12, #TYPE_ENDPOINT
    b.ne    slow_syscall
    tbz     x10, #\right, slow_syscall
    tbnz    x1, #TAG_CAP, slow_syscall
    pointer x10
.endm

// x8 = Cpu. The endpoint is at home here and its queue holds receivers, or nobody.
.macro check_home
    ldr     x12, [x10, #ENDPOINT_HOME]
    ldr     x13, [x8, #CPU_LOCAL]
    cmp     x12, x13
    b.ne    slow_syscall
.endm

// x14 = thread to switch to -> x15 = its space, x17 = translation base of that, whose tag is not stale.
.macro check_space
    ldr     x15, [x14, #THREAD_SPACE]
    ldp     x17, x12, [x15, #SPACE_TAG]
    ldr     x13, [x8, #CPU_GENERATION]
    cmp     x12, x13
    b.ne    slow_syscall
.endm

    .section .text.vectors, "ax"
    .balign 64
    .global fast_call
fast_call:
    look_up RIGHT_CALL
    mrs     x8, CPU_ELx
    check_home
    ldr     x14, [x10, #ENDPOINT_QUEUE]     // link of the first receiver
    add     x12, x10, #ENDPOINT_QUEUE
    cmp     x14, x12
    b.eq    slow_syscall
    sub     x14, x14, #THREAD_LINK
    ldp     x12, x13, [x8, #CPU_HAZARD]
    ldrh    w16, [x14, #THREAD_TIMER_RANK]  // it waits with a deadline
    orr     x12, x12, x13
    orr     x12, x12, x16
    cbnz    x12, slow_syscall
    check_space

    ldp     x12, x13, [x14, #THREAD_LINK]   // commit: take it out of the queue
    sub     x16, sp, #THREAD_FRAME
    stp     xzr, xzr, [x14, #THREAD_LINK]
    str     x12, [x13]
    str     x13, [x12, #8]
    ldr     x12, [x16, #THREAD_ACTIVE]      // lend it our time
    stp     xzr, x12, [x16, #THREAD_ACTIVE]
    str     x12, [x14, #THREAD_ACTIVE]
    str     x14, [x12, #SCHED_USER]
    stp     x16, xzr, [x14, #THREAD_CALLER]
    str     x14, [x16, #THREAD_SERVER]
    mov     w12, #STATE_CALLING
    mov     w13, #STATE_READY
    strb    w12, [x16, #THREAD_STATE]
    strb    w13, [x14, #THREAD_STATE]
    mov     x0, x11
    mov     w1, w1

// x8 = Cpu, x16 = from, x14 = to, x15 = its space, x17 = its translation base; x0..x7 as the receiver finds them.
fast_switch:
    str     x19, [sp, #152]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    mrs     x20, sp_el0
    mrs     x21, ELR_ELx
    mrs     x22, SPSR_ELx
    mrs     x23, tpidr_el0
    ldr     x12, [x16, #THREAD_SPACE]
    ldr     x24, [x14, #THREAD_SPACE + 8]
    str     x20, [sp, #FRAME_SP]
    stp     x21, x22, [sp, #FRAME_PC]
    str     x23, [x16, #THREAD_SPACE + 8]
    msr     tpidr_el0, x24
    cmp     x12, x15
    b.eq    1f
    str     x17, [x8, #CPU_TRANSLATION]
    user_table x17, x9, x10
1:  add     x13, x14, #THREAD_FRAME
    str     x14, [x8, #CPU_CURRENT]
    str     x13, [x8, #CPU_FRAME]
    mov     sp, x13
    ldr     x20, [x13, #FRAME_SP]
    ldp     x21, x22, [x13, #FRAME_PC]
    msr     sp_el0, x20
    msr     ELR_ELx, x21
    msr     SPSR_ELx, x22
    ldp     x8, x9, [sp, #64]               // its own, whatever they were: nothing of the sender's is left
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    eret
    dsb     nsh
    isb

    .global fast_reply_wait
fast_reply_wait:
    look_up RIGHT_RECEIVE
    mrs     x8, CPU_ELx
    check_home
    sub     x16, sp, #THREAD_FRAME
    ldr     x14, [x16, #THREAD_CALLER]
    ldp     x12, x13, [x8, #CPU_HAZARD]
    cbz     x14, slow_syscall
    orr     x12, x12, x13
    ldr     w13, [x14, #THREAD_FAULT]       // a fault is answered otherwise
    orr     x12, x12, x13
    ldr     x13, [x16, #THREAD_NOTE]        // a signal may have come
    orr     x12, x12, x13
    cbnz    x12, slow_syscall
    ldr     x11, [x16, #THREAD_ACTIVE]      // we run on the caller's time, so it is of this core
    ldr     x13, [x14, #THREAD_ACTIVE + 8]
    cmp     x11, x13
    b.ne    slow_syscall
    check_space

    add     x12, x10, #ENDPOINT_QUEUE       // commit: to the end of the queue
    ldr     x13, [x12, #8]
    add     x18, x16, #THREAD_LINK
    stp     x12, x13, [x18]
    str     x18, [x13]
    str     x18, [x12, #8]
    ldr     x12, [x16, #THREAD_SCHED]
    str     x12, [x16, #THREAD_ACTIVE]
    stp     xzr, x10, [x16, #THREAD_CALLER]
    stp     x11, xzr, [x14, #THREAD_ACTIVE] // the caller has its time back
    str     x14, [x11, #SCHED_USER]
    str     xzr, [x14, #THREAD_SERVER]
    mov     w12, #STATE_RECEIVING
    mov     w13, #STATE_READY
    strb    w12, [x16, #THREAD_STATE]
    strb    w13, [x14, #THREAD_STATE]
    mov     x0, #0
    mov     w1, w1
    b       fast_switch
