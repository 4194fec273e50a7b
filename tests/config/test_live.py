# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The comparison of a live system with the declared one, on capability dumps made from the table."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sysgen
from sysgen import cli, live, memmap

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def table(built: tuple[Path, Path]) -> Json:
    result = sysgen.check(ROOT / "configs" / "two-guests.toml", sysgen.Options(*built))
    assert result.system is not None
    return json.loads(result.system.to_json())


@pytest.fixture
def dump(table: Json) -> Json:
    """What the supervisor answers to `caps` if everything is as declared."""
    kinds = {o["name"]: o for o in table["objects"]}
    base = {name: 0x5000_0000 + 0x2000_0000 * i for i, name in enumerate(kinds)}
    processes = []
    for number, p in enumerate(table["processes"]):
        caps = [{"slot": 1, "type": "thread", "object": p["thread"], "rights": ["control"], "badge": 0, "id": 1}]
        for c in table["capabilities"]:
            if c["holder"] == p["name"]:
                kind = kinds[c["object"]]["kind"]
                kind = {"ram": "memory", "guest_space": "space"}.get(kind, kind)
                caps.append(
                    {"slot": c["slot"], "type": kind, "object": c["object"], "rights": c["rights"], "badge": c["badge"]}
                )
        if p["role"] == "vmm":
            caps.append({"slot": 40, "type": "mapping", "object": "", "rights": ["protect"], "badge": 0, "id": 7})
        own = 0x1000_0000 + number * 0x10_0000
        maps = [
            {
                "object": "program",
                "address": hex(s["address"]),
                "base": hex(own + i * 0x1_0000),
                "bytes": s["bytes"],
                "rights": s["rights"],
            }
            for i, s in enumerate(p["segments"])
        ]
        maps.append(
            {
                "object": "stack",
                "address": "0x3fff7000",
                "base": hex(own + 0x8_0000),
                "bytes": 0x8000,
                "rights": ["read", "write"],
            }
        )
        maps.append(
            {
                "object": "environment",
                "address": "0x1000",
                "base": hex(own + 0x9_0000),
                "bytes": 0x1000,
                "rights": ["read"],
            }
        )
        for m in table["mappings"]:
            if m["holder"] == p["name"]:
                at = kinds[m["object"]]["base"] or base[m["object"]]
                maps.append(
                    {
                        "object": m["object"],
                        "address": hex(m["address"]),
                        "base": hex(at),
                        "bytes": m["bytes"],
                        "rights": m["rights"],
                    }
                )
        processes.append({"name": p["name"], "state": "running", "caps": caps, "maps": maps})
    return {
        "ok": True,
        "system": table["name"],
        "config_sha256": table["config_sha256"],
        "claims_sha256": table["claims_sha256"],
        "processes": processes,
    }


def process(dump: Json, name: str) -> Json:
    return next(p for p in dump["processes"] if p["name"] == name)


def test_equal(table: Json, dump: Json, tmp_path: Path) -> None:
    assert live.differences(table, dump) == []
    paths = [tmp_path / "system.json", tmp_path / "caps.json"]
    for path, data in zip(paths, (table, dump)):
        path.write_text(json.dumps(data))
    assert cli.main(["live", *map(str, paths)]) == 0
    dump["processes"][0]["caps"].pop()
    paths[1].write_text(json.dumps(dump))
    assert cli.main(["live", *map(str, paths)]) == 3


def test_killed_process_holds_nothing(table: Json, dump: Json) -> None:
    dead = process(dump, "vmm.business")
    dead.update(state="killed", caps=[], maps=[])
    assert live.differences(table, dump) == []
    dead["caps"] = [{"slot": 16}]
    assert live.differences(table, dump)


FAULTS: dict[str, Callable[[Json], None]] = {
    "another description": lambda d: d.update(config_sha256="0"),
    "missing capability": lambda d: process(d, "serial")["caps"].pop(),
    "extra capability": lambda d: process(d, "uart")["caps"].append(
        {"slot": 99, "type": "memory", "object": "business.ram", "rights": ["read"], "badge": 0}
    ),
    "extra right": lambda d: process(d, "serial")["caps"][3]["rights"].append("wait"),
    "other badge": lambda d: process(d, "serial")["caps"][3].update(badge=1 << 40),
    "other object": lambda d: process(d, "serial")["caps"][3].update(object="vmm.personal.events"),
    "stronger thread": lambda d: process(d, "uart")["caps"][0]["rights"].append("regs"),
    "mapping capability in a driver": lambda d: process(d, "uart")["caps"].append(
        {"slot": 99, "type": "mapping", "object": "", "rights": [], "badge": 0}
    ),
    "missing region": lambda d: process(d, "uart")["maps"].pop(),
    "extra region": lambda d: process(d, "uart")["maps"].append(
        {"object": "business.ram", "address": "0x200000000", "base": "0x99000000", "bytes": 4096, "rights": ["read"]}
    ),
    "writable region": lambda d: process(d, "serial")["maps"][5]["rights"].append("write"),
    "shorter region": lambda d: process(d, "serial")["maps"][5].update(bytes=4096),
    "writable program": lambda d: process(d, "uart")["maps"][0]["rights"].append("write"),
    "another device": lambda d: next(m for m in process(d, "uart")["maps"] if m["object"] == "uart.regs").update(
        base="0x9010000"
    ),
    "memory of two guests overlaps": lambda d: next(
        m for m in process(d, "vmm.personal")["maps"] if m["object"] == "personal.ram"
    ).update(base=next(m for m in process(d, "vmm.business")["maps"] if m["object"] == "business.ram")["base"]),
    "stacks overlap": lambda d: process(d, "uart")["maps"][3].update(base=process(d, "serial")["maps"][3]["base"]),
    "undeclared process": lambda d: d["processes"].append({"name": "spy", "state": "running", "caps": [], "maps": []}),
    "no answer": lambda d: d.clear(),
    "nonsense": lambda d: d.update(processes=[1]),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.replace(" ", "-"))
def test_fault(fault: str, table: Json, dump: Json) -> None:
    spoiled = copy.deepcopy(dump)
    FAULTS[fault](spoiled)
    assert live.differences(table, spoiled)


def test_full_board_still_fits(tmp_path: Path) -> None:
    """Guests that take all they may leave room for everything else."""
    text = (ROOT / "configs" / "two-guests.toml").read_text()
    text = text.replace("[guest.personal]", 'ram = "212M"\n[guest.personal]\nram = "2M"')
    path = tmp_path / "full.toml"
    path.write_text(text.replace("[guest.business]", '[board_args]\nram = "256M"\n[guest.business]', 1))
    result = sysgen.check(path)
    assert result.system is not None
    area = memmap.areas(result.system)
    assert max(a.base + a.bytes for a in area) <= 0x4000_0000 + (256 << 20)
