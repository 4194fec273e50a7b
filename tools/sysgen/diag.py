# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Diagnostics: a numbered message at a place in a file, and how it is printed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Pos:
    """A place in a text file; both numbers count from 1, columns count characters."""

    line: int = 1
    col: int = 1


@dataclass(frozen=True)
class Diagnostic:
    """One message. `code` is E... (error) or W... (warning); `path` is as the user wrote it."""

    code: str
    message: str
    path: str
    pos: Pos = Pos()
    hint: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")

    def as_dict(self) -> dict[str, object]:
        return {
            "code": self.code,
            "severity": "error" if self.is_error else "warning",
            "file": self.path,
            "line": self.pos.line,
            "column": self.pos.col,
            "message": self.message,
            "hint": self.hint,
            "notes": list(self.notes),
        }


class ConfigError(Exception):
    """Stops a stage that cannot go on; carries the diagnostics found so far."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        super().__init__("invalid system description")
        self.diagnostics = list(diagnostics)


MAX_MESSAGES = 100  # errors, and warnings, that are shown of one file


@dataclass
class Sink:
    """Collects the diagnostics of one file: all, but for a file that is nothing but errors."""

    path: str
    lines: list[str] = field(default_factory=list)
    items: list[Diagnostic] = field(default_factory=list)
    _seen: set[Diagnostic] = field(default_factory=set)

    def add(self, code: str, pos: Pos, message: str, hint: str = "", notes: tuple[str, ...] = ()) -> None:
        source = self.lines[pos.line - 1] if 0 < pos.line <= len(self.lines) else ""
        item = Diagnostic(code, printable(message), self.path, pos, printable(hint), source, notes)
        kind = [i for i in self.items if i.is_error == item.is_error]
        if item not in self._seen and len(kind) < MAX_MESSAGES:
            self._seen.add(item)
            self.items.append(item)

    @property
    def failed(self) -> bool:
        return any(item.is_error for item in self.items)

    def sorted(self) -> list[Diagnostic]:
        return sorted(self.items, key=lambda d: (d.pos, d.code, d.message))


def printable(text: str, limit: int = 400) -> str:
    """`text` with control characters escaped, so that no file writes to the terminal, and cut to `limit`."""
    out = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return out if len(out) <= limit else out[: limit - 3] + "..."


_WINDOW = 110  # characters of a source line that are shown


def render(item: Diagnostic) -> str:
    """The message with its source line and a caret, as a terminal shows it."""
    severity = "error" if item.is_error else "warning"
    head = f"{item.path}:{item.pos.line}:{item.pos.col}: {severity}[{item.code}]: {item.message}"
    out = [head]
    if item.source.strip():
        column = min(item.pos.col - 1, len(item.source))
        start = max(0, column - _WINDOW + 20) if column > _WINDOW - 10 else 0
        shown = item.source[start : start + _WINDOW].replace("\t", " ")
        shown = "".join(c if c.isprintable() else "?" for c in shown)
        out.append(f"  {shown.rstrip()}")
        out.append("  " + " " * (column - start) + "^")
    out += [f"  note: {note}" for note in item.notes]
    if item.hint:
        out.append(f"  hint: {item.hint}")
    return "\n".join(out)


def closest(word: str, known: Iterable[str]) -> str:
    """`did you mean "x"?` for the nearest known word, else a list of what is known (if short)."""
    names = sorted(known)
    if len(names) > 64:
        return ""  # comparing everything with everything takes longer than reading the file
    near = difflib.get_close_matches(word[:64], names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    if 0 < len(names) <= 12:
        return "known: " + ", ".join(names)
    return ""
