# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The TCG plugin that counts instructions (tools/bench/counter.c), and runs of QEMU under it."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

from .. import build, qemu, symbols
from ..broker import Broker
from ..errors import Exit, TwainError
from ..paths import ROOT, short
from ..progress import stage
from ..session import Session

SOURCE = ROOT / "tools" / "bench" / "counter.c"
MODEL = "cortex-a57"
LIMIT = 120.0


def build_plugin(directory, source=SOURCE):
    """Compiles a plugin, the counter if none is named; returns the shared library."""
    library = Path(directory) / f"{source.stem}.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise TwainError(Exit.MISSING, "no C compiler", hint="run `tools/twain setup`")
    library.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror",
                             "-fvisibility=hidden", "-o", library, source], capture_output=True, text=True)
    if result.returncode != 0:
        raise TwainError(Exit.BUILD, f"the plugin {source.stem} does not compile", detail=result.stderr.splitlines()[-20:])
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


def require_plugin(directory):
    with stage("counter plugin"):
        problem = plugin_problem(directory)
    if problem:
        raise TwainError(Exit.MISSING, f"cannot count instructions: {problem}", hint="QEMU 7.2 to 8.1 has the interface")


def kernel_elf():
    return build.tree() / "target" / "kernel-el2.elf"


def monitor_elf():
    return build.tree() / "target" / "bin" / "vmm"


def count(directory, name, image, built=None, wait="", until="bench done", cores=1, profile=0):
    """Runs an image under the counter until the guest `wait` (or several, or, without guests, the machine itself) says `until`;
    returns what the counter has written. `profile`: a series whose instructions are told apart by address."""
    low, high = symbols.text_range(kernel_elf())
    out = directory / f"{name}.json"
    out.unlink(missing_ok=True)
    plugin = f"{directory / 'counter.so'},kernel={low:x}-{high:x},out={out}" + (f",profile={profile}" if profile else "")
    command = qemu.command(image, cpus=cores, memory="1G", cpu=MODEL, deterministic=True, extra=["-plugin", plugin])
    (directory / f"{name}.cmdline").write_text(shlex.join(command) + "\n")
    guests = [guest.name for guest in built.info.guests] if built else []
    with stage(f"counting: {name}"), Broker(command, directory / name, guests, built.info.labels if built else None) as machine:
        for each in [wait] if isinstance(wait, str) else wait:
            Session(machine).wait_for(each, f".*{until}", LIMIT)
        machine.power_off(LIMIT)
    try:
        return json.loads(out.read_text())
    except (OSError, ValueError):
        raise TwainError(Exit.RUN, "the counter has written nothing", hint=f"the log is {short(directory / name)}") from None


def medians(measures, counted):
    """The values of those measures that are counted between markers."""
    values = {}
    for measure in measures:
        if measure.series:
            found = counted["series"].get(str(measure.series))
            if found is None:
                raise TwainError(Exit.RUN, f"nothing was counted for {measure.key}")
            values[measure.key] = found[measure.part]["median"]
    return values
