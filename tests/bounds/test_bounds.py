# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Bounds of the two kernels as they are linked, and of small programs that break each of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(Path(__file__).parent))

import bounds  # noqa: E402
from machine_code import BoundError, Program, tool  # noqa: E402
from twainlib import build  # noqa: E402
from twainlib.paths import build_root  # noqa: E402

SCRIPT = ROOT / "kernel/arch/aarch64/kernel.ld"
LIMITS = {"core": 8192, "panic": 4096}

# The least that is a kernel: one vector takes the core's stack and calls a function of 64 bytes, that one of 32.
LEAST = """
    .macro function name
    .text
    .global \\name
    .type \\name, %function
\\name:
    .endm
    .section .head, "ax"
    .global kernel_header, secondary_start, vectors, core_memory, panic_frame
kernel_header:
    b       .
secondary_start:
    b       .
    .section .text.vectors, "ax"
    .balign 0x800
vectors:
    mov     sp, x19
    bl      outer
    eret
    .rept   15
    .balign 0x80
    b       fault
    .endr
fault:
    adrp    x0, panic_frame
    add     sp, x0, :lo12:panic_frame
    b       inner
    .section .percore, "aw", %nobits
    .balign 4096
core_memory:
    .skip   0x9000
panic_frame:
    .skip   0x1000
    function inner
    sub     sp, sp, #32
    add     sp, sp, #32
    ret
    .size   inner, . - inner
    function outer
    stp     x29, x30, [sp, #-64]!
    mov     x29, sp
    {body}
    ldp     x29, x30, [sp], #64
    ret
    .size   outer, . - outer
    .section .rodata
    .quad   0
    .data
    .quad   0
    .text
    {more}
"""


@pytest.fixture
def program(tmp_path):
    def make(body="bl inner", more="", script=None):
        source, linked, rules = tmp_path / "least.S", tmp_path / "least.elf", tmp_path / "least.ld"
        source.write_text(LEAST.replace("{body}", body).replace("{more}", more))
        rules.write_text((script or (lambda text: text))(SCRIPT.read_text()))
        subprocess.run([tool("gcc"), "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--defsym=KERNEL_BASE=0x400000",
                        "-Wl,--no-warn-rwx-segments", "-Wl,-T," + str(rules), "-o", linked, source], check=True)
        return Program(linked)
    return make


def judged(program, targets=None):
    bounds.check_symbols(program)
    bounds.check_rights(program)
    found, _ = bounds.check_stack(program, bounds.vectors(program), targets or {}, LIMITS)
    return found


# ------------------------------------------------------------------------------------------ the kernels


@pytest.fixture(scope="module")
def directory():
    log = build_root() / "tests" / "bounds-build.log"
    return build.targets(["target"], log) / "target"


@pytest.mark.parametrize("name", bounds.KERNELS)
def test_kernel(directory, name):
    figures, used = bounds.kernel(directory, name)
    assert set(figures) == {"core", "panic"}
    assert used == {pattern for patterns in bounds.TARGETS.values() for pattern in patterns}, "a target that is nowhere"


# ------------------------------------------------------------------------------------------ programs that break a bound


def test_depth_is_exact(program):
    found = judged(program())
    assert (found["core"]["bytes"], found["panic"]["bytes"]) == (96, 32)
    assert found["core"]["path"] == ["vectors+0x4 (0)", "outer (64)", "inner (32)"]


def test_a_large_frame(program):
    with pytest.raises(BoundError, match=r"core stack: 8288 of 8192 bytes: vectors\+0x4 \(0\) -> outer \(8256\) -> inner \(32\)"):
        judged(program("sub sp, sp, #2, lsl #12\n bl inner\n add sp, sp, #2, lsl #12"))


def test_a_frame_too_large_for_one_immediate(program):
    found = judged(program("mov x12, #4112\n sub sp, sp, x12\n bl inner\n mov x12, #4112\n add sp, sp, x12"))
    assert found["core"]["bytes"] == 64 + 4112 + 32


def test_recursion_prints_the_cycle(program):
    more = "function again\n stp x29, x30, [sp, #-16]!\n bl outer\n ldp x29, x30, [sp], #16\n ret\n .size again, . - again"
    with pytest.raises(BoundError, match="recursion: outer -> again -> outer"):
        judged(program("bl again", more))


def test_a_tail_call_into_oneself_by_another(program):
    more = "function other\n b outer\n .size other, . - other"
    with pytest.raises(BoundError, match="recursion: outer -> other -> outer"):
        judged(program("cbz x0, 1f\n ldp x29, x30, [sp], #64\n b other\n1:", more))


@pytest.mark.parametrize("branch", ["blr x1", "br x1"])
def test_an_indirect_branch_without_targets(program, branch):
    with pytest.raises(BoundError, match="outer.*: an indirect branch that is not in the table"):
        judged(program(branch))


GIVEN = "function given\n sub sp, sp, #128\n add sp, sp, #128\n ret\n .size given, . - given"


def test_an_indirect_call_counts(program):
    found = judged(program("adrp x1, given\n add x1, x1, :lo12:given\n blr x1", GIVEN), {"outer": ["given"]})
    assert found["core"]["bytes"] == 64 + 128


@pytest.mark.parametrize("taken", ["adrp x2, given\n add x2, x2, :lo12:given", "adr x2, given", "ldr x2, =given"])
def test_an_address_that_is_no_target(program, taken):
    with pytest.raises(BoundError, match="address is taken: given"):
        judged(program(taken, GIVEN + "\n .ltorg"))


def test_an_address_from_either_of_two_ways(program):
    ways = "adrp x2, inner\n cbz x0, 1f\n adrp x2, given\n1: str x2, [x3]\n add x2, x2, :lo12:given"
    with pytest.raises(BoundError, match="address is taken: given"):
        judged(program(ways, GIVEN))


def test_a_page_that_is_overwritten_is_no_address(program):
    judged(program("adrp x2, given\n mov x2, x0\n add x2, x2, :lo12:given\n b 1f\n adrp x2, given\n1:", GIVEN))


def test_an_address_in_data_that_is_no_target(program):
    with pytest.raises(BoundError, match="address is taken: given"):
        judged(program(more=GIVEN + "\n .data\n .quad given"))


def test_a_frame_of_unknown_size(program):
    with pytest.raises(BoundError, match="gives SP an unknown value"):
        judged(program("sub sp, sp, x1"))


def test_a_loop_that_pushes(program):
    with pytest.raises(BoundError, match="there may be no end"):
        judged(program("1: sub sp, sp, #4080\n b 1b"))


def test_what_is_left_on_the_stack(program):
    with pytest.raises(BoundError, match="returns with 16 bytes on the stack"):
        judged(program("sub sp, sp, #16"))


SWITCH = """
    cmp     w1, #1
    b.hi    9f
    adrp    x0, table
    add     x0, x0, :lo12:table
    ldrb    w0, [x0, w1, uxtw]
    adr     x1, 1f
    add     x0, x1, w0, sxtb #2
    br      x0
1:  b       9f
2:  sub     sp, sp, #256
    bl      inner
    add     sp, sp, #256
9:
    .pushsection .rodata
table:
    .byte   0, 1
    .popsection
"""


def test_a_switch_is_followed(program):
    assert judged(program(SWITCH))["core"]["bytes"] == 64 + 256 + 32


@pytest.mark.parametrize("name", ["malloc", "_Znwm", "_ZdlPvm", "__cxa_atexit", "atexit", "_GLOBAL__sub_I_log"])
def test_a_symbol_of_the_heap(program, name):
    with pytest.raises(BoundError, match=f"symbols: {name}"):
        judged(program(more=f"function {name}\n ret\n .size {name}, . - {name}"))


@pytest.mark.parametrize("old, new, message", [
    ("FLAGS(5)", "FLAGS(7)", "writable and executable"),
    ("FLAGS(6)", "FLAGS(7)", "writable and executable"),
    ("FLAGS(4)", "FLAGS(6)", "not text R-X, constants R--"),
    ("rodata_end = .;\n    .data : { *(.data .data.*) } :data",
     ".data : { *(.data .data.*) } :data\n    . = ALIGN(4096);\n    rodata_end = .;",
     ".data is in the pages before rodata_end, which have other rights"),
    ("rodata_end = .;", "rodata_end = . - 4096;", "not on its own pages"),
])
def test_rights(program, old, new, message):
    assert old in SCRIPT.read_text()
    with pytest.raises(BoundError, match=message):
        judged(program(script=lambda text: text.replace(old, new)))


def test_a_constructor_that_the_linker_would_drop(tmp_path):
    source, built = tmp_path / "static.cpp", tmp_path / "static.o"
    source.write_text("int given();\nint value = given();\n")
    subprocess.run([tool("g++"), "-O2", "-c", "-o", built, source], check=True)
    with pytest.raises(BoundError, match="static constructors"):
        bounds.check_object(built)
