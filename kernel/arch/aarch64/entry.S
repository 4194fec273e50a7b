// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exceptions. While a process or a guest runs, SP is the address of its Frame (kernel/core/thread.hpp, or the
// start of a vCPU state page), so registers are stored without a detour. The kernel stack ends at the core's Cpu.
#include "regime.inc"
#include "offsets.inc"

.macro vector name
    .balign 0x80
    b       \name
.endm

.macro store_first          // enough to look at the syndrome
    str     x30, [sp, #240]
    stp     x28, x29, [sp, #224]
.endm

.macro store_message
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
.endm

.macro store_destroyed      // what a system call need not keep
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    str     x18, [sp, #144]
.endm

.macro store_saved          // what a function keeps (AAPCS64)
    str     x19, [sp, #152]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
.endm

.macro store_kept
    store_saved
    mrs     x20, sp_el0
    mrs     x21, ELR_ELx
    mrs     x22, SPSR_ELx
    mrs     x19, CPU_ELx
    str     x20, [sp, #FRAME_SP]
    stp     x21, x22, [sp, #FRAME_PC]
    mov     sp, x19
    mov     x0, x19
.endm

    .section .text.vectors, "ax"
    .balign 0x800
    .global vectors
vectors:
    vector  kernel_fault        // from the kernel itself, SP_EL0
    vector  kernel_fault
    vector  kernel_fault
    vector  kernel_fault
    vector  kernel_fault        // from the kernel itself
    vector  kernel_fault
    vector  kernel_fault
    vector  kernel_fault
    vector  user_sync           // from processes and guests, AArch64
    vector  user_irq
    vector  user_irq
    vector  user_serror
    vector  user_aarch32        // AArch32: no space is ever made for it
    vector  user_aarch32
    vector  user_aarch32
    vector  user_aarch32

    .balign 64
user_sync:
    store_first
    mrs     x28, ESR_ELx
    mov     w29, #0x56000000    // SVC #0 of AArch64
    sub     w29, w28, w29
    cmp     w29, #1
    b.lo    fast_call
    b.eq    fast_reply_wait
    lsr     w29, w28, #24
    cmp     w29, #0x56
    b.ne    1f
    .global slow_syscall
slow_syscall:
    store_message
    store_kept
    and     x1, x28, #0xffff
    bl      handle_syscall
    b       return_to_user
1:  store_message
    store_destroyed
    store_kept
    mov     x1, x28
    bl      handle_trap
    b       return_to_user

user_irq:
    store_first
    store_message
    store_destroyed
    store_kept
    bl      handle_interrupts
    b       return_to_user

user_serror:
user_aarch32:
    store_first
    store_message
    store_destroyed
    mrs     x28, ESR_ELx
    store_kept
    mov     x1, x28
    bl      handle_trap
    b       return_to_user

    .global enter_user
enter_user:                     // x0 = Cpu; first entry of a core
    mov     x19, x0
    mov     sp, x0
2:  mov     x0, x19
    bl      resolve_hazards_entry

    .global return_to_user
return_to_user:                 // x19 = Cpu
    ldr     x2, [x19, #CPU_HAZARD]
    ldp     x0, x1, [x19]       // frame, guest_mode
    cbnz    x2, 2b
    guest_return x1
    mov     sp, x0
    ldr     x4, [x0, #FRAME_SP]
    ldp     x2, x3, [x0, #FRAME_PC]
    msr     sp_el0, x4
    cbnz    x1, 3f              // of a guest, its entry has checked and set the two
    msr     ELR_ELx, x2
    msr     SPSR_ELx, x3
3:  ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x0, x1, [x0, #0]
    eret
    dsb     nsh                 // nothing behind ERET is speculated
    isb

// An exception in the kernel: a bug. The stack may be what is broken, so a new one is taken, with a Frame at its top.
kernel_fault:
    msr     tpidr_el0, x0       // nobody needs them any more
    mov     x0, sp
    msr     tpidrro_el0, x0
    adrp    x0, panic_frame
    add     sp, x0, :lo12:panic_frame
    mrs     x0, tpidr_el0
    store_first
    store_message
    store_destroyed
    store_saved
    mrs     x0, tpidrro_el0
    str     x0, [sp, #FRAME_SP]
    mov     x0, sp
    b       kernel_exception
