# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Twain's system generator: checks a system description, lowers it to a flat table, proves its claims.

    result = sysgen.check("configs/two-guests.toml")
    for item in result.diagnostics: print(sysgen.render(item))
    if result.system: print(result.system.to_json())

Nothing in here raises for what a file may contain; `check` returns messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import check as _check, lower as _lower, reader as _reader
from .check import Options
from .diag import Diagnostic, Pos, Sink, render
from .model import Config
from .reader import Document
from .table import System

__all__ = ["Config", "Diagnostic", "Options", "Pos", "Result", "System", "check", "render"]


@dataclass
class Result:
    """What a check found. `system` is there exactly if there is no error."""

    diagnostics: list[Diagnostic]
    document: Document | None = None
    config: Config | None = None
    system: System | None = None

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.is_error]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if not d.is_error]


def check(path: str | Path, options: Options = Options()) -> Result:
    """Reads, checks and lowers a system description. `path` appears in messages as it is given."""
    sink = Sink(str(path))
    document = _reader.read(Path(path), sink)
    config = _check.resolve(document, sink, options) if document is not None else None
    system = _lower.lower(config) if config is not None else None
    return Result(sink.sorted(), document, config, system)
