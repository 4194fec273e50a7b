# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Makes guest images from Debian packages: the uncompressed arm64 kernel, and one initrd per persona.

    images/debian/vmlinux      newest kernel of Debian's arm64 image package (security's version)
    images/<persona>.cpio.gz   static busybox and a few scripts (initrd.py)
    images/images.json         where each came from, and its SHA-256

Nothing is made twice: images.json states the inputs, and a file is remade only if they changed."""

import gzip
import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

from . import initrd
from .aptroot import AptRoot
from .errors import Exit, TwainError
from .paths import build_root, cache_dir, images_dir, own_directory

META_PACKAGE = "linux-image-arm64"
KERNEL_PATTERN = r"linux-image-[0-9].*-arm64"
ARM64_MAGIC = b"ARM\x64"  # at offset 56, Linux Documentation/arm64/booting.rst


def make(personas, refresh=False):
    """Brings the images up to date; returns {relative path: record}."""
    own_directory(build_root())
    directory = images_dir()
    directory.mkdir(parents=True, exist_ok=True)
    record_path = directory / "images.json"
    try:
        records = json.loads(record_path.read_text())
    except (OSError, ValueError):
        records = {}
    kernel_package, busybox_package = _packages(refresh)
    records["debian/vmlinux"] = _kernel(kernel_package, directory, records.get("debian/vmlinux"))
    busybox = None
    for persona in personas:
        name = f"{persona}.cpio.gz"
        inputs = _initrd_inputs(persona, busybox_package)
        old = records.get(name)
        if old and old.get("inputs") == inputs and _matches(directory / name, old):
            continue
        busybox = busybox or _busybox(busybox_package)
        data = initrd.build(persona, busybox)
        _replace(directory / name, data)
        records[name] = {"sha256": hashlib.sha256(data).hexdigest(), "inputs": inputs,
                         "package": f"{busybox_package.name} {busybox_package.version}",
                         "package_sha256": busybox_package.sha256}
    _replace(record_path, (json.dumps(records, indent=2, sort_keys=True) + "\n").encode())
    return records


def check_arm64_image(data, name):
    if data[56:60] != ARM64_MAGIC:
        raise TwainError(Exit.RUN, f"{name} is not an arm64 kernel image")


def downloaded():
    """Whether the packages are in the cache, so that no network is needed."""
    return (AptRoot().directory / "packages.json").is_file()


def file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _packages(refresh):
    root = AptRoot()
    if refresh:  # without its record the cache asks the archive's index again
        (root.directory / "packages.json").unlink(missing_ok=True)
    name = root.dependency(META_PACKAGE, KERNEL_PATTERN)
    if name is None:
        raise TwainError(Exit.RUN, f"{META_PACKAGE} names no kernel package")
    return root.fetch([name, "busybox-static"])


def _kernel(package, directory, old):
    path = directory / "debian/vmlinux"
    if old and old["package_sha256"] == package.sha256 and _matches(path, old):
        return old
    # Unpacked once per package version: the kernel is the largest file of all, and every checkout wants it.
    shared = cache_dir() / "kernels" / package.sha256 / "vmlinux"
    note = shared.with_name("origin.json")
    if not note.is_file():
        _unpack_kernel(package, shared, note)
    origin = json.loads(note.read_text())
    if file_sha256(shared) != origin["sha256"]:
        raise TwainError(Exit.RUN, f"{shared} has changed since it was unpacked", hint="remove it and build again")
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, shared.read_bytes())
    return {**origin, "package": f"{package.name} {package.version}", "package_sha256": package.sha256}


def _unpack_kernel(package, shared, note):
    member, data = _member(package, r"boot/vmlinuz-.*")
    # The package's own list of sums covers the file as it was packed.
    sums = subprocess.run(["dpkg-deb", "--info", package.path, "md5sums"], capture_output=True, text=True, check=True).stdout
    if f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {member}" not in sums.splitlines():
        raise TwainError(Exit.RUN, f"{member} does not match the sums in {Path(package.path).name}")
    origin = {"member": member, "member_sha256": hashlib.sha256(data).hexdigest()}
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    check_arm64_image(data, member)
    origin["sha256"] = hashlib.sha256(data).hexdigest()
    shared.parent.mkdir(parents=True, exist_ok=True)
    _replace(shared, data)
    _replace(note, json.dumps(origin).encode())


def busybox():
    """The static busybox of every initrd."""
    return _busybox(AptRoot().fetch(["busybox-static"])[0])


def kernel_files(patterns):
    """{path: contents} of the kernel package's files that match one of the regular expressions in full."""
    return _members(_packages(refresh=False)[0], patterns)


def _busybox(package):
    return _member(package, r"(usr/)?bin/busybox")[1]


def _member(package, pattern):
    """One file of a .deb: (path, contents)."""
    return next(iter(_members(package, [pattern]).items()))


def _members(package, patterns):
    """The first file of a .deb for each pattern: {path: contents}. Of a kernel package few are worth unpacking."""
    left = [re.compile(pattern) for pattern in patterns]
    found = {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package.path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                matching = [pattern for pattern in left if member.isfile() and pattern.fullmatch(name)]
                if matching:
                    found[name] = archive.extractfile(member).read()
                    left = [pattern for pattern in left if pattern not in matching]
                if not left:
                    process.terminate()
                    return found
    raise TwainError(Exit.RUN, f"{Path(package.path).name} holds no {left[0].pattern}")


def _initrd_inputs(persona, package):
    """A digest of everything that goes into an initrd."""
    digest = hashlib.sha256(f"{persona}\0{package.sha256}\0".encode())
    for source in (*sorted(initrd.SCRIPTS.iterdir()), Path(initrd.__file__), Path(initrd.__file__).with_name("cpio.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _matches(path, record):
    return path.is_file() and file_sha256(path) == record["sha256"]


def _replace(path, data):
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)
