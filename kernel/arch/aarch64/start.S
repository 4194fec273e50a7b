// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// From the loader (or, for a further core, from firmware) to C++: MMU off, x0 = boot information or core number.
#include "regime.inc"

    .section .head, "ax"
    .global kernel_header
kernel_header:
    b       start
    .ascii  "TWNK"
    .quad   image_bytes

start:
    msr     daifset, #15
    mov     x20, x0
    adrp    x0, bss_start               // addresses are relative to the PC, so these are physical
    add     x0, x0, :lo12:bss_start
    adrp    x1, bss_end
    add     x1, x1, :lo12:bss_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    adrp    x0, core_memory
    add     x0, x0, #0x3000             // the first core's stack
    mov     sp, x0
    adrp    x0, image_start
    mov     x1, x20
    bl      make_tables                 // (physical base, boot information)
    mov     x21, #0
    b       enable

    .global secondary_start
secondary_start:                        // x0 = number of the core
    msr     daifset, #15
    mov     x21, x0
    adrp    x1, core_memory
    add     x1, x1, #0x3000
    add     x1, x1, x21, lsl #14
    mov     sp, x1
    mov     x20, #0

enable:
    bl      enable_translation          // returns with the MMU on, still at the physical address
    ldr     x0, =core_memory + 0x3000
    add     x0, x0, x21, lsl #14
    mov     sp, x0
    mov     x29, xzr
    ldr     x2, =kernel_main
    mov     x0, x21
    mov     x1, x20
    blr     x2
    b       .
    .ltorg

    .section .percore, "aw", %nobits
    .balign 4096
    .global core_memory
core_memory:                            // per core: guard page, two pages of stack, Cpu
    .skip   0x4000 * 8
    .skip   0x1000                      // the stack of a panic, then the registers of what led to it
    .global panic_frame
panic_frame:
    .skip   0x1000
