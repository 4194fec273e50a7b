# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Where the instructions of a figure go: the counter's profile of its series, by function."""

import bisect
import subprocess
from collections import Counter

from .. import symbols
from .counter import kernel_elf


class Symbols:
    """The functions of an ELF file, by address."""

    def __init__(self, elf):
        lines = subprocess.run([symbols.tool("nm"), "-nC", elf], capture_output=True, text=True, check=True).stdout.splitlines()
        found = [(int(address, 16), name) for address, kind, name in (line.split(" ", 2) for line in lines if line[0] != " ")
                 if kind in "tTwW" and not name.startswith("$")]
        self.addresses = [address for address, _ in found]
        self.names = [name for _, name in found]
        self.low, self.high = symbols.text_range(elf)

    def name(self, address):
        index = bisect.bisect_right(self.addresses, address) - 1
        return self.names[index] if self.low <= address < self.high and index >= 0 else None


def by_function(counted, series, user):
    """[(instructions per sample, where, function)], the most first. `user`: the program whose functions are named."""
    samples = counted["series"][str(series)]["samples"]
    kernel, user = Symbols(kernel_elf()), Symbols(user) if user else None
    total = Counter()
    for text, count in counted["profile"].items():
        address = int(text, 16)
        if name := kernel.name(address):
            total["kernel", name] += count
        elif name := user and user.name(address):
            total["user", name] += count
        else:
            total["guest" if user else "user", ""] += count
    return [(count / samples, where, _short(name)) for (where, name), count in total.most_common() if count >= samples]


def _short(name):
    """Without argument types and the project's own name spaces."""
    for prefix in ("twain::kernel::", "twain::", "(anonymous namespace)::"):
        name = name.replace(prefix, "")
    return name.split("(")[0] or name


def text(rows):
    lines = ["| instructions | where | function |", "|---:|---|---|"]
    lines += [f"| {count:.0f} | {where} | {f'`{name}`' if name else ''} |" for count, where, name in rows]
    lines.append(f"| {sum(row[0] for row in rows):.0f} | all | |")
    return "\n".join(lines)
