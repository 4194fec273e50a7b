// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Bare-metal guest that measures what its monitor costs it: an interval is one operation, from the guest's
// instruction to the next one (series as in tools/twainlib/bench.py). Says `done` on its UART and halts.
//
// arm64 Image header: Linux Documentation/arm64/booting.rst.
    .set    SAMPLES, 64
    .set    UART, 0x09000000
    .set    GICD, 0x08000000
    .set    GICR, 0x080a0000

    .section .text, "ax"
    .global _start
_start:
    b       begin
    .word   0
    .quad   0                       // text_offset
    .quad   end - _start            // image_size
    .quad   0xa                     // little endian, 4K pages, anywhere
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

// One series: \number, \setup once, then SAMPLES times \operation with x9 = address.
.macro measure number, operation:vararg
    hint    #(66 + \number)
    mov     x19, #SAMPLES
1:  movz    x0, #0x8400, lsl #16    // PSCI_VERSION, for those that call
    hint    #64
    \operation
    hint    #65
    subs    x19, x19, #1
    b.ne    1b
.endm

begin:
    movz    x9, #(UART >> 16), lsl #16
    add     x9, x9, #0x18           // flag register
    movz    x10, #(GICD >> 16), lsl #16
    add     x10, x10, #4            // GICD_TYPER
    movz    x11, #(GICR >> 16), lsl #16
    add     x11, x11, #8            // GICR_TYPER
    measure 20, hvc #0
    measure 21, ldr w1, [x9]
    measure 22, ldr w1, [x10]
    measure 23, ldr w1, [x11]
    // A reserved function of the owner `standard hypervisor service`: unknown to everybody.
    hint    #(66 + 24)
    mov     x19, #SAMPLES
2:  movz    x0, #0xc500, lsl #16
    movk    x0, #0x7777
    hint    #64
    hvc     #0
    hint    #65
    subs    x19, x19, #1
    b.ne    2b

    adr     x1, text
    movz    x9, #(UART >> 16), lsl #16
3:  ldrb    w2, [x1], #1
    cbz     w2, 4f
    str     w2, [x9]
    b       3b
4:  wfi
    b       4b
text:
    .asciz  "bench done\n"
    .balign 4096
end:
