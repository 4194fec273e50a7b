// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// Programs for a guest: position-independent, copied to 0x4000_0000 of a virtual machine; EL1, MMU off. They speak
// to their VMM by HVC.
    .arch armv8-a
    .section .rodata.guest, "a"
    .balign 2048

    .global guest_begin, guest_end
guest_begin:
// Vectors: synchronous exceptions end in HVC 0xee, interrupts go to the handler.
    .rept 4
    b       1f
    .balign 0x80
    .endr
    mov     x20, #0xee
    hvc     #0xee
    .balign 0x80
    b       guest_irq               // IRQ, EL1h
    .balign 0x80
    .rept 10
1:  hvc     #0xef
    .balign 0x80
    .endr

// x21 = INTID that was handled; then, as soon as the word at x26 is not zero if there is one, HVC 0x1a. x27 = where the CPU
// interface is in memory (GICv2), or 0.
guest_irq:
    cbnz    x27, 1f
    mrs     x21, S3_0_C12_C12_0     // ICC_IAR1_EL1
    b       2f
1:  ldr     w21, [x27, #0xc]        // GICC_IAR
2:  cmp     x21, #27
    b.ne    3f
    msr     cntv_ctl_el0, xzr
3:  isb
    cbnz    x27, 4f
    msr     S3_0_C12_C12_1, x21     // ICC_EOIR1_EL1
    b       5f
4:  str     w21, [x27, #0x10]       // GICC_EOIR
    dsb     sy
5:  cbz     x26, 7f
6:  ldr     w9, [x26]
    cbz     w9, 6b
7:  hvc     #0x1a
    eret

guest_setup:
    adr     x9, guest_begin
    msr     vbar_el1, x9
    mov     x9, #0xff
    mov     x10, #1
    cbnz    x27, 1f
    msr     S3_0_C4_C6_0, x9        // ICC_PMR_EL1
    msr     S3_0_C12_C12_7, x10     // ICC_IGRPEN1_EL1
    isb
    ret
1:  str     w9, [x27, #4]           // GICC_PMR
    str     w10, [x27]              // GICC_CTLR
    dsb     sy
    ret

    .global guest_calls
guest_calls:                        // HVC keeps and hands over registers
    mov     x0, #0x1234
    mov     x30, #0x30
    hvc     #7
    add     x0, x0, #1
    hvc     #8
    smc     #9
    b       .

    .global guest_steps
guest_steps:                        // what does nothing
    nop
    nop
    hvc     #7

    .global guest_loads
guest_loads:                        // x1 = address: one load, one store
    ldr     w2, [x1]
    hvc     #1
    mov     w3, #0x55
    str     w3, [x1, #4]
    hvc     #2
    br      x1                      // and a fetch

    .global guest_timer
guest_timer:                        // x1 = ticks from now; sleeps until then
    bl      guest_setup
    mrs     x2, cntvct_el0
    add     x2, x2, x1
    msr     cntv_cval_el0, x2
    mov     x3, #1
    msr     cntv_ctl_el0, x3
    isb
    msr     daifclr, #2
1:  wfi
    b       1b

    .global guest_interrupts
guest_interrupts:                   // HVC 3 with interrupts masked, then takes them all
    bl      guest_setup
1:  msr     daifset, #2
    hvc     #3
    msr     daifclr, #2
    isb
    nop
    nop
    hvc     #4
    b       1b

    .global guest_sleeps
guest_sleeps:
    bl      guest_setup
    msr     daifclr, #2
1:  wfi
    b       1b

    .global guest_hostile
guest_hostile:                      // what could act on EL0 of a process
    mov     x0, #0x0802             // SCTLR_EL1: A, and RES1 dropped
    movk    x0, #0x0100, lsl #16    // E0E: EL0 data big-endian
    msr     sctlr_el1, x0
    msr     cpacr_el1, xzr          // no FP for EL0
    msr     cntkctl_el1, xzr        // no counter for EL0
    mov     x0, #-1
    msr     tpidr_el0, x0
    msr     tpidrro_el0, x0
    msr     contextidr_el1, x0
    msr     ttbr0_el1, x0
    isb
    hvc     #5
    mov     x0, #0x9001             // KDE, MDE, SS
    msr     mdscr_el1, x0
    hvc     #6
    mrs     x1, sctlr_el1           // it has what it wrote
    mrs     x2, cpacr_el1
    mrs     x3, tpidr_el0
    hvc     #7
    b       .

    .global guest_spins
guest_spins:
    add     x0, x0, #1
    b       guest_spins

    .global guest_registers
guest_registers:                    // its EL1 registers, from and to the state page
    mov     x0, #0xabc
    msr     tpidr_el1, x0
    msr     elr_el1, x0
    hvc     #1
    mrs     x0, tpidr_el1
    mrs     x1, elr_el1
    mrs     x2, mpidr_el1
    hvc     #2
    b       .

    .global guest_floats
guest_floats:
    mov     x0, #3 << 20
    msr     cpacr_el1, x0
    isb
    movi    v5.16b, #0x5a
1:  hvc     #1
    umov    x0, v5.d[0]
    umov    x1, v5.d[1]
    hvc     #2
    b       1b

    .global guest_traps
guest_traps:                        // physical timer, set/way, debug, and an unknown HVC
    mrs     x0, cntp_ctl_el0
    dc      cisw, xzr
    hvc     #0x7fff
    b       .

    .balign 8
    .global guest_access
guest_access:                       // the first instruction is replaced by an access to a register
    nop
    hvc     #0xcc
    b       .

guest_end:
    .section .note.GNU-stack, "", %progbits
