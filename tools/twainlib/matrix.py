# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The machines that tests and demonstrations run on: exception level, cores, interrupt controller, core model."""

import itertools
import json
from dataclasses import astuple, dataclass, fields

from . import qemu
from .paths import ROOT, build_root, own_directory

LEVELS = (2, 1)
CORES = (1, 2, 4)
GICS = (3, 2)
MODELS = ("cortex-a53", "cortex-a57", "cortex-a72", "cortex-a76", "neoverse-n1", "max")
SYSTEMS = ("two-guests", "dual-persona")  # what the demonstration shows there
DOCUMENT = ROOT / "docs/matrix.md"
TESTS = ("kernel", "demo")


@dataclass(frozen=True)
class Row:
    level: int  # exception level that the kernel runs at
    cores: int
    gic: int
    cpu: str
    system: str

    def __str__(self):
        return f"EL{self.level}, {self.cores} core{'s' if self.cores > 1 else ''}, GICv{self.gic}, {self.cpu}"

    @property
    def machine(self):
        return self.level, self.cores, self.gic, self.cpu


FACTORS = {"level": LEVELS, "cores": CORES, "gic": GICS, "cpu": MODELS, "system": SYSTEMS}

# Any two values of two factors meet in one of these rows (tests/system/test_matrix.py). 18 are the least there can be:
# cores × models.
SAMPLE = tuple(Row(*row) for row in (
    (2, 1, 3, "cortex-a53", "two-guests"),
    (1, 1, 2, "cortex-a57", "dual-persona"),
    (2, 1, 2, "cortex-a72", "dual-persona"),
    (1, 1, 3, "cortex-a76", "two-guests"),
    (2, 1, 2, "neoverse-n1", "two-guests"),
    (1, 1, 3, "max", "dual-persona"),
    (1, 2, 2, "cortex-a53", "dual-persona"),
    (2, 2, 3, "cortex-a57", "two-guests"),
    (1, 2, 3, "cortex-a72", "two-guests"),
    (2, 2, 2, "cortex-a76", "dual-persona"),
    (1, 2, 3, "neoverse-n1", "dual-persona"),
    (2, 2, 2, "max", "two-guests"),
    (2, 4, 3, "cortex-a53", "dual-persona"),
    (1, 4, 2, "cortex-a57", "two-guests"),
    (2, 4, 3, "cortex-a72", "two-guests"),
    (1, 4, 2, "cortex-a76", "two-guests"),
    (2, 4, 3, "neoverse-n1", "dual-persona"),
    (1, 4, 2, "max", "dual-persona"),
))


def everything():
    """Every machine; the demonstrations take turns."""
    machines = itertools.product(CORES, LEVELS, GICS, MODELS)  # a system is lowered for a number of cores
    return tuple(Row(level, cores, gic, cpu, SYSTEMS[n % len(SYSTEMS)])
                 for n, (cores, level, gic, cpu) in enumerate(machines))


def missing_pairs(rows):
    """The pairs of values of two factors that meet in none of the rows."""
    met = {pair for row in rows
           for pair in itertools.combinations(zip((field.name for field in fields(Row)), astuple(row)), 2)}
    wanted = {((a, x), (b, y)) for a, b in itertools.combinations(FACTORS, 2) for x in FACTORS[a] for y in FACTORS[b]}
    return wanted - met


class Results:
    """What passed where, kept from run to run in build/tests/matrix.json, and the table of it."""

    def __init__(self, path=None):
        self.path = path or own_directory(build_root()) / "tests" / "matrix.json"
        try:
            self.cells = json.loads(self.path.read_text())
        except (OSError, ValueError):
            self.cells = {}

    def add(self, test, row, passed):
        self.cells[f"{test}: {row}"] = bool(passed)
        self.path.write_text(json.dumps(self.cells, indent=1) + "\n")

    def cell(self, test, row):
        return {True: "ok", False: "**fails**", None: "–"}[self.cells.get(f"{test}: {row}")]

    def document(self):
        version = ".".join(str(part) for part in qemu.version() or ())
        lines = ["# The matrix of machines", "",
                 "Written by `tools/twain test --matrix`: the kernel test program and a demonstration of two Debian guests on every",
                 "machine that QEMU's `virt` can be in exception level, cores, interrupt controller and core model. `test --all` runs",
                 f"a sample of {len(SAMPLE)} machines in which any two values of two of these meet (`tools/twainlib/matrix.py`). The",
                 "demonstrations are `two-guests` and `dual-persona`, in turns. `–`: not run.", "", f"QEMU {version}, TCG.", ""]
        titles = {"kernel": "## Kernel tests", "demo": "## Demonstrations"}
        rows = {row.machine: row for row in everything()}
        columns = list(itertools.product(LEVELS, GICS))
        for test in TESTS:
            lines += [titles[test], "", "| core model | cores | " + " | ".join(f"EL{level}, GICv{gic}" for level, gic in columns) + " |",
                      "|---|---|" + "---|" * len(columns)]
            for cpu, cores in itertools.product(MODELS, CORES):
                cells = [self.cell(test, rows[level, cores, gic, cpu]) for level, gic in columns]
                lines.append(f"| {cpu} | {cores} | " + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines).rstrip() + "\n"

    def write(self):
        DOCUMENT.write_text(self.document())
