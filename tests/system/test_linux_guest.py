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
STRESS = ("stress-ng --vm 1 --vm-bytes 24M --fork 1 --sigrt 1 --signest 1 --sigsegv 1 --pipe 1 --context 1 --verify "
          "--temp-path /tmp --timeout ")
SECONDS = int(os.environ.get("TWAIN_STRESS_SECONDS", "30"))


@pytest.fixture(scope="module")
def directory():
    path = build_root() / "tests" / "linux-guest"
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_time(stat, vcpu, name, level):
    """The parts make up the whole; and what is not the vCPU's is what its core's others had, or nobody."""
    parts = dict(vcpu["time"])
    wall = parts.pop("wall")
    assert sum(parts.values()) == wall
    assert parts["native"] > parts["cpu"] > 0 < parts["io"]
    assert bool(parts["memory"]) == (level == 1)
    (core,) = [thread["core"] for thread in stat["threads"] if thread["name"] == name]
    others = sum(thread["ticks"] for thread in stat["threads"] if thread["core"] == core and thread["name"] != name)
    idle = stat["cores"][core]["idle_ticks"]
    assert abs(parts["suspended"] - idle - others - (stat["init_ticks"] if core == 0 else 0)) < 0.05 * wall


def verdict(line):
    line.wait_for("CHECK (PASS|FAIL)", LIMIT)
    said = [each.text for each in line.session.broker.lines if each.tag == line.tag and each.complete]
    return said[said.index("CHECK BEGIN"):]


@pytest.fixture(scope="module")
def native(directory):
    guest = linuxguest.check_guest(directory)
    with linuxguest.native(guest, directory / "native", MODEL, deterministic=False) as line:
        said = verdict(line)
    assert said[-1] == "CHECK PASS", [text for text in said if text.startswith("FAIL")]
    return said


@pytest.mark.parametrize("level", [2, 1])
def test_a_guest_sees_what_it_sees_natively(directory, native, level):
    guest = linuxguest.check_guest(directory)
    with linuxguest.system(guest, directory / f"el{level}", MODEL, el2=level == 2, deterministic=False, cpus=2) as line:
        assert verdict(line) == native
        session = line.session
        start = session.mark()
        line.type(f"run {STRESS}{SECONDS}s\n")
        status = int(line.wait_for(r"ran (-?\d+)", SECONDS * 10 + 120, start)[1])
        said = [each.text for each in session.broker.lines[start:] if each.tag == line.tag]
        assert status == 0 and any("successful run completed" in text or "passed" in text for text in said), said[-30:]
        assert not [text for text in said if "fail:" in text or "error:" in text]
        stat = session.ask("stat")
        (counted,) = stat["guests"]
        exits = {cause: sum(vcpu["causes"][cause]["exits"] for vcpu in counted["vcpus"]) for cause in counted["vcpus"][0]["causes"]}
        assert counted["boots"] == 1 and exits["mmio"] and exits["call"] and exits["sysreg"] and exits["hint"] == 0
        without_el2 = ("field", "eret", "table", "filled", "reflected", "tlbi", "cache")
        assert all(bool(exits[cause]) == (level == 1) for cause in without_el2)
        for vcpu in counted["vcpus"]:
            check_time(stat, vcpu, f"{guest.name}.vcpu{vcpu['vcpu']}.thread", level)
        processes = session.ask("ps")["processes"]
        assert {process["state"] for process in processes} == {"running"}
        assert sum(process["faults"] for process in processes) == 0
