# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Rule 2: address ranges, compared as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .table import Finding, Table, Use, listed

_PAGE = 4096


def ranges_rule(table: Table) -> Iterator[Finding]:
    devices = [o for o in table.objects.values() if o["kind"] == "device"]
    for number, one in enumerate(devices):
        low, high = one["base"], one["base"] + one["bytes"]
        if low < table.ram[0] + table.ram[1] and table.ram[0] < high:
            yield Finding(one["line"], "E187", f'{one["name"]} (0x{low:x}..0x{high:x}) lies in RAM')
        for other in devices[number + 1 :]:
            if low < other["base"] + other["bytes"] and other["base"] < high:
                yield Finding(
                    other["line"],
                    "E187",
                    f'{other["name"]} overlaps {one["name"]} at 0x{max(low, other["base"]):x}',
                    notes=(f'{one["name"]} is made by line {one["line"]}',),
                )
    irqs: dict[int, dict[str, Any]] = {}
    for obj in table.objects.values():
        if obj["kind"] == "irq":
            first = irqs.setdefault(obj["intid"], obj)
            if first is not obj:
                yield Finding(
                    obj["line"], "E187", f'{obj["name"]} and {first["name"]} are the same interrupt {obj["intid"]}'
                )
    yield from _mapped_ranges(table)


def _mapped_ranges(table: Table) -> Iterator[Finding]:
    by_holder: dict[str, list[Use]] = {}
    for use in table.uses:
        if not use.mapped:
            continue
        by_holder.setdefault(use.holder, []).append(use)
        size = table.objects[use.object]["bytes"]
        limit = max((size + _PAGE - 1) // _PAGE * _PAGE, _PAGE)
        if use.bytes > limit or use.offset > limit - use.bytes:
            yield Finding(
                use.line, "E187", f"{use.holder} maps 0x{use.bytes:x} bytes of {use.object}, which has 0x{size:x}"
            )
        if use.address % _PAGE or use.bytes % _PAGE or use.offset % _PAGE or not use.bytes:
            yield Finding(use.line, "E189", f"{use.holder} maps {use.object} off page boundaries")
    for uses in by_holder.values():
        ordered = sorted(uses, key=lambda u: u.address)
        for low, high in zip(ordered, ordered[1:]):
            if low.address + low.bytes > high.address:
                yield Finding(high.line, "E189", f"{high.holder} maps {high.object} over {low.object}")


def guest_memory_rule(table: Table) -> Iterator[Finding]:
    """What a guest's device tree will say (setting ram) is what its VMM has mapped."""
    for process in table.processes.values():
        if process["role"] != "vmm":
            continue
        mapped = [u for u in table.uses if u.holder == process["name"] and u.name == "guest.ram"]
        told = table.settings(process["name"]).get("ram", "")
        sizes = {u.bytes for u in mapped if u.mapped} | {table.objects[u.object]["bytes"] for u in mapped}
        if len(mapped) != 2 or len({u.object for u in mapped}) != 1 or sizes != {int(told) if told.isdecimal() else -1}:
            have = listed([f"0x{s:x}" for s in sorted(sizes)]) or "nothing"
            yield Finding(
                process["line"],
                "E199",
                f'guest "{process["guest"]}" is told of {told or "no"} bytes of RAM, ' f"its VMM has {have}",
            )
