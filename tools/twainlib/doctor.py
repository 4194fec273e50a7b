# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Checks that this machine can build, run and test Twain; says what to do where it cannot."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from . import bench, images, qemu
from .paths import build_root, cache_dir


@dataclass
class Finding:
    name: str
    state: str  # ok, warning, missing
    text: str


# Program, option that prints its version, oldest version, package.
PROGRAMS = [
    ("cmake", "--version", (3, 25), "cmake"),
    ("ninja", "--version", (1, 11), "ninja-build"),
    ("aarch64-linux-gnu-g++", "-dumpfullversion", (12, 2), "g++-aarch64-linux-gnu"),
    ("aarch64-linux-gnu-objcopy", "--version", (2, 40), "binutils-aarch64-linux-gnu"),
    ("g++", "-dumpfullversion", (12, 2), "g++"),
    ("dot", "-V", (2, 43), "graphviz"),
    ("qemu-system-aarch64", "--version", qemu.OLDEST, "qemu-system-arm"),
]
MODULES = [("jinja2", "python3-jinja2"), ("jsonschema", "python3-jsonschema"), ("elftools", "python3-pyelftools"),
           ("pytest", "python3-pytest"), ("pexpect", "python3-pexpect")]
FILES = [("picolibc", "/usr/lib/picolibc/aarch64-linux-gnu", "picolibc-aarch64-linux-gnu"),
         ("catch2", "/usr/include/catch2/catch.hpp", "catch2")]
NEEDED_MB = 1500


def findings():
    yield Finding("host", "ok" if platform.system() == "Linux" else "missing",
                  f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")
    for program, option, oldest, package in PROGRAMS:
        yield _program(program, option, oldest, package)
    for module, package in MODULES:
        there = importlib.util.find_spec(module) is not None
        yield Finding(f"python module {module}", "ok" if there else "missing", "" if there else f"package {package}")
    for name, path, package in FILES:
        there = os.path.exists(path)
        yield Finding(name, "ok" if there else "missing", path if there else f"package {package}")
    yield _plugin()
    yield _shared_memory()
    for what, path in (("build directory", build_root()), ("cache", cache_dir())):
        yield _disk(what, path)
    yield _images()


def report(as_json):
    """Prints the findings; returns (text or object, whether all that is needed is there)."""
    found = list(findings())
    good = all(finding.state != "missing" for finding in found)
    if as_json:
        return {"findings": [asdict(finding) for finding in found], "ok": good}, good
    marks = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}
    return "\n".join(f"{marks[finding.state]}  {finding.name:26} {finding.text}".rstrip() for finding in found), good


def _program(program, option, oldest, package):
    if not shutil.which(program):
        return Finding(program, "missing", f"package {package}")
    run = subprocess.run([program, option], capture_output=True, text=True, timeout=30)
    match = re.search(r"(\d+)\.(\d+)(\.\d+)*", run.stdout + run.stderr)
    if not match:
        return Finding(program, "warning", "its version is unknown")
    if (int(match[1]), int(match[2])) < tuple(oldest):
        return Finding(program, "missing", f"{match[0]} is too old, {oldest[0]}.{oldest[1]} or newer is needed")
    return Finding(program, "ok", match[0])


def _plugin():
    problem = None
    with tempfile.TemporaryDirectory() as scratch:
        problem = bench.plugin_problem(Path(scratch))
    return Finding("QEMU plugin interface", "warning" if problem else "ok",
                   f"{problem}; `bench` cannot split counts" if problem else "version 1, works")


def _shared_memory():
    path = "/dev/shm"
    if os.path.isdir(path) and os.access(path, os.W_OK):
        return Finding(path, "ok", "")
    return Finding(path, "warning", "not writable: the address sanitizer and Python's multiprocessing may want it")


def _disk(what, path):
    path = Path(path).absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free >> 20
    if not os.access(there, os.W_OK):
        return Finding(what, "missing", f"{path} cannot be written")
    return Finding(what, "ok" if free > NEEDED_MB else "warning", f"{path}, {free} MB free, {NEEDED_MB} MB wanted")


def _images():
    if images.downloaded():
        return Finding("guest packages", "ok", "downloaded: the network is not needed any more")
    if not shutil.which("apt-get"):
        return Finding("guest packages", "warning", "no apt-get: name your own kernel and initrd (docs/guests.md)")
    return Finding("guest packages", "warning", "not downloaded yet: `setup` or the first build does, with the network")
