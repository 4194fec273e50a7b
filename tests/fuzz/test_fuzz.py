# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Random calls in QEMU, and the longest path of the kernel while they and the conformance tests run.

Brief: each run takes seconds. Campaigns: docs/testing.md. TWAIN_PATH_CALLS: random calls while paths are counted."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from twainlib import build, fuzz_guest, fuzz_host, fuzz_qemu, hostile, longest, qemu  # noqa: E402
from twainlib.paths import build_root  # noqa: E402

LIMIT = 300  # seconds of real time, for a loaded machine
PATH_CALLS = int(os.environ.get("TWAIN_PATH_CALLS", "5000"))


def options(**given):
    return argparse.Namespace(**{"calls": 3000, "cpus": 2, "cpu": None, "el1": False, "races": False, **given})


@pytest.fixture(scope="module")
def directory():
    made = build_root() / "tests" / "fuzz"
    made.mkdir(parents=True, exist_ok=True)
    fuzz_qemu.prepare()
    return made


# What once failed stays here: (seed, calls, cores, EL1).
SEEDS = [(1, 5000, 1, False), (3, 4000, 2, False), (1, 4000, 4, False), (2, 5000, 1, True), (4, 3000, 2, True)]


@pytest.mark.parametrize("seed,calls,cores,el1", SEEDS)
def test_random_calls(directory, seed, calls, cores, el1):
    given = options(calls=calls, cpus=cores, el1=el1)
    outcome = fuzz_qemu.run(0, seed, directory, given)
    assert not outcome.failure, f"{outcome.failure}\n{fuzz_qemu.repeat(seed, calls, given)}"
    assert outcome.calls >= calls and outcome.refused > calls // 4
    assert outcome.details["checked"] > 0 and outcome.details["rounds"] > 0


def test_games_on_the_host(directory):
    """libFuzzer, from the corpus on: 20 s, always with the same seed."""
    fuzz_host.prepare()
    outcome = fuzz_host.run(20, 1, directory, options())
    assert not outcome.failure, f"{outcome.failure}\n{outcome.reproducer}"
    assert outcome.calls > 500 and 0 < outcome.refused < outcome.calls


def test_the_same_seed_is_the_same_run(directory):
    runs = [fuzz_qemu.run(0, 5, directory, options(calls=1500)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_failure_is_told_and_can_be_repeated(directory, monkeypatch):
    monkeypatch.setattr(fuzz_qemu, "command", lambda *_: ["echo", "FUZZ FAIL a pool has not got its memory back, 1234 calls: seed 9"])
    outcome = fuzz_qemu.run(0, 9, directory, options(cpus=4))
    assert "a pool has not got" in outcome.failure and outcome.calls == 1234
    assert outcome.reproducer.startswith("tools/twain fuzz kernel --qemu --seed 9 --calls 6") and "--cpus 4" in outcome.reproducer
    monkeypatch.setattr(fuzz_qemu, "command", lambda *_: ["echo", "kernel panic: exception in the kernel"])
    assert "panic" in fuzz_qemu.run(0, 9, directory, options()).failure
    monkeypatch.setattr(fuzz_qemu, "command", lambda *_: ["true"])
    assert fuzz_qemu.run(0, 9, directory, options()).failure


# (seed, first word, words). The second once left virtual EL0 with its kernel's view when it took its vector registers.
WORDS = [(1, 0, 8000), (6, 1211, 5)]


@pytest.mark.parametrize("seed,first,words", WORDS)
@pytest.mark.parametrize("level", [2, 1])
def test_random_words(level, seed, first, words):
    board = hostile.Board(level)
    outcome = fuzz_guest.Campaign(hostile.make(board), board, seed, first).run(words=words)
    assert not outcome.failure, f"{outcome.failure}\n{outcome.reproducer}"
    assert outcome.words == words


@pytest.mark.parametrize("level", [2, 1])
def test_longest_path(directory, level):
    found = []
    for name, line in (("conformance", qemu.command(build.tree() / "target/test/kernel.bin", cpus=2, memory="512M", cpu="cortex-a57",
                                                    deterministic=True, el2=level == 2)),
                       ("fuzz", fuzz_qemu.command(7, PATH_CALLS, options(el1=level == 1)))):
        out = directory / f"paths-{name}-el{level}.json"
        done = subprocess.run([*line, *longest.plugin(directory, level, out)], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=LIMIT + PATH_CALLS / 100)
        assert b"PASSED" in done.stdout, done.stdout.decode(errors="replace")[-2000:]
        found.append(longest.read(out, level))
    for each in found:
        assert each.paths > 10_000 and each.instructions <= longest.LIMIT, longest.explain(each)
