# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Checks drivers and servers: devices, programs, who uses whom, who is above whom."""

from __future__ import annotations

from . import schema, units
from .board import Device
from .context import Context
from .diag import Pos, closest
from .model import Driver, Guest, Server
from .reader import Entry


class ServiceChecker:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.sink = ctx, ctx.sink

    def driver(self, entry: Entry) -> Driver:
        devices = self._devices(entry)
        builtin = ""
        if devices:
            builtin = next(
                (schema.DRIVER_PROGRAMS[c] for c in devices[0].compatible if c in schema.DRIVER_PROGRAMS), ""
            )
            if not builtin and "program" not in entry.present:
                self.sink.add(
                    "E114",
                    entry.value_pos("device"),
                    f"no built-in driver for {devices[0].path} " f"({devices[0].compatible[0]})",
                    'name one: program = "..."',
                )
        klass = entry.get("class", "driver")
        return Driver(entry, entry.name, klass, self.ctx.program(entry, builtin), entry.get("log", False), devices)

    def _devices(self, entry: Entry) -> list[Device]:
        wanted: list[str] = entry.get("device", [])
        if "device" in entry.values and not wanted:
            self.sink.add("E117", entry.value_pos("device"), 'list "device" is empty')
        if self.ctx.board is None:
            return []
        found = []
        for index, what in enumerate(wanted):
            pos = entry.value_pos("device", index)
            matches = self.ctx.board.matching(what)
            usable = [d for d in matches if not d.kernel_owned]
            if not matches:
                known = (
                    [d.path for d in self.ctx.board.devices]
                    if what.startswith("/")
                    else [c.split(",")[-1] for d in self.ctx.board.devices for c in d.compatible]
                )
                self.sink.add("E120", pos, f"no device {what} on board {self.ctx.board.name}", closest(what, known))
            elif not usable:
                self.sink.add(
                    "E123",
                    pos,
                    f"{matches[0].path} belongs to the kernel",
                    "interrupt controller, timer and PSCI cannot be given to a driver",
                )
            elif len(usable) > 1:
                shown = ", ".join(d.path for d in usable[:4]) + (", ..." if len(usable) > 4 else "")
                self.sink.add(
                    "E122",
                    pos,
                    f'"{what}" means {len(usable)} devices of board {self.ctx.board.name}',
                    f"write a path: {shown}",
                )
            elif usable[0].dma:
                self.sink.add(
                    "E124",
                    pos,
                    f"{usable[0].path} can do DMA, which is not supported yet",
                    "a driver with DMA needs memory of its own, and an SMMU or trust",
                )
                found.append(usable[0])
            else:
                found.append(usable[0])
        return found

    def server(self, entry: Entry) -> Server:
        builtin = schema.SERVER_PROGRAMS.get(entry.name, "")
        if not builtin and "program" not in entry.present:
            self.sink.add(
                "E114",
                entry.pos,
                f'no built-in program for server "{entry.name}"',
                'name one: program = "...", or call the server ' + " or ".join(sorted(schema.SERVER_PROGRAMS)),
            )
        return Server(
            entry,
            entry.name,
            entry.get("class", "server"),
            self.ctx.program(entry, builtin),
            entry.get("log", False),
            entry.get("uses", []),
        )

    def uses(self, drivers: list[Driver], servers: list[Server]) -> None:
        by_name = {d.name: d for d in drivers}
        others = {e.name: e.section.name for e in self.ctx.doc.guests + self.ctx.doc.servers}
        users: dict[str, str] = {}
        dangling = False
        for server in servers:
            for index, name in enumerate(server.uses):
                pos = server.entry.value_pos("uses", index)
                if name in by_name:
                    driver = by_name[name]
                    if name in users:
                        self.sink.add(
                            "E131",
                            pos,
                            f'driver "{name}" is already used by server "{users[name]}"',
                            "a driver has exactly one client: share through the server",
                        )
                    users.setdefault(name, server.name)
                    self._class_order(server, driver, pos)
                    continue
                dangling = True
                if name in others:
                    self.sink.add(
                        "E134",
                        pos,
                        f'server "{server.name}" uses {others[name]} "{name}", which is not a driver',
                        "a server uses drivers only, so uses cannot form a cycle",
                    )
                else:
                    self.sink.add(
                        "E130", pos, f'server "{server.name}" uses unknown driver "{name}"', closest(name, by_name)
                    )
        sure = all("uses" in s.entry.values or "uses" not in s.entry.present for s in servers)
        for driver in drivers:
            if driver.name not in users and sure and not dangling:
                self.sink.add("W125", driver.entry.pos, f'driver "{driver.name}" is used by no server')

    def _class_order(self, server: Server, driver: Driver, pos: Pos) -> None:
        high, low = schema.CLASSES[driver.klass], schema.CLASSES[server.klass]
        if high <= low:
            self.sink.add(
                "E132",
                pos,
                f'server "{server.name}" (class {server.klass}, {low}) calls driver '
                f'"{driver.name}" (class {driver.klass}, {high}): the callee must be higher',
            )

    def device_conflicts(self, drivers: list[Driver]) -> None:
        owners: dict[str, Driver] = {}
        pages: dict[int, Driver] = {}
        for driver in drivers:
            for index, device in enumerate(driver.devices):
                pos = driver.entry.value_pos("device", index)
                first = owners.setdefault(device.path, driver)
                if first is not driver:
                    self.sink.add(
                        "E121",
                        pos,
                        f'device {device.path} already belongs to driver "{first.name}" ' f"(line {first.line})",
                    )
                    continue
                for page in sorted(device_pages(device)):
                    neighbour = pages.setdefault(page, driver)
                    if neighbour is not driver:
                        self.sink.add(
                            "E126",
                            pos,
                            f'drivers "{neighbour.name}" and "{driver.name}" share the 4 KiB device '
                            f"page 0x{page:x}",
                            "they could reach each other's registers: merge them, or "
                            "place the devices in different pages (QEMU: every 8th virtio-mmio slot)",
                        )

    def consoles(self, guests: list[Guest], servers: list[Server]) -> None:
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
                self.sink.add(
                    "E153",
                    pos,
                    f'guest "{guest.name}" would call server "{name}" that is not above it',
                    f'class "{by_name[name].klass}" is too low for a server',
                )
        for server in servers:
            clients = [g.name for g in guests if g.console == server.name]
            if "uses" in server.entry.present and "uses" not in server.entry.values:
                continue
            if clients and len(server.uses) != 1:
                pos = server.entry.value_pos("uses") if "uses" in server.entry.present else server.entry.pos
                self.sink.add(
                    "E135",
                    pos,
                    f'console server "{server.name}" needs exactly one driver, not {len(server.uses)}',
                    'uses = ["DRIVER"]',
                )


def device_pages(device: Device) -> set[int]:
    """Addresses of the pages that the device's registers lie in."""
    return {
        page
        for base, size in device.regs
        for page in range(base // units.PAGE * units.PAGE, base + min(max(size, 1), 1 << 30), units.PAGE)
    }
