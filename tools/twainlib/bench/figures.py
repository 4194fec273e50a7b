# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What a figure is: a key, a meaning, an aim that it should not exceed, and a value."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    key: str
    title: str
    aim: float | None           # None: only told
    unit: str = "instructions"  # or bytes, count
    series: int = 0             # of the counter's, where it is counted between markers
    part: str = "kernel"        # of the counter's classes; `all` is gross
    exact: bool = True          # the same in every run of the same build: the regression gate holds it


@dataclass(frozen=True)
class Table:
    name: str                   # on the command line, and in the document's comment lines
    title: str
    measures: tuple
    measure: Callable           # of the directory to work in: {key: value}
    run: Callable | None = None      # of the directory and a series to profile: what the counter has written
    program: Callable | None = None  # the ELF file whose functions a profile names outside the kernel, or None
    text: Callable | None = None     # of {key: Figure}: its Markdown, where the plain one says it badly


@dataclass(frozen=True)
class Figure:
    measure: Measure
    value: float

    @property
    def ok(self):
        return self.measure.aim is None or self.value <= self.measure.aim

    def json(self):
        return {"value": self.value, "unit": self.measure.unit, "aim": self.measure.aim, "ok": self.ok}


def text(table, figures):
    """The table in Markdown."""
    if table.text:
        return table.text(figures)
    lines = ["| what | key | value | aim | |", "|---|---|---:|---:|---|"]
    for measure in table.measures:
        figure = figures[measure.key]
        unit = "" if measure.unit == "instructions" else f" {measure.unit}" if measure.unit == "bytes" else ""
        lines.append(f"| {measure.title} | `{measure.key}` | {figure.value}{unit} | {measure.aim} | "
                     f"{'met' if figure.ok else 'not yet'} |")
    return "\n".join(lines)
