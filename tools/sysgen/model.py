# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A checked system description: every value known, every name resolved. check.py makes it, lower.py uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .board import Board, Device
from .files import Program
from .reader import Entry


@dataclass(frozen=True)
class BootFile:
    """A file of the image. `path` and `bytes` are unknown (None, 0) as long as nobody has made the file."""

    module: str
    path: Path | None = None
    bytes: int = 0
    memory_bytes: int = 0  # kernel: with BSS
    is_program: bool = False


@dataclass
class Process:
    """What guests, drivers and servers have in common."""

    entry: Entry
    name: str
    klass: str
    program: BootFile
    log: bool

    @property
    def line(self) -> int:
        return self.entry.pos.line


@dataclass
class Placement:
    """A thread's core and budget; period 0 means unlimited."""

    core: int
    budget_ns: int = 0
    period_ns: int = 0


@dataclass
class Guest(Process):
    ram: int
    vcpus: int
    cores: list[int]
    budget: tuple[int, int] | None
    cmdline: str
    console: str  # server's name, "" for none
    ready: str
    kernel: BootFile
    initrd: BootFile | None
    label: str
    color: str
    persona: Entry | None = None
    placements: list[Placement] = field(default_factory=list)  # per vCPU
    loop: Placement = field(default_factory=lambda: Placement(0))  # of the VMM's event loop


@dataclass
class Driver(Process):
    devices: list[Device]
    placement: Placement = field(default_factory=lambda: Placement(0))


@dataclass
class Server(Process):
    uses: list[str]
    placement: Placement = field(default_factory=lambda: Placement(0))


@dataclass
class Claim:
    isolate: list[str]
    exceptions: list[str]
    shared_servers: list[str]
    line: int
    col: int


@dataclass
class Config:
    name: str
    path: Path
    shown_path: str
    sha256: str
    board: Board
    ram: int
    cpus: int
    guests: list[Guest]
    drivers: list[Driver]
    servers: list[Server]
    claims: list[Claim]
    programs: dict[str, Program] = field(default_factory=dict)  # by module; empty if not looked at
    top: Entry | None = None
    board_args: Entry | None = None
    files_known: bool = False  # all boot files exist and have been looked at
