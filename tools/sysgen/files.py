# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Files that an image is made of: programs, guest kernels, initrds. Are they what they claim to be?"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from . import abi
from .table import Segment
from .units import PAGE, round_up


class FileProblem(Exception):
    """A file is not usable. `code` is the diagnostic's number."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


@dataclass(frozen=True)
class Program:
    path: Path
    entry: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Kernel:
    path: Path
    bytes: int  # of the file
    image_bytes: int  # in the guest's memory, with BSS
    text_offset: int


_MACHINES = {"x64": "x86-64", "x86": "x86", "ARM": "32-bit Arm", "RISC-V": "RISC-V", "AArch64": "AArch64"}


def read_program(path: Path) -> Program:
    """Segments of a static AArch64 executable, page-aligned, W^X. Raises FileProblem."""
    _need_file(path, "program")
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            size = path.stat().st_size
            if elf.elfclass != 64 or not elf.little_endian or elf.get_machine_arch() != "AArch64":
                machine = elf.get_machine_arch()
                raise FileProblem(
                    "E191", f"{path.name} is an ELF file for {_MACHINES.get(machine, machine)}, not AArch64"
                )
            if elf["e_type"] != "ET_EXEC":
                raise FileProblem("E191", f"{path.name} is not a static executable")
            headers = [s.header for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
            entry = int(elf["e_entry"])
    except FileProblem:
        raise
    except (
        ELFError,
        struct.error,
        ValueError,
        OSError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise FileProblem("E191", f"{path.name} is not an ELF file") from error
    segments = tuple(sorted((_segment(path, h, size) for h in headers), key=lambda s: s.address))
    if not segments:
        raise FileProblem("E191", f"{path.name} has no loadable segment")
    for low, high in zip(segments, segments[1:]):
        if low.address + low.bytes > high.address:
            raise FileProblem(
                "E197",
                f"{path.name}: two segments share the page 0x{high.address:x}",
                "align segments to 4K in the linker script",
            )
    if not any(s.address <= entry < s.address + s.bytes and "exec" in s.rights for s in segments):
        raise FileProblem("E197", f"{path.name}: entry 0x{entry:x} is in no executable segment")
    return Program(path, entry, segments)


def _segment(path: Path, header: object, size: int) -> Segment:
    def field(name: str) -> int:
        return int(header[name])  # type: ignore[index]

    address, offset, memory, filed, flags = (
        field("p_vaddr"),
        field("p_offset"),
        field("p_memsz"),
        field("p_filesz"),
        field("p_flags"),
    )
    if flags & 1 and flags & 2:
        raise FileProblem(
            "E192",
            f"{path.name}: the segment at 0x{address:x} is writable and executable",
            "give code and data segments of their own",
        )
    if filed > memory or offset + filed > size:
        raise FileProblem("E191", f"{path.name} is cut short: the segment at 0x{address:x} ends beyond the file")
    if address % PAGE != offset % PAGE:
        raise FileProblem("E197", f"{path.name}: the segment at 0x{address:x} is not aligned with its file offset")
    if address < abi.PROGRAM_BASE or address + memory > abi.STACK_TOP - (16 << 20):
        raise FileProblem("E197", f"{path.name}: the segment at 0x{address:x} lies outside the program area")
    slack = address % PAGE
    rights = tuple(name for bit, name in ((4, "read"), (2, "write"), (1, "exec")) if flags & bit)
    if "read" not in rights:
        rights = ("read",) + rights
    return Segment(
        offset - slack, filed + slack if filed else 0, address - slack, round_up(memory + slack, PAGE), rights
    )


HEAD_BYTES = 4096  # of a kernel: its header and what follows of an EFI stub


def read_kernel(path: Path) -> Kernel:
    """Header of an arm64 Image (Linux Documentation/arm64/booting.rst). Raises FileProblem."""
    _need_file(path, "kernel")
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        if len(head) < 64 or head[56:60] != b"ARM\x64":
            raise FileProblem("E193", f"{path.name} is not an arm64 Image", _kernel_hint(head))
        text_offset, image_bytes, _flags = struct.unpack("<3Q", head[8:32])
        needed = _pe_extent(head)
    if image_bytes == 0 or image_bytes >= 1 << 40 or text_offset >= 1 << 31:
        raise FileProblem(
            "E193",
            f"{path.name} has an arm64 Image header with wrong sizes",
            "kernels before Linux 3.17 are not supported",
        )
    if size < needed or size > image_bytes:
        wanted = f"at least {needed}" if size < needed else f"at most {image_bytes}"
        raise FileProblem(
            "E194",
            f"{path.name} has {size} bytes, its header says {wanted}",
            "the file is cut short: make or copy it again" if size < needed else "",
        )
    return Kernel(path, size, image_bytes, text_offset)


def _kernel_hint(head: bytes) -> str:
    if head[:2] == b"\x1f\x8b":
        return "it is compressed: unpack it with gunzip"
    if head[:4] == b"\x7fELF":
        return "it is an ELF file: make an Image with objcopy -O binary"
    if head[0x202:0x206] == b"HdrS":
        return "it is an x86 kernel"
    if head[36:40] == b"\x18\x28\x6f\x01":
        return "it is a 32-bit Arm kernel"
    if head[4:8] == b"zimg":
        return "it is a compressed EFI image: unpack it"
    return ""


def _pe_extent(head: bytes) -> int:
    """Bytes that the file must have according to its PE section table (EFI stub); 64 if it has none."""
    offset = struct.unpack("<I", head[60:64])[0]
    if head[:2] != b"MZ" or offset + 24 > HEAD_BYTES:
        return 64
    if offset + 24 > len(head):
        return offset + 24
    if head[offset : offset + 4] != b"PE\0\0":
        return 64
    (sections,) = struct.unpack("<H", head[offset + 6 : offset + 8])
    (optional,) = struct.unpack("<H", head[offset + 20 : offset + 22])
    extent = offset + 24 + optional + 40 * min(sections, 32)
    security = offset + 24 + 112 + 4 * 8  # PE32+: the fifth data directory, a signature behind all sections
    if security + 8 <= min(offset + 24 + optional, len(head)):
        signature_offset, signature_bytes = struct.unpack("<2I", head[security : security + 8])
        extent = max(extent, signature_offset + signature_bytes)
    for number in range(min(sections, 32)):
        at = offset + 24 + optional + 40 * number
        if at + 40 > len(head):
            break
        raw_bytes, raw_offset = struct.unpack("<2I", head[at + 16 : at + 24])
        extent = max(extent, raw_bytes + raw_offset)
    return extent


def read_initrd(path: Path, limit: int) -> int:
    """Size of an initrd file; its unpacked form must stay below `limit` bytes. Raises FileProblem."""
    _need_file(path, "initrd")
    size = path.stat().st_size
    if size > limit:
        raise FileProblem("E196", f"{path.name} ({size} bytes) is larger than the guest's RAM")
    with path.open("rb") as stream:
        head = stream.read(6)
        stream.seek(0)
        if head[:2] == b"\x1f\x8b":
            decompressor = zlib.decompressobj(31)
            first, total = b"", 0
            while not decompressor.eof:
                chunk = stream.read(1 << 16)
                if not chunk:
                    raise FileProblem("E195", f"{path.name} is a gzip file that is cut short")
                while chunk and not decompressor.eof:
                    try:
                        data = decompressor.decompress(chunk, 1 << 20)
                    except zlib.error as error:
                        raise FileProblem("E195", f"{path.name} is a damaged gzip file") from error
                    first, total, chunk = first or data[:6], total + len(data), decompressor.unconsumed_tail
                    if total > limit:
                        raise FileProblem("E196", f"{path.name} unpacks to more than the guest's RAM")
            head = first
            if head[:6] not in (b"070701", b"070702"):
                raise FileProblem("E195", f"{path.name} is gzip, but contains no cpio archive")
        elif not head.startswith((b"070701", b"070702", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"BZh")):
            raise FileProblem("E195", f"{path.name} is neither a cpio archive nor a compressed one")
    return size


def _need_file(path: Path, what: str) -> None:
    try:
        if path.is_file():
            with path.open("rb"):
                return
        reason = "is a directory" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValueError:
        reason = "is not a file name"
    raise FileProblem("E190", f"{what} {path} {reason}")
