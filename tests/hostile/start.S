// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The hostile guest is built like a kernel: linked to the upper half, its text read-only, its users in the lower half.
// arm64 Image header, entry of the first processor (x0 = device tree) and of the others.
#include "start.inc"

    .section .text.start, "ax"
    .global _start
_start:
    image_header
    mov x19, x0
    adrp x1, __stack_top
    mov sp, x1
    adrp x20, own_tables
    add x20, x20, :lo12:own_tables
    mov x0, x20
    bl make_tables
    adrp x0, victim_tables
    add x0, x0, :lo12:victim_tables
    bl make_tables
    bl enable_mmu
    ldr x0, =__stack_top
    ldr x1, =first_high
    br x1
first_high:
    mov sp, x0
    mov x0, x19
    bl hostile_main
2:  wfi
    b 2b

    .global secondary_start
secondary_start:
    adrp x20, victim_tables
    add x20, x20, :lo12:victim_tables
    bl enable_mmu
    mrs x0, mpidr_el1
    and x0, x0, #7
    ldr x1, =__stack_top            // 32 KiB for each of them
    add x1, x1, x0, lsl #15
    ldr x2, =secondary_high
    br x2
secondary_high:
    mov sp, x1
    bl secondary_main
3:  wfi
    b 3b

// x20 = physical address of the tables: first the lower half's, then the upper half's.
enable_mmu:
    mov x1, x20
    add x2, x20, #0x1000
    // 40 bits out, 48 in, 4K, 16 bits of ASID; M, C, I, UCI, UCT, DZE
    turn_on_mmu 0x12b5103510, 0x0400d005
    ret
    .ltorg

// What runs without trust in any register, and comes back by whatever exception: struct State.
    .set STATE_SP, 248
    .set STATE_PC, 256
    .set STATE_PSTATE, 264
    .set STATE_ESR, 272
    .set STATE_FAR, 280
    .set STATE_ELR, 288
    .set STATE_SPSR, 296
    .set STATE_VECTOR, 304
    .set STATE_HOST, 312

    .text
    .balign 4
    .global run_state               // void run_state(): `state` says from where, and then what came of it
run_state:
    stp x29, x30, [sp, #-112]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    adrp x0, state
    mov x1, sp
    str x1, [x0, #STATE_HOST]
    ldr x1, [x0, #STATE_PSTATE]
    ldr x2, [x0, #STATE_PC]
    ldr x3, [x0, #STATE_SP]
    msr spsr_el1, x1
    msr elr_el1, x2
    tbnz x1, #0, 1f
    msr sp_el0, x3
    b 2f
1:  mov sp, x3
2:  ldp x2, x3, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x8, x9, [x0, #64]
    ldp x10, x11, [x0, #80]
    ldp x12, x13, [x0, #96]
    ldp x14, x15, [x0, #112]
    ldp x16, x17, [x0, #128]
    ldp x18, x19, [x0, #144]
    ldp x20, x21, [x0, #160]
    ldp x22, x23, [x0, #176]
    ldp x24, x25, [x0, #192]
    ldp x26, x27, [x0, #208]
    ldp x28, x29, [x0, #224]
    ldr x30, [x0, #240]
    ldp x0, x1, [x0]
    eret

    .section .text.state_vectors, "ax"
    .balign 2048
    .global state_vectors
state_vectors:
    .set offset, 0
    .rept 16
    .balign 128
    msr sp_el0, x0                  // the only place that needs no other register
    adrp x0, state
    str x1, [x0, #8]
    mov x1, #offset
    b came_back
    .set offset, offset + 128
    .endr

    .text
came_back:
    stp x2, x3, [x0, #16]
    stp x4, x5, [x0, #32]
    stp x6, x7, [x0, #48]
    stp x8, x9, [x0, #64]
    stp x10, x11, [x0, #80]
    stp x12, x13, [x0, #96]
    stp x14, x15, [x0, #112]
    stp x16, x17, [x0, #128]
    stp x18, x19, [x0, #144]
    stp x20, x21, [x0, #160]
    stp x22, x23, [x0, #176]
    stp x24, x25, [x0, #192]
    stp x26, x27, [x0, #208]
    stp x28, x29, [x0, #224]
    str x30, [x0, #240]
    str x1, [x0, #STATE_VECTOR]
    mrs x2, sp_el0
    str x2, [x0]
    ldr x2, [x0, #STATE_HOST]
    mov sp, x2
    mrs x3, esr_el1
    mrs x4, far_el1
    mrs x5, elr_el1
    mrs x6, spsr_el1
    stp x3, x4, [x0, #STATE_ESR]
    stp x5, x6, [x0, #STATE_ELR]
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp x29, x30, [sp], #112
    ret
