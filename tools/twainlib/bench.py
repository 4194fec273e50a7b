# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Counts instructions: the TCG plugin and the bench images (docs/benchmarks.md)."""

import shutil
import subprocess
from pathlib import Path

from . import qemu
from .errors import Exit, TwainError
from .paths import ROOT

SOURCE = ROOT / "tools" / "bench" / "counter.c"


def build_plugin(directory):
    """Compiles the counter; returns the shared library."""
    library = Path(directory) / "counter.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise TwainError(Exit.MISSING, "no C compiler", hint="run `tools/twain setup`")
    library.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror",
                             "-fvisibility=hidden", "-o", library, SOURCE], capture_output=True, text=True)
    if result.returncode != 0:
        raise TwainError(Exit.BUILD, "the counter plugin does not compile", detail=result.stderr.splitlines()[-20:])
    return library


def plugin_problem(directory):
    """None if QEMU takes the counter, else why not."""
    if qemu.version() is None:
        return "QEMU is not installed"
    try:
        plugin = build_plugin(directory)
    except TwainError as error:
        return str(error)
    # The machine `none` ends at once: it is told to by the closed monitor-less command line.
    with subprocess.Popen([qemu.PROGRAM, "-M", "none", "-nodefaults", "-display", "none", "-S", "-plugin",
                           f"{plugin},out={Path(directory) / 'probe.json'}"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, errors = process.communicate(timeout=1.5)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
            return None
    if "invalid option" in errors:
        return "this QEMU was built without plugins"
    if "version" in errors:
        return f"this QEMU does not support plugin interface version 1 any more ({errors.strip().splitlines()[-1]})"
    return errors.strip().splitlines()[-1] if errors.strip() else "QEMU ended"


def run(options):
    raise TwainError(Exit.RUN, "no bench image yet")
