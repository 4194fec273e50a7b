# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""QEMU's command line for the board qemu-virt."""

import re
import shutil
import subprocess

from .errors import Exit, TwainError

PROGRAM = "qemu-system-aarch64"
OLDEST = (7, 2)
GDB_PORT = 1234
DEFAULT_CPU = "max,pauth-impdef=on"
# One instruction is one nanosecond of virtual time: runs repeat exactly.
DETERMINISTIC = ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1"]
# An SMMU, and behind it two devices that do what DMA they are told to.
DMA = ("-machine", "iommu=smmuv3", "-device", "edu,addr=1.0", "-device", "edu,addr=2.0")


def cpu_model(name):
    """`max` signs pointers with a cipher that costs TCG half its speed unless told otherwise."""
    return DEFAULT_CPU if name in (None, "max") else name


def command(image, cpus=2, memory="1G", cpu=None, gdb=False, deterministic=False, extra=(), el2=True, gic=3, shadow=None):
    board = f"virt,virtualization={'on' if el2 else 'off'},gic-version={gic}"
    arguments = [PROGRAM, "-M", board, "-cpu", cpu_model(cpu), "-smp", str(cpus), "-m", str(memory), "-nodefaults",
                 "-display", "none", "-no-user-config",
                 "-chardev", "stdio,id=console,mux=off,signal=off", "-serial", "chardev:console",
                 "-kernel", str(image)]
    if shadow:
        arguments += ["-append", f"shadow={shadow}"]
    if deterministic:
        arguments += DETERMINISTIC
    if gdb:
        arguments += ["-S", "-gdb", f"tcp:127.0.0.1:{GDB_PORT}"]
    return arguments + list(extra)


def version():
    """(major, minor) of the installed QEMU, or None."""
    if not shutil.which(PROGRAM):
        return None
    text = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, timeout=20).stdout
    match = re.search(r"version (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def require():
    found = version()
    if found is None:
        raise TwainError(Exit.MISSING, f"{PROGRAM} is not installed", hint="run `tools/twain setup`")
    if found < OLDEST:
        raise TwainError(Exit.MISSING, f"QEMU {found[0]}.{found[1]} is too old; 7.2 or newer is needed")
