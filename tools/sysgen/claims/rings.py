# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Rule 2: rings lead where their names say, and bells ring who shares them."""

from __future__ import annotations

from collections.abc import Iterator

from .table import INIT, Finding, Table, Use


def rings_rule(table: Table) -> Iterator[Finding]:
    events = {u.holder: u.object for u in table.uses if u.name == "events" and "wait" in u.rights}
    by_name = {(u.holder, u.name): u for u in table.uses if u.mapped}
    bells = {
        (u.holder, u.name.removesuffix(".bell")): u for u in table.uses if u.name.endswith(".bell") and not u.mapped
    }
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
        if peer != INIT and (bit is None or not bit.isdecimal() or len(bit) > 2 or bell.badge != 1 << int(bit)):
            yield Finding(
                bell.line,
                "E188",
                f"{holder} rings {peer} by 0x{bell.badge:x} for ring {ring}, {peer} expects bit {bit}",
            )
        yield from _ring_name(table, data, ring, peer)
    for (holder, ring), bell in bells.items():
        if (holder, ring) not in ends:
            yield Finding(bell.line, "E188", f"{holder} has a bell for ring {ring}, which it does not have")


def _ring_name(table: Table, data: Use, ring: str, peer: str) -> Iterator[Finding]:
    """In a server, rings named after a guest (or the supervisor) lead to that guest's VMM (or to init)."""
    if data.holder not in table.processes or table.processes[data.holder]["role"] != "server":
        return
    prefix = ring.rpartition(".")[0]
    expected = INIT if prefix == "supervisor" else table.vmm(prefix)
    actual_guest = table.processes[peer]["guest"] if peer in table.processes else ""
    if (expected is not None and peer != expected) or (actual_guest and prefix != actual_guest):
        yield Finding(data.line, "E188", f"{data.holder} calls the ring that it shares with {peer} {ring}")
