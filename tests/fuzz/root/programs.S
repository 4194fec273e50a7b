// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// What threads and guests of the fuzz run. Position-independent; a program every 64 bytes.
    .arch armv8-a+fp+simd

// Where QEMU runs the cores in turns, `yield` passes the turn on: programs that only pass time should not take much.

// Threads: x0 chooses the slot of the arena that the program works on, x1 is the rest. No stack.
    .section .text.victims, "ax"
    .balign 64
    .global victim_programs, victim_end
    .macro program
    .balign 64
    and     x19, x0, #0x7f
    add     x19, x19, #1024
    mov     x20, x1
    .endm
victim_programs:
    program                         // 0 spins
1:  add     x2, x2, #1
    yield
    b       1b
    program                         // 1 waits
1:  mov     x0, x19
    mov     x1, #-1
    svc     #2
    yield
    b       1b
    program                         // 2 calls
1:  mov     x0, x19
    and     x1, x20, #0x1ffffffff
    svc     #0
    yield
    svc     #6
    b       1b
    program                         // 3 serves
1:  mov     x0, x19
    and     x1, x20, #0x1ffffffff
    svc     #1
    yield
    svc     #6
    b       1b
    program                         // 4 signals
1:  mov     x0, x19
    svc     #3
    yield
    svc     #6
    b       1b
    program                         // 5 runs a guest
1:  mov     x0, x19
    svc     #4
    yield
    svc     #6
    b       1b
    program                         // 6 touches memory
1:  ldr     x2, [x20]
    str     x2, [x20]
    yield
    b       1b
    program                         // 7 uses floating point
    fmov    d7, x20
1:  fadd    d8, d8, d7
    yield
    fmov    x3, d7
    cmp     x3, x20
    b.eq    1b
    brk     #7                      // somebody else's register
    program                         // 8 a system call that does not exist
    svc     #0x99
    b       victim_programs
    program                         // 9 waits for a while, again and again
1:  mrs     x1, cntpct_el0
    and     x2, x20, #0xfff
    add     x1, x1, x2
    mov     x0, x19
    svc     #2
    yield
    b       1b
    program                         // 10 breaks
    brk     #1
    program                         // 11 jumps away
    br      x20
    .balign 64
victim_end:

// Guests: EL1, MMU off. The first page of the guest's memory.
    .section .rodata.guest, "a"
    .balign 4096
    .global guest_programs, guest_programs_end
guest_programs:
1:  hvc     #1                      // 0 hypercalls
    yield
    b       1b
    .balign 64
1:  add     x0, x0, #1              // 1 spins
    yield
    b       1b
    .balign 64
1:  wfi                             // 2 sleeps
    yield
    b       1b
    .balign 64
    mov     x9, #0xff               // 3 takes interrupts
    msr     S3_0_C4_C6_0, x9        // ICC_PMR_EL1
    mov     x9, #1
    msr     S3_0_C12_C12_7, x9      // ICC_IGRPEN1_EL1
1:  mrs     x1, S3_0_C12_C12_0      // ICC_IAR1_EL1
    msr     S3_0_C12_C12_1, x1      // ICC_EOIR1_EL1
    yield
    tbz     x1, #4, 1b
    wfi
    b       1b
    .balign 64
1:  mrs     x2, cntvct_el0          // 4 sets its timer, sleeps
    add     x2, x2, #0x200
    msr     cntv_cval_el0, x2
    mov     x3, #1
    msr     cntv_ctl_el0, x3
    wfi
    yield
    b       1b
    .balign 64
1:  ldr     x2, [x1]                // 5 touches its devices
    str     x2, [x1]
    hvc     #2
    yield
    b       1b
    .balign 64
1:  bic     x1, x1, #1              // 6 writes what it must not, but not the MMU on: see arena.hpp
    msr     sctlr_el1, x1
    msr     cpacr_el1, x2
    msr     tpidr_el0, x3
    hvc     #3
    yield
    b       1b
    .balign 64
1:  smc     #0                      // 7 firmware, a debug register, the physical timer
    msr     mdscr_el1, x1
    msr     cntp_ctl_el0, x1
    yield
    b       1b
    .balign 64
guest_programs_end:
    .section .note.GNU-stack, "", %progbits
