# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""gdb-multiarch on a system that was started with `run --gdb`."""

import json
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .errors import Exit, TwainError
from .paths import short
from .progress import say
from .qemu import GDB_PORT


def attach(info, directory, tree, el1=False, extra=()):
    """Runs gdb until the user leaves it. `extra`: arguments of gdb."""
    if not shutil.which("gdb-multiarch"):
        raise TwainError(Exit.MISSING, "gdb-multiarch is not installed", hint="run `tools/twain setup --all`")
    kernel = tree / "target" / f"kernel-{'el1' if el1 else 'el2'}.elf"
    if not kernel.is_file():
        raise TwainError(Exit.USAGE, f"{info.name} has not been built: there is no {short(kernel)}", hint="run `tools/twain run --gdb`")
    if not _listening():
        raise TwainError(Exit.RUN, f"nothing waits for a debugger on 127.0.0.1:{GDB_PORT}",
                         hint=f"`tools/twain run --gdb {info.name}` in another terminal")
    script = directory / "gdb.commands"
    script.write_text(_script(kernel, directory))
    say(f"attaching to {info.name}; `help user-defined` lists where else symbols can come from")
    command = ["gdb-multiarch", "-q", "-x", str(script), *extra]
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for gdb
    try:
        code = subprocess.run(command).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return Exit.OK if code == 0 else Exit.RUN


def _listening():
    """Whether somebody listens. Not by connecting: QEMU takes the first connection for the debugger."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", GDB_PORT))
        except OSError:
            return True
    return False


def _script(kernel, directory):
    """Symbols of the kernel, and a command for each program: all processes are linked to the same addresses, so that one can
    be looked at at a time."""
    programs = {"kernel": str(kernel)}
    try:
        facts = json.loads((directory / "image.bin.json").read_text())
        programs["init"] = facts["root"]["elf"]
        programs.update((file["name"], file["path"]) for file in facts["archive"] if _is_elf(file["path"]))
    except (OSError, ValueError, KeyError):
        pass  # built for another machine, or not at all: the kernel's symbols are there
    lines = ["set pagination off", "set confirm off", f"file {shlex.quote(str(kernel))}"]
    for name, path in programs.items():
        lines += [f"define symbols-{Path(name).name}", f"file {shlex.quote(path)}", "end",
                  f"document symbols-{Path(name).name}", f"Takes the symbols of {name}.", "end"]
    return "\n".join([*lines, f"target remote 127.0.0.1:{GDB_PORT}"]) + "\n"


def _is_elf(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
