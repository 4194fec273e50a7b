# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The report of a system, in Markdown: who holds what, what guests have in common, what has to be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from . import memmap
from .claims import Finding
from .table import INIT, Object, Process, System
from .units import budget_text, size_text


def markdown(system: System, findings: list[Finding]) -> str:
    parts = [
        _head(system),
        _guests(system),
        _claims(system, findings),
        _common(system),
        _boot_files(system),
        _trust(system),
        _holdings(system),
        _memory(system),
    ]
    return "\n".join(line for part in parts for line in part)


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    header = list(header)
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def _head(system: System) -> Iterator[str]:
    yield f"# System {system.name}"
    yield ""
    yield f"Described by `{system.config}` (SHA-256 `{system.config_sha256}`), board {system.board['name']},"
    yield f"{system.cpus} cores, {size_text(system.ram)} RAM, {system.board['gic']}."
    yield f"{len(system.processes)} processes, {len(system.objects)} objects, {len(system.capabilities)} capabilities,"
    yield f"{len(system.mappings)} mappings. Numbers in the column *line* are lines of that file."
    yield ""


def _threads(system: System, process: Process) -> list[tuple[str, Object]]:
    found = []
    for obj in system.objects:
        if obj.kind == "thread" and obj.owner == process.name:
            found.append((obj.name, system.object(obj.sched)))
    return found


def _guests(system: System) -> Iterator[str]:
    yield "## Processes and their processor time"
    yield ""
    rows = []
    for process in system.processes:
        for name, sched in _threads(system, process):
            rows.append(
                (
                    process.name,
                    process.role,
                    process.program,
                    name,
                    sched.core,
                    sched.priority,
                    budget_text(sched.budget_ns, sched.period_ns),
                    process.line,
                )
            )
    yield from _table(("process", "role", "program", "thread", "core", "priority", "budget", "line"), rows)
    yield "Budgets are guaranteed shares; a thread that has used its own up may use idle time."
    yield ""


def _claims(system: System, findings: list[Finding]) -> Iterator[str]:
    yield "## Claims"
    yield ""
    failed = [f for f in findings if f.code.startswith("E")]
    if not system.claims:
        yield "The file claims nothing, so nothing about isolation is proven."
    for claim in system.claims:
        listed = ", ".join(claim.shared_servers) or "nothing"
        bad = [f for f in failed if f.line == claim.line]
        verdict = "**FAILS**" if bad else "holds" if not failed else "not decided: the table has faults"
        exceptions = f" and the channels {', '.join(claim.exceptions)}" if claim.exceptions else ""
        yield f"- line {claim.line}: {', '.join(claim.isolate)} share nothing but {listed}{exceptions}: {verdict}."
    for finding in failed:
        yield f"- line {finding.line}: [{finding.code}] {finding.message}"
        yield from (f"  - {note}" for note in finding.notes)
    yield ""
    yield "Decided on the lowered table by two rules: no information flow between the guests outside the listed"
    yield "servers, and every object held by its declared parties only."
    yield ""


def _held(system: System, holder: str) -> dict[str, set[str]]:
    held: dict[str, set[str]] = {}
    for row in system.uses():
        if row.holder == holder:
            held.setdefault(row.object, set()).update(row.rights)
    return held


def _neighbours(system: System, holder: str) -> set[str]:
    """Processes to which `holder` can send something through one object, or from which it can receive."""
    into, out = {"write", "signal", "call"}, {"read", "wait", "receive"}
    mine = _held(system, holder)
    found = set()
    for row in system.uses():
        both = mine.get(row.object, set())
        if row.holder != holder and (
            (both & into and out & set(row.rights)) or (both & out and into & set(row.rights))
        ):
            found.add(row.holder)
    return found


def _common(system: System) -> Iterator[str]:
    yield "## What guests have in common"
    yield ""
    vmms = [p for p in system.processes if p.role == "vmm"]
    cores = {p.name: {s.core for _, s in _threads(system, p)} for p in vmms}
    kinds = {o.name: o.kind for o in system.objects}
    for one, other in combinations(vmms, 2):
        yield f"### {one.guest} and {other.guest}"
        yield ""
        mine, theirs = _held(system, one.name), _held(system, other.name)
        rows = []
        for name in sorted(mine.keys() & theirs.keys()):
            rows.append((name, kinds[name], ",".join(sorted(mine[name])), ",".join(sorted(theirs[name]))))
        if rows:
            yield "Objects:"
            yield ""
            yield from _table(("object", "kind", one.guest, other.guest), rows)
        else:
            yield "No object."
            yield ""
        through = sorted((_neighbours(system, one.name) & _neighbours(system, other.name)) - {one.name, other.name})
        yield f"- Processes that exchange something with both: {', '.join(through) or 'none'}."
        both = sorted(cores[one.name] & cores[other.name])
        yield f"- Cores that both run on: {', '.join(map(str, both)) or 'none'}" + (
            " (they can time each other there)." if both else "."
        )
        if one.program == other.program:
            yield f"- Program of both VMMs: {one.program} (one file, two processes, no common memory)."
        else:
            yield f"- Different VMM programs: {one.program}, {other.program}."
        yield ""


def _boot_files(system: System) -> Iterator[str]:
    yield "## Read-only boot files"
    yield ""
    rows = []
    for obj in system.objects:
        if obj.kind == "file":
            users = sorted({m.holder for m in system.mappings if m.object == obj.name})
            size = size_text(obj.bytes) if obj.bytes else "not built yet"
            rows.append((obj.module, size, ", ".join(users), "shared" if len(users) > 1 else "", obj.line))
    yield from _table(("file", "size", "mapped read-only by", "", "line"), rows)


def _trust(system: System) -> Iterator[str]:
    yield "## Residual trust"
    yield ""
    yield "What the claims cannot exclude, and what has to be right for them to hold:"
    yield ""
    yield "- The kernel, the loader before it, and init, which makes every process and capability."
    for process in system.processes:
        if process.role == "vmm":
            yield f"- {process.name}: has all of guest {process.guest}'s memory; a guest that takes it over gets"
            yield "  nothing more than what this report lists for it."
    for process in system.processes:
        guests = sorted(
            p.guest for p in system.processes if p.role == "vmm" and process.name in _neighbours(system, p.name)
        )
        if process.role == "server" and guests:
            yield f"- {process.name}: sees what {', '.join(guests)} send it" + (
                ", and must keep them apart." if len(guests) > 1 else "."
            )
    for process in system.processes:
        if process.role == "driver":
            devices = [o for o in system.objects if o.kind == "device" and o.owner == process.name]
            where = ", ".join(f"0x{d.base:x}" for d in devices)
            yield f"- {process.name}: drives the device at {where} and sees all that passes through it."
    if not system.board["dma_isolation"]:
        yield "- DMA: the board has no SMMU, so a driver whose device can do DMA could reach all memory. Drivers with"
        yield "  DMA memory: none. A device that nobody drives is not reachable from any process."
    holders = sorted(
        {c.holder for c in system.capabilities if any(o.name == c.object and o.kind == "log" for o in system.objects)}
    )
    if holders:
        yield f"- Kernel log: {', '.join(holders)} can read what the others write there."
    yield "- Time: caches, branch predictors and memory bandwidth are shared; guests on one core can time each other."
    yield ""


def _holdings(system: System) -> Iterator[str]:
    yield "## Who holds what"
    yield ""
    kinds = {o.name: o.kind for o in system.objects}
    for name in [p.name for p in system.processes] + [INIT]:
        yield f"### {name}"
        yield ""
        rows = [
            (
                c.slot or "-",
                c.name,
                c.object,
                kinds[c.object],
                ",".join(c.rights),
                f"0x{c.badge:x}" if c.badge else "",
                c.line,
            )
            for c in system.capabilities
            if c.holder == name
        ]
        yield from _table(("slot", "name", "object", "kind", "rights", "badge", "line"), rows)
        maps = [
            (m.name, m.object, f"0x{m.address:x}", size_text(m.bytes), ",".join(m.rights), m.line)
            for m in system.mappings
            if m.holder == name
        ]
        yield from _table(("region", "object", "address", "size", "rights", "line"), maps)
    yield "Besides, init holds every object's first capability: it makes and destroys them. Its table lists what it"
    yield "*uses*."
    yield ""


def _memory(system: System) -> Iterator[str]:
    yield "## Memory"
    yield ""
    yield "```"
    yield memmap.text(system).rstrip("\n")
    yield "```"
    yield ""
