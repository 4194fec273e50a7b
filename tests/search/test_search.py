# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The searches reach their fixpoint, see as many states as docs/testing.md says, and find the faults of seeded.toml.

$TWAIN_SEARCH is the build directory of tests/search. Where the kernel has changed on purpose, so have the numbers of
states: look at why, and write the new ones into the page."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TWAIN_SEARCH") or ROOT / "build/cmake-release/tests/search")
SEARCHES = ("capabilities objects", "capabilities memory", "ipc local", "ipc remote")
FLAGS = ("-std=c++20", "-O1", "-fno-strict-aliasing", "-fno-lifetime-dse", f"-I{ROOT / 'tests/unit/kernel'}", f"-I{ROOT}")
SEEDED = tomllib.loads((Path(__file__).parent / "seeded.toml").read_text())["seeded"]
LIMIT = 600  # seconds: one of them takes at most a minute on a core of its own


def search(program, part):
    return subprocess.run([program, part], capture_output=True, text=True, timeout=LIMIT)


@pytest.mark.parametrize("name", SEARCHES)
def test_reaches_its_fixpoint(name):
    program, part = name.split()
    result = search(BUILD / f"search-{program}", part)
    assert result.returncode == 0, result.stdout
    states, steps = re.search(r": (\d+) states, (\d+) steps", result.stdout).groups()
    page = (ROOT / "docs/testing.md").read_text()
    row = re.search(rf"^\| `search-{name}` \|.*\| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert row, f"docs/testing.md has no row for {name}: {states} states, {steps} steps"
    assert [each.replace(",", "") for each in row.groups()] == [states, steps]


@pytest.mark.parametrize("fault", SEEDED, ids=[f"{each['search']}-{n}".replace(" ", "-") for n, each in enumerate(SEEDED)])
def test_finds(fault, tmp_path):
    """The faulty object takes the place of the library's."""
    source = (ROOT / fault["file"]).read_text()
    assert source.count(fault["old"]) == 1, "the fault no longer applies"
    program, part = fault["search"].split()
    patched, built = tmp_path / "seeded.cpp", tmp_path / "search"
    patched.write_text(source.replace(fault["old"], fault["new"]))
    subprocess.run(["c++", *FLAGS, patched, BUILD / f"CMakeFiles/search-{program}.dir/{program}.cpp.o", BUILD / "libsearch.a",
                    "-o", built], check=True)
    result = search(built, part)
    assert result.returncode != 0, f"not found: {result.stdout}"
    if result.returncode == 1:
        assert re.search(r"^broken: .*" + re.escape(fault["finds"]), result.stdout, re.MULTILINE), result.stdout


def test_every_search_has_three_faults():
    for program in ("capabilities", "ipc"):
        assert sum(each["search"].startswith(program) for each in SEEDED) >= 3
