# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Report, graph, memory map, boards: complete, deterministic, and true to the table."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import sysgen
from sysgen import cli, memmap

ROOT = Path(__file__).resolve().parents[2]
DUAL = str(ROOT / "configs" / "dual-persona.toml")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 0
    first = capsys.readouterr()
    assert first.err == ""
    assert cli.main(list(arguments)) == 0
    assert capsys.readouterr().out == first.out, "deterministic"
    return first.out


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "report", DUAL)
    system = sysgen.check(DUAL).system
    assert system is not None
    for heading in (
        "## Claims",
        "## What guests have in common",
        "## Read-only boot files",
        "## Residual trust",
        "## Who holds what",
        "## Memory",
    ):
        assert heading in text
    for row in system.uses():
        assert f"| {row.name} | {row.object} |" in text
    assert "business, personal share nothing but serial: holds." in text
    assert "| debian/vmlinux | not built yet | vmm.business, vmm.personal | shared |" in text
    assert "no SMMU" in text
    assert "exchange something with both: init, serial." in text


def test_report_says_that_a_claim_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "leak.toml"
    path.write_text(Path(DUAL).read_text().replace('shared_servers = ["serial"]', ""))
    assert cli.main(["report", str(path)]) == 3
    text = capsys.readouterr().out
    assert "**FAILS**" in text and "[E181]" in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="no Graphviz")
def test_graph(capsys: pytest.CaptureFixture[str]) -> None:
    svg = run(capsys, "graph", DUAL)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    for name in ("vmm.business", "vmm.personal", "serial", "uart", "init"):
        assert name in svg


def test_graph_without_graphviz(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["graph", DUAL]) == 5
    assert "graphviz" in capsys.readouterr().err


def test_map(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "map", DUAL)
    assert "business.ram (vmm.business)" in text
    system = sysgen.check(DUAL).system
    assert system is not None
    areas = memmap.areas(system)
    for low, high in zip(areas, areas[1:]):
        assert low.base + low.bytes <= high.base, "areas do not overlap"
    placed = {a.what for a in areas}
    assert {o.name for o in system.objects if o.kind in ("ram", "device")} <= placed
    ram = [a for a in areas if a.base >= system.board["ram_base"]]
    assert sum(a.bytes for a in ram) <= system.ram
    for area in areas:
        if area.what.endswith(".ram"):
            assert area.base % (2 << 20) == 0


def test_boards(capsys: pytest.CaptureFixture[str]) -> None:
    assert "qemu-virt" in run(capsys, "boards")
    text = run(capsys, "boards", "qemu-virt")
    assert "/pl011@9000000" in text and "irq 33" in text
    assert cli.main(["boards", "qemu-vrt"]) == 2


def test_shown_names_are_as_given(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    system = sysgen.check("configs/two-guests.toml").system
    assert system is not None and system.config == "configs/two-guests.toml"
