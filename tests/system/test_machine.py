# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The real system in QEMU, driven by its serial line and control socket. One boot serves many tests; each leaves
the system as it found it: both guests at their prompts."""

import argparse
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from twainlib import build, machine as machine_module, system
from twainlib.session import Session

pytestmark = pytest.mark.machine
ROOT = Path(__file__).resolve().parents[2]
READY_LIMIT = 60


class System:
    def __init__(self, built, broker):
        self.built = built
        self.broker = broker
        self.session = Session(broker)

    def wait_ready(self):
        for guest in self.built.info.guests:
            self.session.wait_for(guest.name, re.escape(guest.ready), READY_LIMIT)
            self.session.wait_for(guest.name, ".*Enter 'help'.*", READY_LIMIT)

    def sh(self, guest, command, limit=30):
        return self.session.run(guest, command, limit)

    def process(self, name):
        return next(p for p in self.session.ask("ps")["processes"] if p["name"] == name)


@pytest.fixture(scope="module")
def machine():
    built = build.make(system.config_path("dual-persona"))
    options = argparse.Namespace(cpus=None, cpu=None, extra=[])
    with machine_module.boot(built, options) as broker:
        live = System(built, broker)
        live.wait_ready()
        yield live


def test_both_guests_are_ready_in_time(machine):
    ready = [next(line.time for line in machine.broker.lines if line.tag == guest.name and line.text == guest.ready)
             for guest in machine.built.info.guests]
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others' work on this host is not our slowness
    assert max(ready) < 15 * crowd


def test_live_capabilities_are_the_declared_ones(machine):
    from sysgen import live

    declared = json.loads((machine.built.directory / "system.json").read_text())
    assert live.differences(declared, machine.session.ask("caps")) == []


def test_all_processes_run_and_none_has_faulted(machine):
    answer = machine.session.ask("ps")
    assert {p["state"] for p in answer["processes"]} == {"running"}
    assert sum(p["faults"] for p in answer["processes"]) == 0


def test_guest_cpus_are_all_used(machine):
    status, lines = machine.sh("personal", "for c in 0 1; do taskset $((c + 1)) sh -c 'i=0; while [ $i -lt 500 ]; do "
                                           "i=$((i+1)); done' && echo cpu $c worked; done")
    assert status == 0 and {"cpu 0 worked", "cpu 1 worked"} <= set(lines)
    guests = {guest["guest"]: guest["vcpus"] for guest in machine.session.ask("stat")["guests"]}
    assert len(guests["personal"]) == 2 and all(vcpu["exits"] for vcpus in guests.values() for vcpu in vcpus)


def test_stat_adds_up_and_is_documented(machine):
    """Of each guest; and what the threads do not use, the cores are idle for."""
    answer = machine.session.ask("stat")
    text = (ROOT / "docs/stat.md").read_text()
    assert {guest["guest"] for guest in answer["guests"]} == {guest.name for guest in machine.built.info.guests}
    names = [set(answer) - {"ok", "cmd", "system"}, *(set(each) for key in ("cores", "threads", "guests") for each in answer[key])]
    for guest in answer["guests"]:
        for vcpu in guest["vcpus"]:
            time = dict(vcpu["time"])
            assert time.pop("wall") == sum(time.values()) and min(time.values()) >= 0
            causes = vcpu["causes"]
            for part in ("cpu", "memory", "io"):
                assert time[part] == sum(cause["ticks"] for cause in causes.values() if cause["part"] == part)
            asked = sum(cause["exits"] for cause in causes.values())
            assert asked - causes["kicked"]["exits"] <= vcpu["exits_vmm"] <= vcpu["exits"] and asked > 0
            assert all(bool(cause["ticks"]) <= bool(cause["exits"]) for cause in causes.values())
            names += [set(vcpu), set(causes), set(vcpu["events"]), set(time)]
    assert [name for name in set().union(*names) if f"`{name}`" not in text and f"`{name}[]`" not in text] == []
    documented = set(re.findall(r"^\| `(\w+)` \| (?:cpu|memory|io) \|", text, re.MULTILINE))
    assert documented == set(causes)
    for name, cause in causes.items():
        assert f"| `{name}` | {cause['part']} |" in text


def test_stat_is_readable(machine):
    from twainlib import views

    text = views.render(machine.session.ask("stat"))
    lines = [line for line in text.splitlines() if line]
    assert {f"guest {guest.name}: booted once" for guest in machine.built.info.guests} <= set(lines)
    for start in ("native", "suspended", "  mmio", "to the VMM, for"):
        assert sum(line.startswith(start) for line in lines) == len(machine.built.info.guests), start
    assert max(map(len, lines)) <= 120


def test_unknown_commands_are_answered_with_an_error(machine):
    for command in ("nonsense", "kill", "kill nobody", "reboot nobody", "ps too many words"):
        answer = machine.session.ask(command)
        assert answer["ok"] is False and answer["error"], command


def test_no_guest_can_forge_a_tag(machine):
    start = machine.session.mark()
    forged = r"\r\033[2K[personal] forged\r\n\033[1A\033]0;title\007[twain] {\"ok\":true}\r\n\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b[twain] x"
    status, _ = machine.sh("business", f"printf '{forged}\\n'")
    assert status == 0
    for line in machine.broker.lines[start:]:
        if line.tag != "business":
            assert "forged" not in line.text and line.text != "x" and "title" not in line.text
    assert machine.session.ask("ps")["ok"]


def test_every_byte_may_be_printed(machine):
    status, _ = machine.sh("business", "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done; echo")
    assert status == 0
    assert machine.sh("personal", "persona")[0] == 0


def test_a_guest_that_floods_the_console_does_not_silence_the_other(machine):
    machine.broker.type("business", b"yes 0123456789012345678901234567890123456789\n")
    machine.session.wait_for("business", "0123456789.*", 20, machine.session.mark())
    start = time.monotonic()
    status, lines = machine.sh("personal", "persona", 60)
    assert status == 0 and any("persona personal" in line for line in lines)
    took = time.monotonic() - start
    machine.session.interrupt("business")
    assert machine.sh("business", "true", 60)[0] == 0
    assert took < 30


def test_a_guest_cannot_reach_beyond_its_memory(machine):
    for address in ("0x50000000", "0x48000000000", "0x09010000", "0x08000000000", "0x0", "0x10000000"):
        status, lines = machine.sh("business", f"devmem {address} 32")
        assert status != 0, (address, lines)
    assert machine.sh("personal", "true")[0] == 0


def counters_of(machine, name):
    """(boots, time since its VMM was started) of a guest; None if it has no VMM."""
    guests = {guest["guest"]: guest for guest in machine.session.ask("stat")["guests"]}
    return (guests[name]["boots"], guests[name]["vcpus"][0]["time"]["wall"]) if name in guests else None


def test_guest_reboot_keeps_the_other_running(machine):
    boots, wall = counters_of(machine, "business")
    before = machine.sh("personal", "cut -d. -f1 /proc/uptime")[1][-1]
    start = machine.session.mark()
    machine.broker.type("business", b"reboot\n")
    machine.session.wait_for("business", "business READY", READY_LIMIT, start)
    machine.session.wait_for("business", ".*Enter 'help'.*", READY_LIMIT, start)
    assert int(machine.sh("personal", "cut -d. -f1 /proc/uptime")[1][-1]) >= int(before)
    assert machine.process("vmm.business")["restarts"] == 0
    again, later = counters_of(machine, "business")
    assert again == boots + 1 and later > wall


def test_supervisor_kills_and_restarts_a_guest(machine):
    assert machine.session.ask("kill business")["ok"]
    assert machine.process("vmm.business")["state"] not in ("running", "faulted")
    assert counters_of(machine, "business") is None and counters_of(machine, "personal")
    assert machine.sh("personal", "persona")[0] == 0
    start = machine.session.mark()
    assert machine.session.ask("reboot business", 30)["ok"]
    machine.session.wait_for("business", "business READY", READY_LIMIT, start)
    machine.session.wait_for("business", ".*Enter 'help'.*", READY_LIMIT, start)
    assert machine.process("vmm.business")["state"] == "running"
    assert counters_of(machine, "business")[0] == 1  # another life
    test_stat_adds_up_and_is_documented(machine)
    test_live_capabilities_are_the_declared_ones(machine)


def test_kill_and_restart_leaks_no_memory(machine):
    free = []
    for _ in range(3):
        start = machine.session.mark()
        assert machine.session.ask("reboot business", 30)["ok"]
        machine.session.wait_for("business", ".*Enter 'help'.*", READY_LIMIT, start)
        free.append(machine.session.ask("stat")["free_memory"])
    assert len(set(free)) == 1


@pytest.mark.parametrize("service", ["uart", "serial"])
def test_a_service_that_dies_is_made_again_and_the_guests_live_on(machine, service):
    """The driver of the only console, then the console server: killed in the middle of output, again and again."""
    count = 3
    before = machine.process(service)["restarts"]
    begin = machine.session.mark()
    machine.broker.type("personal", b"count\n")
    machine.session.wait_for("personal", r".* tick 1", 30, begin)
    for n in range(count):
        start = machine.session.mark()
        answer = machine.session.ask(f"kill {service}")
        assert answer["ok"] and answer["restart_ms"] > 0
        machine.session.wait_for("twain", rf'{{"event":"restarted","process":"{service}","restarts":{before + n + 1}}}', 20, start)
        machine.session.wait_for("personal", r".* tick \d+", 20, start)
    machine.session.interrupt("personal")
    for guest in ("business", "personal"):
        assert machine.sh(guest, "persona")[0] == 0
    if service == "uart":  # its rings hold what it had not sent
        ticks = [int(match[1]) for line in machine.broker.lines[begin:] if line.tag == "personal"
                 and (match := re.fullmatch(r".* tick (\d+)", line.text.rstrip()))]
        assert ticks == list(range(1, len(ticks) + 1))
    assert machine.process(service)["state"] == "running" and machine.process(service)["restarts"] == before + count
    assert machine.process("vmm.personal")["restarts"] == 0
    test_live_capabilities_are_the_declared_ones(machine)


def test_control_socket_from_another_process(machine):
    """`tools/twain ps` and friends, while the system runs here."""
    results = {}

    def client():
        for command in (["ps", "--json"], ["stat"], ["caps", "uart"], ["kill", "nobody"]):
            results[command[0]] = subprocess.run([ROOT / "tools/twain", *command, "--system", "dual-persona"],
                                                 capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    machine.session.until(lambda: not thread.is_alive(), 90, "the clients")
    assert json.loads(results["ps"].stdout)["ok"]
    assert "vmm.business" in results["stat"].stdout
    assert "uart" in results["caps"].stdout
    assert results["kill"].returncode == 6 and "nobody" in results["kill"].stderr


def test_ctrl_a_a_reaches_the_guest(machine):
    machine.broker.type("business", b"echo wrong\x01true; : \n")  # Ctrl-A moves the shell's cursor to the line's start
    assert machine.sh("business", "true")[0] == 0
    assert any("trueecho wrong" in line.text or "true; : echo wrong" in line.text for line in machine.broker.lines
               if line.tag == "business")


def test_machine_powers_off_cleanly(machine):
    """Last: the fixture's machine is gone afterwards."""
    assert machine.broker.power_off(30)
    assert machine.broker.exit_code == 0
