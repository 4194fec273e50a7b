// SPDX-License-Identifier: Apache-2.0
// Copyright The Twain authors
//
// The image's first instruction. Linux Documentation/arm64/booting.rst: entered at EL2 or EL1 with the MMU off,
// interrupts masked, x0 = physical address of the device tree, at any 2 MB boundary. Only the boot core runs.
//
// Nothing here or behind it depends on the address: what pointers the data holds are relocated first.
    .section .head, "ax"
    .global loader_head
loader_head:
    b start                     // code0
    .word 0                     // code1
    .quad 0                     // text_offset
    .quad 0                     // image_size: the packer's
    .quad 0                     // flags: the packer's
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .word 0
    .global loader_packed_offset
loader_packed_offset:
    .quad 0                     // where the packed header is: the packer's
    .quad 0x3152444c4e575454    // by which the packer knows the loader

    .text
start:
    msr daifset, #0xf
    mov x20, x0
    adrp x19, loader_head
    mrs x21, CurrentEL
    lsr x21, x21, #2
    adrp x1, vectors
    add x1, x1, :lo12:vectors
    // Alignment checking on: with the MMU off all memory is Device memory and unaligned accesses fault on
    // hardware; emulators only tell when asked. FP registers on: libfdt was compiled to use them.
    cmp x21, #2
    b.ne 1f
    msr vbar_el2, x1
    ldr w2, =0x30c5083a         // SCTLR_EL2: RES1, SA, A; M, C, I off
    msr sctlr_el2, x2
    mrs x3, hcr_el2
    mov w2, #0x33ff             // CPTR_EL2: RES1, TFP clear
    mov w4, #(3 << 20)          // with E2H: FPEN
    tst x3, #(1 << 34)
    csel x2, x2, x4, eq
    msr cptr_el2, x2
    b 2f
1:  msr vbar_el1, x1
    ldr w2, =0x30d0080a         // SCTLR_EL1: RES1, SA, A
    msr sctlr_el1, x2
    mov w2, #(3 << 20)
    msr cpacr_el1, x2
2:  isb

    // R_AARCH64_RELATIVE: *(base + offset) = base + addend
    adrp x0, loader_rela_start
    add x0, x0, :lo12:loader_rela_start
    adrp x1, loader_rela_end
    add x1, x1, :lo12:loader_rela_end
3:  cmp x0, x1
    b.hs 4f
    ldp x2, x3, [x0], #16
    ldr x4, [x0], #8
    cmp w3, #1027
    b.ne .                      // the linker script lets no other kind through
    add x4, x4, x19
    str x4, [x19, x2]
    b 3b

    // A stale line of the cache must not be written over what comes now.
4:  adrp x0, loader_bss_start
    add x0, x0, :lo12:loader_bss_start
    adrp x1, loader_end
    add x1, x1, :lo12:loader_end
    sub x1, x1, x0
    bl loader_clean
    adrp x0, loader_bss_start
    add x0, x0, :lo12:loader_bss_start
    adrp x1, loader_end
    add x1, x1, :lo12:loader_end
5:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.lo 5b

    adrp x0, loader_stack_top
    add sp, x0, :lo12:loader_stack_top
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    mov x1, x19
    mov x2, x21
    bl loader_main
    b .

// void loader_clean(address, bytes): cleans and invalidates to the point of coherency
    .global loader_clean
loader_clean:
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4        // DminLine: log2 of words
    mov x3, #4
    lsl x2, x3, x2
    sub x3, x2, #1
    add x1, x0, x1
    bic x0, x0, x3
1:  dc civac, x0
    add x0, x0, x2
    cmp x0, x1
    b.lo 1b
    dsb sy
    ret

// void loader_enter(kernel, boot information)
    .global loader_enter
loader_enter:
    mov x9, x0
    mov x0, x1
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    dsb sy
    ic iallu
    dsb sy
    isb
    br x9

// std::uint64_t loader_firmware(conduit, function, argument...): one SMCCC call; conduit 1 smc, 2 hvc
    .global loader_firmware
loader_firmware:
    mov x9, x0
    mov x0, x1
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    cmp x9, #2
    b.eq 1f
    smc #0
    ret
1:  hvc #0
    ret

// An exception in the loader is a fault of the loader, or of a tree that it should have refused.
    .balign 2048
vectors:
    .rept 16
    b exception
    .balign 128
    .endr
exception:
    mrs x3, CurrentEL
    cmp x3, #8
    b.ne 1f
    mrs x0, esr_el2
    mrs x1, elr_el2
    mrs x2, far_el2
    b 2f
1:  mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
2:  adrp x3, loader_stack_top
    add sp, x3, :lo12:loader_stack_top
    bl loader_exception
    b .
    .section .note.GNU-stack, "", %progbits
