// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Bare-metal guest that measures what its monitor costs it: an interval is one operation, from the guest's
// instruction to the next one (series as in tools/twainlib/bench/vm.py). Needs two CPUs on one core; says
// `bench done` on its UART and halts.
//
// arm64 Image header: Linux Documentation/arm64/booting.rst.
    .arch   armv8-a
    .set    SAMPLES, 64
    .set    UART, 0x09000000
    .set    GICD, 0x08000000
    .set    GICR, 0x080a0000
    .set    FRAME, 0x20000              // of a redistributor, SGIs and PPIs in its second half
    .set    TIMER, 27                   // PPI of the virtual timer

#define ICC_IAR1_EL1 S3_0_C12_C12_0
#define ICC_EOIR1_EL1 S3_0_C12_C12_1
#define ICC_SRE_EL1 S3_0_C12_C12_5
#define ICC_IGRPEN1_EL1 S3_0_C12_C12_7
#define ICC_PMR_EL1 S3_0_C4_C6_0
#define ICC_SGI1R_EL1 S3_0_C12_C11_5

.macro series number
    hint    #(66 + \number)
    mov     x19, #SAMPLES
.endm
.macro begin
    hint    #64
.endm
.macro end
    hint    #65
.endm
.macro again label
    subs    x19, x19, #1
    b.ne    \label
.endm

// One instruction that traps.
.macro measure number, operation:vararg
    series  \number
1:  begin
    \operation
    end
    again   1b
.endm

// A hypercall with the function identifier in w20.
.macro measure_call number
    series  \number
1:  mov     x0, x20
    begin
    hvc     #0
    end
    again   1b
.endm

.macro use_vectors name
    adr     x0, \name
    msr     vbar_el1, x0
    isb
.endm

// Until the handler has counted to x2. What comes between the look and WFI is masked, and ends WFI nevertheless.
.macro wait_for_interrupt
    b       8f
9:  wfi
    msr     daifclr, #2
    isb
8:  msr     daifset, #2
    cmp     x27, x2
    b.ne    9b
    msr     daifclr, #2
.endm

// Vectors with a handler for interrupts at EL1h; anything else ends in a loop. x27 counts interrupts.
.macro vectors name
    .balign 0x800
\name:
    .rept   5
    b       .
    .balign 0x80
    .endr
.endm
.macro vectors_end
    .balign 0x80
    .rept   10
    b       .
    .balign 0x80
    .endr
.endm

    .section .text, "ax"
    .global _start
_start:
    b       main
    .word   0
    .quad   0                       // text_offset
    .quad   end_of_image - _start   // image_size
    .quad   0xa                     // little endian, 4K pages, anywhere
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

vectors plain
    mrs     x28, ICC_IAR1_EL1
    cmp     x28, #TIMER
    b.ne    1f
    msr     cntv_ctl_el0, xzr
    isb
1:  msr     ICC_EOIR1_EL1, x28
    add     x27, x27, #1
    eret
vectors_end

vectors around_eoi
    mrs     x28, ICC_IAR1_EL1
    begin
    msr     ICC_EOIR1_EL1, x28
    end
    add     x27, x27, #1
    eret
vectors_end

// The second CPU's: its first instruction ends what the first CPU began.
vectors other
    end
    mrs     x28, ICC_IAR1_EL1
    msr     ICC_EOIR1_EL1, x28
    eret
vectors_end

// x9 = this CPU's redistributor frame
enable_interrupts:
    add     x10, x9, #0x10, lsl #12
    ldr     w0, [x9, #0x14]         // GICR_WAKER
    bic     w0, w0, #2
    str     w0, [x9, #0x14]
2:  ldr     w0, [x9, #0x14]
    tbnz    w0, #2, 2b
    mov     w0, #-1
    str     w0, [x10, #0x80]        // IGROUPR0
    movz    w0, #(1 << (TIMER - 16)), lsl #16
    movk    w0, #0xffff
    str     w0, [x10, #0x100]       // ISENABLER0
    mov     x0, #7
    msr     ICC_SRE_EL1, x0
    isb
    mov     x0, #0xff
    msr     ICC_PMR_EL1, x0
    mov     x0, #1
    msr     ICC_IGRPEN1_EL1, x0
    isb
    ret

main:
    // ---- exits to the monitor
    movz    w20, #0x8400, lsl #16   // PSCI_VERSION
    measure_call 20
    movz    w20, #0xc500, lsl #16   // a reserved function of the owner `standard hypervisor service`:
    movk    w20, #0x7777            // unknown to everybody
    measure_call 24
    movz    x9, #(UART >> 16), lsl #16
    measure 21, ldr w1, [x9, #0x18] // flag register
    movz    x9, #(GICD >> 16), lsl #16
    measure 22, ldr w1, [x9, #4]    // GICD_TYPER
    movz    x9, #(GICR >> 16), lsl #16
    movk    x9, #(GICR & 0xffff)
    measure 23, ldr w1, [x9, #8]    // GICR_TYPER
    measure 25, mrs x1, id_aa64mmfr0_el1

    // ---- interrupts
    movz    x11, #(GICD >> 16), lsl #16
    mov     w0, #0x12               // GICD_CTLR: ARE, EnableGrp1
    str     w0, [x11]
    movz    x9, #(GICR >> 16), lsl #16
    movk    x9, #(GICR & 0xffff)
    bl      enable_interrupts
    use_vectors around_eoi
    msr     daifclr, #2
    mov     x27, #0
    mov     x1, #1                  // SGI 0 to CPU 0
    hint    #(66 + 26)
    mov     x19, #SAMPLES
1:  add     x2, x27, #1
    msr     ICC_SGI1R_EL1, x1
    isb
2:  cmp     x27, x2
    b.ne    2b
    again   1b

    use_vectors plain
    mov     x27, #0
    series  27
1:  add     x2, x27, #1
    begin
    msr     ICC_SGI1R_EL1, x1
    isb
2:  cmp     x27, x2
    b.ne    2b
    end
    again   1b

    mov     x3, #1
    msr     cntv_cval_el0, xzr      // expired long ago
    series  28
1:  add     x2, x27, #1
    begin
    msr     cntv_ctl_el0, x3
    isb
2:  cmp     x27, x2
    b.ne    2b
    end
    again   1b

    // How late is WFI's end after a timer of a millisecond? The counter ticks every 16 instructions (-icount), so
    // that many are executed between the markers for each tick.
    mrs     x4, cntfrq_el0
    mov     x5, #1000
    udiv    x4, x4, x5
    series  29
1:  add     x2, x27, #1
    isb
    mrs     x5, cntvct_el0
    add     x5, x5, x4
    msr     cntv_cval_el0, x5
    msr     cntv_ctl_el0, x3
    isb
    wait_for_interrupt
    isb
    mrs     x6, cntvct_el0
    sub     x6, x6, x5
    begin
3:  cbz     x6, 4f
    .rept   13
    nop
    .endr
    sub     x6, x6, #1
    b       3b
4:  end
    again   1b

    // ---- memory
    adr     x9, end_of_image
    series  32
1:  add     x9, x9, #1, lsl #12
    begin
    str     xzr, [x9]
    end
    again   1b

    // ---- the second CPU
    movz    x0, #0xc400, lsl #16    // CPU_ON
    movk    x0, #3
    mov     x1, #1
    adr     x2, second
    mov     x3, #0
    hvc     #0
    adr     x9, second_ready
1:  bl      sleep                   // they may share a core
    ldr     w0, [x9]
    cbz     w0, 1b

    mov     x1, #2                  // SGI 0 to CPU 1
    series  30
1:  begin
    msr     ICC_SGI1R_EL1, x1
    isb
    bl      sleep
    again   1b

    series  31
1:  msr     ICC_SGI1R_EL1, x1
    isb
    begin
    bl      sleep
    again   1b

    adr     x1, text
    movz    x9, #(UART >> 16), lsl #16
1:  ldrb    w2, [x1], #1
    cbz     w2, 2f
    str     w2, [x9]
    b       1b
2:  wfi
    b       2b

// Until a tenth of a millisecond has passed; everybody else runs.
sleep:
    add     x2, x27, #1
    mov     x3, #1
    mrs     x5, cntvct_el0
    add     x5, x5, x4, lsr #3
    msr     cntv_cval_el0, x5
    msr     cntv_ctl_el0, x3
    isb
    wait_for_interrupt
    ret

second:
    movz    x9, #((GICR + FRAME) >> 16), lsl #16
    movk    x9, #((GICR + FRAME) & 0xffff)
    bl      enable_interrupts
    use_vectors other
    msr     daifclr, #2
    mov     w0, #1
    adr     x9, second_ready
    str     w0, [x9]
1:  wfi
    b       1b

    .balign 8
second_ready:
    .word   0
text:
    .asciz  "bench done\n"
    .balign 4096
end_of_image:
