# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The lowered system: a flat table of objects, capabilities and mappings. The Python twin of system/init/tables.hpp."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SYSTEM = "system"  # owner of what two processes share
INIT = "init"  # the supervisor, as a holder


@dataclass(frozen=True)
class Object:
    """`parties` are the processes that the system description lets use it; nobody else may hold it."""

    name: str
    kind: str
    owner: str
    line: int
    parties: tuple[str, ...]
    bytes: int = 0  # ram, device
    align: int = 0  # ram
    base: int = 0  # device: physical address
    intid: int = 0  # irq
    edge: bool = False  # irq
    core: int = 0  # endpoint, irq, sched
    priority: int = 0  # sched
    budget_ns: int = 0  # sched
    period_ns: int = 0  # sched; 0: unlimited
    hard: bool = False  # sched
    affinity: int = 0  # vcpu
    space: str = ""  # vcpu: its guest_space
    sched: str = ""  # thread: its sched
    module: str = ""  # file


@dataclass(frozen=True)
class Capability:
    holder: str
    slot: int  # 0: init chooses (its own ones)
    object: str
    rights: tuple[str, ...]
    badge: int
    name: str
    line: int


@dataclass(frozen=True)
class Mapping:
    holder: str
    object: str
    offset: int
    bytes: int
    address: int
    rights: tuple[str, ...]
    name: str
    line: int


@dataclass(frozen=True)
class Segment:
    file_offset: int
    file_bytes: int
    address: int
    bytes: int
    rights: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    name: str
    role: str  # driver, server, vmm
    guest: str
    program: str
    line: int
    thread: str
    stack_bytes: int
    pool_bytes: int
    entry: int
    segments: tuple[Segment, ...]
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Link:
    """Two processes that the system description connects."""

    one: str
    other: str
    kind: str  # console, uses, supervisor, control
    line: int


@dataclass(frozen=True)
class Claim:
    isolate: tuple[str, ...]
    exceptions: tuple[str, ...]
    shared_servers: tuple[str, ...]
    line: int
    col: int


@dataclass(frozen=True)
class Channel:
    name: str
    source: str
    target: str
    via: str
    line: int


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    bytes: int
    program: bool


@dataclass
class System:
    name: str
    config: str
    config_sha256: str
    claims_sha256: str
    board: dict[str, Any]
    cpus: int
    ram: int
    complete: bool  # programs and boot files have been looked at
    objects: list[Object] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    capabilities: list[Capability] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)

    def object(self, name: str) -> Object:
        return next(o for o in self.objects if o.name == name)

    def uses(self) -> list[Capability | Mapping]:
        """All ways in which anybody holds anything."""
        return [*self.capabilities, *self.mappings]

    def to_json(self) -> str:
        return json.dumps({"version": 1, **asdict(self)}, indent=1) + "\n"
