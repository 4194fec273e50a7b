# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`bench`: its JSON is complete, and the same build gives the same figures."""

import json
import subprocess
from pathlib import Path

import pytest
from twainlib import bench

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"ipc_roundtrip", "signal", "vcpu_hypercall", "vcpu_mmio", "guest_boot_exits"}


@pytest.mark.machine
def test_bench_measures_every_key_and_repeats_exactly(tmp_path):
    seen = []
    for number in (1, 2):
        out = tmp_path / f"{number}.json"
        result = subprocess.run([ROOT / "tools/twain", "bench", "--json", out], capture_output=True, text=True, timeout=900,
                                stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stderr
        seen.append(json.loads(out.read_text()))
    assert KEYS <= seen[0].keys()
    for figure in seen[0].values():
        assert set(figure) == {"value", "unit", "aim", "ok"} and figure["unit"] in ("instructions", "bytes", "count")
        assert figure["ok"] == (figure["value"] <= figure["aim"]) and figure["value"] > 0
    for key in KEYS:
        first, second = (figures[key]["value"] for figures in seen)
        # The boot's counters are read at a moment that depends on the host; idle guests go on meanwhile.
        assert first == second if key != "guest_boot_exits" else abs(first - second) <= 0.1 * first


def test_document_has_a_place_for_the_table():
    text = bench.DOCUMENT.read_text()
    assert text.count("<!-- table: begin -->") == text.count("<!-- table: end -->") == 1
