// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// A bare-metal guest: arm64 Image header, entry of the first processor (x0 = device tree) and of the others
// (PSCI CPU_ON, x0 = top of the stack).
    .section .text.start, "ax"
    .global _start
_start:
    b 1f
    .word 0
    .quad 0x80000                   // text_offset: QEMU and our own loader put the Image there
    .quad __image_bytes
    .quad 0xa                       // little-endian, 4K pages, anywhere
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .word 0
1:  mov x19, x0
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
    msr ttbr0_el1, x1
    msr ttbr1_el1, x1
    ldr x1, =0x00000000000004ff     // attribute 0: normal write-back; 1: Device-nGnRE
    msr mair_el1, x1
    ldr x1, =0x2b5993519            // 40 bits out, 39 in, 4K, inner shareable; upper half off
    msr tcr_el1, x1
    mov x1, #(3 << 20)
    msr cpacr_el1, x1
    ldr x1, =vectors
    msr vbar_el1, x1
    isb
    tlbi vmalle1
    dsb ish
    isb
    mrs x1, sctlr_el1
    mov x2, #0x1005                 // M, C, I
    orr x1, x1, x2
    msr sctlr_el1, x1
    isb
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
