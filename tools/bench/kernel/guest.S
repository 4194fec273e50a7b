// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The guest of vcpu.cpp: EL1, MMU off. Its hypercalls: 0 done, 1 the clock's interrupt has been dealt with, 2 unmap
// the hole again, 3 nothing.
    .arch armv8-a+fp
    .section .rodata.guest, "a"
    .set    SAMPLES, 64
    .balign 8

    .global bench_guest_begin, bench_guest_end
bench_guest_begin:
    mov     x0, #3 << 20            // CPACR_EL1.FPEN
    msr     cpacr_el1, x0
    isb
    fmov    d0, xzr                 // the FP registers are the guest's from now on

    // An exit that the kernel handles itself: the monitor has run, so FP registers are off until they are used.
    hint    #(66 + 12)
    mov     x19, #SAMPLES
1:  hvc     #3
    hint    #64
    fmov    d0, xzr
    hint    #65
    subs    x19, x19, #1
    b.ne    1b

    // A device interrupt that is not the guest's (a driver's, say): the clock's, see main.cpp.
    movz    x9, #0x0901, lsl #16
    hint    #(66 + 13)
    mov     x19, #SAMPLES
1:  ldr     w1, [x9]
    hint    #64
    str     w1, [x9, #4]            // match = count
    isb
    hint    #65
    mov     w1, #1
    str     w1, [x9, #0x1c]         // clear
    hvc     #1
    subs    x19, x19, #1
    b.ne    1b

    // A page that the monitor maps when it is touched.
    movz    x9, #0x5000, lsl #16
    hint    #(66 + 14)
    mov     x19, #SAMPLES
1:  hint    #64
    ldr     w1, [x9]
    hint    #65
    hvc     #2
    subs    x19, x19, #1
    b.ne    1b

    // A hypercall to a monitor that does nothing.
    hint    #(66 + 15)
    mov     x19, #SAMPLES
1:  hint    #64
    hvc     #3
    hint    #65
    subs    x19, x19, #1
    b.ne    1b

    // A load from where a device would be, to a monitor that only steps over it.
    movz    x9, #0x6000, lsl #16
    hint    #(66 + 17)
    mov     x19, #SAMPLES
1:  hint    #64
    ldr     w1, [x9]
    hint    #65
    subs    x19, x19, #1
    b.ne    1b

    hvc     #0
bench_guest_end:
    .section .note.GNU-stack, "", %progbits
