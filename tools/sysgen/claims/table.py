# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The lowered table as the claim checker reads it: every field checked, nothing taken on trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INIT, SYSTEM = "init", "system"
MEMORY = ("ram", "file", "device")
KNOWN_RIGHTS = {
    "ram": {"read", "write", "exec", "own"},
    "file": {"read", "write", "exec", "own"},
    "device": {"read", "write", "exec", "own"},
    "endpoint": {"call", "receive", "pass"},
    "notification": {"signal", "wait", "arm"},
    "reply": {"use"},
    "irq": {"bind", "ack"},
    "sched": {"bind", "configure"},
    "guest_space": {"map", "use"},
    "vcpu": {"run", "kick", "configure"},
    "thread": {"control", "regs"},
    "cspace": {"insert", "remove", "inspect"},
    "log": {"mint", "power", "log", "info", "firmware"},
}


@dataclass(frozen=True, order=True)
class Finding:
    """A fault of the table. `code` W... is a remark; E... means that a claim, or rule 2, does not hold."""

    line: int
    code: str
    message: str
    col: int = 1
    notes: tuple[str, ...] = ()


class Malformed(Exception):
    """The table is not one: a field is missing or of the wrong type."""


@dataclass(frozen=True)
class Use:
    """One way in which a process holds an object: a capability or a mapping."""

    holder: str
    object: str
    rights: frozenset[str]
    name: str
    line: int
    badge: int
    offset: int
    bytes: int
    address: int
    mapped: bool


class Table:
    """The parsed table with indices by name. Collects structural faults (E189)."""

    def __init__(self, system: Any) -> None:
        if not isinstance(system, dict):
            raise Malformed("not an object")
        self.findings: list[Finding] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, dict[str, Any]] = {}
        for obj in _rows(system, "objects"):
            _typed(
                obj,
                "object",
                {
                    "name": str,
                    "kind": str,
                    "owner": str,
                    "line": int,
                    "bytes": int,
                    "base": int,
                    "intid": int,
                    "parties": list,
                    "module": str,
                },
            )
            self._unique(self.objects, obj)
            if obj["kind"] not in KNOWN_RIGHTS:
                raise Malformed(f'object {obj["name"]} has unknown kind "{obj["kind"]}"')
        for process in _rows(system, "processes"):
            _typed(
                process,
                "process",
                {
                    "name": str,
                    "role": str,
                    "guest": str,
                    "line": int,
                    "settings": list,
                    "segments": list,
                    "thread": str,
                },
            )
            self._unique(self.processes, process)
        self.uses = [self._use(row, False) for row in _rows(system, "capabilities")]
        self.uses += [self._use(row, True) for row in _rows(system, "mappings")]
        self.links = _rows(system, "links")
        for link in self.links:
            _typed(link, "link", {"one": str, "other": str, "kind": str, "line": int})
        self.linked = {frozenset((link["one"], link["other"])) for link in self.links}
        self.claims = _rows(system, "claims")
        for claim in self.claims:
            _typed(
                claim, "claim", {"isolate": list, "exceptions": list, "shared_servers": list, "line": int, "col": int}
            )
        self.channels = _rows(system, "channels")
        for channel in self.channels:
            _typed(channel, "channel", {"name": str, "source": str, "target": str, "via": str, "line": int})
        board = system.get("board", {})
        if not isinstance(board, dict) or not isinstance(board.get("ram_base", 0), int):
            raise Malformed("board")
        ram = system.get("ram", 0)
        if not isinstance(ram, int):
            raise Malformed("ram")
        self.ram = (int(board.get("ram_base", 0)), ram)
        self._structure()

    def _unique(self, index: dict[str, dict[str, Any]], row: dict[str, Any]) -> None:
        if row["name"] in index:
            self.findings.append(Finding(row["line"], "E189", f'two rows of the table are called "{row["name"]}"'))
        index[row["name"]] = row

    def _use(self, row: dict[str, Any], mapped: bool) -> Use:
        fields: dict[str, type] = {"holder": str, "object": str, "rights": list, "name": str, "line": int}
        fields |= {"offset": int, "bytes": int, "address": int} if mapped else {"slot": int, "badge": int}
        _typed(row, "mapping" if mapped else "capability", fields)
        if not all(isinstance(r, str) for r in row["rights"]):
            raise Malformed("rights")
        return Use(
            row["holder"],
            row["object"],
            frozenset(row["rights"]),
            row["name"],
            row["line"],
            row.get("badge", 0),
            row.get("offset", 0),
            row.get("bytes", 0),
            row.get("address", 0),
            mapped,
        )

    def _structure(self) -> None:
        def fault(line: int, message: str) -> None:
            self.findings.append(Finding(line, "E189", message))

        for use in self.uses:
            if use.object not in self.objects:
                fault(use.line, f'{use.holder} holds "{use.object}", which does not exist')
                continue
            if use.holder not in self.processes and use.holder != INIT:
                fault(use.line, f'"{use.holder}" holds {use.object}, but is no process')
            obj = self.objects[use.object]
            if not use.rights <= KNOWN_RIGHTS[obj["kind"]] or not use.rights:
                fault(use.line, f"{use.holder} holds {use.object} with wrong rights")
            if use.mapped and obj["kind"] not in MEMORY:
                fault(use.line, f"{use.holder} maps {use.object}, which is no memory")
        for obj in self.objects.values():
            if obj["owner"] not in self.processes and obj["owner"] != SYSTEM:
                fault(obj["line"], f'{obj["name"]} belongs to "{obj["owner"]}", which is no process')
        for process in self.processes.values():
            for setting in process["settings"]:
                if not isinstance(setting, list) or len(setting) != 2 or not all(isinstance(s, str) for s in setting):
                    raise Malformed(f'setting of {process["name"]}')

    def settings(self, process: str) -> dict[str, str]:
        return dict(self.processes[process]["settings"]) if process in self.processes else {}

    def holders(self, name: str) -> set[str]:
        return {u.holder for u in self.uses if u.object == name}

    def vmm(self, guest: Any) -> str | None:
        return next((p["name"] for p in self.processes.values() if p["role"] == "vmm" and p["guest"] == guest), None)


def _rows(system: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = system.get(key)
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise Malformed(f'"{key}" is not a list of rows')
    return rows


def _typed(row: dict[str, Any], what: str, fields: dict[str, type]) -> None:
    for name, kind in fields.items():
        value = row.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Malformed(f'{what} with wrong "{name}"')
        if kind is int and not 0 <= int(row[name]) < 1 << 64:
            raise Malformed(f'{what} with "{name}" out of range')


def listed(names: list[str]) -> str:
    return ", ".join(str(n) for n in names)
