# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Twain's system generator: checks a system description, lowers it to a flat table, proves its claims.

    result = sysgen.check("configs/two-guests.toml")
    for item in result.diagnostics: print(sysgen.render(item))
    if result.exit_code == 0: print(result.system.to_json())

Nothing in here raises for what a file may contain; `check` returns messages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import check as _check, claims as _claims, live as _live, lower as _lower, memmap as _memmap, reader as _reader
from .context import Options
from .claims import Finding
from .diag import Diagnostic, Pos, Sink, render
from .model import Config
from .reader import Document
from .table import System
from .units import size_text

__all__ = [
    "Config",
    "Diagnostic",
    "Finding",
    "Options",
    "Pos",
    "Result",
    "System",
    "check",
    "differences",
    "render",
    "verify",
]

differences = _live.differences

OK, ERRORS, USAGE, CLAIM_FAILED, INTERNAL = 0, 1, 2, 3, 70


@dataclass
class Result:
    """What a check found. `system` is there exactly if there is no configuration error."""

    diagnostics: list[Diagnostic]
    document: Document | None = None
    config: Config | None = None
    system: System | None = None
    findings: list[Finding] = field(default_factory=list)  # of the claim checker, also in `diagnostics`

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.is_error]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if not d.is_error]

    @property
    def exit_code(self) -> int:
        """0 ok, 1 configuration errors, 3 a claim fails."""
        if self.system is None:
            return ERRORS
        return CLAIM_FAILED if self.errors else OK


def check(path: str | Path, options: Options = Options()) -> Result:
    """Reads, checks and lowers a system description, and proves its claims. Messages show `path` as given."""
    sink = Sink(str(path))
    document = _reader.read(Path(path), sink)
    config = _check.resolve(document, sink, options) if document is not None else None
    if config is None:
        return Result(sink.sorted(), document)
    system = _lower.lower(config)
    try:
        _memmap.areas(system)
    except _memmap.DoesNotFit as error:
        sink.add(
            "E141",
            Pos(),
            f"board ram is {size_text(config.ram)}, and no free range is left for {error}",
            "lower a guest's ram, or raise ram in [board_args]",
        )
        return Result(sink.sorted(), document, config)
    findings = verify(system.to_json())
    diagnostics = sink.sorted() + as_diagnostics(findings, sink.path, sink.lines)
    return Result(diagnostics, document, config, system, findings)


def verify(system_json: str) -> list[Finding]:
    """The claim checker's verdict on a lowered table (the text of system.json)."""
    try:
        table = json.loads(system_json)
    except (ValueError, RecursionError) as error:
        return [Finding(1, "E189", f"the table is malformed: {error}")]
    return _claims.verify(table)


def as_diagnostics(findings: Sequence[Finding], path: str, lines: Sequence[str] = ()) -> list[Diagnostic]:
    """Findings as messages about the system description that the table was made from."""
    sink = Sink(path, list(lines))
    for finding in findings:
        sink.add(finding.code, Pos(max(finding.line, 1), finding.col), finding.message, notes=finding.notes)
    return sink.sorted()
