# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The Debian packages that Twain is built, run and tested with, and their installation."""

import os
import re
import shutil
import subprocess
import sys
import time

from .errors import Exit, TwainError
from .progress import say, stage

NEEDED = {
    "cmake": "build",
    "ninja-build": "build",
    "g++-aarch64-linux-gnu": "cross compiler for the image",
    "picolibc-aarch64-linux-gnu": "C library of the processes",
    "g++": "host tests",
    "catch2": "host tests",
    "python3-jinja2": "system configuration generator",
    "python3-jsonschema": "checks reports",
    "python3-pyelftools": "packs programs",
    "python3-pytest": "configuration and system tests",
    "python3-pexpect": "system tests",
    "gcovr": "counts branches that tests take",
    "clang": "fuzz",
    "libclang-rt-14-dev": "fuzz",
    "graphviz": "draws the system graph",
    "qemu-system-arm": "runs the image",
}
EXTRA = {  # `setup --all`: what only some commands want
    "gdb-multiarch": "debug",
    "cloc": "size limits in CI",
    "clang-format": "CI",
    "clang-tidy": "CI",
    "device-tree-compiler": "reading device trees",
    "debootstrap": "tools/minbase",
}
LOCK_LIMIT = 300  # seconds


def missing(wanted):
    """Those of the packages that are not installed."""
    if not shutil.which("dpkg-query"):
        return list(wanted)
    query = subprocess.run(["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Status}\n", *wanted],
                           capture_output=True, text=True)
    there = {line.split()[0].split(":")[0] for line in query.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in there]


def apt_line(packages):
    return "apt-get install --no-install-recommends " + " ".join(packages)


def install(everything=False, yes=False, quiet=False):
    """Installs what is missing. On a terminal it asks first. Returns the packages that it installed."""
    wanted = {**NEEDED, **(EXTRA if everything else {})}
    if not shutil.which("apt-get"):
        if shutil.which("dpkg-query") is None and _tools_present():
            if not quiet:
                say("setup: not a Debian system; the programs that are needed are there")
            return []
        raise TwainError(Exit.MISSING, "this is not a Debian system; install what these Debian packages hold:",
                         hint=" ".join(wanted))
    absent = missing(wanted)
    if not absent:
        return []
    prefix = _root_prefix()
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if prefix is None and not interactive:
        raise TwainError(Exit.MISSING, f"packages are missing: {' '.join(absent)}", hint=apt_line(absent))
    if interactive and not yes:
        size = download_size(absent)
        for package in absent:
            say(f"  {package:28} {wanted[package]}")
        say(f"{len(absent)} packages" + (f" and what they depend on, {size:.0f} MB to download" if size else ""))
        print("Install them? [Y/n] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
            raise TwainError(Exit.MISSING, "nothing was installed", hint=apt_line(absent))
    if prefix is None:
        prefix = ["sudo"]
    with stage(f"installing {len(absent)} packages") as note:
        # A fresh system has an empty index, an old one a stale index.
        _apt(prefix, ["update"])
        size = download_size(absent)
        _apt(prefix, ["install", "--no-install-recommends", *absent])
        note.text = f"{size:.0f} MB" if size else ""
    still = missing(wanted)
    if still:
        raise TwainError(Exit.MISSING, f"these packages could not be installed: {' '.join(still)}", hint=apt_line(still))
    return absent


def download_size(packages):
    """MB that apt would fetch, or None where apt cannot tell (no index yet)."""
    result = subprocess.run(["apt-get", "install", "--no-install-recommends", "--print-uris", "-qq", "-y",
                             "-o", "Debug::NoLocking=1", *packages], capture_output=True, text=True)
    sizes = re.findall(r"^'[^']*' \S+ (\d+) ", result.stdout, re.MULTILINE)
    return sum(map(int, sizes)) / 1e6 if result.returncode == 0 and sizes else None


def _root_prefix():
    """What makes a command run as root without a question: [] or sudo -n; None: nothing does."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def _apt(prefix, arguments):
    """Runs apt-get; waits, with a limit, while another program holds one of apt's locks."""
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
               "-o", f"DPkg::Lock::Timeout={LOCK_LIMIT}", *arguments]
    deadline = time.monotonic() + LOCK_LIMIT
    told = False
    while True:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode == 0:
            return
        locked = "Could not get lock" in result.stdout or "Unable to lock" in result.stdout
        if not locked or time.monotonic() > deadline:
            break
        if not told:
            say("another program is installing packages: waiting for it")
            told = True
        time.sleep(2)
    why = f"another program has held apt's lock for {LOCK_LIMIT} s" if locked else f"apt-get {arguments[0]} failed"
    raise TwainError(Exit.MISSING, why, detail=result.stdout.splitlines()[-20:], hint="apt-get " + " ".join(arguments))


def _tools_present():
    return all(shutil.which(tool) for tool in ("cmake", "ninja", "aarch64-linux-gnu-g++", "g++", "dot", "qemu-system-aarch64"))
