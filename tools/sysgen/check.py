# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Checks what a system description means, resolves names and fills in defaults: Document -> Config."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from . import abi, board as boards, files, plan, schema, units
from .board import Board, Device
from .diag import Pos, Sink, closest
from .files import FileProblem
from .model import BootFile, Claim, Config, Driver, Guest, Placement, Process, Server
from .reader import Document, Entry


@dataclass(frozen=True)
class Options:
    """Where built files lie (None: not looked at) and how many cores to lower for (None: as the file says)."""

    programs: Path | None = None
    files: Path | None = None
    cpus: int | None = None


def resolve(document: Document, sink: Sink, options: Options) -> Config | None:
    """The checked configuration; None (with messages in `sink`) if anything is wrong."""
    config = _Checker(document, sink, options).run()
    return None if sink.failed else config


class _Checker:
    def __init__(self, document: Document, sink: Sink, options: Options) -> None:
        self.doc, self.sink, self.options = document, sink, options
        self.board: Board | None = None
        self.ram = self.cpus = 0
        self.ram_known = False
        self.personas: dict[str, Entry] = {}
        self.modules: dict[str, BootFile] = {}

    def run(self) -> Config | None:
        doc = self.doc
        self._schema_version()
        self._names()
        self._load_board()
        self._personas()
        guests = [g for g in (self._guest(i, e) for i, e in enumerate(doc.guests)) if g]
        drivers = [self._driver(e) for e in doc.drivers]
        servers = [self._server(e) for e in doc.servers]
        self._uses(drivers, servers)
        self._device_conflicts(drivers)
        self._consoles(guests, servers)
        claims = self._claims()
        if self.board is None:
            return None
        self._memory(guests)
        config = Config(
            name=doc.top.get("name") or _stem(doc.file), path=doc.file, shown_path=self.sink.path, sha256=doc.sha256,
            board=self.board, ram=self.ram, cpus=self.cpus, guests=guests, drivers=drivers, servers=servers,
            claims=claims, top=doc.top, board_args=doc.board_args)
        if not self.sink.failed:
            plan.place(config, self.sink)
        self._programs(config)
        return config

    # The file as a whole

    def _schema_version(self) -> None:
        version = self.doc.top.get("schema")
        if version is not None and version != schema.SCHEMA_VERSION:
            self.sink.add("E105", self.doc.top.value_pos("schema"),
                          f"schema {version} is not supported by this tool (supports {schema.SCHEMA_VERSION})")

    def _names(self) -> None:
        owners: dict[str, Entry] = {}
        for entry in sorted(self.doc.named(), key=lambda e: e.pos):
            if entry.name in owners:
                first = owners[entry.name]
                self.sink.add("E107", entry.pos,
                              f'"{entry.name}" is already the name of a {first.section.name} (line {first.pos.line})',
                              "guests, drivers and servers share one name space")
            owners.setdefault(entry.name, entry)
        if len(self.doc.guests) > schema.MAX_GUESTS:
            extra = self.doc.guests[schema.MAX_GUESTS]
            self.sink.add("E116", extra.pos, f"{len(self.doc.guests)} guests are more than {schema.MAX_GUESTS}")
        if len(owners) > schema.MAX_PROCESSES:
            self.sink.add("E116", Pos(), f"{len(owners)} processes are more than {schema.MAX_PROCESSES}")

    def _load_board(self) -> None:
        name = self.doc.top.get("board")
        if name is None:
            return
        known = boards.available(boards.directories(self.doc.file))
        pos = self.doc.top.value_pos("board")
        if name not in known:
            self.sink.add("E110", pos, f'unknown board "{name}"', closest(name, known))
            return
        try:
            self.board = boards.load(known[name])
        except boards.BoardError as error:
            self.sink.add("E111", pos, f'board "{name}" cannot be used: {error}')
            return
        self._board_args(self.board)

    def _board_args(self, board: Board) -> None:
        args = self.doc.board_args
        self.ram = args.get("ram", board.default_ram)
        self.cpus = args.get("cpus", board.default_cpus)
        if not board.min_ram <= self.ram <= board.max_ram:
            self.sink.add("E146", args.value_pos("ram"), f"ram {units.size_text(self.ram)} is outside "
                          f"{units.size_text(board.min_ram)}..{units.size_text(board.max_ram)} of board {board.name}")
        elif self.ram % units.BLOCK == 0:
            self.ram_known = True
        else:
            self.sink.add("E140", args.value_pos("ram"), f"ram {units.size_text(self.ram)} is not a multiple of 2M")
        high = min(board.max_cpus, abi.MAX_CORES)
        if not board.min_cpus <= self.cpus <= high:
            self.sink.add("E146", args.value_pos("cpus"),
                          f"cpus {self.cpus} is outside {board.min_cpus}..{high} of board {board.name}")
            self.cpus = board.default_cpus
        elif self.options.cpus is not None:
            if board.min_cpus <= self.options.cpus <= high:
                self.cpus = self.options.cpus
            else:
                self.sink.add("E146", args.value_pos("cpus"),
                              f"--cpus {self.options.cpus} is outside {board.min_cpus}..{high} of board {board.name}")

    def _personas(self) -> None:
        guests = [e.name for e in self.doc.guests]
        seen: list[tuple[str, Entry]] = []
        for entry in self.doc.personas:
            guest = entry.get("guest")
            if guest is None:
                continue
            if guest not in guests:
                self.sink.add("E160", entry.value_pos("guest"), f'no guest "{guest}"', closest(guest, guests))
            elif guest in self.personas:
                self.sink.add("E163", entry.value_pos("guest"),
                              f'guest "{guest}" is already persona "{self.personas[guest].name}"')
            else:
                self.personas[guest] = entry
            color = entry.get("color")
            for other_color, other in seen:
                if color and _distance(color, other_color) < schema.MIN_COLOR_DISTANCE:
                    self.sink.add("E162", entry.value_pos("color"),
                                  f'colour {color} is too close to {other_color} of persona "{other.name}"',
                                  "the user tells personas apart by it")
            if color:
                seen.append((color, entry))

    # Guests

    def _guest(self, index: int, entry: Entry) -> Guest | None:
        vcpus = entry.get("vcpus", 1)
        if not 1 <= vcpus <= schema.MAX_VCPUS:
            self.sink.add("E142", entry.value_pos("vcpus"), f"vcpus {vcpus} is outside 1..{schema.MAX_VCPUS}")
            vcpus = 1
        ram = self._guest_ram(entry)
        klass = entry.get("class", "guest")
        if klass != "guest":
            self.sink.add("E113", entry.value_pos("class"), f'guest "{entry.name}" may not run in class "{klass}"',
                          "a guest above a server could starve it")
        kernel, initrd = self._boot_files(entry, ram)
        persona = self.personas.get(entry.name)
        console = entry.get("console", "")
        return Guest(
            entry=entry, name=entry.name, klass="guest", program=self._program(entry, schema.PROGRAM_VMM),
            log=entry.get("log", False), ram=ram, vcpus=vcpus, cores=self._cores(entry), budget=self._budget(entry),
            cmdline=self._cmdline(entry, console), console=console, ready=entry.get("ready", f"{entry.name} READY"),
            kernel=kernel, initrd=initrd,
            label=persona.get("label", entry.name) if persona else entry.name,
            color=persona.get("color", self._palette(index)) if persona else self._palette(index),
            persona=persona)

    def _palette(self, index: int) -> str:
        taken = {e.get("color") for e in self.personas.values()}
        free = [c for c in schema.PALETTE if all(t is None or _distance(c, t) >= schema.MIN_COLOR_DISTANCE for t in taken)]
        return (free or list(schema.PALETTE))[index % len(free or schema.PALETTE)]

    def _guest_ram(self, entry: Entry) -> int:
        ram = int(entry.get("ram", schema.DEFAULT_GUEST_RAM))
        if ram < schema.MIN_GUEST_RAM:
            self.sink.add("E140", entry.value_pos("ram"), f"ram {units.size_text(ram)} is less than 2M")
        elif ram % units.BLOCK:
            self.sink.add("E140", entry.value_pos("ram"), f"ram {units.size_text(ram)} is not a multiple of 2M")
        return ram

    def _cores(self, entry: Entry) -> list[int]:
        cores: list[int] = entry.get("cores", [])
        if "cores" in entry.values and not cores:
            self.sink.add("E117", entry.value_pos("cores"), 'list "cores" is empty', "leave the key out for all cores")
        if self.board is None:
            return [0]
        for index, core in enumerate(cores):
            if not 0 <= core < self.cpus:
                self.sink.add("E143", entry.value_pos("cores", index),
                              f"core {core} does not exist: the board has cores 0..{self.cpus - 1}")
        return cores or list(range(self.cpus))

    def _budget(self, entry: Entry) -> tuple[int, int] | None:
        budget: tuple[int, int] | None = entry.get("budget")
        if budget is None:
            return None
        amount, period = budget
        if not schema.MIN_PERIOD_NS <= period <= schema.MAX_PERIOD_NS:
            self.sink.add("E144", entry.value_pos("budget"), f"period {units.time_text(period)} is outside 1ms..1s")
        elif amount > period:
            self.sink.add("E145", entry.value_pos("budget"), f"budget {units.time_text(amount)} is larger than period "
                          f"{units.time_text(period)}")
        elif amount < 2 * schema.MIN_BUDGET_NS:
            self.sink.add("E144", entry.value_pos("budget"), f"budget {units.time_text(amount)} is shorter than "
                          f"{units.time_text(2 * schema.MIN_BUDGET_NS)}")
        return budget

    def _cmdline(self, entry: Entry, console: str) -> str:
        default = schema.DEFAULT_CONSOLE_CMDLINE if "console" in entry.present else ""
        cmdline: str = entry.get("cmdline", default)
        pos = entry.value_pos("cmdline")
        if len(cmdline.encode()) > schema.MAX_CMDLINE:
            self.sink.add("E118", pos, f"cmdline has {len(cmdline.encode())} bytes, more than {schema.MAX_CMDLINE}")
        for wanted in re.findall(r"(?:^|\s)console=([A-Za-z0-9]+)", cmdline):
            if "console" not in entry.present:
                self.sink.add("E149", pos, f"cmdline wants {wanted} but the guest has no console",
                              'add console = "SERVER", or remove the argument')
            elif wanted != schema.GUEST_CONSOLE:
                self.sink.add("E149", pos, f"cmdline wants {wanted} but the guest's console is {schema.GUEST_CONSOLE}",
                              f"write console={schema.GUEST_CONSOLE}")
        if re.search(r"(?:^|\s)root=/dev/(vd|sd|mmcblk|nvme)", cmdline):
            self.sink.add("W148", pos, "cmdline names a root device but the guest has no disk")
        return cmdline

    def _boot_files(self, entry: Entry, ram: int) -> tuple[BootFile, BootFile | None]:
        """Kernel and initrd: `image` supplies what is not named by itself."""
        image = entry.get("image")
        if image is not None and image not in schema.IMAGES:
            self.sink.add("E119", entry.value_pos("image"), f'unknown image "{image}"', closest(image, schema.IMAGES))
        if "image" not in entry.present:
            if "kernel" not in entry.present:
                self.sink.add("E104", entry.pos, f'missing key "kernel" in {entry.title}',
                              'or write image = "debian"')
            elif "initrd" not in entry.present:
                self.sink.add("W147", entry.pos, f'guest "{entry.name}" has neither disk nor initrd',
                              "fine for a bare-metal Image; Linux will find no root file system")
        kernel = self._boot_file(entry, "kernel", f"{image}/vmlinux" if image else "")
        initrd = None
        if "initrd" in entry.present or image:
            initrd = self._boot_file(entry, "initrd", f"{entry.name}.cpio.gz" if image else "")
        try:
            if kernel.path is not None:
                header = files.read_kernel(kernel.path)
                kernel = BootFile(kernel.module, kernel.path, header.bytes, header.text_offset + header.image_bytes)
        except FileProblem as problem:
            self._problem(entry, "kernel", problem)
        try:
            if initrd is not None and initrd.path is not None:
                initrd = BootFile(initrd.module, initrd.path, files.read_initrd(initrd.path, ram))
        except FileProblem as problem:
            self._problem(entry, "initrd", problem)
        need = units.round_up(kernel.memory_bytes, units.BLOCK) + (initrd.bytes if initrd else 0) + units.BLOCK
        if kernel.memory_bytes and need > ram:
            self.sink.add("E196", entry.value_pos("ram") if "ram" in entry.present else entry.pos,
                          f"kernel, initrd and device tree need {units.size_text(units.round_up(need, units.BLOCK))}, "
                          f'guest "{entry.name}" has {units.size_text(ram)}')
        return kernel, initrd

    def _boot_file(self, entry: Entry, key: str, default: str) -> BootFile:
        """The module for the file that `key` names, or for the tool-made one called `default`."""
        if key in entry.present:
            text = entry.get(key, "")
            if not text:
                if key in entry.values:
                    self.sink.add("E117", entry.value_pos(key), f'"{key}" is empty')
                return BootFile("")
            return self._module(Path(text).name, self.doc.file.parent / text)
        return self._module(default, self.options.files / default if self.options.files else None)

    def _module(self, name: str, path: Path | None) -> BootFile:
        """One archive file for each different path; names are made unique and short enough for the archive."""
        key = str(path.resolve()) if path is not None else ":" + name
        if key not in self.modules:
            name = re.sub(r"[^A-Za-z0-9._/-]", "_", name) or "file"
            name = name[-abi.MODULE_NAME + 4 :]
            taken = {m.module for m in self.modules.values()}
            unique, number = name, 2
            while unique in taken:
                unique, number = f"{name}.{number}", number + 1
            self.modules[key] = BootFile(unique, path)
        return self.modules[key]

    def _problem(self, entry: Entry, key: str, problem: FileProblem) -> None:
        pos = entry.value_pos(key) if key in entry.present else entry.value_pos("image")
        self.sink.add(problem.code, pos, problem.message, problem.hint)

    # Drivers and servers

    def _driver(self, entry: Entry) -> Driver:
        devices = self._devices(entry)
        builtin = ""
        if devices:
            builtin = next((schema.DRIVER_PROGRAMS[c] for c in devices[0].compatible if c in schema.DRIVER_PROGRAMS), "")
            if not builtin and "program" not in entry.present:
                self.sink.add("E114", entry.value_pos("device"), f"no built-in driver for {devices[0].path} "
                              f"({devices[0].compatible[0]})", 'name one: program = "..."')
        klass = entry.get("class", "driver")
        return Driver(entry, entry.name, klass, self._program(entry, builtin), entry.get("log", False), devices)

    def _devices(self, entry: Entry) -> list[Device]:
        wanted: list[str] = entry.get("device", [])
        if "device" in entry.values and not wanted:
            self.sink.add("E117", entry.value_pos("device"), 'list "device" is empty')
        if self.board is None:
            return []
        found = []
        for index, what in enumerate(wanted):
            pos = entry.value_pos("device", index)
            matches = self.board.matching(what)
            usable = [d for d in matches if not d.kernel_owned]
            if not matches:
                known = [d.path for d in self.board.devices] if what.startswith("/") else [
                    c.split(",")[-1] for d in self.board.devices for c in d.compatible]
                self.sink.add("E120", pos, f"no device {what} on board {self.board.name}", closest(what, known))
            elif not usable:
                self.sink.add("E123", pos, f"{matches[0].path} belongs to the kernel",
                              "interrupt controller, timer and PSCI cannot be given to a driver")
            elif len(usable) > 1:
                shown = ", ".join(d.path for d in usable[:4]) + (", ..." if len(usable) > 4 else "")
                self.sink.add("E122", pos, f'"{what}" means {len(usable)} devices of board {self.board.name}',
                              f"write a path: {shown}")
            elif usable[0].dma:
                self.sink.add("E124", pos, f"{usable[0].path} can do DMA, which is not supported yet",
                              "a driver with DMA needs memory of its own, and an SMMU or trust")
                found.append(usable[0])
            else:
                found.append(usable[0])
        return found

    def _server(self, entry: Entry) -> Server:
        builtin = schema.SERVER_PROGRAMS.get(entry.name, "")
        if not builtin and "program" not in entry.present:
            self.sink.add("E114", entry.pos, f'no built-in program for server "{entry.name}"',
                          'name one: program = "...", or call the server ' + " or ".join(sorted(schema.SERVER_PROGRAMS)))
        return Server(entry, entry.name, entry.get("class", "server"), self._program(entry, builtin),
                      entry.get("log", False), entry.get("uses", []))

    def _program(self, entry: Entry, builtin: str) -> BootFile:
        """A name without "/" is a program of the build; anything else a path relative to the file."""
        text = entry.get("program", builtin)
        if "program" in entry.values and not text:
            self.sink.add("E117", entry.value_pos("program"), '"program" is empty')
        if "/" in text:
            return self._mark(self._module(Path(text).name, self.doc.file.parent / text))
        return self._mark(self._module(text, self.options.programs / text if self.options.programs and text else None))

    def _mark(self, module: BootFile) -> BootFile:
        return BootFile(module.module, module.path, is_program=True)

    def _uses(self, drivers: list[Driver], servers: list[Server]) -> None:
        by_name = {d.name: d for d in drivers}
        others = {e.name: e.section.name for e in self.doc.guests + self.doc.servers}
        users: dict[str, str] = {}
        dangling = False
        for server in servers:
            for index, name in enumerate(server.uses):
                pos = server.entry.value_pos("uses", index)
                if name in by_name:
                    driver = by_name[name]
                    if name in users:
                        self.sink.add("E131", pos, f'driver "{name}" is already used by server "{users[name]}"',
                                      "a driver has exactly one client: share through the server")
                    users.setdefault(name, server.name)
                    self._class_order(server, driver, pos)
                    continue
                dangling = True
                if name in others:
                    self.sink.add("E134", pos, f'server "{server.name}" uses {others[name]} "{name}", which is not a driver',
                                  "a server uses drivers only, so uses cannot form a cycle")
                else:
                    self.sink.add("E130", pos, f'server "{server.name}" uses unknown driver "{name}"',
                                  closest(name, by_name))
        sure = all("uses" in s.entry.values or "uses" not in s.entry.present for s in servers)
        for driver in drivers:
            if driver.name not in users and sure and not dangling:
                self.sink.add("W125", driver.entry.pos, f'driver "{driver.name}" is used by no server')

    def _class_order(self, server: Server, driver: Driver, pos: Pos) -> None:
        high, low = schema.CLASSES[driver.klass], schema.CLASSES[server.klass]
        if high <= low:
            self.sink.add("E132", pos, f'server "{server.name}" (class {server.klass}, {low}) calls driver '
                          f'"{driver.name}" (class {driver.klass}, {high}): the callee must be higher')

    def _device_conflicts(self, drivers: list[Driver]) -> None:
        owners: dict[str, Driver] = {}
        pages: dict[int, Driver] = {}
        for driver in drivers:
            for index, device in enumerate(driver.devices):
                pos = driver.entry.value_pos("device", index)
                first = owners.setdefault(device.path, driver)
                if first is not driver:
                    self.sink.add("E121", pos, f'device {device.path} already belongs to driver "{first.name}" '
                                  f"(line {first.line})")
                    continue
                for page in sorted(device_pages(device)):
                    neighbour = pages.setdefault(page, driver)
                    if neighbour is not driver:
                        self.sink.add("E126", pos, f'drivers "{neighbour.name}" and "{driver.name}" share the 4 KiB device '
                                      f"page 0x{page:x}", "they could reach each other's registers: merge them, or "
                                      "place the devices in different pages (QEMU: every 8th virtio-mmio slot)")

    def _consoles(self, guests: list[Guest], servers: list[Server]) -> None:
        by_name = {s.name: s for s in servers}
        for guest in guests:
            if not guest.console:
                if "console" in guest.entry.values:
                    self.sink.add("E117", guest.entry.value_pos("console"), '"console" is empty')
                continue
            pos = guest.entry.value_pos("console")
            name, colon, port = guest.console.partition(":")
            if name not in by_name:
                self.sink.add("E150", pos, f'no server "{name}"', closest(name, by_name))
            elif colon:
                self.sink.add("E151", pos, f'server "{name}" has no port "{port}"', f'write console = "{name}"')
            elif schema.CLASSES[by_name[name].klass] <= schema.CLASSES["guest"]:
                self.sink.add("E153", pos, f'guest "{guest.name}" would call server "{name}" that is not above it',
                              f'class "{by_name[name].klass}" is too low for a server')
        for server in servers:
            clients = [g.name for g in guests if g.console == server.name]
            if "uses" in server.entry.present and "uses" not in server.entry.values:
                continue
            if clients and len(server.uses) != 1:
                pos = server.entry.value_pos("uses") if "uses" in server.entry.present else server.entry.pos
                self.sink.add("E135", pos, f'console server "{server.name}" needs exactly one driver, not {len(server.uses)}',
                              'uses = ["DRIVER"]')

    # What concerns all

    def _memory(self, guests: list[Guest]) -> None:
        kept = self.ram * schema.KEPT_RAM_PERCENT // 100
        archive = sum(m.bytes for m in {f.module: f for g in guests for f in (g.kernel, g.initrd) if f}.values())
        need = sum(g.ram for g in guests)
        if self.ram_known and need + archive > self.ram - kept:
            worst = max(guests, key=lambda g: g.ram)
            pos = worst.entry.value_pos("ram") if "ram" in worst.entry.present else worst.entry.pos
            boot = f" and boot files {units.size_text(units.round_up(archive, units.BLOCK))}" if archive else ""
            self.sink.add("E141", pos, f"guests need {units.size_text(need)}{boot} in total but board ram is "
                          f"{units.size_text(self.ram)} with {schema.KEPT_RAM_PERCENT}% kept for kernel and servers",
                          "lower a guest's ram, or raise ram in [board_args]")

    def _claims(self) -> list[Claim]:
        guests = [e.name for e in self.doc.guests]
        servers = [e.name for e in self.doc.servers]
        claims = []
        for entry in self.doc.claims:
            isolate: list[str] = entry.get("isolate", [])
            for index, name in enumerate(isolate):
                if name not in guests:
                    self.sink.add("E180", entry.value_pos("isolate", index), f'claim names unknown guest "{name}"',
                                  closest(name, guests))
            if "isolate" in entry.values and len(isolate) < 2:
                self.sink.add("E184", entry.value_pos("isolate"), "a claim needs at least two guests")
            for index, name in enumerate(entry.get("shared_servers", [])):
                if name not in servers:
                    self.sink.add("E180", entry.value_pos("shared_servers", index), f'claim names unknown server "{name}"',
                                  closest(name, servers))
            for index, name in enumerate(entry.get("except", [])):
                self.sink.add("E183", entry.value_pos("except", index), f'claim names unknown channel "{name}"')
            pos = entry.pos
            claims.append(Claim(isolate, entry.get("except", []), entry.get("shared_servers", []), pos.line, pos.col))
        if len(claims) > schema.MAX_CLAIMS:
            self.sink.add("E116", self.doc.claims[schema.MAX_CLAIMS].pos,
                          f"{len(claims)} claims are more than {schema.MAX_CLAIMS}")
        if not self.doc.claims:
            self.sink.add("W179", Pos(), "the file claims nothing, so nothing is proven", "add [[claim]] isolate = [...]")
        return claims

    def _programs(self, config: Config) -> None:
        processes: list[Process] = [*config.drivers, *config.servers, *config.guests]
        if self.options.programs is None and not any(p.program.path for p in processes):
            return
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
                pos = process.entry.value_pos("program") if "program" in process.entry.present else process.entry.pos
                self.sink.add(found.code, pos, found.message, found.hint)
        boot = [f for g in config.guests for f in (g.kernel, g.initrd) if f]
        config.files_known = self.options.programs is not None and all(f.path is not None for f in boot)
        total = len({f.module for f in boot} | {p.program.module for p in processes})
        if total > abi.MAX_MODULES - 2:
            self.sink.add("E116", Pos(), f"{total} boot files are more than {abi.MAX_MODULES - 2}")


def device_pages(device: Device) -> set[int]:
    return {page for base, size in device.regs
            for page in range(base // units.PAGE * units.PAGE, base + min(max(size, 1), 1 << 30), units.PAGE)}


def _distance(one: str, other: str) -> float:
    def channels(text: str) -> list[int]:
        return [int(text[i : i + 2], 16) for i in (1, 3, 5)]

    return math.dist(channels(one), channels(other))


def _stem(path: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]", "-", path.stem.lower())[:31]
    return name if re.match(r"[a-z]", name) else f"system-{name}"[:31]
