# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The longest path in the kernel with interrupts masked: runs of QEMU under tools/bench/paths.c."""

import bisect
import json
import subprocess
from collections import Counter
from dataclasses import dataclass

from . import build, symbols
from .bench.counter import build_plugin
from .errors import Exit, TwainError
from .paths import ROOT, short

SOURCE = ROOT / "tools" / "bench" / "paths.c"
LIMIT = 5000  # instructions


@dataclass
class Longest:
    paths: int  # from entry, or a preemption point, to ERET or a preemption point
    instructions: int
    spin: int  # of the path that waits longest for other cores: instructions spent on that
    functions: list  # (function, instructions) of the longest path, most first


def plugin(directory, level, out):
    """What to give QEMU."""
    out.unlink(missing_ok=True)
    low, high = symbols.text_range(_kernel(level))
    return ["-plugin", f"{build_plugin(directory, SOURCE)},kernel={low:x}-{high:x},out={out}"]


def read(out, level):
    try:
        facts = json.loads(out.read_text())
    except (OSError, ValueError):
        raise TwainError(Exit.RUN, "the plugin has written nothing", hint=f"it writes {short(out)} when QEMU ends") from None
    return Longest(facts["paths"], facts["worst"]["instructions"], facts["spin"]["spin"], _functions(facts["worst"]["blocks"], level))


def explain(longest):
    lines = [f"longest path: {longest.instructions} instructions of {longest.paths} paths; spinning at most {longest.spin}"]
    return "\n".join(lines + [f"{count:8} {name}" for name, count in longest.functions[:12]])


def _kernel(level):
    return build.tree() / "target" / f"kernel-el{level}.elf"


def _functions(blocks, level):
    text = subprocess.run([symbols.tool("nm"), "-C", _kernel(level)], capture_output=True, text=True, check=True).stdout
    known = sorted((int(parts[0], 16), parts[2]) for line in text.splitlines()
                   if len(parts := line.split(maxsplit=2)) == 3 and parts[1] in "tTwW")
    starts = [address for address, _ in known]
    count = Counter()
    for address, instructions, times in blocks:
        at = bisect.bisect_right(starts, address) - 1
        count[known[at][1] if at >= 0 else "?"] += instructions * times
    return count.most_common()
