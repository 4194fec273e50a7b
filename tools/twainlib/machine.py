# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The machine that a built system runs on: QEMU's command line for it, and its life."""

import contextlib
import shlex

from . import control, qemu, system
from .broker import Broker
from .errors import Exit, TwainError
from .paths import system_dir


def command(image, info, options):
    """QEMU's argument vector. `options` are those of `run`; what is missing there has its default."""
    settings = system.settings()
    shadow = getattr(options, "shadow", None)
    # Where everything traps, a timer interrupt may cost more than the time to the next one, if that is the host's.
    deterministic = getattr(options, "deterministic", False) or shadow == "naive"
    return qemu.command(image, cpus=info.cpus, memory=settings.get("TWAIN_MEMORY") or f"{info.ram >> 20}M",
                        cpu=options.cpu or settings.get("TWAIN_CPU"),
                        gdb=getattr(options, "gdb", False), deterministic=deterministic,
                        extra=options.extra, el2=not getattr(options, "el1", False),
                        gic=getattr(options, "gic", None) or settings.get("TWAIN_GIC", 3),
                        shadow=shadow)


def need_stopped(name):
    """A system has one directory, and one machine at a time."""
    other = control.connect(system_dir(name))
    if other:
        other.close()
        raise TwainError(Exit.RUN, f"{name} is running already", hint=f"tools/twain stop --system {name}")


@contextlib.contextmanager
def boot(built, options):
    """The running machine (a Broker); ended, whatever happens, when the block is left."""
    need_stopped(built.info.name)
    line = command(built.image, built.info, options)
    built.directory.mkdir(parents=True, exist_ok=True)
    (built.directory / "qemu.cmdline").write_text(shlex.join(line) + "\n")
    guests = [guest.name for guest in built.info.guests]
    with Broker(line, built.directory, guests, built.info.labels) as running:
        yield running
