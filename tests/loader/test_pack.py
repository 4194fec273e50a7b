# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The packer: what it refuses, and with which words."""

import json
import struct

import pytest
from twainlib import pack
from twainlib.errors import TwainError

LOAD, READ_EXEC, READ, READ_WRITE, ALL = 1, 5, 4, 6, 7


def elf(path, segments, entry, machine=183, kind=2):
    """A minimal ELF file: segments of (address, flags, contents, bytes in memory)."""
    count = len(segments)
    offset = 64 + 56 * count
    headers, bodies = b"", b""
    for address, flags, contents, memory in segments:
        headers += struct.pack("<IIQQQQQQ", LOAD, flags, offset + len(bodies), address, address, len(contents), memory, 4096)
        bodies += contents
    ident = b"\x7fELF\2\1\1" + bytes(9)
    path.write_bytes(ident + struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56, count, 0, 0, 0)
                     + headers + bodies)
    return path


def kernel(path, memory=0x2000, magic=b"TWNK", wanted=None):
    header = b"\0\0\0\x14" + magic + struct.pack("<Q", memory if wanted is None else wanted)
    return elf(path, [(0xFFFF000000000000, READ_EXEC, header + bytes(4080), 0x1000),
                      (0xFFFF000000001000, READ_WRITE, b"", memory - 0x1000)], 0xFFFF000000000000)


def root(path, segments=((0x400000, READ_EXEC, b"code", 4), (0x401000, READ_WRITE, b"data", 0x1800))):
    return elf(path, segments, 0x400000)


@pytest.fixture
def make(machine, tmp_path):
    """Packs with one input replaced."""
    def run(**other):
        inputs = {"loader": machine.loader, "kernels": {2: kernel(tmp_path / "k.elf")}, "root": root(tmp_path / "r.elf"),
                  "archive": None, "expectation": tmp_path / "e.json", "output": tmp_path / "image.bin"}
        if not (tmp_path / "e.json").exists():
            (tmp_path / "e.json").write_text("{}")
        return pack.pack(**{**inputs, **other})
    return run


def refused(make, **other):
    with pytest.raises(TwainError) as error:
        make(**other)
    return str(error.value)


def archive(tmp_path, files):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"version": 1, "files": files}))
    return path


def test_layout(make, tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 5000)
    (tmp_path / "two").write_bytes(b"y")
    listed = archive(tmp_path, [{"name": "one", "path": "one"}, {"name": "two", "path": str(tmp_path / "two")}])
    facts = make(archive=listed)
    image = (tmp_path / "image.bin").read_bytes()
    assert image[56:60] == b"ARM\x64"
    text_offset, image_size, flags = struct.unpack("<QQQ", image[8:32])
    assert (text_offset, image_size, flags) == (0, facts["memory_bytes"], 0b1010)
    placed = facts["kernels"]["el2"]["offset"]
    assert placed % (2 << 20) == 0 and image[placed + 4:placed + 8] == b"TWNK"
    one, two = facts["archive"]
    assert one["offset"] >= placed + 0x2000 and one["offset"] % 4096 == two["offset"] % 4096 == 0
    assert image[one["offset"]:one["offset"] + 8192] == b"x" * 5000 + bytes(3192)
    assert len(image) % 4096 == 0 and image_size >= len(image)
    assert facts["root"]["segments"][1]["bytes"] == 0x2000


@pytest.mark.parametrize("segments,words", [
    ([(0x400000, ALL, b"code", 4)], "has a segment that is writable and executable"),
    ([(0x400010, READ_EXEC, b"code", 4)], "does not begin at a page"),
    ([(0x400000, READ_EXEC, b"c", 0x1001), (0x401000, READ_WRITE, b"d", 1)], "two segments share the page 0x401000"),
    ([(0x400000, READ, b"code", 4)], "the entry 0x400000 is not in an executable segment"),
    ([(0x400000 + n * 0x1000, READ_EXEC, b"c", 1) for n in range(5)], "has 5 segments; the root task may have 4"),
    ([(0x400000, READ_EXEC, b"code", 2)], "more bytes in the file than in memory"),
    ([], "has no loadable segment"),
])
def test_root_tasks_that_are_refused(make, tmp_path, segments, words):
    assert words in refused(make, root=root(tmp_path / "bad.elf", segments))


def test_kernels_that_are_refused(make, tmp_path):
    bad = tmp_path / "bad.elf"
    assert "no header at its start" in refused(make, kernels={2: kernel(bad, magic=b"LINX")})
    assert "the header says 4096 bytes of memory, the segments need 8192" in refused(make, kernels={2: kernel(bad, wanted=0x1000)})
    assert "the header says 1099511627776 bytes" in refused(make, kernels={2: kernel(bad, wanted=1 << 40)})
    assert "needs a kernel" in refused(make, kernels={})


def test_files_that_are_no_programs(make, machine, tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"hello")
    assert "is not a usable ELF file" in refused(make, root=text)
    assert "is not an ELF file for AArch64" in refused(make, root=elf(tmp_path / "x86", [(0x400000, 5, b"c", 1)], 0x400000, machine=62))
    assert "No such file" in refused(make, root=tmp_path / "absent")
    assert "is not Twain's loader" in refused(make, loader=root(tmp_path / "r2.elf"))
    whole = machine.loader.read_bytes()
    cut = tmp_path / "cut.elf"
    for size in range(0, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:size])
        try:  # what is cut off may be debug information only
            make(loader=cut)
        except TwainError as error:
            assert str(cut) in str(error)


@pytest.mark.parametrize("files,words", [
    ([{"name": "a", "path": "absent"}], "absent does not exist"),
    ([{"name": "a", "path": "empty"}], "is empty"),
    ([{"name": "n" * 48, "path": "file"}], "must have 1 to 47 bytes"),
    ([{"name": "", "path": "file"}], "must have 1 to 47 bytes"),
    ([{"name": "a", "path": "file"}] * 2, "names a file twice"),
    ([{"name": f"f{n}", "path": "file"} for n in range(33)], "names 33 files; an image may hold 32"),
    ([{"path": "file"}], "is not a usable archive manifest"),
])
def test_archives_that_are_refused(make, tmp_path, files, words):
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "empty").write_bytes(b"")
    assert words in refused(make, archive=archive(tmp_path, files))


def test_expectations_that_are_refused(make, tmp_path):
    bad = tmp_path / "bad.json"
    for text in ("", "[]", '{"cores": "many"}', '{"min_ram": null}'):
        bad.write_text(text)
        assert "is not a usable board expectation" in refused(make, expectation=bad)
    bad.write_text(json.dumps({"compatible": "c" * 64}))
    assert "a name is too long" in refused(make, expectation=bad)


def test_build_ids(make):
    assert "not up to 39 hex digits" in refused(make, options=pack.Options(build_id="g"))
    assert "not up to 39 hex digits" in refused(make, options=pack.Options(build_id="0" * 40))
    assert make(options=pack.Options(build_id="0" * 39))["build_id"] == "0" * 39


def test_command_line(machine, tmp_path, capsys):
    arguments = ["pack", "--loader", str(machine.loader), "--kernel", str(kernel(tmp_path / "k.elf")), "--root",
                 str(root(tmp_path / "r.elf")), "--expect", str(tmp_path / "e.json"), "-o", str(tmp_path / "image.bin"),
                 "--depfile", str(tmp_path / "image.d")]
    assert pack.main(arguments) == 4
    assert capsys.readouterr().err.startswith("error: ")
    (tmp_path / "e.json").write_text("{}")
    assert pack.main(arguments) == 0
    assert (tmp_path / "image.d").read_text() == f"{tmp_path / 'image.bin'}: \n"
