# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Linux guests of the tool's own that bench and test run: programs compiled here, in an initrd of their own, on the kernel
that every guest gets. The same guest runs natively in QEMU, to compare with."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import aptroot, build, images, qemu, symbols
from .broker import Broker
from .cpio import Tree
from .errors import Exit, TwainError
from .paths import ROOT, build_root, cache_dir, images_dir
from .progress import stage
from .session import Session
from .system import describe

FLAGS = ["-std=c++20", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-static", "-pthread", "-I", ROOT]
FIRST = ROOT / "tools" / "bench" / "linux" / "first.hpp"  # what their first processes share
MEMORY = 256  # MiB
# A random kernel address would make Linux separate its tables (KPTI); random places in processes would make runs differ.
CMDLINE = "console=ttyAMA0 quiet nokaslr norandmaps"


@dataclass
class LinuxGuest:
    name: str
    initrd: Path
    cmdline: str = CMDLINE
    vcpus: int = 1

    @property
    def kernel(self):
        return images_dir() / "debian/vmlinux"


def compile_program(sources, output):
    """A static Linux program for the guest; made again only if a source is newer."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_file() and all(source.stat().st_mtime < output.stat().st_mtime for source in (*sources, Path(__file__))):
        return output
    command = [symbols.tool("g++"), *FLAGS, "-o", output, *(source for source in sources if source.suffix == ".cpp")]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise TwainError(Exit.BUILD, f"{output.name} does not compile", detail=result.stderr.splitlines()[-20:])
    return output


def write_initrd(tree, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tree.compressed())
    return path


def base_tree():
    """Directories, a console, busybox as a shell."""
    tree = Tree()
    for path in ("dev", "proc", "sys", "tmp", "bin"):
        tree.directory(path)
    tree.character_device("dev/console", 5, 1)
    tree.file("bin/busybox", images.busybox(), 0o755)
    tree.symlink("bin/sh", "busybox")
    return tree


MODULES = ("kernel/drivers/block/loop.ko", "kernel/drivers/net/dummy.ko")
STRESS = ("stress-ng", "libapparmor1", "libbsd0", "libc6", "libcrypt1", "libdrm2", "libegl1", "libexpat1", "libffi8", "libgbm1",
          "libgles2", "libglvnd0", "libjpeg62-turbo", "libjudydebian1", "libkmod2", "liblzma5", "libmd0", "libsctp1", "libssl3",
          "libwayland-server0", "libxxhash0", "libzstd1", "zlib1g")


def fetch():
    """Downloads the packages of check_guest(), so that it needs no network."""
    aptroot.download(STRESS)


def check_guest(directory, vcpus=2, only=""):
    """The guest that checks itself (tests/guest), with two modules and stress-ng. only: topics, comma-separated."""
    program = compile_program([*sorted((ROOT / "tests" / "guest").glob("*.*pp")), FIRST], build_root() / "tests" / "guest-check")
    tree = base_tree()
    tree.file("init", program.read_bytes(), 0o755)
    for name, data in images.kernel_files([f"lib/modules/[^/]*/{re.escape(module)}" for module in MODULES]).items():
        tree.file(f"lib/{Path(name).name}", data)
    _add_program(tree, unpack(STRESS), "usr/bin/stress-ng")
    return LinuxGuest("check", write_initrd(tree, directory / "guest-check.cpio.gz"), CMDLINE + (f" check={only}" if only else ""), vcpus)


def unpack(packages):
    """A directory with the packages' files, in the cache."""
    found = aptroot.fetch(packages)
    digest = hashlib.sha256("".join(package.sha256 for package in found).encode()).hexdigest()
    directory = cache_dir() / "unpacked" / digest[:16]
    if not directory.is_dir():
        partial = directory.with_name(f"{directory.name}.{os.getpid()}")
        for package in found:
            aptroot.extract(package.path, partial)
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    return directory


def _add_program(tree, directory, path):
    """A program and the shared libraries that it needs, at Debian's places."""
    libraries = {file.name: file for pattern in ("lib", "usr/lib") for file in (directory / pattern).rglob("*.so*")}
    wanted, done = [(path, directory / path)], set()
    while wanted:
        target, file = wanted.pop()
        tree.file(target, file.resolve().read_bytes(), 0o755)
        for name in _needed(file.resolve()) - done:
            done.add(name)
            if name not in libraries:
                raise TwainError(Exit.BUILD, f"{path} needs {name}, which no package in the list holds")
            wanted.append((f"lib/{name}", libraries[name]))


def _needed(file):
    build.system.generator()  # says what is missing if pyelftools is
    from elftools.elf.elffile import ELFFile

    with open(file, "rb") as stream:
        section = ELFFile(stream).get_section_by_name(".dynamic")
        return {tag.needed for tag in section.iter_tags("DT_NEEDED")} if section else set()


class Line:
    """A guest's serial line: typed at and waited for, whether it is the machine's own or one of several."""

    def __init__(self, session, tag):
        self.session = session
        self.tag = tag

    def type(self, text):
        if self.tag:
            self.session.broker.type(self.tag, text.encode())
        else:
            self.session.broker.raw(text.encode())

    def wait_for(self, pattern, limit, since=0):
        return self.session.wait_for(self.tag, pattern, limit, since)[0]

    def ask(self, text, pattern, limit):
        start = self.session.mark()
        self.type(text + "\n")
        return self.wait_for(pattern, limit, start)


@contextmanager
def native(guest, directory, cpu, deterministic=True):
    """The guest's kernel and initrd directly in QEMU."""
    images.make([])
    command = [qemu.PROGRAM, "-M", "virt,virtualization=off,gic-version=3", "-cpu", qemu.cpu_model(cpu), "-m", f"{MEMORY}M",
               "-smp", str(guest.vcpus), "-nodefaults", "-no-user-config", "-display", "none",
               "-chardev", "stdio,id=console,mux=off,signal=off", "-serial", "chardev:console",
               "-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.cmdline,
               *(qemu.DETERMINISTIC if deterministic else [])]
    with _running(command, directory, []) as machine:
        yield Line(Session(machine), "")


@contextmanager
def system(guest, directory, cpu, el2, deterministic=True, cpus=1, naive=False):
    """The guest in a system of its own. naive: without EL2, every privileged instruction traps."""
    with several([guest], directory, cpu, el2, deterministic, cpus, naive) as lines:
        yield lines[0]


@contextmanager
def several(guests, directory, cpu, el2, deterministic=True, cpus=1, naive=False):
    """Guests in one system; their lines, in that order."""
    config = directory / f"{guests[0].name}.toml"
    directory.mkdir(parents=True, exist_ok=True)
    config.write_text(describe({
        guest.name: {"image": "debian", "initrd": os.path.relpath(guest.initrd, directory), "cmdline": guest.cmdline,
                     "ram": f"{MEMORY}M", "vcpus": guest.vcpus} for guest in guests}))
    images.make([])
    built = build.make(config, cpus=cpus, warnings=False)
    command = qemu.command(built.image, cpus=cpus, memory=f"{built.info.ram >> 20}M", cpu=cpu, deterministic=deterministic,
                           el2=el2, extra=["-append", "shadow=naive"] if naive else [])
    with _running(command, directory / ("el2" if el2 else "el1"), [g.name for g in built.info.guests], built.info.labels) as machine:
        session = Session(machine)
        yield [Line(session, guest.name) for guest in guests]


@contextmanager
def _running(command, directory, guests, labels=None):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "qemu.cmdline").write_text(shlex.join(map(str, command)) + "\n")
    with stage(f"running {directory.name}"), Broker(command, directory, guests, labels) as machine:
        yield machine
