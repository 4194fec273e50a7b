# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Proves isolation claims, independently of how the table was made.

Reads the lowered table (system.json) and nothing else: neither the system description nor the code that
lowers it. Two rules decide:

  1. Reachability: from one guest of a claim no information flows to another, over any chain of objects and
     processes, except through the servers that the claim lists (and the supervisor, which is trusted).
  2. Parties: every object is held by its declared parties only, each of them connected by the description;
     what two parties share has exactly one writer; address ranges are compared as numbers.

Rule 1 alone would miss a fault that goes through a licensed server (a ring attached under the wrong guest's
name); rule 2 alone would miss a description that itself connects two guests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_INIT, _SYSTEM = "init", "system"
_MEMORY = ("ram", "file", "device")
_KNOWN_RIGHTS = {
    "ram": {"read", "write", "exec", "own"}, "file": {"read", "write", "exec", "own"},
    "device": {"read", "write", "exec", "own"}, "endpoint": {"call", "receive", "pass"},
    "notification": {"signal", "wait", "arm"}, "reply": {"use"}, "irq": {"bind", "ack"},
    "sched": {"bind", "configure"}, "guest_space": {"map", "use"}, "vcpu": {"run", "kick", "configure"},
    "thread": {"control", "regs"}, "cspace": {"insert", "remove", "inspect"}, "log": {"mint", "power", "log", "info"},
}
# Which rights let information into an object, and out of it. All others do neither between two holders.
_INTO = {"write", "own", "call", "pass", "receive", "signal", "arm", "use", "map", "run", "kick", "configure", "control",
         "regs", "insert", "remove", "log", "power", "mint", "ack", "bind"}
_OUT_OF = {"read", "exec", "own", "call", "receive", "wait", "use", "map", "run", "configure", "control", "regs",
           "inspect", "log", "info", "mint", "bind"}
_PAGE = 4096


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


def verify(system: Any) -> list[Finding]:
    """All faults of a lowered table, given as parsed JSON. Never raises."""
    try:
        table = _Table(system)
        if table.findings:
            return sorted(set(table.findings))
        return sorted({*_parties(table), *_rings(table), *_ranges(table), *_guest_memory(table), *_claims(table)})
    except Malformed as error:
        return [Finding(1, "E189", f"the table is malformed: {error}")]


@dataclass(frozen=True)
class _Use:
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


class _Table:
    """The parsed table with indices by name. Collects structural faults (E189)."""

    def __init__(self, system: Any) -> None:
        if not isinstance(system, dict):
            raise Malformed("not an object")
        self.findings: list[Finding] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, dict[str, Any]] = {}
        for obj in _rows(system, "objects"):
            _typed(obj, "object", {"name": str, "kind": str, "owner": str, "line": int, "bytes": int, "base": int,
                                   "intid": int, "parties": list, "module": str})
            self._unique(self.objects, obj)
            if obj["kind"] not in _KNOWN_RIGHTS:
                raise Malformed(f'object {obj["name"]} has unknown kind "{obj["kind"]}"')
        for process in _rows(system, "processes"):
            _typed(process, "process", {"name": str, "role": str, "guest": str, "line": int, "settings": list,
                                        "segments": list, "thread": str})
            self._unique(self.processes, process)
        self.uses = [self._use(row, False) for row in _rows(system, "capabilities")]
        self.uses += [self._use(row, True) for row in _rows(system, "mappings")]
        self.links = _rows(system, "links")
        for link in self.links:
            _typed(link, "link", {"one": str, "other": str, "kind": str, "line": int})
        self.linked = {frozenset((link["one"], link["other"])) for link in self.links}
        self.claims = _rows(system, "claims")
        for claim in self.claims:
            _typed(claim, "claim", {"isolate": list, "exceptions": list, "shared_servers": list, "line": int, "col": int})
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

    def _use(self, row: dict[str, Any], mapped: bool) -> _Use:
        fields: dict[str, type] = {"holder": str, "object": str, "rights": list, "name": str, "line": int}
        fields |= {"offset": int, "bytes": int, "address": int} if mapped else {"slot": int, "badge": int}
        _typed(row, "mapping" if mapped else "capability", fields)
        if not all(isinstance(r, str) for r in row["rights"]):
            raise Malformed("rights")
        return _Use(row["holder"], row["object"], frozenset(row["rights"]), row["name"], row["line"],
                    row.get("badge", 0), row.get("offset", 0), row.get("bytes", 0), row.get("address", 0), mapped)

    def _structure(self) -> None:
        def fault(line: int, message: str) -> None:
            self.findings.append(Finding(line, "E189", message))

        for use in self.uses:
            if use.object not in self.objects:
                fault(use.line, f'{use.holder} holds "{use.object}", which does not exist')
                continue
            if use.holder not in self.processes and use.holder != _INIT:
                fault(use.line, f'"{use.holder}" holds {use.object}, but is no process')
            obj = self.objects[use.object]
            if not use.rights <= _KNOWN_RIGHTS[obj["kind"]] or not use.rights:
                fault(use.line, f"{use.holder} holds {use.object} with wrong rights")
            if use.mapped and obj["kind"] not in _MEMORY:
                fault(use.line, f"{use.holder} maps {use.object}, which is no memory")
        for obj in self.objects.values():
            if obj["owner"] not in self.processes and obj["owner"] != _SYSTEM:
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


# Rule 2: parties and writers

def _parties(table: _Table) -> Iterator[Finding]:
    for obj in table.objects.values():
        name, line, parties = obj["name"], obj["line"], obj["parties"]
        yield from _declared(table, obj)
        for use in (u for u in table.uses if u.object == name):
            verb = "maps" if use.mapped else "holds"
            if use.holder not in parties:
                yield Finding(use.line, "E186", f"{use.holder} {verb} {name}, which was declared for "
                              f"{_list(parties)} only", notes=(f"{name} is made by line {line}",))
            if use.mapped and {"write", "exec"} <= use.rights:
                yield Finding(use.line, "E187", f"{use.holder} maps {name} writable and executable")
            if obj["kind"] == "file" and use.rights != {"read"}:
                yield Finding(use.line, "E187", f"{use.holder} holds boot file {name} with more than the right to read")
        if obj["kind"] == "notification":
            yield from _notification(table, obj)
        if obj["kind"] in ("ram", "device"):
            yield from _writers(table, obj)
    for process in table.processes.values():
        for segment in process["segments"]:
            if not isinstance(segment, dict) or not isinstance(segment.get("rights"), list):
                raise Malformed(f'segment of {process["name"]}')
            if {"write", "exec"} <= {str(r) for r in segment["rights"]}:
                yield Finding(process["line"], "E187", f'{process["name"]} has a writable and executable segment')


def _declared(table: _Table, obj: dict[str, Any]) -> Iterator[Finding]:
    """Are the declared parties connected by the description?"""
    name, kind, parties = obj["name"], obj["kind"], obj["parties"]
    known = [*table.processes, _INIT]
    for party in parties:
        if party not in known:
            yield Finding(obj["line"], "E186", f"{name} is declared for {party}, which is no process")
    if kind in ("file", "log"):
        return  # read-only, or judged by reachability
    owner = obj["owner"]
    if owner != _SYSTEM:
        allowed = [_INIT] if kind == "cspace" else [owner]
        for party in parties:
            if party not in allowed:
                yield Finding(obj["line"], "E186", f"{name} belongs to {owner}, but is declared for {party} too")
        return
    if kind in _MEMORY and len(parties) > 2:
        yield Finding(obj["line"], "E186", f"{name} is shared by more than two: {_list(parties)}")
    if len(parties) > 1 and not any(all(p == hub or frozenset((p, hub)) in table.linked for p in parties) for hub in parties):
        yield Finding(obj["line"], "E186", f"{name} is shared by {_list(parties)}, which nothing connects")


def _writers(table: _Table, obj: dict[str, Any]) -> Iterator[Finding]:
    uses = [u for u in table.uses if u.object == obj["name"]]
    writers = sorted({u.holder for u in uses if u.rights & {"write", "own"}})
    if len(writers) > 1:
        yield Finding(max(u.line for u in uses), "E186", f'{obj["name"]} has more than one writer: {_list(writers)}')


def _notification(table: _Table, obj: dict[str, Any]) -> Iterator[Finding]:
    """One process waits; each bit is signalled by one holder."""
    uses = [u for u in table.uses if u.object == obj["name"]]
    waiters = sorted({u.holder for u in uses if "wait" in u.rights})
    if len(waiters) > 1:
        yield Finding(max(u.line for u in uses), "E186", f'{obj["name"]} is awaited by more than one: {_list(waiters)}')
    signaller: dict[int, _Use] = {}
    for use in uses:
        if not use.rights & {"signal", "arm"}:
            continue
        if use.badge == 0 or use.badge & (use.badge - 1):
            yield Finding(use.line, "E188", f"{use.holder} signals {use.object} by 0x{use.badge:x}, which is not one bit")
            continue
        first = signaller.setdefault(use.badge, use)
        if first.holder != use.holder:
            yield Finding(use.line, "E188", f"{use.holder} signals {use.object} by the bit of {first.holder}",
                          notes=(f"line {first.line}: {first.holder} holds it as {first.name}",))
        elif first is not use:
            yield Finding(use.line, "E188", f"{use.holder} signals {use.object} by one bit for both {first.name} and {use.name}")


# Rule 2: rings are attached where their names say

def _rings(table: _Table) -> Iterator[Finding]:
    events = {u.holder: u.object for u in table.uses if u.name == "events" and "wait" in u.rights}
    by_name = {(u.holder, u.name): u for u in table.uses if u.mapped}
    bells = {(u.holder, u.name.removesuffix(".bell")): u for u in table.uses if u.name.endswith(".bell") and not u.mapped}
    ends = {(u.holder, u.name.removesuffix(".data")): u for u in table.uses if u.mapped and u.name.endswith(".data")}
    for (holder, ring), data in ends.items():
        head, bell = by_name.get((holder, f"{ring}.head")), bells.get((holder, ring))
        if head is None or bell is None:
            yield Finding(data.line, "E188", f"{holder} has ring {ring} without {'head' if head is None else 'bell'}")
            continue
        others = [(h, r) for (h, r), other in ends.items() if other.object == data.object and (h, r) != (holder, ring)]
        if len(others) != 1:
            yield Finding(data.line, "E188", f"{holder} has ring {ring} ({data.object}) with {len(others)} peers")
            continue
        peer, peer_ring = others[0]
        peer_head = by_name.get((peer, f"{peer_ring}.head"))
        if peer_head is None or peer_head.object != head.object:
            yield Finding(head.line, "E188", f"{holder} and {peer} share {data.object}, but not its head page")
        if ("write" in data.rights) == ("write" in head.rights):
            yield Finding(data.line, "E188", f"{holder} may write both or neither page of ring {ring}")
        if bell.object != events.get(peer):
            yield Finding(bell.line, "E188", f"{holder} rings {bell.object} for ring {ring}, but shares it with {peer}")
        bit = table.settings(peer).get(f"{peer_ring}.event")
        if peer != _INIT and (bit is None or not bit.isdecimal() or len(bit) > 2 or bell.badge != 1 << int(bit)):
            yield Finding(bell.line, "E188", f"{holder} rings {peer} by 0x{bell.badge:x} for ring {ring}, {peer} expects bit {bit}")
        yield from _ring_name(table, data, ring, peer)
    for (holder, ring), bell in bells.items():
        if (holder, ring) not in ends:
            yield Finding(bell.line, "E188", f"{holder} has a bell for ring {ring}, which it does not have")


def _ring_name(table: _Table, data: _Use, ring: str, peer: str) -> Iterator[Finding]:
    """In a server, rings named after a guest (or the supervisor) lead to that guest's VMM (or to init)."""
    if data.holder not in table.processes or table.processes[data.holder]["role"] != "server":
        return
    prefix = ring.rpartition(".")[0]
    expected = _INIT if prefix == "supervisor" else table.vmm(prefix)
    actual_guest = table.processes[peer]["guest"] if peer in table.processes else ""
    if (expected is not None and peer != expected) or (actual_guest and prefix != actual_guest):
        yield Finding(data.line, "E188", f"{data.holder} calls the ring that it shares with {peer} {ring}")


# Rule 2: ranges

def _ranges(table: _Table) -> Iterator[Finding]:
    devices = [o for o in table.objects.values() if o["kind"] == "device"]
    for number, one in enumerate(devices):
        low, high = one["base"], one["base"] + one["bytes"]
        if low < table.ram[0] + table.ram[1] and table.ram[0] < high:
            yield Finding(one["line"], "E187", f'{one["name"]} (0x{low:x}..0x{high:x}) lies in RAM')
        for other in devices[number + 1 :]:
            if low < other["base"] + other["bytes"] and other["base"] < high:
                yield Finding(other["line"], "E187", f'{other["name"]} overlaps {one["name"]} at 0x{max(low, other["base"]):x}',
                              notes=(f'{one["name"]} is made by line {one["line"]}',))
    irqs: dict[int, dict[str, Any]] = {}
    for obj in table.objects.values():
        if obj["kind"] == "irq":
            first = irqs.setdefault(obj["intid"], obj)
            if first is not obj:
                yield Finding(obj["line"], "E187", f'{obj["name"]} and {first["name"]} are the same interrupt {obj["intid"]}')
    yield from _mapped_ranges(table)


def _mapped_ranges(table: _Table) -> Iterator[Finding]:
    by_holder: dict[str, list[_Use]] = {}
    for use in table.uses:
        if not use.mapped:
            continue
        by_holder.setdefault(use.holder, []).append(use)
        size = table.objects[use.object]["bytes"]
        limit = max((size + _PAGE - 1) // _PAGE * _PAGE, _PAGE)
        if use.bytes > limit or use.offset > limit - use.bytes:
            yield Finding(use.line, "E187", f"{use.holder} maps 0x{use.bytes:x} bytes of {use.object}, which has 0x{size:x}")
        if use.address % _PAGE or use.bytes % _PAGE or use.offset % _PAGE or not use.bytes:
            yield Finding(use.line, "E189", f"{use.holder} maps {use.object} off page boundaries")
    for uses in by_holder.values():
        ordered = sorted(uses, key=lambda u: u.address)
        for low, high in zip(ordered, ordered[1:]):
            if low.address + low.bytes > high.address:
                yield Finding(high.line, "E189", f"{high.holder} maps {high.object} over {low.object}")


def _guest_memory(table: _Table) -> Iterator[Finding]:
    """What a guest's device tree will say (setting ram) is what its VMM has mapped."""
    for process in table.processes.values():
        if process["role"] != "vmm":
            continue
        mapped = [u for u in table.uses if u.holder == process["name"] and u.name == "guest.ram"]
        told = table.settings(process["name"]).get("ram", "")
        sizes = {u.bytes for u in mapped if u.mapped} | {table.objects[u.object]["bytes"] for u in mapped}
        if len(mapped) != 2 or len({u.object for u in mapped}) != 1 or sizes != {int(told) if told.isdecimal() else -1}:
            have = _list([f"0x{s:x}" for s in sorted(sizes)]) or "nothing"
            yield Finding(process["line"], "E199", f'guest "{process["guest"]}" is told of {told or "no"} bytes of RAM, '
                          f"its VMM has {have}")


# Rule 1

def _claims(table: _Table) -> Iterator[Finding]:
    if not table.claims:
        return
    flow = _Flow(table)
    for claim in table.claims:
        guests = [g for g in claim["isolate"] if isinstance(g, str)]
        for guest in guests:
            if table.vmm(guest) is None:
                yield Finding(claim["line"], "E189", f'claim about guest "{guest}", which does not exist', claim["col"])
        pairs = [(a, b) for a in guests for b in guests if a != b and table.vmm(a) and table.vmm(b)]
        shared: set[str] = set()
        seen: set[tuple[str, ...]] = set()
        for one, other in pairs:
            for finding, key in _pair(table, flow, claim, one, other):
                if key not in seen:
                    seen.add(key)
                    yield finding
            shared |= {s for s in claim["shared_servers"] if flow.shares(s, str(table.vmm(one)), str(table.vmm(other)))}
        for server in claim["shared_servers"]:
            if pairs and server not in shared:
                yield Finding(claim["line"], "W182", f"server.{server} is listed but not shared", claim["col"])


def _pair(table: _Table, flow: _Flow, claim: dict[str, Any], one: str, other: str) -> Iterator[tuple[Finding, tuple[str, ...]]]:
    """Faults of one ordered pair of guests, each with a key under which it is reported once."""
    pair = tuple(sorted((one, other)))
    licensed = {s for s in claim["shared_servers"] if isinstance(s, str)}
    for channel in table.channels:
        if {channel["source"], channel["target"]} != {one, other}:
            continue
        if channel["name"] in claim["exceptions"]:
            licensed.add(channel["via"])  # a channel licenses only the server that it names
        else:
            name = channel["name"]
            yield (Finding(claim["line"], "E183", f'channel "{name}" joins "{pair[0]}" and "{pair[1]}" but the claim has no '
                           f'except = ["{name}"]', claim["col"]), ("E183", name, *pair))
    licensed = {s for s in licensed if s in table.processes and table.processes[s]["role"] == "server"}
    blocked = set(licensed)
    while True:  # after one unlisted server, look for further ones
        path = flow.path(str(table.vmm(one)), str(table.vmm(other)), blocked | {_INIT})
        if path is None:
            return
        notes = tuple(flow.describe(path))
        between = [n for n in path[1:-1] if n in table.processes]
        servers = [n for n in between if table.processes[n]["role"] == "server"]
        if not servers:
            yield (Finding(claim["line"], "E185", f'"{one}" can reach "{other}"', claim["col"], notes),
                   ("E185", *pair, path[1]))
            return
        yield (Finding(claim["line"], "E181", f'"{pair[0]}" and "{pair[1]}" both reach server.{servers[0]}, which the claim '
                       "does not list", claim["col"], notes), ("E181", servers[0], *pair))
        blocked.add(servers[0])


class _Flow:
    """Where information can go: processes and objects are nodes; rights are edges."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._next: dict[str, dict[str, _Use | None]] = {}
        for use in table.uses:
            if use.rights & _INTO:
                self._next.setdefault(use.holder, {}).setdefault("\0" + use.object, use)
            if use.rights & _OUT_OF:
                self._next.setdefault("\0" + use.object, {}).setdefault(use.holder, use)
        devices = [o for o in table.objects.values() if o["kind"] == "device"]
        for one in devices:
            for other in devices:
                if one is not other and one["base"] < other["base"] + other["bytes"] and \
                        other["base"] < one["base"] + one["bytes"]:
                    self._next.setdefault("\0" + one["name"], {}).setdefault("\0" + other["name"], None)

    def path(self, start: str, goal: str, blocked: set[str]) -> list[str] | None:
        """The shortest way from one process to another, objects included."""
        before: dict[str, str] = {start: ""}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if node == goal:
                path = [node]
                while before[path[-1]]:
                    path.append(before[path[-1]])
                return path[::-1]
            for neighbour in self._next.get(node, {}):
                if neighbour not in before and neighbour not in blocked:
                    before[neighbour] = node
                    queue.append(neighbour)
        return None

    def describe(self, path: list[str]) -> list[str]:
        """One line for each step of a path."""
        steps = []
        for node, following in zip(path, path[1:]):
            use = self._next[node][following]
            if use is None:
                steps.append(f"{node[1:]} overlaps {following[1:]}")
                continue
            rights, what = ",".join(sorted(use.rights)), "maps" if use.mapped else "holds"
            steps.append(f"line {use.line}: {use.holder} {what} {use.object} ({rights})" + (f" as {use.name}" if use.name else ""))
        return steps

    def shares(self, server: str, one: str, other: str) -> bool:
        return all(self._touch(server, vmm) for vmm in (one, other))

    def _touch(self, server: str, vmm: str) -> bool:
        held = {u.object for u in self._table.uses if u.holder == server}
        return any(u.object in held for u in self._table.uses if u.holder == vmm)


def _list(names: list[str]) -> str:
    return ", ".join(str(n) for n in names)
