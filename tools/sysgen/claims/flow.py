# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Rule 1: where information can go, from right to right."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from .table import INIT, Finding, Table, Use

# Which rights let information into an object, and out of it. The others do neither between two holders.
_INTO = {
    "write",
    "own",
    "call",
    "pass",
    "receive",
    "signal",
    "arm",
    "use",
    "map",
    "run",
    "kick",
    "configure",
    "control",
    "regs",
    "insert",
    "remove",
    "log",
    "power",
    "mint",
    "firmware",
    "ack",
    "bind",
}
_OUT_OF = {
    "read",
    "exec",
    "own",
    "call",
    "receive",
    "wait",
    "use",
    "map",
    "run",
    "configure",
    "control",
    "regs",
    "inspect",
    "log",
    "info",
    "mint",
    "firmware",
    "bind",
}


def reachability_rule(table: Table) -> Iterator[Finding]:
    if not table.claims:
        return
    flow = Flow(table)
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


def _pair(
    table: Table, flow: Flow, claim: dict[str, Any], one: str, other: str
) -> Iterator[tuple[Finding, tuple[str, ...]]]:
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
            yield (
                Finding(
                    claim["line"],
                    "E183",
                    f'channel "{name}" joins "{pair[0]}" and "{pair[1]}" but the claim has no ' f'except = ["{name}"]',
                    claim["col"],
                ),
                ("E183", name, *pair),
            )
    licensed = {s for s in licensed if s in table.processes and table.processes[s]["role"] == "server"}
    blocked = set(licensed)
    while True:  # after one unlisted server, look for further ones
        path = flow.path(str(table.vmm(one)), str(table.vmm(other)), blocked | {INIT})
        if path is None:
            return
        notes = tuple(flow.describe(path))
        between = [n for n in path[1:-1] if n in table.processes]
        servers = [n for n in between if table.processes[n]["role"] == "server"]
        if not servers:
            yield (
                Finding(claim["line"], "E185", f'"{one}" can reach "{other}"', claim["col"], notes),
                ("E185", *pair, path[1]),
            )
            return
        yield (
            Finding(
                claim["line"],
                "E181",
                f'"{pair[0]}" and "{pair[1]}" both reach server.{servers[0]}, which the claim ' "does not list",
                claim["col"],
                notes,
            ),
            ("E181", servers[0], *pair),
        )
        blocked.add(servers[0])


class Flow:
    """Where information can go: processes and objects are nodes; rights are edges."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._next: dict[str, dict[str, Use | None]] = {}
        for use in sorted(table.uses, key=lambda u: not u.mapped):  # memory tells most about a path
            if use.rights & _INTO:
                self._next.setdefault(use.holder, {}).setdefault("\0" + use.object, use)
            if use.rights & _OUT_OF:
                self._next.setdefault("\0" + use.object, {}).setdefault(use.holder, use)
        devices = [o for o in table.objects.values() if o["kind"] == "device"]
        for one in devices:
            for other in devices:
                if (
                    one is not other
                    and one["base"] < other["base"] + other["bytes"]
                    and other["base"] < one["base"] + one["bytes"]
                ):
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
            steps.append(
                f"line {use.line}: {use.holder} {what} {use.object} ({rights})"
                + (f" as {use.name}" if use.name else "")
            )
        return steps

    def shares(self, server: str, one: str, other: str) -> bool:
        return all(self._touch(server, vmm) for vmm in (one, other))

    def _touch(self, server: str, vmm: str) -> bool:
        held = {u.object for u in self._table.uses if u.holder == server}
        return any(u.object in held for u in self._table.uses if u.holder == vmm)
