# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`bench`: its JSON is complete, and the same build gives the same figures."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from twainlib import bench, linuxguest
from twainlib.bench import document, guest, profile, record
from twainlib.bench.counter import MODEL
from twainlib.bench.figures import Figure, Measure
from twainlib.errors import TwainError
from twainlib.paths import build_root

ROOT = Path(__file__).resolve().parents[2]
KEYS = set("""
    ipc_roundtrip ipc_roundtrip_6w signal signal_wake signal_pingpong map_4k unmap_4k fault_roundtrip irq_to_thread cap_copy
    cap_delete boot_to_root text_bytes bytes_thread bytes_endpoint bytes_slot bytes_vcpu vcpu_hypercall vcpu_mmio
    vcpu_entry_exit vcpu_irq vcpu_call vcpu_abort vcpu_fault world_switch guest_psci_version guest_idreg guest_gicd guest_gicr guest_eoi
    guest_self_sgi guest_vtimer guest_timer_wfi_late guest_ipi_wfi guest_boot_exits guest_boot_exits_vmm""".split())


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
    for key in KEYS - {"guest_boot_exits"}:  # interrupts are among those, and the question for the counters makes some
        first, second = (figures[key]["value"] for figures in seen)
        assert first == second, key


@pytest.mark.machine
def test_what_an_operation_takes_is_the_sum_of_its_parts():
    """Of a Linux guest without EL2; in instructions, by two clocks: the guest's own, and the counters of `stat`."""
    directory = build_root() / "tests" / "bench"
    operations = [each for each in guest.OPERATIONS if each.key in ("null", "pipe", "fork_exit")]
    with linuxguest.system(guest.make_guest(directory), directory / "parts", MODEL, el2=False) as line:
        counts = guest.run(line, operations)
    for each in operations:
        assert sum(counts.parts[each.key].values()) == pytest.approx(counts.instructions[each.key], rel=0.05), each.key
    assert counts.exits["null"] < 0.1 and counts.parts["null"]["native"] > 0.99 * counts.instructions["null"]
    assert counts.exits["fork_exit"] > 1 and counts.parts["fork_exit"]["memory"] > 0.1 * counts.instructions["fork_exit"]
    boot = counts.parts["boot"]
    assert boot["memory"] > boot["cpu"] > boot["io"] > 0


def test_an_address_belongs_to_the_function_that_begins_before_it():
    symbols = profile.Symbols.__new__(profile.Symbols)
    symbols.addresses, symbols.names, symbols.low, symbols.high = [0x10, 0x20], ["first", "second"], 0x10, 0x30
    assert [symbols.name(address) for address in (0xc, 0x10, 0x1c, 0x20, 0x2c, 0x30)] == [None, "first", "first", "second", "second", None]


def test_document_has_a_place_for_every_table():
    text = bench.DOCUMENT.read_text()
    for name in bench.TABLES:
        assert document.replace(text, name, "| x |").count("| x |") == 1
    with pytest.raises(TwainError):
        document.replace(text, "nonsense", "")


def test_what_the_prose_explains_is_what_the_tables_say():
    """Each `**What, N**` of the document is, within the gate's tolerance, a figure of a table."""
    text = bench.DOCUMENT.read_text()
    table = {float(cell) for line in text.splitlines() if line.startswith("|") for cell in re.findall(r"(?<=\| )[\d.]+(?= )", line)}
    explained = [float(number) for title in re.findall(r"^\*\*[^*]*, ([\d., and]+)\*\*", text, re.MULTILINE)
                 for number in re.findall(r"[\d.]+", title)]
    assert len(explained) > 10
    for number in explained:
        assert any(abs(number - value) <= record.TOLERANCE * value for value in table), number


def _figures(**values):
    return {key: Figure(Measure(key, key, 100), value) for key, value in values.items()}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PATH", tmp_path / "recorded.json")
    record.write(_figures(a=100, b=200))
    return tmp_path / "recorded.json"


@pytest.mark.parametrize("now, good", [({"a": 100, "b": 200}, True), ({"a": 105}, True), ({"a": 1}, True), ({"a": 106}, False),
                                       ({"b": 211}, False), ({"new": 5}, False)])
def test_a_figure_that_grows_fails(recorded, capsys, now, good):
    assert (record.check(_figures(**now)) == 0) == good
    if not good:
        assert next(iter(now)) in capsys.readouterr().err


def test_another_compiler_is_not_compared(recorded, capsys):
    recorded.write_text(recorded.read_text().replace(record.compiler(), "clang 99"))
    assert record.check(_figures(a=1000)) == 0
    assert "not compared" in capsys.readouterr().err


def test_raising_a_record_needs_a_reason(recorded):
    with pytest.raises(TwainError, match="a 100 -> 120"):
        record.write(_figures(a=120))
    record.write(_figures(a=120), because="more is done")
    found = json.loads(recorded.read_text())
    assert found["figures"] == {"a": 120, "b": 200}
    assert found["raised"] == [{"key": "a", "from": 100, "to": 120, "because": "more is done"}]


def test_every_figure_of_the_gate_is_recorded():
    figures = record.load()["figures"]
    for name in bench.GATE:
        assert {measure.key for measure in bench.TABLES[name].measures if measure.exact} <= set(figures)
