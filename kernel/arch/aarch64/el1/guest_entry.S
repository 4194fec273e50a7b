// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exceptions of guests, and the way back. While a guest runs, the upper half of the addresses may be its own but for
// the kernel's image, and SP is the vCPU's state page in this core's window (layout.hpp), which is part of that.
#include "regime.inc"
#include "offsets.inc"

.macro guest_vector name
    .balign 0x80
    b       \name
.endm

.macro guest_store
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    str     x30, [sp, #240]
.endm

// To the kernel's own upper half: nothing may be walked by one's table under another's ASID.
.macro kernel_tables
    ldr     x0, =kernel_regime_roots
    ldp     x0, x1, [x0]
    msr     ttbr0_el1, x1
    isb
    msr     ttbr1_el1, x0
    isb
    mrs     x19, tpidr_el1
    mov     sp, x19
    mov     x0, x19
    mov     x29, xzr
    bl      guest_absorb
    mov     x0, x19
.endm

    .section .text.vectors, "ax"
    .balign 0x800
    .global guest_vectors
guest_vectors:
    guest_vector vectors            // from the kernel itself: a bug
    guest_vector vectors
    guest_vector vectors
    guest_vector vectors
    guest_vector vectors
    guest_vector vectors
    guest_vector vectors
    guest_vector vectors
    guest_vector guest_sync
    guest_vector guest_irq
    guest_vector guest_irq
    guest_vector guest_sync         // SError
    guest_vector guest_sync         // AArch32: the mode is never entered
    guest_vector guest_sync
    guest_vector guest_sync
    guest_vector guest_sync

    .balign 64
guest_sync:
    guest_store
    mov     x1, sp
    mrs     x0, tpidr_el1
    mrs     x2, esr_el1
    mov     sp, x0
    mov     x29, xzr
    bl      guest_quick
    cbnz    x0, quick_return
    kernel_tables
    mrs     x1, esr_el1
    bl      handle_trap
    b       return_to_user

guest_irq:
    guest_store
    kernel_tables
    bl      handle_interrupts
    b       return_to_user

// x0 = state page in the window, x19 = Cpu. ELR and SPSR are set.
    .global return_to_guest
return_to_guest:
    mov     sp, x0
    ldr     w1, [x19, #CPU_LOCAL]
    ldr     x2, =guest_entries
    add     x2, x2, x1, lsl #6
    ldp     x3, x4, [x2]            // lower half; upper half and ASID
    ldr     x5, [x2, #16]           // stack pointer
    ldr     x6, =kernel_regime_roots
    ldr     x6, [x6, #8]
    msr     sp_el0, x5
    msr     ttbr0_el1, x6
    isb
    msr     ttbr1_el1, x4
    isb
    msr     ttbr0_el1, x3
    b       1f
quick_return:
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #CPU_FRAME]
    mov     sp, x0
1:  ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
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
    ldp     x0, x1, [sp, #0]
    eret
    dsb     nsh
    isb
    .ltorg
