# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""docs/benchmarks.md: each table stands between two comment lines that carry its name."""

from ..errors import Exit, TwainError
from ..paths import ROOT, short
from . import record
from .figures import text

PATH = ROOT / "docs" / "benchmarks.md"


def write(tables, figures):
    document = PATH.read_text()
    for table in tables:
        document = replace(document, table.name, text(table, figures))
    PATH.write_text(replace(document, "raised", raised(record.load()["raised"])))


def raised(entries):
    """Which recorded figures have grown, and why."""
    lines = ["| key | from | to | because |", "|---|---:|---:|---|"]
    return "\n".join(lines + [f"| `{each['key']}` | {each['from']} | {each['to']} | {each['because']} |" for each in entries])


def replace(document, name, lines):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise TwainError(Exit.RUN, f"{short(PATH)} has no place for the table {name}", hint=f"a line {begin} and a line {end}")
    head, rest = document.split(begin)
    return f"{head}{begin}\n{lines}\n{end}{rest.split(end)[1]}"
