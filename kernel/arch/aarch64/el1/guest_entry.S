// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Exceptions of guests, and the way back. While a guest runs, the upper half of the addresses may be its own but for
// the kernel's image, and SP is the vCPU's state page in this core's window (layout.hpp), which is part of that.
#include "regime.inc"
#include "frame.inc"
#include "guest_offsets.inc"

.macro guest_vector name
    .balign 0x80
    b       \name
.endm

.macro guest_store
    store_first
    store_message
    store_destroyed
    store_saved
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

    .section .text.entry, "ax"
    .balign 64
guest_sync:
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    mrs     x0, tpidr_el1
    mrs     x1, esr_el1
    ldr     x2, [x0, #GUEST_ENTRY + ENTRY_RUNNING]
    lsr     w3, w1, #26
    cmp     w3, #0x15               // SVC
    b.ne    guest_slow
    cmp     w2, #1
    b.lo    guest_slow
    b.ne    virtual_return

// A system call: from virtual EL0 to EL1. The flags stay in SPSR, and SPSR_EL1 has no masks: see virtual_return.
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    str     x1, [sp, #SHARED + SHARED_ESR]
    and     x3, x3, #0xf0000000
    str     x2, [sp, #SHARED + SHARED_ELR]
    mov     w1, #0x3c0
    str     x3, [sp, #SHARED + SHARED_SPSR]
    str     x1, [sp, #SHARED + SHARED_DAIF]
    mrs     x2, tpidr_el0
    mrs     x3, sp_el0
    str     x2, [sp, #SHARED + SHARED_TPIDR]
    msr     tpidr_el0, x3
    ldr     x2, [x0, #GUEST_ENTRY + ENTRY_VECTOR]
    ldr     x3, [x0, #GUEST_ENTRY + ENTRY_SHARED]
    msr     elr_el1, x2
    msr     tpidrro_el0, x3
    ldr     x2, [sp, #VCPU_SP_EL1]
    mov     w1, #0x3c5              // EL1h, everything masked
    msr     sp_el0, x2
    str     x1, [sp, #VCPU_PSTATE]
    ldr     x3, [x0, #GUEST_ENTRY + ENTRY_UPPERS + 8]
    mov     w1, #2
    ldr     x2, [sp, #VCPU_VECTORED]
    msr     ttbr1_el1, x3
    str     x1, [x0, #GUEST_ENTRY + ENTRY_RUNNING]
    add     x2, x2, #1
    str     x2, [sp, #VCPU_VECTORED]
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    eret

// ERET from virtual EL1 to EL0 without masks, and nothing waits.
virtual_return:
    and     w3, w1, #0xffff
    ldr     w1, [sp, #VCPU_IRQ]
    mov     w2, #SHADOW_RETURN
    cmp     w3, w2
    ldr     x3, [sp, #SHARED + SHARED_SPSR]
    b.ne    guest_slow
    tst     x3, #0x3ff              // mode, masks
    ldr     x2, [sp, #SHARED + SHARED_ELR]
    b.ne    guest_slow
    and     x3, x3, #0xf0000000
    cbnz    w1, guest_slow
    msr     elr_el1, x2
    msr     spsr_el1, x3
    mrs     x1, sp_el0
    mrs     x2, tpidr_el0
    str     x1, [sp, #VCPU_SP_EL1]
    msr     sp_el0, x2
    ldr     x1, [sp, #SHARED + SHARED_TPIDR]
    ldr     x2, [sp, #SHARED + SHARED_TPIDRRO]
    msr     tpidr_el0, x1
    msr     tpidrro_el0, x2
    ldr     x3, [x0, #GUEST_ENTRY + ENTRY_UPPERS]
    mov     w1, #1
    str     xzr, [sp, #VCPU_PSTATE]
    msr     ttbr1_el1, x3
    str     x1, [x0, #GUEST_ENTRY + ENTRY_RUNNING]
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    eret
    dsb     nsh
    isb

guest_slow:
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    guest_store
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
    add     x2, x19, #GUEST_ENTRY
    ldp     x3, x4, [x2]            // lower half; upper half and ASID
    ldr     x5, [x2, #ENTRY_STACK]
    ldr     x6, =kernel_regime_roots
    ldr     x6, [x6, #8]
    msr     sp_el0, x5
    msr     ttbr0_el1, x6
    isb
    msr     ttbr1_el1, x4
    isb
    msr     ttbr0_el1, x3
    ldr     x30, [sp, #240]
    load_destroyed
    load_kept
    load_message
    leave
    .ltorg
