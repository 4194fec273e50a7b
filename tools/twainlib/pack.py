# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Packs loader, kernel, root task and archive into one arm64 Image (Linux Documentation/arm64/booting.rst).

    python3 -m twainlib.pack pack --loader loader.elf --kernel 2=kernel-el2.elf --root init \\
        --archive manifest.json --expect expect.json -o image.bin

    offset 0     loader, behind the Image header; its zeroed data and stack
                 packed header (system/loader/packed.hpp): where everything is, which machine it is for
                 segments of the root task, flat, whole pages
    n x 2 MB     kernel for EL1, kernel for EL2 (those that there are), with their zeroed memory
                 files of the archive, each from a page boundary, padded with zeroes

Beside the image, <image>.json tells the same to people and tools, with the build id.
"""

import argparse
import hashlib
import json
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from .errors import Exit, TwainError

PAGE = 4096
BLOCK = 2 << 20
MAX_SEGMENTS, MAX_MODULES, NAME_BYTES = 4, 32, 48  # abi::kMaxSegments, kMaxModules, Module::name

IMAGE_MAGIC = b"ARM\x64"
IMAGE_FLAGS = 1 << 1 | 1 << 3  # little-endian, 4K pages, anywhere in memory
HEADER = struct.Struct("<IIQQQQQQ4sIQQ")  # Image header, then the loader's own two words
LOADER_MAGIC = int.from_bytes(b"TTWNLDR1", "little")

KERNEL_HEADER = struct.Struct("<IIQ")
KERNEL_MAGIC = int.from_bytes(b"TWNK", "little")

# struct Packed of system/loader/packed.hpp
PACKED_MAGIC = int.from_bytes(b"TWAINPK1", "little")
PACKED_VERSION = 1
PACKED_HEAD = struct.Struct("<QII40sQIIII32s64sQQ")
PACKED_KERNEL = struct.Struct("<QQQ")
PACKED_SEGMENT = struct.Struct("<QQQQ")
PACKED_ARCHIVE = struct.Struct("<QQII")
PACKED_MODULE = struct.Struct(f"<{NAME_BYTES}sQQ")
PACKED_BYTES = (PACKED_HEAD.size + 2 * PACKED_KERNEL.size + 8 + MAX_SEGMENTS * PACKED_SEGMENT.size
                + PACKED_ARCHIVE.size + MAX_MODULES * PACKED_MODULE.size)
FLAG_VERBOSE, FLAG_TEST = 1, 2  # BootInfo::flags

RIGHT_READ, RIGHT_WRITE, RIGHT_EXEC = 1, 2, 4  # abi::rights::mem_*


def fail(text):
    raise TwainError(Exit.BUILD, text)


def align(value, boundary):
    return -(-value // boundary) * boundary


@dataclass
class Segment:
    address: int
    data: bytes
    bytes: int
    rights: int
    offset: int = 0


@dataclass
class Kernel:
    level: int
    path: Path
    data: bytes
    memory: int
    offset: int = 0


@dataclass
class Module:
    name: str
    path: Path
    bytes: int
    offset: int = 0


@dataclass
class Layout:
    """What goes where. `place` fills in the offsets."""
    loader: bytes
    loader_memory: int
    kernels: list
    entry: int
    segments: list
    modules: list
    packed: int = 0
    archive: int = 0
    archive_bytes: int = 0
    end: int = 0  # of the memory that the image occupies

    def place(self):
        self.packed = align(self.loader_memory, PAGE)
        at = self.packed + align(PACKED_BYTES, PAGE)
        for segment in self.segments:
            segment.offset = at
            at += segment.bytes
        for kernel in self.kernels:
            kernel.offset = align(at, BLOCK)
            at = kernel.offset + kernel.memory
        self.archive = align(at, PAGE)
        at = self.archive
        for module in self.modules:
            module.offset = at
            at += align(module.bytes, PAGE)
        self.archive_bytes = at - self.archive
        self.end = align(at, PAGE)


@dataclass
class Expectation:
    """The machine that an image is for; zero and empty: any."""
    board: str = ""
    compatible: str = ""
    min_ram: int = 0
    cores: int = 1
    gic_versions: tuple = ()
    uart_base: int = 0


@dataclass
class Options:
    build_id: str = ""
    verbose: bool = False
    test: bool = False
    inputs: list = field(default_factory=list)


def read_elf(path):
    """(entry, [(virtual address, physical address, file bytes, bytes in memory, flags)]) of an AArch64 ELF file."""
    try:
        with open(path, "rb") as stream:
            elf = ELFFile(stream)
            if elf.elfclass != 64 or not elf.little_endian or elf["e_machine"] != "EM_AARCH64":
                fail(f"{path} is not an ELF file for AArch64")
            loads = [(s["p_vaddr"], s["p_paddr"], s.data(), s["p_memsz"], s["p_flags"])
                     for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
            entry = elf["e_entry"]
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except (ELFError, ValueError, KeyError) as error:
        fail(f"{path} is not a usable ELF file: {error}")
    if not loads:
        fail(f"{path} has no loadable segment")
    for _, _, data, memory, flags in loads:
        if len(data) > memory:
            fail(f"{path} is damaged: a segment has more bytes in the file than in memory")
        if flags & 1 and flags & 2:
            fail(f"{path} has a segment that is writable and executable")
    return entry, sorted(loads)


def flatten(loads):
    """The flat contents from the lowest physical address on, and the bytes of memory."""
    base = min(load[1] for load in loads)
    data = bytearray()
    memory = 0
    for _, physical, contents, size, _ in sorted(loads, key=lambda load: load[1]):
        offset = physical - base
        if offset < memory:
            fail("two segments overlap")
        if offset - memory > 64 << 20:
            fail("segments lie too far apart for a flat image")
        if contents:
            data.extend(bytes(offset - len(data)))
            data.extend(contents)
        memory = offset + size
    return bytes(data), memory


def read_loader(path):
    entry, loads = read_elf(path)
    data, memory = flatten(loads)
    if loads[0][0] != 0 or len(data) < HEADER.size:
        fail(f"{path} is not Twain's loader: it is not linked at 0")
    header = HEADER.unpack_from(data)
    if header[8] != IMAGE_MAGIC or header[11] != LOADER_MAGIC or entry != 0:
        fail(f"{path} is not Twain's loader: it has no Image header")
    return data, memory


def read_kernel(level, path):
    entry, loads = read_elf(path)
    data, memory = flatten(loads)
    _, magic, wanted = KERNEL_HEADER.unpack_from(data) if len(data) >= KERNEL_HEADER.size else (0, 0, 0)
    if magic != KERNEL_MAGIC:
        fail(f"{path} is not Twain's kernel: no header at its start")
    if wanted < memory:
        fail(f"{path}: the header says {wanted} bytes of memory, the segments need {memory}")
    if wanted > 64 << 20:
        fail(f"{path}: the header says {wanted} bytes of memory")
    return Kernel(level, Path(path), data, align(wanted, PAGE))


def read_root(path):
    entry, loads = read_elf(path)
    if len(loads) > MAX_SEGMENTS:
        fail(f"{path} has {len(loads)} segments; the root task may have {MAX_SEGMENTS}")
    segments = []
    for address, _, data, memory, flags in loads:
        if address % PAGE:
            fail(f"{path}: the segment at {address:#x} does not begin at a page")
        if segments and segments[-1].address + segments[-1].bytes > address:
            fail(f"{path}: two segments share the page {address:#x}")
        rights = (flags >> 2 & 1) * RIGHT_READ | (flags >> 1 & 1) * RIGHT_WRITE | (flags & 1) * RIGHT_EXEC
        segments.append(Segment(address, data, align(memory, PAGE), rights | RIGHT_READ))
    if not any(s.address <= entry < s.address + s.bytes and s.rights & RIGHT_EXEC for s in segments):
        fail(f"{path}: the entry {entry:#x} is not in an executable segment")
    return entry, segments


def read_archive(path):
    try:
        files = json.loads(Path(path).read_text(encoding="utf-8"))["files"]
        modules = [Module(str(f["name"]), (Path(path).parent / str(f["path"])).resolve(), 0) for f in files]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"{path} is not a usable archive manifest: {error}")
    if len(modules) > MAX_MODULES:
        fail(f"{path} names {len(modules)} files; an image may hold {MAX_MODULES}")
    if len({module.name for module in modules}) != len(modules):
        fail(f"{path} names a file twice")
    for module in modules:
        if not 0 < len(module.name.encode()) < NAME_BYTES:
            fail(f"{path}: the name \"{module.name}\" must have 1 to {NAME_BYTES - 1} bytes")
        if not module.path.is_file():
            fail(f"{module.path} does not exist (file \"{module.name}\" of {path})")
        module.bytes = module.path.stat().st_size
        if module.bytes == 0:
            fail(f"{module.path} is empty (file \"{module.name}\" of {path})")
    return modules


def read_expectation(path):
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        found = Expectation(str(facts.get("board", "")), str(facts.get("compatible", "")), int(facts.get("min_ram", 0)),
                            int(facts.get("cores", 1)), tuple(int(version) for version in facts.get("gic_versions", ())), int(facts.get("uart_base", 0)))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        fail(f"{path} is not a usable board expectation: {error}")
    if len(found.board.encode()) > 31 or len(found.compatible.encode()) > 63:
        fail(f"{path}: a name is too long")
    return found


def packed_header(layout, expect, options, build_id):
    flags = FLAG_VERBOSE * options.verbose | FLAG_TEST * options.test
    out = PACKED_HEAD.pack(PACKED_MAGIC, PACKED_VERSION, PACKED_BYTES, build_id.encode(), layout.end, flags,
                           len(layout.segments), sum(1 << version for version in set(expect.gic_versions)), expect.cores, expect.board.encode(),
                           expect.compatible.encode(), expect.min_ram, expect.uart_base)
    for level in (1, 2):
        kernel = next((k for k in layout.kernels if k.level == level), None)
        out += PACKED_KERNEL.pack(kernel.offset, len(kernel.data), kernel.memory) if kernel else bytes(PACKED_KERNEL.size)
    out += struct.pack("<Q", layout.entry)
    segments = b"".join(PACKED_SEGMENT.pack(s.address, s.offset, s.bytes, s.rights) for s in layout.segments)
    out += segments.ljust(MAX_SEGMENTS * PACKED_SEGMENT.size, b"\0")
    out += PACKED_ARCHIVE.pack(layout.archive, layout.archive_bytes, len(layout.modules), 0)
    modules = b"".join(PACKED_MODULE.pack(m.name.encode(), m.offset, m.bytes) for m in layout.modules)
    out += modules.ljust(MAX_MODULES * PACKED_MODULE.size, b"\0")
    assert len(out) == PACKED_BYTES
    return out


def loader_with_header(layout):
    """The loader's flat code with what only the packer knows: image size, where the packed header is."""
    fields = list(HEADER.unpack_from(layout.loader))
    fields[2], fields[3], fields[4] = 0, layout.end, IMAGE_FLAGS
    fields[10] = layout.packed
    return HEADER.pack(*fields) + layout.loader[HEADER.size:]


def pieces(layout, contents_of_header):
    """(offset, bytes) in ascending order; archive files are read one at a time."""
    yield 0, loader_with_header(layout)
    yield layout.packed, contents_of_header
    for segment in layout.segments:
        yield segment.offset, segment.data
    for kernel in layout.kernels:
        yield kernel.offset, kernel.data
    for module in layout.modules:
        data = module.path.read_bytes()
        if len(data) != module.bytes:
            fail(f"{module.path} changed while it was packed")
        yield module.offset, data


def content_id(layout, expect, options):
    """32 hex digits of a SHA-256 over everything that goes in: equal inputs, equal images."""
    digest = hashlib.sha256(packed_header(layout, expect, options, ""))
    for _, data in pieces(layout, b""):
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:32]


def pack(loader, kernels, root, archive, expectation, output, options=None):
    """Writes the image; returns its description (what <image>.json holds). Raises TwainError."""
    options = options or Options()
    output = Path(output)
    loader_data, loader_memory = read_loader(loader)
    levels = sorted(kernels.items())
    if not levels:
        fail("an image needs a kernel")
    entry, segments = read_root(root)
    layout = Layout(loader_data, loader_memory, [read_kernel(level, path) for level, path in levels], entry, segments,
                    read_archive(archive) if archive else [])
    layout.place()
    if layout.packed + align(PACKED_BYTES, PAGE) > BLOCK:
        fail(f"{loader} is too large")
    expect = read_expectation(expectation)
    build_id = options.build_id or content_id(layout, expect, options)
    if len(build_id) > 39 or not all(c in "0123456789abcdef" for c in build_id):
        fail(f"the build id \"{build_id}\" is not up to 39 hex digits")
    partial = output.with_name(output.name + ".partial")
    with partial.open("wb") as stream:
        for offset, data in pieces(layout, packed_header(layout, expect, options, build_id)):
            assert stream.tell() <= offset
            stream.write(bytes(offset - stream.tell()))
            stream.write(data)
        stream.write(bytes(align(stream.tell(), PAGE) - stream.tell()))
        file_bytes = stream.tell()
    partial.replace(output)
    facts = {
        "version": 1, "build_id": build_id, "file_bytes": file_bytes, "memory_bytes": layout.end,
        "loader": {"elf": str(Path(loader).resolve()), "bytes": loader_memory},
        "kernels": {f"el{k.level}": {"elf": str(k.path.resolve()), "offset": k.offset, "bytes": k.memory} for k in layout.kernels},
        "root": {"elf": str(Path(root).resolve()), "entry": entry,
                 "segments": [{"address": s.address, "offset": s.offset, "bytes": s.bytes, "rights": s.rights} for s in segments]},
        "archive": [{"name": m.name, "path": str(m.path), "offset": m.offset, "bytes": m.bytes} for m in layout.modules],
    }
    output.with_name(output.name + ".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def write_depfile(path, output, inputs):
    escaped = " ".join(str(name).replace(" ", "\\ ") for name in inputs)
    Path(path).write_text(f"{output}: {escaped}\n", encoding="utf-8")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="pack", description="Packs a bootable image.")
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("pack", help="write an image")
    sub.add_argument("--loader", required=True, metavar="ELF")
    sub.add_argument("--kernel", required=True, action="append", metavar="[EL=]ELF", help="kernel for an exception level (2)")
    sub.add_argument("--root", required=True, metavar="ELF", help="root task: init, or a test program")
    sub.add_argument("--archive", metavar="JSON", help="manifest of the files that go along")
    sub.add_argument("--expect", required=True, metavar="JSON", help="the machine that the image is for")
    sub.add_argument("--build-id", default="", metavar="HEX", help="default: from the contents")
    sub.add_argument("--verbose", action="store_true", help="loader and kernel tell more")
    sub.add_argument("--test", action="store_true", help="mark as a test image")
    sub.add_argument("--depfile", metavar="FILE", help="write the archive's files as dependencies for Ninja")
    sub.add_argument("-o", "--output", required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    kernels = {}
    for text in options.kernel:
        level, _, path = text.rpartition("=")
        if level not in ("", "1", "2"):
            parser.error(f"unknown exception level in {text}")
        kernels[int(level or 2)] = path
    try:
        facts = pack(options.loader, kernels, options.root, options.archive, options.expect, options.output,
                     Options(options.build_id, options.verbose, options.test))
    except TwainError as error:
        print(error.render(), file=sys.stderr)
        return int(error.code)
    if options.depfile:
        write_depfile(options.depfile, options.output, [f["path"] for f in facts["archive"]])
    return 0


if __name__ == "__main__":
    sys.exit(main())
