# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The physical memory of a system, as init will place it.

Init (system/init/builder.cpp, stock.hpp) takes, in this order: RAM objects of large alignment, the other RAM objects,
each process's image and pool, its own pool; each at the lowest free address where it fits. Where free memory begins
depends on the loader, so addresses in RAM are exact for an image at the usual place, and the order is always.
"""

from __future__ import annotations

from dataclasses import dataclass

from .table import SYSTEM, Process, System
from .units import BLOCK, PAGE, round_up, size_text

_LOAD_OFFSET = BLOCK  # QEMU puts an arm64 Image 2 MB above the start of RAM
_KERNEL_BYTES = 4 << 20  # loader, kernel and its data, rounded up
_SYSTEM_POOL_BYTES = 1 << 20  # init's pool, for what two processes share
_ENV_HEADER, _ENV_ENTRY = 72, 24


@dataclass(frozen=True)
class Area:
    base: int
    bytes: int
    what: str
    owner: str
    line: int


class DoesNotFit(Exception):
    """There is no free range for an object, although their sum is below the RAM's size."""


class _Stock:
    """Free ranges; takes the lowest that fits (system/init/stock.hpp)."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self.free = sorted(ranges)

    def take(self, size: int, align: int, what: str) -> int:
        for number, (base, length) in enumerate(self.free):
            at = round_up(base, align)
            if at + size <= base + length:
                rest = [(base, at - base), (at + size, base + length - at - size)]
                self.free[number : number + 1] = [r for r in rest if r[1]]
                return at
        raise DoesNotFit(what)


def areas(system: System) -> list[Area]:
    """All areas by address. Raises DoesNotFit."""
    base = int(system.board["ram_base"])
    found = [Area(o.base, o.bytes, o.name, o.owner, o.line) for o in system.objects if o.kind == "device"]
    at = base + _LOAD_OFFSET
    found.append(Area(at, _KERNEL_BYTES, "loader and kernel", SYSTEM, 0))
    at += _KERNEL_BYTES
    for module in system.modules:
        if module.bytes:
            size = round_up(module.bytes, PAGE)
            found.append(Area(at, size, f"archive: {module.name}", SYSTEM, 0))
            at += size
    at = round_up(at, BLOCK)
    stock = _Stock([(base, _LOAD_OFFSET), (at, base + system.ram - at)])

    def place(size: int, align: int, what: str, owner: str, line: int) -> None:
        if size:
            found.append(Area(stock.take(size, align, what), size, what, owner, line))

    ram = [o for o in system.objects if o.kind == "ram"]
    for obj in [o for o in ram if o.align > PAGE] + [o for o in ram if o.align <= PAGE]:
        place(obj.bytes, obj.align, obj.name, obj.owner, obj.line)
    for process in system.processes:
        place(
            image_bytes(system, process),
            PAGE,
            f"{process.name}: program, stack, environment",
            process.name,
            process.line,
        )
        place(process.pool_bytes, PAGE, f"{process.name}: kernel memory", process.name, process.line)
    place(_SYSTEM_POOL_BYTES, PAGE, "init: kernel memory of what is shared", SYSTEM, 0)
    found += [Area(start, size, "free", "", 0) for start, size in stock.free]
    return sorted(found, key=lambda a: a.base)


def image_bytes(system: System, process: Process) -> int:
    """Program, stack and environment of a process, each in whole pages."""
    return (
        sum(s.bytes for s in process.segments)
        + process.stack_bytes
        + round_up(environment_bytes(system, process), PAGE)
    )


def environment_bytes(system: System, process: Process) -> int:
    """As init writes it (libs/rt/env.hpp)."""
    names = [u.name for u in system.uses() if u.holder == process.name and u.name]
    texts = [text for setting in process.settings for text in setting]
    strings = [process.name, system.name, *names, *texts]
    entries = len(names) + len(process.settings)
    return _ENV_HEADER + _ENV_ENTRY * entries + sum(len(s.encode()) + 1 for s in strings)


def text(system: System) -> str:
    try:
        placed = areas(system)
    except DoesNotFit as error:
        return f"no free range for {error}\n"
    lines = [f"{'address':>12}  {'size':>10}  {'line':>4}  what (owner)"]
    for area in placed:
        owner = f" ({area.owner})" if area.owner else ""
        lines.append(f"0x{area.base:010x}  {size_text(area.bytes):>10}  {area.line or '':>4}  {area.what}{owner}")
    lines.append(
        "Devices lie where the board has them. RAM is for an image loaded 2M above its start; the order is always this."
    )
    return "\n".join(lines) + "\n"
