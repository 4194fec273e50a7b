# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Rule 2: every object has its declared parties only; what two share has one writer and one waiter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .table import INIT, MEMORY, SYSTEM, Finding, Malformed, Table, Use, listed


def parties_rule(table: Table) -> Iterator[Finding]:
    for obj in table.objects.values():
        name, line, parties = obj["name"], obj["line"], obj["parties"]
        yield from _declared(table, obj)
        for use in (u for u in table.uses if u.object == name):
            verb = "maps" if use.mapped else "holds"
            if use.holder not in parties:
                yield Finding(
                    use.line,
                    "E186",
                    f"{use.holder} {verb} {name}, which was declared for " f"{listed(parties)} only",
                    notes=(f"{name} is made by line {line}",),
                )
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


def _declared(table: Table, obj: dict[str, Any]) -> Iterator[Finding]:
    """Are the declared parties connected by the description?"""
    name, kind, parties = obj["name"], obj["kind"], obj["parties"]
    known = [*table.processes, INIT]
    for party in parties:
        if party not in known:
            yield Finding(obj["line"], "E186", f"{name} is declared for {party}, which is no process")
    if kind in ("file", "log"):
        return  # read-only, or judged by reachability
    owner = obj["owner"]
    if owner != SYSTEM:
        allowed = [INIT] if kind == "cspace" else [owner]
        for party in parties:
            if party not in allowed:
                yield Finding(obj["line"], "E186", f"{name} belongs to {owner}, but is declared for {party} too")
        return
    if kind in MEMORY and len(parties) > 2:
        yield Finding(obj["line"], "E186", f"{name} is shared by more than two: {listed(parties)}")
    if len(parties) > 1 and not any(
        all(p == hub or frozenset((p, hub)) in table.linked for p in parties) for hub in parties
    ):
        yield Finding(obj["line"], "E186", f"{name} is shared by {listed(parties)}, which nothing connects")


def _writers(table: Table, obj: dict[str, Any]) -> Iterator[Finding]:
    uses = [u for u in table.uses if u.object == obj["name"]]
    writers = sorted({u.holder for u in uses if u.rights & {"write", "own"}})
    if len(writers) > 1:
        yield Finding(max(u.line for u in uses), "E186", f'{obj["name"]} has more than one writer: {listed(writers)}')


def _notification(table: Table, obj: dict[str, Any]) -> Iterator[Finding]:
    """One process waits; each bit is signalled by one holder."""
    uses = [u for u in table.uses if u.object == obj["name"]]
    waiters = sorted({u.holder for u in uses if "wait" in u.rights})
    if len(waiters) > 1:
        yield Finding(
            max(u.line for u in uses), "E186", f'{obj["name"]} is awaited by more than one: {listed(waiters)}'
        )
    signaller: dict[int, Use] = {}
    for use in uses:
        if not use.rights & {"signal", "arm"}:
            continue
        if use.badge == 0 or use.badge & (use.badge - 1):
            yield Finding(
                use.line, "E188", f"{use.holder} signals {use.object} by 0x{use.badge:x}, which is not one bit"
            )
            continue
        first = signaller.setdefault(use.badge, use)
        if first.holder != use.holder:
            yield Finding(
                use.line,
                "E188",
                f"{use.holder} signals {use.object} by the bit of {first.holder}",
                notes=(f"line {first.line}: {first.holder} holds it as {first.name}",),
            )
        elif first is not use:
            yield Finding(
                use.line, "E188", f"{use.holder} signals {use.object} by one bit for both {first.name} and {use.name}"
            )
