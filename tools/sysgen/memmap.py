# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The physical memory of a system: what lies there, in the order in which it is handed out."""

from __future__ import annotations

from dataclasses import dataclass

from .table import SYSTEM, System
from .units import BLOCK, PAGE, round_up, size_text


@dataclass(frozen=True)
class Area:
    """`base` is exact for devices; for RAM it is where the area lands if the image is loaded lowest."""

    base: int
    bytes: int
    what: str
    owner: str
    line: int


_LOAD_OFFSET = BLOCK        # QEMU and U-Boot put the image 2 MB above the start of RAM
_KERNEL_BYTES = 4 << 20     # loader, kernel and its data, rounded up


def areas(system: System) -> list[Area]:
    """All areas by address. RAM objects that need 2M alignment come first, as they do in init."""
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
    ram = [o for o in system.objects if o.kind == "ram"]
    for obj in sorted(ram, key=lambda o: -o.align):
        at = round_up(at, obj.align)
        found.append(Area(at, obj.bytes, obj.name, obj.owner, obj.line))
        at += obj.bytes
    for process in system.processes:
        for what, size in (("program", sum(s.bytes for s in process.segments)), ("stack", process.stack_bytes),
                           ("kernel memory", process.pool_bytes)):
            if size:
                found.append(Area(at, round_up(size, PAGE), f"{process.name}: {what}", process.name, process.line))
                at += round_up(size, PAGE)
    end = base + system.ram
    if at < end:
        found.append(Area(at, end - at, "free", "", 0))
    return sorted(found, key=lambda a: a.base)


def text(system: System) -> str:
    lines = [f"{'address':>12}  {'size':>10}  {'line':>4}  what (owner)"]
    for area in areas(system):
        owner = f" ({area.owner})" if area.owner else ""
        lines.append(f"0x{area.base:010x}  {size_text(area.bytes):>10}  {area.line or '':>4}  {area.what}{owner}")
    lines.append("Devices lie where the board has them. RAM is shown in the order in which it is handed out; the loader may")
    lines.append("start elsewhere, at any multiple of 2M.")
    return "\n".join(lines) + "\n"
