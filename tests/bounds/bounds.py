#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What holds of the kernel as it is linked: the worst stack, no recursion, no heap, no constructors, W^X.

    tests/bounds/bounds.py build/cmake-release/target [--json]

Exit 0: all holds; 1: something does not."""

import argparse
import json
import re
import sys
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from machine_code import BoundError, Program  # noqa: E402
from stack import Stacks  # noqa: E402

KERNELS = ("kernel-el1", "kernel-el2")
PAGE = 4096

# Who branches to an address from memory, and where that may go. What run_on() is given runs in it or, on another core,
# in serve_request().
REQUESTS = ["*::{lambda(void[*])#*}::_FUN(void[*])"]
TARGETS = {
    "enable": ["kernel_main"],
    "run_on(*": REQUESTS,
    "serve_request(*": REQUESTS,
    "Tags::begin_generation()": ["machine::flush_all()"],
    "smmu::await(*": ["smmu::done*(unsigned long)", "smmu::*::{lambda(unsigned long)#*}::_FUN(unsigned long)"],
}
HEAP = re.compile(r"malloc|calloc|realloc|free|_?sbrk|atexit|_Zn[wa].*|_Zd[la].*|"
                  r"__cxa_.*|__dso_handle|__gxx_personality.*|_Unwind.*")
CONSTRUCTOR = re.compile(r"_GLOBAL__(sub_)?[ID].*|_Z41__static_initialization_and_destruction_0.*")
WRITE, EXECUTE = 1, 4  # sh_flags
SEGMENTS = {"text_end": 5, "rodata_end": 4, "image_end": 6}  # where each ends, p_flags: R = 4, W = 2, X = 1


def stack_bytes():
    """kernel/arch/aarch64/layout.hpp."""
    text = (ROOT / "kernel/arch/aarch64/layout.hpp").read_text()
    return int(re.search(r"kStackBytes = (\d+) \* kPage;", text)[1]) * PAGE


def vectors(program):
    """The sixteen entries of each table of exceptions, and those of the first and the further cores."""
    names = [name for name in ("vectors", "guest_vectors") if name in program.address]
    slots = [program.address[name] + 0x80 * n for name in names for n in range(16)]
    return [program.entry, program.address["secondary_start"], *slots]


def check_stack(program, roots, targets, limits):
    """stack -> its worst, of how much, and the path there."""
    stacks = Stacks(program, targets)
    found = {}
    for name, (used, path) in stacks.run(roots).items():
        steps = [f"{program.name(at)} ({depth})" for at, depth in path]
        if used > limits[name]:
            raise BoundError(f"the {name} stack: {used} of {limits[name]} bytes: " + " -> ".join(steps))
        found[name] = {"bytes": used, "of": limits[name], "path": steps}
    return found, stacks.used


def check_symbols(program):
    if bad := sorted(name for name in program.raw if HEAP.fullmatch(name) or CONSTRUCTOR.fullmatch(name)):
        raise BoundError("heap or run-time symbols: " + ", ".join(bad))


def check_object(path):
    """The linker's script drops .init_array, so what would be in it is looked for before."""
    with open(path, "rb") as file:
        elf = ELFFile(file)
        names = [s.name for s in elf.iter_sections() if re.match(r"\.(preinit_array|init_array|fini_array|ctors|dtors)", s.name)]
        table = elf.get_section_by_name(".symtab")
        names += [s.name for s in table.iter_symbols() if CONSTRUCTOR.fullmatch(s.name)] if table else []
    if names:
        raise BoundError(f"{path.name}: static constructors: " + ", ".join(names))


def check_rights(program):
    """Segments and sections against the rights that map_image() of kernel/arch/aarch64/tables.cpp gives by these symbols."""
    loads = [s for s in program.segments if s["p_type"] == "PT_LOAD"]
    for load in loads:
        if load["p_flags"] & 3 == 3:
            raise BoundError(f"the segment at {load['p_vaddr']:#x} is writable and executable")
    if any(s["p_type"] != "PT_LOAD" and s["p_type"] != "PT_GNU_STACK" or s["p_flags"] & 3 == 3 for s in program.segments):
        raise BoundError("segments that are not loaded: " + ", ".join(s["p_type"] for s in program.segments))
    start = program.address["image_start"]
    if [load["p_flags"] for load in loads] != list(SEGMENTS.values()):
        raise BoundError("the segments are not text R-X, constants R--, data RW-")
    for load, (symbol, flags) in zip(loads, SEGMENTS.items(), strict=True):
        end = program.address[symbol]
        if start % PAGE or end % PAGE or not start <= load["p_vaddr"] <= load["p_vaddr"] + load["p_memsz"] <= end:
            raise BoundError(f"the segment that ends at {symbol} is not on its own pages")
        for name, at, size, section, _ in program.sections:
            same = bool(section & WRITE) == bool(flags & 2) and bool(section & EXECUTE) == bool(flags & 1)
            if at < end and at + size > start and not same:
                raise BoundError(f"{name} is in the pages before {symbol}, which have other rights")
        start = end
    for name, at, size, *_ in program.sections:
        if size and not program.address["image_start"] <= at <= at + size <= program.address["image_end"]:
            raise BoundError(f"{name} is outside of the image")


def kernel(directory, name):
    """(figures, patterns of TARGETS that were of use) of one kernel below a build's directory."""
    program = Program(directory / f"{name}.elf")
    objects = sorted(path for path in directory.rglob(f"{name}.dir/**/*") if path.suffix in (".o", ".obj"))
    if not objects:
        raise BoundError(f"no objects of {name} below {directory}")
    for path in objects:
        check_object(path)
    check_symbols(program)
    check_rights(program)
    core = stack_bytes() + 2 * PAGE  # a guard page below, the Cpu above
    panic = (program.address["panic_frame"] - program.address["core_memory"]) % core
    return check_stack(program, vectors(program), TARGETS, {"core": stack_bytes(), "panic": panic})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where kernel-el1.elf, kernel-el2.elf and their objects are")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args()
    figures, failed = {}, False
    for name in KERNELS:
        try:
            figures[name], _ = kernel(options.directory, name)
        except (BoundError, ELFError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, stacks in figures.items():
            for stack, one in stacks.items():
                print(f"{name}: {stack} stack: {one['bytes']} of {one['of']} bytes: " + " -> ".join(one["path"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
