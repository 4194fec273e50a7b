# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Compares what the kernel says that processes hold (the supervisor's `caps`) with the declared table.

Both sides are JSON: system.json, and the supervisor's answer, which comes from the kernel's inspect, not from init's
books. Equal means: each declared capability is there, with its rights and badge, in its slot; nothing else is, but
a process's own thread and the mappings that it made itself; each declared region is mapped where and as declared;
and no two processes' regions overlap in physical memory unless the table lets them share that object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SELF_THREAD_SLOT = 1
_TYPES = {"ram": "memory", "file": "memory", "device": "memory", "guest_space": "space", "log": "system"}
_OWN = ("program", "stack", "environment")


def differences(system: Any, answer: Any) -> list[str]:
    """One line for each difference; empty if the live system is the declared one. Never raises."""
    try:
        return list(_compare(system, answer))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return [f"cannot compare: {type(error).__name__}: {error}"]


def _compare(system: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    for key in ("config_sha256", "claims_sha256"):
        if answer[key] != system[key]:
            yield f"the running system was made from another description ({key})"
    declared = {p["name"]: p for p in system["processes"]}
    live = {p["name"]: p for p in answer["processes"]}
    yield from (f"{name} is not declared" for name in live.keys() - declared.keys())
    for name in declared.keys() & live.keys():
        if live[name]["state"] in ("running", "faulted"):
            yield from _capabilities(system, declared[name], live[name])
            yield from _mappings(system, declared[name], live[name])
        elif live[name]["caps"]:
            yield f"{name} is {live[name]['state']}, but holds capabilities"
    yield from _overlaps(system, live)


def _capabilities(system: dict[str, Any], process: dict[str, Any], live: dict[str, Any]) -> Iterator[str]:
    name = process["name"]
    kinds = {o["name"]: o["kind"] for o in system["objects"]}
    expected = {SELF_THREAD_SLOT: ("thread", process["thread"], frozenset(("control",)), 0)}
    for c in system["capabilities"]:
        if c["holder"] == name:
            kind = kinds[c["object"]]
            expected[c["slot"]] = (_TYPES.get(kind, kind), c["object"], frozenset(c["rights"]), c["badge"])
    free = int(dict(process["settings"]).get("slots.free", 1 << 32))
    found = {c["slot"]: (c["type"], c["object"], frozenset(c["rights"]), c["badge"]) for c in live["caps"]}
    for slot in sorted(expected.keys() | found.keys()):
        want, have = expected.get(slot), found.get(slot)
        if want is None and have is not None and not (slot >= free and have[0] == "mapping"):
            yield f"{name}: slot {slot} holds {_capability(have)}, which is not declared"
        elif have is None and want is not None:
            yield f"{name}: slot {slot} is empty, declared is {_capability(want)}"
        elif want is not None and have != want and have is not None:
            yield f"{name}: slot {slot} holds {_capability(have)}, declared is {_capability(want)}"


def _capability(c: tuple[str, str, frozenset[str], int]) -> str:
    badge = f" badge 0x{c[3]:x}" if c[3] else ""
    return f"{c[0]} {c[1]} ({','.join(sorted(c[2]))}){badge}"


def _mappings(system: dict[str, Any], process: dict[str, Any], live: dict[str, Any]) -> Iterator[str]:
    name = process["name"]
    objects = {o["name"]: o for o in system["objects"]}
    want = {
        int(m["address"]): (m["object"], m["bytes"], frozenset(m["rights"]))
        for m in system["mappings"]
        if m["holder"] == name
    }
    own = {int(s["address"]): ("program", s["bytes"], frozenset(s["rights"])) for s in process["segments"]}
    have = {_number(m["address"]): m for m in live["maps"]}
    for address in sorted(want.keys() | own.keys() | have.keys()):
        declared, mapped = want.get(address) or own.get(address), have.get(address)
        if mapped is None:
            yield f"{name}: nothing is mapped at 0x{address:x}, declared is {declared[0] if declared else ''}"
            continue
        shown = (mapped["object"], mapped["bytes"], frozenset(mapped["rights"]))
        if declared is None:
            if mapped["object"] not in _OWN or {"write", "exec"} <= shown[2]:
                yield f"{name}: {shown[0]} is mapped at 0x{address:x}, which is not declared"
        elif shown != declared:
            yield f"{name}: {shown[0]} is mapped at 0x{address:x} otherwise than declared"
        obj = objects.get(mapped["object"])
        if obj is not None and obj["kind"] == "device" and _number(mapped["base"]) != obj["base"]:
            base = _number(mapped["base"])
            yield f"{name}: {obj['name']} is mapped from 0x{base:x}, the device is at 0x{obj['base']:x}"


def _overlaps(system: dict[str, Any], live: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Physical ranges of all regions, compared as numbers."""
    parties = {o["name"]: set(o["parties"]) for o in system["objects"]}
    regions = sorted(
        (_number(m["base"]), _number(m["base"]) + m["bytes"], name, m["object"])
        for name, process in live.items()
        for m in process["maps"]
    )
    reach: list[tuple[int, int, str, str]] = []
    for region in regions:
        reach = [r for r in reach if r[1] > region[0]]
        for other in reach:
            shared = region[3] == other[3] and {region[2], other[2]} <= parties.get(region[3], set())
            if region[2] != other[2] and not shared:
                yield f"{other[2]} and {region[2]} share memory at 0x{region[0]:x} ({other[3]}, {region[3]})"
        reach.append(region)


def _number(value: int | str) -> int:
    return int(value, 0) if isinstance(value, str) else value
