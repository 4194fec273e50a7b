# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Kernel primitives: a root task of ours (tools/bench/kernel) between markers. Only kernel instructions count."""

from .. import build
from ..errors import Exit, TwainError
from ..paths import ROOT, short
from ..progress import stage
from . import counter
from .figures import Measure, Table

MEASURES = (
    Measure("ipc_roundtrip", "call + reply_wait round trip between two processes, no payload", 200, series=1),
    Measure("ipc_roundtrip_6w", "the same with six words", 200, series=2),
    Measure("signal", "signal, nobody waits", 100, series=3),
    Measure("signal_wake", "signal that wakes a thread of higher priority, until it runs", 250, series=4),
    Measure("signal_pingpong", "signal and wait, there and back", 500, series=5),
    Measure("map_4k", "map one 4K page", 400, series=6),
    Measure("unmap_4k", "unmap one 4K page", 400, series=7),
    Measure("cap_copy", "copy a capability", 300, series=8),
    Measure("cap_delete", "remove a capability", 300, series=9),
)


def measure(directory):
    return counter.medians(MEASURES, run(directory))


def run(directory, profile=0):
    log = directory / "build.log"
    with stage("building the kernel's bench"):
        build.configure(ROOT / "configs/two-guests.toml", None, False, log)
        build.compile_(False, log, ["target"])
    image = build.tree() / "target" / "test" / "bench.bin"
    if not image.is_file():
        raise TwainError(Exit.BUILD, f"the build made no {short(image)}", hint=f"the log is {short(log)}")
    return counter.count(directory, "kernel", image, profile=profile)


TABLE = Table("kernel", "Kernel primitives", MEASURES, measure, run)
