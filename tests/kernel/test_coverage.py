# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""tests/coverage.md is true and has no gap."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import coverage  # noqa: E402


def test_no_gaps():
    text, gaps = coverage.compare()
    assert not gaps, "\n".join(gaps)
    assert coverage.up_to_date(text), "out of date: tests/coverage.py --write"


def test_gaps_are_found(monkeypatch):
    assert "pool.create" in coverage.methods() and "vcpu_run" in coverage.methods() and "busy" in coverage.errors()
    checks = coverage.kernel_checks()
    del checks["cspace.copy/depth"]
    checks["cspace.copy/unheard_of"] = ["tests/kernel/cspace.cpp:1"]
    monkeypatch.setattr(coverage, "kernel_checks", lambda: checks)
    monkeypatch.setattr(coverage, "methods", lambda: ["pool.merge"])
    gaps = "\n".join(coverage.compare()[1])
    assert "cspace.copy/depth: no check" in gaps and "cspace.copy/unheard_of" in gaps and "pool.merge" in gaps
