# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""From a system description to a bootable image: guest images, then CMake and Ninja."""

import contextlib
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import aptroot, images, system
from .errors import Exit, TwainError
from .paths import ROOT, build_root, images_dir, own_directory, short, system_dir
from .progress import say, stage


@dataclass
class Built:
    info: system.SystemInfo
    image: Path
    directory: Path
    records: dict  # of the guest images

    def kernel_sha256(self, guest):
        """Of the kernel that a guest boots; "" if there is no such file any more."""
        if record := self.records.get(guest.kernel):
            return record["sha256"]
        path = Path(guest.kernel_path)
        return images.file_sha256(path) if path.is_file() else ""


def preset(debug=False):
    return "debug" if debug or system.settings().get("TWAIN_BUILD") == "debug" else "release"


def tree(debug=False):
    """CMake's build directory of a preset."""
    return build_root() / f"cmake-{preset(debug)}"


def host_tests(show, targets, log):
    """Builds host tests that show something else than errors of memory (a preset: branches); where they are."""
    directory = build_root() / f"cmake-{show}"
    with alone():
        _run(["cmake", "--preset", show, "-B", directory, f"-DTWAIN_OUTPUT={build_root()}", f"-DTWAIN_FILES={images_dir()}",
              f"-DTWAIN_PYTHON={sys.executable}"], log, "w", "configuring")
        _run(["cmake", "--build", directory, "--target", *targets], log, "a", "building")
    return directory


def fetch_libraries():
    """Downloads the arm64 libraries that CMake will unpack (twain_packages), so that building needs no network."""
    text = "".join(path.read_text() for path in sorted((ROOT / "cmake").glob("*.cmake")))
    for architecture, packages in re.findall(r"^\s*twain_packages\(\w+ (\w+) ([^)$]*)\)", text, re.MULTILINE):
        if architecture == "host":
            architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
        aptroot.download(packages.split(), architecture)


def make(config, cpus=None, debug=False, warnings=True):
    """Builds the image of a system description (a path); returns Built."""
    with stage(f"checking {system.shown(config)}") as note:
        info = system.load(config, cpus, warnings=warnings)
        note.text = f"{len(info.guests)} guests, {info.cpus} cores"
    with alone():
        records = make_images(info)
        directory = system_dir(info.name)
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "build.log"
        with stage(f"building {info.name} ({preset(debug)})"):
            configure(config, cpus, debug, log)
            compile_(debug, log, ["image"])
    image = directory / "image.bin"
    if not image.is_file():
        raise TwainError(Exit.BUILD, f"the build made no {short(image)}", hint=f"the log is {short(log)}")
    info.table = json.loads((directory / "system.json").read_text())
    return Built(info, image, directory, records)


@contextlib.contextmanager
def alone():
    """One build at a time: CMake's directory is configured for one system after the other."""
    with open(own_directory(build_root()) / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way here: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_images(info, refresh=False):
    personas = [guest.name for guest in info.guests if guest.made_initrd]
    if not personas:
        return {}
    with stage("guest images") as note:
        records = images.make(personas, refresh=refresh)
        note.text = records["debian/vmlinux"]["package"]
    return records


def targets(names, log):
    """Builds targets of CMake's release tree that belong to no system; where they are."""
    with alone():
        configure(system.default_config(), None, False, log)
        compile_(False, log, names)
    return tree()


def configure(config, cpus, debug, log):
    settings = [f"-DTWAIN_CONFIG={Path(config).resolve()}", f"-DTWAIN_CORES={system.cores(cpus) or ''}",
                f"-DTWAIN_OUTPUT={build_root()}", f"-DTWAIN_FILES={images_dir()}", f"-DTWAIN_PYTHON={sys.executable}"]
    _run(["cmake", "--preset", preset(debug), "-B", tree(debug), *settings], log, "w", "configuring")


def compile_(debug, log, targets):
    _run(["cmake", "--build", tree(debug), "--target", *targets], log, "a", "building")


def _run(command, log, mode, what):
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, mode) as file:
        command = [str(part) for part in command]
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        try:
            result = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                    env={**os.environ, "NINJA_STATUS": "[%f/%t] "})
        except FileNotFoundError:
            raise TwainError(Exit.MISSING, f"{command[0]} is not installed", hint="run `tools/twain setup`") from None
    if result.returncode != 0:
        tail = log.read_text(errors="replace").splitlines()
        # The first compiler error says more than the last lines of an interrupted parallel build.
        first = next((i for i, line in enumerate(tail) if ": error" in line or "FAILED:" in line or "CMake Error" in line), None)
        shown = tail[first:first + 20] if first is not None else tail[-20:]
        raise TwainError(Exit.BUILD, f"{what} failed", detail=shown, hint=f"the whole log is {short(log)}")
