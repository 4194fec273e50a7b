// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exceptions. While a process or a guest runs, SP is the address of its Frame (kernel/core/thread.hpp, or the
// start of a vCPU state page), so registers are stored without a detour. The kernel stack ends at the core's Cpu.
#include "regime.inc"
#include "frame.inc"

.macro vector name
    .balign 0x80
    b       \name
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

    .org    vectors + 0x400     // synchronous, from processes and guests, AArch64
    store_first
    mrs     x28, ESR_ELx
    mov     w29, #0x56000000    // SVC #0 of AArch64
    subs    w29, w28, w29
    b.eq    fast_call
    cmp     w29, #1
    b.eq    fast_reply_wait
    cmp     w29, #3
    b.eq    fast_signal
    b.lo    fast_wait
    cmp     w29, #5
    b.lo    fast_vcpu_run
    b.hi    user_trap           // other system calls too
    b       invoke

    .org    vectors + 0x480
user_irq:
    store_first
    store_message
    store_destroyed
    store_kept
    kernel_stack
    bl      handle_interrupts
    b       return_to_user

    .org    vectors + 0x500
    vector  user_irq            // FIQ
    vector  user_serror
    vector  user_serror         // AArch32: no space is ever made for it
    vector  user_serror
    vector  user_serror
    vector  user_serror

    .section .text.entry, "ax"      // so that the next vectors, which are aligned, can follow at once
    .balign 64
    .global slow_syscall
slow_syscall:
    store_message
    store_kept
    mov     x20, sp
    kernel_stack
    and     x1, x28, #0xffff
    bl      handle_syscall

// The way back of a system call, x19 = Cpu and x20 = the frame of who made it. If that goes on, what C++ keeps is its own
// still, and so are SP, PC and PSTATE.
    .global syscall_return
syscall_return:
    ldr     x2, [x19, #CPU_HAZARD]
    ldr     x0, [x19, #CPU_FRAME]
    cmp     x0, x20
    ccmp    x2, #0, #0, eq
    b.ne    return_to_user
    mov     sp, x0
    load_destroyed
    ldr     x20, [sp, #160]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    load_message
    leave

user_serror:
    store_first
    mrs     x28, ESR_ELx
user_trap:
    store_message
    store_destroyed
    store_kept
    kernel_stack
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
    ldp     x0, x1, [x19, #CPU_FRAME]   // and guest_mode
    cbnz    x2, 2b
    guest_return x1
    mov     sp, x0
    ldp     x30, x4, [sp, #240]
    msr     sp_el0, x4
    cbnz    x1, 3f              // of a guest, its entry has checked and set the two
    ldp     x2, x3, [sp, #FRAME_PC]
    msr     ELR_ELx, x2
    msr     SPSR_ELx, x3
3:  load_destroyed
    load_kept
    load_message
    leave

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
