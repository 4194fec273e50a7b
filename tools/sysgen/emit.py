# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Writes the lowered system: C++ tables, archive manifest, board expectation, the table itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from . import abi
from .table import INIT, SYSTEM, Capability, Mapping, Object, System
from .units import BLOCK, round_up

FILES = ("tables.cpp", "manifest.json", "expect.json", "system.json")


def write(system: System, directory: Path) -> list[Path]:
    """Writes all files that have changed (an unchanged one keeps its time, so nothing is built again)."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = dict(zip(FILES, (tables_cpp(system), manifest(system), expectation(system), system.to_json())))
    written = []
    for name, text in texts.items():
        path = directory / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def manifest(system: System) -> str:
    """The archive's files: what the image packer puts in."""
    return (
        json.dumps({"version": 1, "files": [{"name": m.name, "path": m.path} for m in system.modules]}, indent=1) + "\n"
    )


def expectation(system: System) -> str:
    """What the loader compares the machine's device tree with."""
    archive = sum(round_up(m.bytes, 4096) for m in system.modules)
    needed = sum(round_up(o.bytes, BLOCK) for o in system.objects if o.kind == "ram") + archive + (16 << 20)
    board = system.board
    return (
        json.dumps(
            {
                "version": 1,
                "board": board["name"],
                "compatible": board["compatible"],
                "min_ram": min(needed, system.ram),
                "ram": system.ram,
                "cores": system.cpus,
                "gic_versions": board["gic_versions"],
                "uart_base": board["uart_base"],
            },
            indent=1,
        )
        + "\n"
    )


def tables_cpp(system: System) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["c"] = _c_string
    environment.filters["hex"] = lambda value: f"0x{value:x}" if value > 9 else str(value)
    return environment.get_template("tables.cpp.j2").render(_Numbers(system).context())


class _Numbers:
    """The table with indices and bit masks in place of names."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.objects = {o.name: i for i, o in enumerate(system.objects)}
        self.kinds = {o.name: o.kind for o in system.objects}
        self.processes = {p.name: i for i, p in enumerate(system.processes)}

    def context(self) -> dict[str, Any]:
        system = self.system
        return {
            "system": system,
            "objects": [self._object(o) for o in system.objects],
            "processes": [
                {
                    "name": p.name,
                    "role": p.role,
                    "guest": p.guest,
                    "program": p.program,
                    "entry": p.entry,
                    "stack_bytes": p.stack_bytes,
                    "pool_bytes": p.pool_bytes,
                    "thread": self.objects[p.thread],
                    "segments": [
                        {
                            "file_offset": s.file_offset,
                            "file_bytes": s.file_bytes,
                            "address": s.address,
                            "bytes": s.bytes,
                            "rights": abi.mask("ram", s.rights),
                        }
                        for s in p.segments
                    ],
                    "capabilities": self._capabilities(p.name),
                    "maps": self._maps(p.name),
                    "settings": p.settings,
                }
                for p in system.processes
            ],
            "init_capabilities": self._capabilities(INIT),
            "init_maps": self._maps(INIT),
        }

    def _object(self, o: Object) -> dict[str, Any]:
        a, b, flags = 0, 0, 0
        if o.kind == "ram":
            a, b = o.bytes, o.align
        elif o.kind == "device":
            a, b = o.base, o.bytes
        elif o.kind == "irq":
            a, b = o.intid, int(o.edge)
        elif o.kind == "sched":
            a, b, flags = o.budget_ns, o.period_ns, int(o.hard)
        elif o.kind == "vcpu":
            a, b = o.affinity, self.objects[o.space]
        elif o.kind == "thread":
            a = self.objects[o.sched] if o.sched else abi.NONE
        owner = "kSystemOwner" if o.owner == SYSTEM else str(self.processes[o.owner])
        return {
            "name": o.name,
            "kind": o.kind,
            "priority": o.priority,
            "core": o.core,
            "flags": flags,
            "owner": owner,
            "line": o.line,
            "a": a,
            "b": b,
            "module": o.module,
        }

    def _capabilities(self, holder: str) -> list[dict[str, Any]]:
        return [self._capability(c) for c in self.system.capabilities if c.holder == holder]

    def _capability(self, c: Capability) -> dict[str, Any]:
        return {
            "slot": c.slot,
            "object": self.objects[c.object],
            "rights": abi.mask(self.kinds[c.object], c.rights),
            "badge": c.badge,
            "name": c.name,
            "line": c.line,
        }

    def _maps(self, holder: str) -> list[dict[str, Any]]:
        return [self._map(m) for m in self.system.mappings if m.holder == holder]

    def _map(self, m: Mapping) -> dict[str, Any]:
        return {
            "object": self.objects[m.object],
            "offset": m.offset,
            "bytes": m.bytes,
            "address": m.address,
            "rights": abi.mask(self.kinds[m.object], m.rights),
            "name": m.name,
        }


def _c_string(text: str) -> str:
    """A C++ string literal; anything but plain ASCII as octal, which cannot swallow what follows."""
    out = ""
    for byte in text.encode("utf-8"):
        char = chr(byte)
        out += "\\" + char if char in '"\\' else char if 32 <= byte < 127 and char != "?" else f"\\{byte:03o}"
    return f'"{out}"'
