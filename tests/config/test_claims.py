# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Faults planted into correct tables: the claim checker, which knows nothing of how tables are made, finds each."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import sysgen
from sysgen import claims, cli

ROOT = Path(__file__).resolve().parents[2]
Table = dict[str, Any]


@pytest.fixture(scope="module", params=["two-guests", "dual-persona"])
def table(request: pytest.FixtureRequest) -> Table:
    result = sysgen.check(ROOT / "configs" / f"{request.param}.toml")
    assert result.system is not None and not result.diagnostics
    return json.loads(result.system.to_json())


def faults(table: Table) -> list[claims.Finding]:
    return [f for f in claims.verify(table) if f.code.startswith("E")]


def row(table: Table, kind: str, **where: object) -> dict[str, Any]:
    found = [r for r in table[kind] if all(r[k] == v for k, v in where.items())]
    assert len(found) == 1, (kind, where, len(found))
    return found[0]


def swap(one: dict[str, Any], other: dict[str, Any], *fields: str) -> None:
    for name in fields:
        one[name], other[name] = other[name], one[name]


def test_correct_tables_hold(table: Table) -> None:
    assert claims.verify(table) == []


def test_checker_reads_nothing_but_the_table() -> None:
    """It shares no code with what makes tables, and opens no file."""
    for path in (ROOT / "tools" / "sysgen" / "claims").glob("*.py"):
        source = path.read_text()
        assert not re.search(r"from \.\.|import sysgen|from sysgen|open\(|Path", source), path.name


# Planted faults. Each takes a correct table and spoils it.


def swap_rings_in_vmms(t: Table) -> None:
    for part in ("data", "head"):
        swap(
            row(t, "mappings", holder="vmm.business", name=f"console.out.{part}"),
            row(t, "mappings", holder="vmm.personal", name=f"console.out.{part}"),
            "object",
        )


def swap_rings_in_server(t: Table) -> None:
    for part in ("data", "head"):
        swap(
            row(t, "mappings", holder="serial", name=f"business.out.{part}"),
            row(t, "mappings", holder="serial", name=f"personal.out.{part}"),
            "object",
        )


def swap_rings_in_server_with_bells(t: Table) -> None:
    """Consistent in itself: only the names are wrong, so the server would show one guest as the other."""
    for direction in ("out", "in"):
        swap_names = {
            f"business.{direction}": f"personal.{direction}",
            f"personal.{direction}": f"business.{direction}",
        }
        for kind in ("mappings", "capabilities"):
            for r in t[kind]:
                ring, _, part = r["name"].rpartition(".")
                if r["holder"] == "serial" and ring in swap_names:
                    r["name"] = f"{swap_names[ring]}.{part}"
        for setting in row(t, "processes", name="serial")["settings"]:
            ring = setting[0].removesuffix(".event")
            if ring in swap_names:
                setting[0] = f"{swap_names[ring]}.event"


def swap_directions(t: Table) -> None:
    swap(
        row(t, "mappings", holder="vmm.business", name="console.out.data"),
        row(t, "mappings", holder="vmm.business", name="console.in.data"),
        "object",
    )


def map_neighbour_ram(t: Table) -> None:
    t["mappings"].append(
        {
            **row(t, "mappings", holder="vmm.personal", name="guest.ram"),
            "holder": "vmm.business",
            "address": 0x40_0000_0000,
            "name": "extra",
            "rights": ["read"],
        }
    )


def map_neighbour_ram_declared(t: Table) -> None:
    map_neighbour_ram(t)
    row(t, "objects", name="personal.ram")["parties"].append("vmm.business")


def server_maps_guest_ram(t: Table) -> None:
    t["mappings"].append(
        {
            **row(t, "mappings", holder="vmm.personal", name="guest.ram"),
            "holder": "serial",
            "address": 0x40_0000_0000,
            "name": "",
        }
    )


def exchange_guest_ram(t: Table) -> None:
    for kind in ("capabilities", "mappings"):
        swap(
            row(t, kind, holder="vmm.business", name="guest.ram"),
            row(t, kind, holder="vmm.personal", name="guest.ram"),
            "object",
        )


def extra_capability_on_neighbour_thread(t: Table) -> None:
    t["capabilities"].append(
        {**row(t, "capabilities", holder="vmm.personal", name="vcpu0.thread"), "holder": "vmm.business", "slot": 99}
    )


def extra_capability_on_neighbour_space(t: Table) -> None:
    t["capabilities"].append(
        {**row(t, "capabilities", holder="vmm.personal", name="guest.space"), "holder": "vmm.business", "slot": 99}
    )


def driver_holds_guest_vcpu(t: Table) -> None:
    t["capabilities"].append(
        {**row(t, "capabilities", holder="vmm.personal", name="vcpu0"), "holder": "uart", "slot": 99}
    )


def guest_holds_uart(t: Table) -> None:
    t["mappings"].append(
        {**row(t, "mappings", holder="uart", name="regs"), "holder": "vmm.business", "address": 0x40_0000_0000}
    )


def guest_takes_interrupt(t: Table) -> None:
    t["capabilities"].append(
        {**row(t, "capabilities", holder="uart", name="irq"), "holder": "vmm.business", "slot": 99}
    )


def guest_holds_capability_space(t: Table) -> None:
    t["capabilities"].append(
        {**row(t, "capabilities", holder="init", name="vmm.personal.cspace"), "holder": "vmm.business", "slot": 99}
    )


def overlapping_devices(t: Table) -> None:
    regs = row(t, "objects", name="uart.regs")
    t["objects"].append({**regs, "name": "other.regs", "base": regs["base"] + regs["bytes"] - 1, "bytes": 4096})


def contained_device(t: Table) -> None:
    regs = row(t, "objects", name="uart.regs")
    t["objects"].append({**regs, "name": "other.regs", "base": regs["base"] - 0x10000, "bytes": 0x100000})


def device_in_ram(t: Table) -> None:
    row(t, "objects", name="uart.regs")["base"] = t["board"]["ram_base"] + t["ram"] - 4096


def interrupt_twice(t: Table) -> None:
    t["objects"].append({**row(t, "objects", name="uart.irq"), "name": "other.irq"})


def crossed_notification(t: Table) -> None:
    row(t, "capabilities", holder="serial", name="business.out.bell")["object"] = "vmm.personal.events"


def direct_notification(t: Table) -> None:
    row(t, "capabilities", holder="vmm.business", name="console.out.bell")["object"] = "vmm.personal.events"


def forged_badge(t: Table) -> None:
    row(t, "capabilities", holder="vmm.business", name="console.out.bell")["badge"] = row(
        t, "capabilities", holder="vmm.personal", name="console.out.bell"
    )["badge"]


def badge_of_all(t: Table) -> None:
    row(t, "capabilities", holder="vmm.business", name="console.out.bell")["badge"] = (1 << 64) - 1


def no_badge(t: Table) -> None:
    row(t, "capabilities", holder="vmm.business", name="console.out.bell")["badge"] = 0


def server_awaits_guest_events(t: Table) -> None:
    row(t, "capabilities", holder="serial", name="business.out.bell")["rights"] = ["signal", "wait"]


def shared_file_writable(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="kernel")["rights"] = ["read", "write"]


def private_file_read_by_neighbour(t: Table) -> None:
    t["mappings"].append(
        {
            **row(t, "mappings", holder="vmm.personal", name="initrd"),
            "holder": "vmm.business",
            "address": 0x40_0000_0000,
        }
    )


def code_writable(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="vcpu0.stack")["rights"] = ["read", "write", "exec"]


def program_writable(t: Table) -> None:
    row(t, "processes", name="serial")["segments"] = [
        {"file_offset": 0, "file_bytes": 0, "address": 0x400000, "bytes": 4096, "rights": ["read", "write", "exec"]}
    ]


def consumer_writes_data(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="console.in.data")["rights"] = ["read", "write"]


def third_party_on_ring(t: Table) -> None:
    row(t, "objects", name="ring.business.out.data")["parties"].append("vmm.personal")


def ring_between_guests(t: Table) -> None:
    """A ring that both guests map, declared for both."""
    for name in ("ring.business.out.data", "ring.business.out.head"):
        row(t, "objects", name=name)["parties"] = ["vmm.business", "vmm.personal"]
    for part in ("data", "head"):
        row(t, "mappings", holder="serial", name=f"business.out.{part}")["holder"] = "vmm.personal"


def mapping_beyond_object(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="console.out.data")["bytes"] += 4096


def mapping_at_wrapping_offset(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="console.out.head")["offset"] = (1 << 64) - 4096


def mapping_over_another(t: Table) -> None:
    row(t, "mappings", holder="vmm.business", name="vcpu0.page")["address"] = row(
        t, "mappings", holder="vmm.business", name="guest.ram"
    )["address"]


def less_ram_than_told(t: Table) -> None:
    row(t, "objects", name="personal.ram")["bytes"] -= 2 << 20
    row(t, "mappings", holder="vmm.personal", name="guest.ram")["bytes"] -= 2 << 20


def log_given_to_both(t: Table) -> None:
    t["objects"].append(
        {
            **row(t, "objects", name="uart.irq"),
            "name": "kernel.log",
            "kind": "log",
            "owner": "system",
            "parties": ["vmm.business", "vmm.personal"],
        }
    )
    for guest in ("business", "personal"):
        t["capabilities"].append(
            {
                "holder": f"vmm.{guest}",
                "slot": 98,
                "object": "kernel.log",
                "rights": ["log"],
                "badge": 0,
                "name": "klog",
                "line": 1,
            }
        )


def endpoint_between_guests(t: Table) -> None:
    t["objects"].append(
        {
            **row(t, "objects", name="uart.irq"),
            "name": "ep",
            "kind": "endpoint",
            "owner": "system",
            "parties": ["vmm.business", "vmm.personal"],
        }
    )
    for guest, right in (("business", "call"), ("personal", "receive")):
        t["capabilities"].append(
            {
                "holder": f"vmm.{guest}",
                "slot": 98,
                "object": "ep",
                "rights": [right],
                "badge": 0,
                "name": "ep",
                "line": 1,
            }
        )


def unlisted_server(t: Table) -> None:
    t["claims"][0]["shared_servers"] = []


def driver_listed_as_server(t: Table) -> None:
    """Listing a name licenses servers only."""
    t["claims"][0]["shared_servers"] = ["uart", "vmm.personal", "init"]


def undeclared_channel(t: Table) -> None:
    t["channels"].append({"name": "clipboard", "source": "personal", "target": "business", "via": "serial", "line": 1})


def channel_licenses_other_server(t: Table) -> None:
    """The channel goes through another server than the one that the guests share."""
    undeclared_channel(t)
    t["channels"][0]["via"] = "elsewhere"
    t["claims"][0]["exceptions"] = ["clipboard"]
    t["claims"][0]["shared_servers"] = []


PLANTED: list[Callable[[Table], None]] = [
    swap_rings_in_vmms,
    swap_rings_in_server,
    swap_rings_in_server_with_bells,
    swap_directions,
    map_neighbour_ram,
    map_neighbour_ram_declared,
    server_maps_guest_ram,
    exchange_guest_ram,
    extra_capability_on_neighbour_thread,
    extra_capability_on_neighbour_space,
    driver_holds_guest_vcpu,
    guest_holds_uart,
    guest_takes_interrupt,
    guest_holds_capability_space,
    overlapping_devices,
    contained_device,
    device_in_ram,
    interrupt_twice,
    crossed_notification,
    direct_notification,
    forged_badge,
    badge_of_all,
    no_badge,
    server_awaits_guest_events,
    shared_file_writable,
    private_file_read_by_neighbour,
    code_writable,
    program_writable,
    consumer_writes_data,
    third_party_on_ring,
    ring_between_guests,
    mapping_beyond_object,
    mapping_at_wrapping_offset,
    mapping_over_another,
    less_ram_than_told,
    log_given_to_both,
    endpoint_between_guests,
    unlisted_server,
    driver_listed_as_server,
    undeclared_channel,
    channel_licenses_other_server,
]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda f: f.__name__)
def test_planted_fault(table: Table, fault: Callable[[Table], None], tmp_path: Path) -> None:
    spoiled = copy.deepcopy(table)
    fault(spoiled)
    found = faults(spoiled)
    assert found, fault.__name__
    assert all(f.line >= 1 and f.message for f in found)
    path = tmp_path / "system.json"
    path.write_text(json.dumps(spoiled))
    assert cli.main(["claims", str(path)]) == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (consumer_writes_data, "has more than one writer"),
        (crossed_notification, "serial rings vmm.personal.events for ring business.out"),
    ],
    ids=lambda v: getattr(v, "__name__", "says"),
)
def test_each_rule_finds_it_alone(table: Table, fault: Callable[[Table], None], message: str) -> None:
    """Faults that more than one rule finds: none of them may rely on the others."""
    spoiled = copy.deepcopy(table)
    fault(spoiled)
    assert [f for f in faults(spoiled) if message in f.message]


@pytest.mark.parametrize(
    ("kind", "into", "out_of"),
    [
        ("ram", "write", "read"),
        ("ram", "own", "exec"),
        ("endpoint", "call", "receive"),
        ("endpoint", "pass", "call"),
        ("notification", "signal", "wait"),
        ("notification", "arm", "wait"),
        ("irq", "ack", "bind"),
        ("sched", "bind", "configure"),
        ("guest_space", "map", "use"),
        ("vcpu", "kick", "run"),
        ("vcpu", "configure", "run"),
        ("thread", "control", "regs"),
        ("cspace", "insert", "inspect"),
        ("cspace", "remove", "inspect"),
        ("log", "log", "info"),
        ("log", "power", "mint"),
        ("log", "firmware", "firmware"),
    ],
)
def test_every_right_that_tells_something_counts(table: Table, kind: str, into: str, out_of: str) -> None:
    """An object that both guests hold is a path between them, whatever else may be wrong with it."""
    t = copy.deepcopy(table)
    shared = {**row(t, "objects", name="business.ram"), "name": "shared", "kind": kind, "owner": "system"}
    t["objects"].append({**shared, "parties": ["vmm.business", "vmm.personal"], "base": 0, "intid": 99})
    use = {**row(t, "capabilities", holder="vmm.business", name="guest.ram"), "object": "shared", "slot": 99}
    t["capabilities"].append({**use, "name": "here", "rights": [into], "badge": 1})
    t["capabilities"].append({**use, "name": "there", "rights": [out_of], "holder": "vmm.personal"})
    assert [f for f in faults(t) if f.code == "E185" and f.message == '"business" can reach "personal"']


def test_a_channel_licenses_the_server_that_it_names(table: Table) -> None:
    t = copy.deepcopy(table)
    undeclared_channel(t)
    t["claims"][0]["exceptions"] = ["clipboard"]
    t["claims"][0]["shared_servers"] = []
    assert faults(t) == []


def test_paths_name_rights_and_lines(table: Table) -> None:
    t = copy.deepcopy(table)
    unlisted_server(t)
    finding = next(f for f in faults(t) if f.code == "E181")
    assert len(finding.notes) >= 4 and all(note.startswith("line ") for note in finding.notes)


def every_foreign_use(t: Table) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each capability and mapping of each process, given to each other process."""
    names = [p["name"] for p in t["processes"]]
    for kind in ("capabilities", "mappings"):
        for use in t[kind]:
            for name in names:
                if name != use["holder"]:
                    yield kind, {**use, "holder": name, "name": "planted"} | (
                        {"address": 0x40_0000_0000} if kind == "mappings" else {"slot": 99}
                    )


def test_no_right_of_a_guest_can_be_given_to_the_other(table: Table) -> None:
    """Exhaustive: whatever one VMM has alone is a fault in the hands of anybody else who has no part in it."""
    for kind, planted in every_foreign_use(table):
        obj = row(table, "objects", name=planted["object"])
        if planted["holder"] in obj["parties"] or obj["kind"] == "file" and planted["holder"] in obj["parties"]:
            continue
        t = {**table, kind: [*table[kind], planted]}
        assert faults(t), planted


def test_no_two_objects_of_guests_can_be_swapped(table: Table) -> None:
    """Exhaustive over pairs of uses in two VMMs: exchanging what they refer to is a fault."""
    for kind in ("capabilities", "mappings"):
        for one, other in combinations(range(len(table[kind])), 2):
            a, b = table[kind][one], table[kind][other]
            if {a["holder"], b["holder"]} != {"vmm.business", "vmm.personal"} or a["object"] == b["object"]:
                continue
            rows = list(table[kind])
            rows[one], rows[other] = {**a, "object": b["object"]}, {**b, "object": a["object"]}
            assert faults({**table, kind: rows}), (a, b)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[" * 100_000, '{"objects": 1}', '{"objects": [1]}', '{"objects": [{}]}', '"x"', "1e999"],
)
def test_malformed_tables(text: str, tmp_path: Path) -> None:
    assert [f.code for f in sysgen.verify(text)] == ["E189"]
    path = tmp_path / "system.json"
    path.write_text(text)
    assert cli.main(["claims", str(path)]) == 3


def test_fields_dropped_or_of_wrong_type(table: Table) -> None:
    """No field is taken on trust: without it, or with nonsense in it, the table is malformed or still judged."""
    for kind in ("objects", "processes", "capabilities", "mappings", "links", "claims"):
        for field in table[kind][0]:
            for value in (None, -1, 1 << 64, "x", [], {}, [None], True):
                t = {**table, kind: [{**table[kind][0], field: value}, *table[kind][1:]]}
                assert isinstance(claims.verify(t), list)
            t = {**table, kind: [{k: v for k, v in table[kind][0].items() if k != field}, *table[kind][1:]]}
            assert isinstance(claims.verify(t), list)
