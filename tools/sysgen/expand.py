# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A checked system description written out in full, with each default marked."""

from __future__ import annotations

from collections.abc import Iterator

from . import units
from .model import Config, Driver, Guest, Placement, Server
from .reader import Entry

_MARK = "  # default"


def text(config: Config) -> str:
    return "\n".join(_lines(config)) + "\n"


def _lines(config: Config) -> Iterator[str]:
    top, args = _top(config)
    yield "schema = 1"
    yield _key(top, "name", _quote(config.name))
    yield f"board = {_quote(config.board.name)}"
    yield ""
    yield "[board_args]" + ("" if args.present else _MARK)
    yield _key(args, "ram", _size(config.ram))
    yield _key(args, "cpus", str(config.cpus))
    for guest in config.guests:
        yield from _guest(guest)
    for driver in config.drivers:
        yield from _driver(driver)
    for server in config.servers:
        yield from _server(server)
    yield from _personas(config)
    for claim in config.claims:
        yield ""
        yield "[[claim]]"
        yield f"isolate = {_list(claim.isolate)}"
        yield f"except = {_list(claim.exceptions)}"
        yield f"shared_servers = {_list(claim.shared_servers)}"


def _top(config: Config) -> tuple[Entry, Entry]:
    assert config.top is not None and config.board_args is not None
    return config.top, config.board_args


def _key(entry: Entry, key: str, value: str) -> str:
    return f"{key} = {value}" + ("" if key in entry.present else _MARK)


def _guest(guest: Guest) -> Iterator[str]:
    entry = guest.entry
    yield ""
    yield f"[guest.{guest.name}]"
    for key in ("image", "kernel", "initrd"):
        if key in entry.values:
            yield f"{key} = {_quote(entry.values[key])}"
    yield _key(entry, "cmdline", _quote(guest.cmdline))
    yield _key(entry, "ram", _size(guest.ram))
    yield _key(entry, "vcpus", str(guest.vcpus))
    yield _key(entry, "cores", str(guest.cores))
    shares = [_share(guest, number) for number in range(guest.vcpus)]
    if guest.budget:
        yield f"budget = {_quote(shares[0])}"
    else:
        placed = ", ".join(f"{share} on core {p.core}" for share, p in zip(shares, guest.placements))
        yield f"# budget: an equal share of each core, now {placed}"
    yield _key(entry, "class", _quote(guest.klass))
    yield _key(entry, "program", _quote(entry.get("program", guest.program.module)))
    if guest.console:
        yield f"console = {_quote(guest.console)}"
    yield _key(entry, "ready", _quote(guest.ready))
    yield _key(entry, "log", str(guest.log).lower())


def _share(guest: Guest, number: int) -> str:
    placement: Placement = guest.placements[number]
    loop = guest.loop.budget_ns if number == 0 else 0
    return units.budget_text(placement.budget_ns + loop, placement.period_ns)


def _driver(driver: Driver) -> Iterator[str]:
    entry = driver.entry
    yield ""
    yield f"[driver.{driver.name}]"
    yield _key(entry, "program", _quote(entry.get("program", driver.program.module)))
    yield f"device = {_list([d.path for d in driver.devices])}"
    yield _key(entry, "class", _quote(driver.klass))
    yield _key(entry, "log", str(driver.log).lower())


def _server(server: Server) -> Iterator[str]:
    entry = server.entry
    yield ""
    yield f"[server.{server.name}]"
    yield _key(entry, "program", _quote(entry.get("program", server.program.module)))
    yield _key(entry, "uses", _list(server.uses))
    yield _key(entry, "class", _quote(server.klass))
    yield _key(entry, "log", str(server.log).lower())


def _personas(config: Config) -> Iterator[str]:
    for guest in config.guests:
        persona = guest.persona
        yield ""
        yield f"[persona.{persona.name if persona else guest.name}]" + ("" if persona else _MARK)
        yield f"guest = {_quote(guest.name)}" + ("" if persona else _MARK)
        for key, value in (("label", guest.label), ("color", guest.color)):
            yield _key(persona, key, _quote(value)) if persona else f"{key} = {_quote(value)}{_MARK}"


def _size(count: int) -> str:
    return _quote(units.size_text(count))


def _quote(value: str) -> str:
    out = "".join("\\" + c if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in value)
    return f'"{out}"'


def _list(items: list[str]) -> str:
    return "[" + ", ".join(_quote(i) for i in items) + "]"
