# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Which thread runs on which core, with which budget."""

from __future__ import annotations

from . import schema, units
from .diag import Sink
from .model import Config, Driver, Guest, Placement, Server

_LOOP_SHARE = 10  # percent of a guest's first vCPU's budget that its VMM's event loop gets
_HOME = 0  # drivers and servers live here


def place(config: Config, sink: Sink) -> None:
    """Fills in the placements of all guests, drivers and servers."""
    _choose_cores(config)
    _share_home(config)
    for core in range(config.cpus):
        _share_core(config, core, sink)
    for guest in config.guests:
        first = guest.placements[0]
        loop = max(first.budget_ns * _LOOP_SHARE // 100, schema.MIN_BUDGET_NS)
        guest.loop = Placement(first.core, loop, first.period_ns)
        first.budget_ns -= loop


def _choose_cores(config: Config) -> None:
    """Spread: a guest's vCPUs over different cores, then the least used core, core 0 last (drivers are there)."""
    load = [0] * config.cpus
    for guest in config.guests:
        own = [0] * config.cpus
        for _ in range(guest.vcpus):
            core = min(guest.cores, key=lambda c: (own[c], load[c], c == _HOME, c))
            own[core] += 1
            load[core] += 1
            guest.placements.append(Placement(core))


def _share_home(config: Config) -> None:
    """Drivers and servers share equally what guests leave on their core."""
    residents: list[Driver | Server] = [*config.drivers, *config.servers]
    for process in residents:
        share = schema.PERIOD_NS * (100 - schema.GUEST_SHARE) // 100 // len(residents)
        process.placement = Placement(_HOME, max(share // 10_000 * 10_000, 10_000), schema.PERIOD_NS)


def _share_core(config: Config, core: int, sink: Sink) -> None:
    fixed: list[tuple[Guest, Placement]] = []
    equal: list[tuple[Guest, Placement]] = []
    for guest in config.guests:
        for placement in guest.placements:
            if placement.core == core:
                (fixed if guest.budget else equal).append((guest, placement))
    booked = 0  # in millionths of the core
    for guest, placement in fixed:
        assert guest.budget is not None
        placement.budget_ns, placement.period_ns = guest.budget
        booked += placement.budget_ns * 1_000_000 // placement.period_ns
        if booked > schema.GUEST_SHARE * 10_000:
            total = sum(g.budget[0] * 1000 // g.budget[1] for g, _ in fixed if g.budget) / 10
            sink.add(
                "E154",
                guest.entry.value_pos("budget"),
                f"core {core} is booked {total:g}% by guests ({schema.GUEST_SHARE}% is the limit, "
                f"{100 - schema.GUEST_SHARE}% is for drivers)",
                "lower a budget or add a core",
            )
            return
    if not equal:
        return
    rest = (schema.GUEST_SHARE * 10_000 - booked) * (schema.PERIOD_NS // 1_000_000) // len(equal)
    if rest < 2 * schema.MIN_BUDGET_NS:
        sink.add(
            "E154",
            equal[0][0].entry.pos,
            f"core {core} is booked {booked / 10_000:g}% by guests, which leaves "
            f'{units.time_text(rest)} for guest "{equal[0][0].name}"',
            "lower a budget or add a core",
        )
        return
    for _, placement in equal:
        placement.budget_ns, placement.period_ns = rest // 10_000 * 10_000, schema.PERIOD_NS
