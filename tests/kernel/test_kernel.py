# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Boots the kernel test image (a root task that checks every method) in QEMU and reads its verdict.

TWAIN_TEST_CORES says how many cores the machine has (1), TWAIN_TEST_LEVEL at which exception level the kernel runs (2),
TWAIN_TEST_GIC the version of the interrupt controller (3); TWAIN_TEST_IMAGE and TWAIN_TEST_CPU may name another image and
processor model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests"))

import coverage  # noqa: E402
from twainlib import build, qemu  # noqa: E402
from twainlib.paths import build_root  # noqa: E402

CORES = int(os.environ.get("TWAIN_TEST_CORES", "1"))
LEVEL = int(os.environ.get("TWAIN_TEST_LEVEL", "2"))
GIC = int(os.environ.get("TWAIN_TEST_GIC", "3"))
MODEL = os.environ.get("TWAIN_TEST_CPU", "cortex-a57")
LIMIT = 300  # seconds of real time, for a loaded machine


def image():
    if given := os.environ.get("TWAIN_TEST_IMAGE"):
        return Path(given)
    log = build_root() / "tests" / "kernel-build.log"
    return build.targets(["target"], log) / "target" / "test" / "kernel.bin"


@pytest.fixture(scope="module")
def lines():
    command = qemu.command(image(), cpus=CORES, memory="512M", cpu=MODEL, deterministic=True, el2=LEVEL == 2, gic=GIC,
                           extra=qemu.DMA if CORES > 1 else ())  # both are seen: with an SMMU, and without
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
    return result.stdout.decode(errors="replace").replace("\r", "").splitlines()


def test_all_checks_pass(lines):
    failed = [line for line in lines if line.startswith("FAIL ")]
    verdict = [line for line in lines if line.startswith("KERNEL TESTS ")]
    assert not failed, "\n".join(failed)
    assert len(verdict) == 1 and re.fullmatch(r"KERNEL TESTS PASSED [0-9]+", verdict[0]), "\n".join(lines[-20:])
    assert int(verdict[0].split()[-1]) == sum(line.startswith("ok ") for line in lines)


def test_every_check_of_the_sources_was_made(lines):
    made = {line.split()[1] for line in lines if line.startswith("ok ")}
    skipped = {line.split()[1] for line in lines if line.startswith("skip ")}
    assert made, "no check at all"
    missing = [check for check, places in coverage.kernel_checks().items() if check not in made | skipped
               and not all(Path(place.rsplit(":", 1)[0]).name in skipped for place in places)]
    assert not missing


def test_skips_have_a_reason(lines):
    skipped = [line for line in lines if line.startswith("skip ")]
    assert all(len(line.split()) > 2 for line in skipped)
    # No excuse that is not this machine's: what does not start must not pass as something that is not there.
    true = {"one core": CORES == 1, "no SMMU": CORES == 1, "kernel at EL1": LEVEL == 1, "kernel at EL2": LEVEL == 2}
    false = [excuse for excuse, holds in true.items() if not holds]
    assert not [line for line in skipped if any(excuse in line for excuse in false)]
