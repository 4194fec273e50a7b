# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Every numbered message: a bad file, its exact output, a page that explains it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sysgen
from sysgen import cli, codes

HERE = Path(__file__).resolve().parent
BAD = HERE / "bad"
CASES = sorted(p.name for p in [*BAD.glob("*.toml"), *BAD.glob("*.fault.json")])


def apply_fault(system: dict, fault: dict) -> dict:
    """A lowered table with the edits of a .fault.json file."""
    for edit in fault["edits"]:
        table = system[edit["table"]]
        if "add" in edit:
            table.append(edit["add"])
            continue
        rows = [r for r in table if all(r[k] == v for k, v in edit["where"].items())]
        assert rows, edit
        for row in rows:
            row.update(edit["set"])
    return system


def outcome(case: str, bad_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(bad_directory)
    if case.endswith(".toml"):
        code = cli.main(["check", case])
    else:
        fault = json.loads((BAD / case).read_text())
        monkeypatch.chdir(HERE.parents[1])
        system = json.loads(sysgen.check(f"configs/{fault['base']}").system.to_json())
        table = bad_directory / "system.json"
        table.write_text(json.dumps(apply_fault(system, fault)))
        code = cli.main(["claims", str(table)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return f"{captured.err.replace(str(bad_directory) + '/', '')}exit {code}\n"


@pytest.mark.parametrize("case", CASES)
def test_golden(
    case: str,
    bad_directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    text = outcome(case, bad_directory, capsys, monkeypatch)
    golden = BAD / (case.rsplit(".", 2)[0] if case.endswith(".json") else case[: -len(".toml")])
    golden = golden.with_name(golden.name + ".txt")
    if request.config.getoption("--update"):
        golden.write_text(text)
    assert text == golden.read_text()
    code = case[:4]
    assert f"[{code}]" in text, f"{case} does not raise {code}"
    if code[0] == "E":
        assert text.endswith(("exit 1\n", "exit 3\n"))


def raised_in_source() -> set[str]:
    sources = (HERE.parents[1] / "tools" / "sysgen").rglob("*.py")
    return {code for s in sources for code in re.findall(r'"([EW]\d{3})"', s.read_text())}


def test_every_code_is_complete() -> None:
    """A code that the source raises has a page, a bad file and a golden output, and there are no others."""
    raised = raised_in_source()
    assert raised == set(codes.known()), "explain/ and the source differ"
    shown = {code for text in BAD.glob("*.txt") for code in re.findall(r"\[([EW]\d{3})\]", text.read_text())}
    named = {case[:4] for case in CASES}
    assert raised == named, "bad/ and the source differ"
    assert raised <= shown
    assert {p.stem for p in BAD.glob("*.txt")} == {re.sub(r"(\.fault)?\.(toml|json)$", "", c) for c in CASES}


@pytest.mark.parametrize("code", codes.known())
def test_page(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = codes.page(code)
    assert page.startswith(f"# {code}: ") and len(page.splitlines()) >= 3
    assert cli.main(["explain", code.lower()]) == 0
    assert capsys.readouterr().out == page


def test_explain_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(codes.known())
    assert cli.main(["explain", "E999"]) == 2


def test_all_errors_at_once_in_order(bad_directory: Path) -> None:
    result = sysgen.check(bad_directory / "E102-types.toml")
    positions = [d.pos for d in result.diagnostics]
    assert positions == sorted(positions) and len(result.errors) >= 6


def test_json_says_the_same(
    bad_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bad_directory)
    assert cli.main(["check", "--json", "E101-initrid.toml"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert not data["ok"]
    assert data["diagnostics"][0] == {
        "code": "E101",
        "severity": "error",
        "file": "E101-initrid.toml",
        "line": 6,
        "column": 1,
        "message": 'unknown key "initrid" in [guest.business]',
        "hint": 'did you mean "initrd"?',
        "notes": [],
    }
