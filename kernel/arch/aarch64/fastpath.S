// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// System calls when nothing else is going on: call and reply_wait between two threads of one core, signal, wait for a
// notification, vcpu_run. The same as the beginnings of their C++ (core/ipc.cpp, core/guest.cpp), which does it when
// anything is: each routine only reads until its commit point, and goes to slow_syscall before it with nothing changed.
//
// The message stays where it is, in x2..x7. x8..x18 are free (a system call destroys them), x28..x30 are stored.
#include "regime.inc"
#include "frame.inc"

// x0 = slot -> x9 = its address, x10 = the object, of the type and with the right.
.macro look_up type, right, otherwise=slow_syscall
    ldr     x9, [sp, #THREAD_CSPACE - THREAD_FRAME]
    cmp     x0, #CSPACE_SLOTS
    b.hs    \otherwise
    lsr     x10, x0, #7
    add     x9, x9, x10, lsl #3
    ldr     x9, [x9, #CSPACE_LEAVES]
    and     x10, x0, #127
    cbz     x9, \otherwise
    add     x9, x9, x10, lsl #5
    ldar    x10, [x9]
    lsr     x12, x10, #56
    cmp     x12, #\type
    b.ne    \otherwise
    tbz     x10, #\right, \otherwise
.endm

// ... -> x11 = badge. The head is read once more: a badge between two equal heads belongs to it.
.macro look_up_badge
    add     x12, x9, #8
    ldar    x11, [x12]
    ldr     x12, [x9]
    cmp     x10, x12
    b.ne    slow_syscall
.endm

// -> x8 = Cpu. The endpoint x10 is at home here and its queue holds receivers, or nobody.
.macro check_home
    mrs     x8, CPU_ELx
    ldr     x12, [x10, #ENDPOINT_HOME]
    ldr     x13, [x8, #CPU_LOCAL]
    cmp     x12, x13
    b.ne    slow_syscall
.endm

// x14 = thread to switch to -> x17 = its translation base, whose tag is not stale, x18 = its thread pointer.
.macro check_space
    ldp     x12, x18, [x14, #THREAD_SPACE]
    ldr     x17, [x12, #SPACE_TAG]
    tbnz    x17, #TAG_STALE, slow_syscall
.endm

// x8 = Cpu, x14 = to, x17 = its translation base, x18 = its thread pointer; x0..x7 as the other finds them.
.macro switch_frames
    store_saved
    mrs     x20, sp_el0
    mrs     x21, ELR_ELx
    mrs     x22, SPSR_ELx
    mrs     x23, tpidr_el0
    str     x20, [sp, #FRAME_SP]
    stp     x21, x22, [sp, #FRAME_PC]
    str     x23, [sp, #THREAD_SPACE + 8 - THREAD_FRAME]
    msr     tpidr_el0, x18
    str     x17, [x8, #CPU_TRANSLATION]
    user_table x17, x9, x10
    add     x13, x14, #THREAD_FRAME
    stp     x14, x13, [x8, #CPU_CURRENT]
    mov     sp, x13
    ldp     x30, x20, [sp, #240]
    ldp     x21, x22, [sp, #FRAME_PC]
    msr     sp_el0, x20
    msr     ELR_ELx, x21
    msr     SPSR_ELx, x22
    load_destroyed                          // its own, whatever they were: nothing of the sender's is left
    load_kept
.endm

// Back to who called, with x8..x15 as they were once: nothing of the kernel's is left.
.macro resume
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    leave
.endm

// The rest is C++'s: routine(cpu, object x10).
.macro continue_in routine
    store_message
    store_kept
    kernel_stack
    mov     x1, x10
    bl      \routine
    b       return_to_user
.endm

    .section .text.vectors, "ax"
    .balign 64
    .global fast_call
fast_call:
    look_up TYPE_ENDPOINT, RIGHT_CALL
    look_up_badge
    tbnz    x1, #TAG_CAP, slow_syscall
    pointer x10
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
    sub     x16, sp, #THREAD_FRAME
    ldr     x15, [x16, #THREAD_ACTIVE]      // our time, unless it has been lent on too often
    ldr     x9, [x15, #SCHED_LOANS]
    tbnz    x9, #MOST_LOANS, slow_syscall
    check_space

    ldp     x12, x13, [x14, #THREAD_LINK]   // commit: take it out of the queue
    stp     xzr, xzr, [x14, #THREAD_LINK]
    str     x12, [x13]
    str     x13, [x12, #8]
    add     x9, x9, #1
    stp     xzr, x15, [x16, #THREAD_ACTIVE] // lend it our time
    str     x15, [x14, #THREAD_ACTIVE]
    stp     x14, x9, [x15, #SCHED_USER]
    stp     x16, xzr, [x14, #THREAD_CALLER]
    str     x14, [x16, #THREAD_SERVER]
    mov     w12, #STATE_CALLING
    mov     w13, #STATE_READY
    strb    w12, [x16, #THREAD_STATE]
    strb    w13, [x14, #THREAD_STATE]
    mov     x0, x11
    mov     w1, w1
fast_switch:
    switch_frames
    leave

    .global fast_reply_wait
fast_reply_wait:
    look_up TYPE_ENDPOINT, RIGHT_RECEIVE
    tbnz    x1, #TAG_CAP, slow_syscall
    pointer x10
    check_home
    sub     x16, sp, #THREAD_FRAME
    ldr     x14, [x16, #THREAD_CALLER]
    ldp     x12, x13, [x8, #CPU_HAZARD]
    cbz     x14, slow_syscall
    orr     x12, x12, x13
    ldr     x13, [x16, #THREAD_NOTE]        // a signal may have come
    orr     x12, x12, x13
    cbnz    x12, slow_syscall
    ldp     x9, x11, [x16, #THREAD_SCHED]   // we run on the caller's time, so it is of this core
    ldr     x13, [x14, #THREAD_ACTIVE + 8]
    cmp     x11, x13
    b.ne    slow_syscall
    check_space
    ldr     w15, [x14, #THREAD_FAULT]
    cbnz    w15, 2f

1:  add     x12, x10, #ENDPOINT_QUEUE       // commit: to the end of the queue
    ldr     x13, [x12, #8]
    stp     x12, x13, [x16, #THREAD_LINK]!  // x16: its link
    str     x16, [x13]
    str     x16, [x12, #8]
    stp     xzr, x10, [x16, #THREAD_CALLER - THREAD_LINK]
    str     x9, [x16, #THREAD_ACTIVE - THREAD_LINK]
    ldr     x12, [x11, #SCHED_LOANS]
    stp     x11, xzr, [x14, #THREAD_ACTIVE] // the caller has its time back
    sub     x12, x12, #1
    stp     x14, x12, [x11, #SCHED_USER]
    str     xzr, [x14, #THREAD_SERVER]
    mov     w12, #STATE_RECEIVING
    mov     w13, #STATE_READY
    strb    w12, [x16, #THREAD_STATE - THREAD_LINK]
    strb    w13, [x14, #THREAD_STATE]
    mov     x0, #0
    mov     w1, w1
    cbz     w15, fast_switch
    str     wzr, [x14, #THREAD_FAULT]       // it goes on with the registers that it had
    switch_frames
    load_message
    leave
2:  cbz     w1, 1b                          // any other label leaves it stopped
    b       slow_syscall

    .global fast_signal
fast_signal:
    look_up TYPE_NOTIFICATION, RIGHT_SIGNAL
    look_up_badge
    pointer x10
    cmp     x11, #0
    csinc   x11, x11, xzr, ne               // without a badge: 1
    add     x12, x10, #NOTE_BITS
1:  ldaxr   x13, [x12]                      // commit
    orr     x13, x13, x11
    stlxr   w14, x13, [x12]
    cbnz    w14, 1b
    dmb     ish                             // the bits before the waiter: it looks the other way round
    ldr     x13, [x10, #NOTE_WAITER]
    mov     x1, #0
    cbnz    x13, 2f
    resume
2:  continue_in wake_waiter

    .global fast_wait
fast_wait:
    look_up TYPE_NOTIFICATION, RIGHT_WAIT
    pointer x10
    ldr     x12, [x10, #NOTE_BITS]
    cbz     x12, 3f                         // C++ looks at all of it once more
    ldr     x12, [x10, #NOTE_WAITER]
    sub     x13, sp, #THREAD_FRAME
    cmp     x12, x13
    b.eq    1f                              // bound to it
    ldrb    w13, [x13, #THREAD_BOUND]       // bound elsewhere, or somebody else waits
    orr     x12, x12, x13
    cbnz    x12, slow_syscall
1:  add     x12, x10, #NOTE_BITS
2:  ldaxr   x13, [x12]
    cbz     x13, 3f
    stlxr   w14, xzr, [x12]                 // commit: they are there
    cbnz    w14, 2b
    mov     x0, #0
    mov     x1, #1 << TAG_NOTE
    mov     x2, x13
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    mov     x7, #0
    resume
3:  continue_in sleep_on

    .global invoke
invoke:
    store_message
    store_kept
    mov     x20, sp
    kernel_stack
    bl      sys_invoke
    b       syscall_return

    .global fast_vcpu_run
fast_vcpu_run:
    look_up TYPE_VCPU, RIGHT_RUN, 1f
    pointer x10
    continue_in run_vcpu    // a guest may have been entered, and left at once
1:  continue_in sys_vcpu_run
