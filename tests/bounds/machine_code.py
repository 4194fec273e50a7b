# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The machine code of a linked program: its symbols and instructions, as the toolchain's own disassembler reads them."""

import bisect
import re
import shutil
import subprocess
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile

LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S+)(?:\t(.*))?$")
ALLOCATED = 2  # sh_flags
CROSS = ("aarch64-linux-gnu-", "aarch64-none-elf-", "")  # as cmake/toolchain-aarch64.cmake looks for it


class BoundError(Exception):
    """The program breaks a bound, or does what cannot be judged."""


def tool(name):
    for prefix in CROSS:
        if path := shutil.which(prefix + name):
            return path
    raise BoundError(f"no {CROSS[0]}{name}: run tools/twain setup")


@dataclass(frozen=True)
class Instruction:
    at: int
    name: str
    operands: str


class Program:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            elf = ELFFile(file)
            self.entry = elf["e_entry"]
            self.segments = [dict(s.header) for s in elf.iter_segments()]
            self.sections = [(s.name, s["sh_addr"], s["sh_size"], s["sh_flags"],
                              b"" if s["sh_type"] == "SHT_NOBITS" else s.data())
                             for s in elf.iter_sections() if s["sh_flags"] & ALLOCATED]
            symbols = [s for s in elf.get_section_by_name(".symtab").iter_symbols() if s.name and not s.name.startswith("$")]
        self.raw = {s.name for s in symbols}
        self.address = {s.name: s["st_value"] for s in symbols}
        named = [s for s in symbols
                 if s["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE") and s["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")]
        pretty = subprocess.run([tool("c++filt")], input="\n".join(s.name for s in named), capture_output=True, text=True,
                                check=True).stdout.splitlines()
        self.functions = {}  # start -> end, of what the compiler made
        self.names = {}
        for symbol, name in zip(named, pretty, strict=True):
            at = symbol["st_value"]
            if symbol["st_info"]["type"] == "STT_FUNC":
                self.functions[at] = at + symbol["st_size"]
                self.names[at] = name
            else:
                self.names.setdefault(at, name)
        self.starts = sorted(self.functions)
        self.labels = sorted(self.names)
        text = subprocess.run([tool("objdump"), "-d", "--no-show-raw-insn", path], capture_output=True, text=True,
                              check=True).stdout
        self.code = [Instruction(int(m[1], 16), m[2], re.sub(r"\s*(//|<).*", "", m[3] or ""))
                     for m in map(LINE.match, text.splitlines()) if m and not m[2].startswith(".")]
        self.index = {one.at: i for i, one in enumerate(self.code)}

    def function(self, at):
        """The compiled function that `at` is in, or None: assembly."""
        i = bisect.bisect_right(self.starts, at) - 1
        return self.starts[i] if i >= 0 and at < self.functions[self.starts[i]] else None

    def name(self, at):
        i = bisect.bisect_right(self.labels, at) - 1
        if i < 0:
            return hex(at)
        offset = at - self.labels[i]
        name = self.names[self.labels[i]].replace("twain::kernel::", "").replace("(anonymous namespace)::", "")
        return name if not offset else f"{name}+{offset:#x}"

    def read(self, at, size):
        for _, start, _, _, data in self.sections:
            if start <= at and at + size <= start + len(data):
                return data[at - start:at - start + size]
        raise BoundError(f"{self.path}: no data at {at:#x}")
