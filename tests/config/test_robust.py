# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Whatever a file contains: numbered errors or a valid system, never an exception, never a hang."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import sysgen
from sysgen import cli, codes, fdt, files
from sysgen.diag import MAX_MESSAGES

import fixtures

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
CODES = set(codes.known())


def check_bytes(data: bytes, path: Path) -> sysgen.Result:
    path.write_bytes(data)
    result = sysgen.check(path)
    assert (result.system is None) == any(
        d.is_error and d.code not in ("E181", "E183", "E185") for d in result.diagnostics
    )
    for item in result.diagnostics:
        assert item.code in CODES
        assert item.pos.line >= 1 and item.pos.col >= 1 and item.message
        assert sysgen.render(item).startswith(f"{path}:")
    if result.system is not None and not result.system.claims:
        assert "W179" in {d.code for d in result.diagnostics}, "a system without a claim must say so"
    return result


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_every_prefix(config: Path, tmp_path: Path) -> None:
    data = config.read_bytes()
    for length in range(len(data)):
        check_bytes(data[:length], tmp_path / "cut.toml")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_lines_dropped_or_doubled(config: Path, tmp_path: Path) -> None:
    lines = config.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        check_bytes(b"".join(lines[:number] + lines[number + 1 :]), tmp_path / "dropped.toml")
        check_bytes(b"".join(lines[: number + 1] + lines[number:]), tmp_path / "doubled.toml")


def test_bytes_changed(tmp_path: Path) -> None:
    """Each byte replaced by a few characters that mean something to TOML, some of them not text at all."""
    data = CONFIGS[-1].read_bytes()
    chance = random.Random(1)
    for position in range(len(data)):
        byte = chance.choice(b"\"[]={}.,#\n0-\x00\xff'\\")
        check_bytes(data[:position] + bytes([byte]) + data[position + 1 :], tmp_path / "changed.toml")


TOP = b'schema = 1\nboard = "qemu-virt"\n'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + TOP,
        b"\n" * 20_000,
        b"a = 1\n" * 20_000,
        TOP + b"#" + b"x" * (1 << 20),
        b"x" * (1 << 20),
        TOP + b"a = " + b"[" * 4000,
        TOP + b"a = " + b"{a=" * 1300,
        TOP + b"a" + b".a" * 2000 + b" = 1\n",
        TOP + b"[guest" + b".a" * 2000 + b"]\n",
        TOP + b"a = 1979-05-27T07:32:00Z\n",
        TOP + b"[guest.a]\nram = inf\nvcpus = nan\ncores = [1.5]\nbudget = 07:32:00\n",
        TOP + b"[guest.a]\nvcpus = 18446744073709551615\n",
        TOP + b"[guest.a]\nvcpus = -9223372036854775809\n",
        TOP + b'[guest.a]\nimage = "debian"\nram = "0K"\n',
        TOP + b'[guest.a]\nimage = "debian"\nram = "18014398509481983K"\n',
        TOP + b'[guest.a]\nimage = "debian"\nbudget = "18446744073709551615s/18446744073709551615s"\n',
        TOP + b'[guest.a]\nkernel = "\\u0000"\ninitrd = "/dev/zero"\n',
        TOP + b'[guest.a]\nkernel = "../../../../../../etc"\n',
        TOP + b'[driver.a]\ndevice = ["", "/", "//", "*"]\n',
        TOP + b'["guest".""]\nimage = "debian"\n',
        TOP + b'[guest]\na = {image = "debian", console = "s"}\n',
        TOP + b'[[guest.a]]\nimage = "debian"\n',
        TOP + b'[[claim]]\nisolate = [["a"], {b = 1}]\n',
        TOP + b"[claim.a]\nb = 1\n",
        TOP + b"claim = [1]\n",
        b'schema = 1\nboard = "../boards/qemu-virt"\n',
        b'schema = 1\nboard = ""\n',
        b'schema = 1\nboard = "\\u0000"\n',
        TOP + b'name = "x"\r\n[server.s]\r\nuses = ["s"]\r\n',
        TOP + b'name = """a\nb"""\n',
        TOP + b'[guest.a]\nimage = "debian"\ncmdline = "\\u001b[31m"\n',
        TOP + '[guest.a]\nimage = "debian"\ncmdline = "\u202e \U0001f600"\n'.encode(),
    ],
    ids=lambda d: repr(d[-24:]),
)
def test_hostile_text(data: bytes, tmp_path: Path) -> None:
    check_bytes(data, tmp_path / "hostile.toml")


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'[guest.g{i}]\nimage = "debian"\nconsole = "s{i}"\n' for i in range(600)),
        "[[claim]]\nisolate = [" + ",\n".join(f'"h{i}"' for i in range(1900)) + "]\n",
        "[guest.a]\n" + "".join(f"k{i} = 1\n" for i in range(1900)),
        "".join(f'[driver.d{i}]\ndevice = "pl01{i}"\n' for i in range(900)),
        "".join(f'[guest.g{i}]\n[persona.p{i}]\nguest = "g{i}"\ncolor = "#{i * 97:06x}"\n' for i in range(400)),
        "[[claim]]\n" * 1900,
        '[guest.a]\nimage = "debian"\n' + "cores = [" + ", ".join(map(str, range(900))) + "]\n",
    ],
    ids=["guests", "names", "keys", "devices", "personas", "claims", "cores"],
)
def test_nothing_but_errors(text: str, tmp_path: Path) -> None:
    """Quickly refused, with a bounded number of messages."""
    before = time.monotonic()
    result = check_bytes(TOP + text.encode(), tmp_path / "many.toml")
    assert result.errors and len(result.diagnostics) <= 2 * MAX_MESSAGES
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("path", ["/nonexistent/x.toml", "/dev/null", ".", "x" * 5000, "nul\0nul"])
def test_hostile_path(path: str) -> None:
    assert sysgen.check(path).errors


def test_unlimited_input_is_not_read_to_its_end() -> None:
    assert [d.code for d in sysgen.check("/dev/zero").errors] == ["E100"]


def test_terminal_is_not_written_to(tmp_path: Path) -> None:
    result = check_bytes(TOP + b'"\\u001b[2J" = 1\n["guest"."\\u0007"]\nx = 1\n', tmp_path / "escape.toml")
    assert not any(c in sysgen.render(d) for d in result.diagnostics for c in "\x1b\x07")


def mutations(data: bytes, count: int) -> list[bytes]:
    chance = random.Random(2)
    cuts = [data[: chance.randrange(len(data))] for _ in range(count)]
    edits = []
    for _ in range(count):
        edited = bytearray(data)
        for _ in range(chance.randrange(1, 8)):
            edited[chance.randrange(min(len(edited), 512))] = chance.randrange(256)
        edits.append(bytes(edited))
    return cuts + edits


@pytest.mark.parametrize(
    "good,reader",
    [
        (fixtures.GOOD_PROGRAM, files.read_program),
        (fixtures.image(), files.read_kernel),
        (fixtures.archive(), lambda p: files.read_initrd(p, 1 << 20)),
    ],
    ids=["program", "kernel", "initrd"],
)
def test_damaged_boot_files(good: bytes, reader: object, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    for data in mutations(good, 300):
        path.write_bytes(data)
        try:
            reader(path)  # type: ignore[operator]
        except files.FileProblem as problem:
            assert problem.code in CODES


def test_damaged_device_tree() -> None:
    good = (ROOT / "configs" / "boards" / "qemu-virt.dtb").read_bytes()
    for data in mutations(good, 300):
        try:
            for node in fdt.parse(data).walk():
                node.reg()
        except fdt.FdtError:
            pass


def test_broken_pipe_and_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["check"])
    assert stopped.value.code == 2
