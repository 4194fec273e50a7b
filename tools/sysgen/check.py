# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Checks what a system description means, resolves names and fills in defaults: Document -> Config."""

from __future__ import annotations

import re
from pathlib import Path

from . import abi, board as boards, files, plan, schema, units
from .board import Board
from .check_guest import GuestChecker, color_distance
from .check_service import ServiceChecker
from .context import Context, Options
from .diag import Pos, Sink, closest
from .files import FileProblem
from .model import Claim, Config, Guest, Process
from .reader import Document, Entry


def resolve(document: Document, sink: Sink, options: Options) -> Config | None:
    """The checked configuration; None (with messages in `sink`) if anything is wrong."""
    config = _Checker(Context(document, sink, options)).run()
    return None if sink.failed else config


class _Checker:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.sink = ctx, ctx.sink
        self.personas: dict[str, Entry] = {}

    def run(self) -> Config | None:
        doc = self.ctx.doc
        self._schema_version()
        self._names()
        self._load_board()
        self._personas()
        guest_checker, services = GuestChecker(self.ctx, self.personas), ServiceChecker(self.ctx)
        guests = [
            guest_checker.guest(i, e) for i, e in enumerate(doc.guests[: schema.MAX_GUESTS])
        ]  # E116 tells of more
        drivers = [services.driver(e) for e in doc.drivers]
        servers = [services.server(e) for e in doc.servers]
        services.uses(drivers, servers)
        services.device_conflicts(drivers)
        services.consoles(guests, servers)
        claims = self._claims()
        if self.ctx.board is None:
            return None
        self._memory(guests)
        config = Config(
            name=doc.top.get("name") or _stem(doc.file),
            path=doc.file,
            shown_path=self.sink.path,
            sha256=doc.sha256,
            board=self.ctx.board,
            ram=self.ctx.ram,
            cpus=self.ctx.cpus,
            guests=guests,
            drivers=drivers,
            servers=servers,
            claims=claims,
            top=doc.top,
            board_args=doc.board_args,
        )
        if not self.sink.failed:
            plan.place(config, self.sink)
        self._programs(config)
        return config

    def _schema_version(self) -> None:
        version = self.ctx.doc.top.get("schema")
        if version is not None and version != schema.SCHEMA_VERSION:
            self.sink.add(
                "E105",
                self.ctx.doc.top.value_pos("schema"),
                f"schema {version} is not supported by this tool (supports {schema.SCHEMA_VERSION})",
            )

    def _names(self) -> None:
        owners: dict[str, Entry] = {}
        for entry in sorted(self.ctx.doc.named(), key=lambda e: e.pos):
            if entry.name in owners:
                first = owners[entry.name]
                self.sink.add(
                    "E107",
                    entry.pos,
                    f'"{entry.name}" is already the name of a {first.section.name} (line {first.pos.line})',
                    "guests, drivers and servers share one name space",
                )
            owners.setdefault(entry.name, entry)
        if len(self.ctx.doc.guests) > schema.MAX_GUESTS:
            extra = self.ctx.doc.guests[schema.MAX_GUESTS]
            self.sink.add("E116", extra.pos, f"{len(self.ctx.doc.guests)} guests are more than {schema.MAX_GUESTS}")
        if len(owners) > schema.MAX_PROCESSES:
            self.sink.add("E116", Pos(), f"{len(owners)} processes are more than {schema.MAX_PROCESSES}")

    def _load_board(self) -> None:
        name = self.ctx.doc.top.get("board")
        if name is None:
            return
        known = boards.available(boards.directories(self.ctx.doc.file))
        pos = self.ctx.doc.top.value_pos("board")
        if name not in known:
            self.sink.add("E110", pos, f'unknown board "{name}"', closest(name, known))
            return
        try:
            self.ctx.board = boards.load(known[name])
        except boards.BoardError as error:
            self.sink.add("E111", pos, f'board "{name}" cannot be used: {error}')
            return
        self._board_args(self.ctx.board)

    def _board_args(self, board: Board) -> None:
        args = self.ctx.doc.board_args
        self.ctx.ram = args.get("ram", board.default_ram)
        self.ctx.cpus = args.get("cpus", board.default_cpus)
        if not board.min_ram <= self.ctx.ram <= board.max_ram:
            self.sink.add(
                "E146",
                args.value_pos("ram"),
                f"ram {units.size_text(self.ctx.ram)} is outside "
                f"{units.size_text(board.min_ram)}..{units.size_text(board.max_ram)} of board {board.name}",
            )
        elif self.ctx.ram % units.BLOCK == 0:
            self.ctx.ram_known = True
        else:
            self.sink.add("E140", args.value_pos("ram"), f"ram {units.size_text(self.ctx.ram)} is not a multiple of 2M")
        high = min(board.max_cpus, abi.MAX_CORES)
        if not board.min_cpus <= self.ctx.cpus <= high:
            self.sink.add(
                "E146",
                args.value_pos("cpus"),
                f"cpus {self.ctx.cpus} is outside {board.min_cpus}..{high} of board {board.name}",
            )
            self.ctx.cpus = board.default_cpus
        elif self.ctx.options.cpus is not None:
            if board.min_cpus <= self.ctx.options.cpus <= high:
                self.ctx.cpus = self.ctx.options.cpus
            else:
                self.sink.add(
                    "E146",
                    args.value_pos("cpus"),
                    f"--cpus {self.ctx.options.cpus} is outside {board.min_cpus}..{high} of board {board.name}",
                )

    def _personas(self) -> None:
        guests = [e.name for e in self.ctx.doc.guests]
        seen: list[tuple[str, Entry]] = []
        for entry in self.ctx.doc.personas:
            guest = entry.get("guest")
            if guest is None:
                continue
            if guest not in guests:
                self.sink.add("E160", entry.value_pos("guest"), f'no guest "{guest}"', closest(guest, guests))
            elif guest in self.personas:
                self.sink.add(
                    "E163",
                    entry.value_pos("guest"),
                    f'guest "{guest}" is already persona "{self.personas[guest].name}"',
                )
            else:
                self.personas[guest] = entry
            color = entry.get("color")
            for other_color, other in seen:
                if color and color_distance(color, other_color) < schema.MIN_COLOR_DISTANCE:
                    self.sink.add(
                        "E162",
                        entry.value_pos("color"),
                        f'colour {color} is too close to {other_color} of persona "{other.name}"',
                        "the user tells personas apart by it",
                    )
            if color:
                seen.append((color, entry))

    def _memory(self, guests: list[Guest]) -> None:
        kept = self.ctx.ram * schema.KEPT_RAM_PERCENT // 100
        archive = sum(m.bytes for m in {f.module: f for g in guests for f in (g.kernel, g.initrd) if f}.values())
        need = sum(g.ram for g in guests)
        text = len(guests) * schema.TEXT_BYTES
        if self.ctx.ram_known and need + text + archive > self.ctx.ram - kept:
            worst = max(guests, key=lambda g: g.ram)
            pos = worst.entry.value_pos("ram") if "ram" in worst.entry.present else worst.entry.pos
            boot = f" and boot files {units.size_text(units.round_up(archive, units.BLOCK))}" if archive else ""
            self.sink.add(
                "E141",
                pos,
                f"guests need {units.size_text(need)}, {units.size_text(text)} without EL2{boot} in total but board ram is "
                f"{units.size_text(self.ctx.ram)} with {schema.KEPT_RAM_PERCENT}% kept for kernel and servers",
                "lower a guest's ram, or raise ram in [board_args]",
            )

    def _claims(self) -> list[Claim]:
        guests = [e.name for e in self.ctx.doc.guests]
        servers = [e.name for e in self.ctx.doc.servers]
        claims = []
        for entry in self.ctx.doc.claims:
            isolate: list[str] = entry.get("isolate", [])
            for index, name in enumerate(isolate):
                if name not in guests:
                    self.sink.add(
                        "E180",
                        entry.value_pos("isolate", index),
                        f'claim names unknown guest "{name}"',
                        closest(name, guests),
                    )
            if "isolate" in entry.values and len(isolate) < 2:
                self.sink.add("E184", entry.value_pos("isolate"), "a claim needs at least two guests")
            for index, name in enumerate(entry.get("shared_servers", [])):
                if name not in servers:
                    self.sink.add(
                        "E180",
                        entry.value_pos("shared_servers", index),
                        f'claim names unknown server "{name}"',
                        closest(name, servers),
                    )
            for index, name in enumerate(entry.get("except", [])):
                self.sink.add("E183", entry.value_pos("except", index), f'claim names unknown channel "{name}"')
            pos = entry.pos
            claims.append(Claim(isolate, entry.get("except", []), entry.get("shared_servers", []), pos.line, pos.col))
        if len(claims) > schema.MAX_CLAIMS:
            self.sink.add(
                "E116",
                self.ctx.doc.claims[schema.MAX_CLAIMS].pos,
                f"{len(claims)} claims are more than {schema.MAX_CLAIMS}",
            )
        if not self.ctx.doc.claims:
            self.sink.add(
                "W179", Pos(), "the file claims nothing, so nothing is proven", "add [[claim]] isolate = [...]"
            )
        return claims

    def _programs(self, config: Config) -> None:
        processes: list[Process] = [*config.drivers, *config.servers, *config.guests]
        seen: dict[str, FileProblem | None] = {}
        for process in processes:
            module = process.program
            if module.path is None:
                continue
            if module.module not in seen:
                seen[module.module] = None
                try:
                    config.programs[module.module] = files.read_program(module.path)
                except FileProblem as problem:
                    seen[module.module] = problem
            found = seen[module.module]
            if found is not None:
                self.ctx.problem(process.entry, "program", "program", found)
        boot = [f for g in config.guests for f in (g.kernel, g.initrd) if f]
        config.files_known = all(f.path is not None for f in [*boot, *(p.program for p in processes)])
        total = len({f.module for f in boot} | {p.program.module for p in processes})
        if total > abi.MAX_MODULES - 2:
            self.sink.add("E116", Pos(), f"{total} boot files are more than {abi.MAX_MODULES - 2}")


def _stem(path: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]", "-", path.stem.lower())[:31]
    return name if re.match(r"[a-z]", name) else f"system-{name}"[:31]
