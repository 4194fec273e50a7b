# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A Linux guest that checks itself (tests/guest): natively in QEMU, with EL2 and without, it must say the same, word for
word. Then stress-ng with verification."""

import os

import pytest
from twainlib import linuxguest
from twainlib.paths import build_root

pytestmark = pytest.mark.machine
MODEL = "cortex-a57"
LIMIT = 600
# Not `step`: a debugger's single steps need MDSCR_EL1.SS, which a guest does not have yet.
TOPICS = "signals,processes,threads,memory,cow,huge,code,ptrace,clocks,modules,ftrace,log"
STRESS = ("stress-ng --vm 1 --vm-bytes 24M --fork 1 --sigrt 1 --signest 1 --sigsegv 1 --pipe 1 --context 1 --verify "
          "--temp-path /tmp --timeout ")
SECONDS = int(os.environ.get("TWAIN_STRESS_SECONDS", "30"))


@pytest.fixture(scope="module")
def directory():
    path = build_root() / "tests" / "linux-guest"
    path.mkdir(parents=True, exist_ok=True)
    return path


def verdict(line):
    line.wait_for("CHECK (PASS|FAIL)", LIMIT)
    said = [each.text for each in line.session.broker.lines if each.tag == line.tag and each.complete]
    return said[said.index("CHECK BEGIN"):]


@pytest.fixture(scope="module")
def native(directory):
    guest = linuxguest.check_guest(directory, only=TOPICS)
    with linuxguest.native(guest, directory / "native", MODEL, deterministic=False) as line:
        said = verdict(line)
    assert said[-1] == "CHECK PASS", [text for text in said if text.startswith("FAIL")]
    return said


@pytest.mark.parametrize("level", [2, 1])
def test_a_guest_sees_what_it_sees_natively(directory, native, level):
    guest = linuxguest.check_guest(directory, only=TOPICS)
    with linuxguest.system(guest, directory / f"el{level}", MODEL, el2=level == 2, deterministic=False, cpus=2) as line:
        assert verdict(line) == native
        session = line.session
        start = session.mark()
        line.type(f"run {STRESS}{SECONDS}s\n")
        status = int(line.wait_for(r"ran (-?\d+)", SECONDS * 10 + 120, start)[1])
        said = [each.text for each in session.broker.lines[start:] if each.tag == line.tag]
        assert status == 0 and any("successful run completed" in text or "passed" in text for text in said), said[-30:]
        assert not [text for text in said if "fail:" in text or "error:" in text]
        (machine,) = session.ask("stat")["machines"]
        counted = {key: sum(vcpu[key] for vcpu in machine["vcpus"]) for key in machine["vcpus"][0]}
        assert machine["boots"] == 1 and counted["mmio"] and counted["calls"] and counted["sysreg"]
        assert all(bool(counted[key]) == (level == 1) for key in ("filled", "prefilled", "tlbi", "reflected"))
        processes = session.ask("ps")["processes"]
        assert {process["state"] for process in processes} == {"running"}
        assert sum(process["faults"] for process in processes) == 0
