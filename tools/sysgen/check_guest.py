# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Checks guests: quantities, cores, budgets, command line, kernel and initrd."""

from __future__ import annotations

import math
import re
from pathlib import Path

from . import files, schema, units
from .context import Context
from .diag import closest
from .files import FileProblem
from .model import BootFile, Guest
from .reader import Entry


class GuestChecker:
    """`personas` are the persona sections by the guest that they show."""

    def __init__(self, ctx: Context, personas: dict[str, Entry]) -> None:
        self.ctx, self.sink, self.personas = ctx, ctx.sink, personas

    def guest(self, index: int, entry: Entry) -> Guest:
        vcpus = entry.get("vcpus", 1)
        if not 1 <= vcpus <= schema.MAX_VCPUS:
            self.sink.add("E142", entry.value_pos("vcpus"), f"vcpus {vcpus} is outside 1..{schema.MAX_VCPUS}")
            vcpus = 1
        ram = self._guest_ram(entry)
        klass = entry.get("class", "guest")
        if klass != "guest":
            self.sink.add(
                "E113",
                entry.value_pos("class"),
                f'guest "{entry.name}" may not run in class "{klass}"',
                "a guest above a server could starve it",
            )
        kernel, initrd = self._boot_files(entry, ram)
        persona = self.personas.get(entry.name)
        console = entry.get("console", "")
        return Guest(
            entry=entry,
            name=entry.name,
            klass="guest",
            program=self.ctx.program(entry, schema.PROGRAM_VMM),
            log=entry.get("log", False),
            ram=ram,
            vcpus=vcpus,
            cores=self._cores(entry),
            budget=self._budget(entry),
            cmdline=self._cmdline(entry),
            console=console,
            ready=entry.get("ready", f"{entry.name} READY"),
            kernel=kernel,
            initrd=initrd,
            label=persona.get("label", entry.name) if persona else entry.name,
            color=persona.get("color", self._palette(index)) if persona else self._palette(index),
            persona=persona,
        )

    def _palette(self, index: int) -> str:
        taken = {e.get("color") for e in self.personas.values()}
        free = [
            c
            for c in schema.PALETTE
            if all(t is None or color_distance(c, t) >= schema.MIN_COLOR_DISTANCE for t in taken)
        ]
        return (free or list(schema.PALETTE))[index % len(free or schema.PALETTE)]

    def _guest_ram(self, entry: Entry) -> int:
        ram = int(entry.get("ram", schema.DEFAULT_GUEST_RAM))
        if ram < schema.MIN_GUEST_RAM:
            self.sink.add("E140", entry.value_pos("ram"), f"ram {units.size_text(ram)} is less than 2M")
        elif ram % units.BLOCK:
            self.sink.add("E140", entry.value_pos("ram"), f"ram {units.size_text(ram)} is not a multiple of 2M")
        return ram

    def _cores(self, entry: Entry) -> list[int]:
        cores: list[int] = entry.get("cores", [])
        if "cores" in entry.values and not cores:
            self.sink.add("E117", entry.value_pos("cores"), 'list "cores" is empty', "leave the key out for all cores")
        if self.ctx.board is None:
            return [0]
        for index, core in enumerate(cores):
            if not 0 <= core < self.ctx.cpus:
                self.sink.add(
                    "E143",
                    entry.value_pos("cores", index),
                    f"core {core} does not exist: the board has cores 0..{self.ctx.cpus - 1}",
                )
        return cores or list(range(self.ctx.cpus))

    def _budget(self, entry: Entry) -> tuple[int, int] | None:
        budget: tuple[int, int] | None = entry.get("budget")
        if budget is None:
            return None
        amount, period = budget
        if not schema.MIN_PERIOD_NS <= period <= schema.MAX_PERIOD_NS:
            self.sink.add("E144", entry.value_pos("budget"), f"period {units.time_text(period)} is outside 1ms..1s")
        elif amount > period:
            self.sink.add(
                "E145",
                entry.value_pos("budget"),
                f"budget {units.time_text(amount)} is larger than period " f"{units.time_text(period)}",
            )
        elif amount < 2 * schema.MIN_BUDGET_NS:
            self.sink.add(
                "E144",
                entry.value_pos("budget"),
                f"budget {units.time_text(amount)} is shorter than " f"{units.time_text(2 * schema.MIN_BUDGET_NS)}",
            )
        return budget

    def _cmdline(self, entry: Entry) -> str:
        cmdline: str = entry.get("cmdline", schema.DEFAULT_CONSOLE_CMDLINE)
        pos = entry.value_pos("cmdline")
        if len(cmdline.encode()) > schema.MAX_CMDLINE:
            self.sink.add("E118", pos, f"cmdline has {len(cmdline.encode())} bytes, more than {schema.MAX_CMDLINE}")
        consoles = re.findall(r"(?:^|\s)console=([A-Za-z0-9]+)", cmdline)
        if consoles and consoles[-1] != schema.GUEST_CONSOLE:  # the last one is where init reads and writes
            message = f"cmdline wants {consoles[-1]} but the guest's console is {schema.GUEST_CONSOLE}"
            self.sink.add("E149", pos, message, f"write console={schema.GUEST_CONSOLE}")
        if re.search(r"(?:^|\s)root=/dev/(vd|sd|mmcblk|nvme)", cmdline):
            self.sink.add("W148", pos, "cmdline names a root device but the guest has no disk")
        return cmdline

    def _boot_files(self, entry: Entry, ram: int) -> tuple[BootFile, BootFile | None]:
        """Kernel and initrd: `image` supplies what is not named by itself."""
        image = entry.get("image")
        if image is not None and image not in schema.IMAGES:
            self.sink.add("E119", entry.value_pos("image"), f'unknown image "{image}"', closest(image, schema.IMAGES))
        if "image" not in entry.present:
            if "kernel" not in entry.present:
                self.sink.add("E104", entry.pos, f'missing key "kernel" in {entry.title}', 'or write image = "debian"')
            elif "initrd" not in entry.present:
                self.sink.add(
                    "W147",
                    entry.pos,
                    f'guest "{entry.name}" has neither disk nor initrd',
                    "fine for a bare-metal Image; Linux will find no root file system",
                )
        kernel = self._boot_file(entry, "kernel", f"{image}/vmlinux" if image else "")
        initrd = None
        if "initrd" in entry.present or image:
            initrd = self._boot_file(entry, "initrd", f"{entry.name}.cpio.gz" if image else "")
        try:
            if kernel.path is not None:
                header = files.read_kernel(kernel.path)
                kernel = BootFile(kernel.module, kernel.path, header.bytes, header.text_offset + header.image_bytes)
        except FileProblem as problem:
            self.ctx.problem(entry, "kernel", "image", problem)
        try:
            if initrd is not None and initrd.path is not None:
                initrd = BootFile(initrd.module, initrd.path, files.read_initrd(initrd.path, ram))
        except FileProblem as problem:
            self.ctx.problem(entry, "initrd", "image", problem)
        need = units.round_up(kernel.memory_bytes, units.BLOCK) + (initrd.bytes if initrd else 0) + units.BLOCK
        if kernel.memory_bytes and need > ram:
            self.sink.add(
                "E196",
                entry.value_pos("ram") if "ram" in entry.present else entry.pos,
                f"kernel, initrd and device tree need {units.size_text(units.round_up(need, units.BLOCK))}, "
                f'guest "{entry.name}" has {units.size_text(ram)}',
            )
        return kernel, initrd

    def _boot_file(self, entry: Entry, key: str, default: str) -> BootFile:
        """The module for the file that `key` names, or for the tool-made one called `default`."""
        if key in entry.present:
            text = entry.get(key, "")
            if not text:
                if key in entry.values:
                    self.sink.add("E117", entry.value_pos(key), f'"{key}" is empty')
                return BootFile("")
            return self.ctx.module(Path(text).name, self.ctx.doc.file.parent / text)
        return self.ctx.made(self.ctx.options.files, default)


def color_distance(one: str, other: str) -> float:
    def channels(text: str) -> list[int]:
        return [int(text[i : i + 2], 16) for i in (1, 3, 5)]

    return math.dist(channels(one), channels(other))
