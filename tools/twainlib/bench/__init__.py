# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`bench`: measures tables of figures, compares them with their aims and with those recorded before.

A table is a module of this package with a TABLE of it (figures.Table); it is listed below, and that is all it takes:
the command line, the JSON, the document and the regression gate know it then."""

import json
from pathlib import Path

from .. import qemu
from ..errors import Exit, TwainError
from ..paths import build_root
from . import document, guest, kernel, profile, record, scale, vm
from .counter import build_plugin, plugin_problem, require_plugin
from .figures import Figure, text

__all__ = ["TABLES", "DOCUMENT", "build_plugin", "plugin_problem", "run"]

TABLES = {table.name: table for table in (kernel.TABLE, vm.TABLE, scale.TABLE, guest.TABLE)}
QUICK = ("kernel", "vm")  # what `bench` measures without a name
GATE = (*QUICK, "scale")  # the same with --check or --record
DOCUMENT = document.PATH


def run(options):
    qemu.require()
    directory = build_root() / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    require_plugin(directory)
    if options.profile:
        print(profile.text(_profile(directory, options.profile)))
        return Exit.OK
    tables = [TABLES[name] for name in dict.fromkeys(options.tables or (GATE if options.check or options.record else QUICK))]
    figures = {}
    for table in tables:
        values = table.measure(directory)
        figures.update({measure.key: Figure(measure, values[measure.key]) for measure in table.measures})
    for table in tables:
        print(f"{table.title}\n\n{text(table, figures)}\n")
    if options.json:
        Path(options.json).write_text(json.dumps({key: figure.json() for key, figure in figures.items()}, indent=2) + "\n")
    if options.record:
        record.write(figures, options.because)
    if options.write_docs:
        document.write(tables, figures)
    return record.check(figures) if options.check else Exit.OK


def _profile(directory, key):
    for table in TABLES.values():
        for measure in table.measures:
            if measure.key == key and measure.series:
                return profile.by_function(table.run(directory, measure.series), measure.series, table.program())
    known = [measure.key for table in TABLES.values() for measure in table.measures if measure.series]
    raise TwainError(Exit.USAGE, f"there is no profile of {key}", hint="known: " + ", ".join(known))
