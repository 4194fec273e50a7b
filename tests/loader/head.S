// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
    .section .head, "ax"
    .global fake_head
fake_head:
    b 1f
    .ascii "TWNK"
    .quad fake_end - fake_head
1:  adrp x9, fake_stack_top
    add sp, x9, :lo12:fake_stack_top
    mov x29, xzr
    mov x30, xzr
    mrs x1, CurrentEL
    lsr x1, x1, #2
    cmp x1, #2
    b.ne 2f
    mrs x2, sctlr_el2
    b 3f
2:  mrs x2, sctlr_el1
3:  adrp x3, fake_head
    bl fake_main

    .text
    .global fake_power_off
fake_power_off:
    mov x9, x0
    ldr w0, =0x84000008
    cmp x9, #2
    b.eq 1f
    smc #0
1:  hvc #0
    b .
    .section .note.GNU-stack, "", %progbits
