# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Small programs, kernels and initrds that tests need, right and wrong, made on the fly."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

PAGE = 4096
R, W, X = 4, 2, 1


def elf(segments: list[tuple[int, int, int]], entry: int = 0x400000, machine: int = 183, cut: int = 0) -> bytes:
    """A static executable with (address, bytes, flags) segments; contents are zero."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    offset, programs, body = PAGE, b"", b""
    for address, size, flags in segments:
        start = offset + address % PAGE
        programs += struct.pack("<IIQQQQQQ", 1, flags, start, address, address, size, size + 32, PAGE)
        body += bytes(start - offset + size)
        body += bytes(-len(body) % PAGE)
        offset = PAGE + len(body)
    data = (header + programs).ljust(PAGE, b"\0") + body
    return data[: len(data) - cut]


def image(size: int = 2 * PAGE, memory: int = 1 << 20) -> bytes:
    """An arm64 Image with the PE header of Linux' EFI stub, whose section table says how long the file is."""
    head = b"MZ" + bytes(6) + struct.pack("<QQQ", 0, memory, 0xA) + bytes(24) + b"ARM\x64" + struct.pack("<I", 64)
    optional = bytes(112 + 4 * 8) + struct.pack("<II", size - 512, 512) + bytes(11 * 8)  # a signature at the end
    pe = b"PE\0\0" + struct.pack("<HHIIIHH", 0xAA64, 1, 0, 0, 0, len(optional), 0x206) + optional
    pe += b".text\0\0\0" + struct.pack("<IIII", memory, PAGE, size - PAGE - 512, PAGE) + bytes(16)
    return (head + pe).ljust(size, b"\0")


def cpio(payload: bytes = b"hello\n") -> bytes:
    def member(name: bytes, data: bytes, mode: int) -> bytes:
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name + b"\0"
        head += bytes(-len(head) % 4)
        return head + data + bytes(-len(data) % 4)

    return member(b"init", payload, 0o100755) + member(b"TRAILER!!!", b"", 0)


def archive(payload: bytes = b"hello\n") -> bytes:
    return gzip.compress(cpio(payload), mtime=0)


GOOD_PROGRAM = elf([(0x400000, 100, R | X), (0x401000, 100, R), (0x402000, 100, R | W)])


def write_bad_files(directory: Path) -> None:
    """What tests/config/bad/*.toml refer to as files/..."""
    directory.mkdir()
    files = {
        "x86.elf": elf([(0x400000, 100, R | X)], machine=62),
        "text.elf": b"#!/bin/sh\necho no program, and no archive either\n",
        "short.elf": elf([(0x400000, 100, R | X), (0x401000, 5000, R | W)], cut=PAGE),
        "wx.elf": elf([(0x400000, 100, R | W | X)]),
        "page.elf": elf([(0x400000, 100, R | X), (0x400800, 100, R | W)]),
        "low.elf": elf([(0x1000, 100, R | X)], entry=0x1000),
        "entry.elf": elf([(0x400000, 100, R | X), (0x401000, 100, R | W)], entry=0x401000),
        "Image": image(),
        "Image.gz": gzip.compress(image(), mtime=0),
        "Image.cut": image()[:-1000],
        "Image.stub": image()[:100],
        "bzImage": bytes(0x202) + b"HdrS" + bytes(4096),
        "initrd.cpio.gz": archive(),
        "cut.cpio.gz": archive()[:-20],
        "bomb.cpio.gz": archive(bytes(64 << 20)),
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)


def write_good_files(root: Path) -> tuple[Path, Path]:
    """(programs, files) directories as the build and the tool make them."""
    programs, files = root / "programs", root / "files"
    programs.mkdir()
    (files / "debian").mkdir(parents=True)
    for name in ("drv-pl011", "srv-console", "vmm"):
        (programs / name).write_bytes(GOOD_PROGRAM)
    (files / "debian" / "vmlinux").write_bytes(image())
    for guest in ("business", "personal"):
        (files / f"{guest}.cpio.gz").write_bytes(archive(guest.encode()))
    return programs, files
