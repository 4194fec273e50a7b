// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A bare-metal guest: arm64 Image header, entry of the first processor (x0 = device tree) and of the others
// (PSCI CPU_ON, x0 = top of the stack).
#include "start.inc"

    .section .text.start, "ax"
    .global _start
_start:
    image_header
    mov x19, x0
    ldr x1, =__stack_top
    mov sp, x1
    bl enable_mmu
    mov x0, x19
    bl probe_main
2:  wfi
    b 2b

    .global secondary_start
secondary_start:
    mov sp, x0
    bl enable_mmu
    bl secondary_main
3:  wfi
    b 3b

// Identity map, made by the linker script's tables below: 1 GiB of devices, then normal memory. FP is on.
enable_mmu:
    ldr x1, =page_table
    mov x2, x1
    turn_on_mmu 0x2b5993519, 0x1005  // 40 bits out, 39 in, 4K, inner shareable, upper half off; M, C, I
    ret

    .section .data
    .balign 4096
    .global page_table
page_table:
    .quad 0x00000000000405          // 0: device, access flag
    .set address, 0x40000000
    .rept 7                         // 1 .. 7 GiB: normal, inner shareable
    .quad address + 0x701
    .set address, address + 0x40000000
    .endr
    .rept 504
    .quad address + 0x405
    .set address, address + 0x40000000
    .endr
