# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Reads a system description: TOML, keys, types. What depends on two values at once is in check*.py."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from . import schema, units
from .diag import Pos, Sink, closest
from .positions import Path, Positions
from .schema import Section, Type

MAX_BYTES = 64 << 10
MAX_LINE = 4096
MAX_LINES = 2_000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}", re.ASCII)
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass
class Entry:
    """One section: its values by key, only those that are present and of the right type."""

    section: Section
    name: str
    path: Path
    positions: Positions
    values: dict[str, Any] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)  # keys written in the file, right or wrong

    @property
    def title(self) -> str:
        if not self.section.name:
            return "the file"
        if self.section.repeated:
            return f"[[{self.section.name}]]"
        return f"[{self.section.name}.{self.name}]" if self.section.named else f"[{self.section.name}]"

    @property
    def pos(self) -> Pos:
        return self.positions.key(self.path) if self.path else Pos()

    def key_pos(self, key: str) -> Pos:
        return self.positions.key(self.path + (key,))

    def value_pos(self, key: str, index: int | None = None) -> Pos:
        """Of a value, or of an element of a list (of the value itself if it is no list)."""
        path = self.path + (key,)
        if index is not None and self.positions.has(path + (index,)):
            path += (index,)
        return self.positions.value(path)

    def line_of(self, key: str) -> int:
        return (self.key_pos(key) if key in self.present else self.pos).line

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)


@dataclass
class Document:
    """A system description as written."""

    top: Entry
    board_args: Entry
    guests: list[Entry]
    drivers: list[Entry]
    servers: list[Entry]
    personas: list[Entry]
    claims: list[Entry]
    sha256: str
    file: FilePath

    def named(self) -> list[Entry]:
        return self.guests + self.drivers + self.servers


def read(file: FilePath, sink: Sink) -> Document | None:
    """The document, or None if it cannot even be parsed. Never raises for what a file may contain."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        sink.add("E109", Pos(), f"cannot read the file: {getattr(error, 'strerror', None) or error}")
        return None
    text = _text(raw, sink)
    if text is None:
        return None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _syntax_error(str(error), text, sink)
        return None
    except RecursionError:
        sink.add("E100", Pos(), "TOML syntax: values are nested too deeply")
        return None
    except ValueError as error:
        sink.add("E100", Pos(), f"TOML syntax: {error}")
        return None
    return _Reader(sink, Positions(text), file, hashlib.sha256(raw).hexdigest()).document(data)


def _text(raw: bytes, sink: Sink) -> str | None:
    if len(raw) > MAX_BYTES:
        sink.add("E100", Pos(), f"the file is larger than {MAX_BYTES >> 10} KiB")
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        number = before.count(b"\n") + 1
        col = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        sink.add("E100", Pos(number, col), f"not UTF-8: byte 0x{raw[error.start]:02x}")
        return None
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    sink.lines = [line if len(line) <= MAX_LINE else line[:MAX_LINE] for line in lines]
    if len(lines) > MAX_LINES:
        sink.add("E100", Pos(MAX_LINES + 1, 1), f"more than {MAX_LINES} lines")
    if text.startswith("\ufeff"):
        sink.add("E100", Pos(1, 1), "a byte order mark: save the file as UTF-8 without one")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            sink.add("E100", Pos(number, MAX_LINE + 1), f"the line is longer than {MAX_LINE} characters")
        if "\0" in line:
            sink.add("E100", Pos(number, line.index("\0") + 1), "NUL character")
    return None if sink.failed else text


def _syntax_error(message: str, text: str, sink: Sink) -> None:
    match = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", message, re.DOTALL)
    if match is None:
        sink.add("E100", Pos(), f"TOML syntax: {message}")
        return
    lines = text.split("\n")
    if match[2]:
        pos = Pos(int(match[2]), int(match[3]))
    else:
        last = len(lines) - 1 if len(lines) > 1 and not lines[-1] else len(lines)
        pos = Pos(last, len(lines[last - 1]) + 1)
    line = lines[pos.line - 1] if pos.line <= len(lines) else ""
    reason, hint = match[1], ""
    twice = re.fullmatch(r"Cannot declare \((.*?),?\) twice", reason)
    if twice:
        path = ".".join(re.findall(r"'([^']*)'", twice[1]))
        reason = f"[{path}] is declared twice"
        pos = Pos(pos.line, line.find("[") + 1 if "[" in line else pos.col)
    elif re.search(r"=\s*[0-9]+[KMG]\b", line):
        hint = 'sizes are quoted strings: "256M"'
    elif reason == "Invalid value":
        hint = "text is written in quotes"
    sink.add("E100", pos, f"TOML syntax: {reason}", hint)


class _Reader:
    def __init__(self, sink: Sink, positions: Positions, file: FilePath, sha256: str) -> None:
        self._sink, self._positions, self._file, self._sha256 = sink, positions, file, sha256

    def document(self, data: dict[str, Any]) -> Document:
        for key, value in data.items():
            if key in schema.SECTIONS or schema.TOP.key(key):
                continue
            self._unknown_top(key, value)
        top = self._entry(schema.TOP, "", (), {k: v for k, v in data.items() if schema.TOP.key(k)})
        return Document(
            top=top,
            board_args=self._single(schema.BOARD_ARGS, data),
            guests=self._named(schema.GUEST, data),
            drivers=self._named(schema.DRIVER, data),
            servers=self._named(schema.SERVER, data),
            personas=self._named(schema.PERSONA, data),
            claims=self._repeated(schema.CLAIM, data),
            sha256=self._sha256,
            file=self._file,
        )

    def _unknown_top(self, key: str, value: Any) -> None:
        pos = self._positions.key((key,))
        if isinstance(value, (dict, list)):
            if key in schema.LATER_SECTIONS:
                self._sink.add("E108", pos, f"section [{key}] is not supported yet", "remove it")
            else:
                self._sink.add("E101", pos, f"unknown section [{key}]", closest(key, schema.SECTIONS))
        else:
            known = [k.name for k in schema.TOP.keys]
            self._sink.add("E101", pos, f'unknown key "{key}" at the top of the file', closest(key, known))

    def _single(self, section: Section, data: dict[str, Any]) -> Entry:
        table = data.get(section.name, {})
        if not isinstance(table, dict):
            self._sink.add(
                "E102",
                self._positions.value((section.name,)),
                f'"{section.name}" must be a table',
                f"write [{section.name}]",
            )
            table = {}
        return self._entry(section, "", (section.name,), table)

    def _named(self, section: Section, data: dict[str, Any]) -> list[Entry]:
        tables = data.get(section.name, {})
        if not isinstance(tables, dict):
            self._sink.add(
                "E102",
                self._positions.value((section.name,)),
                f'"{section.name}" must be tables with names',
                f"write [{section.name}.NAME]",
            )
            return []
        found = []
        for name, table in tables.items():
            path = (section.name, name)
            if not isinstance(table, dict):
                self._sink.add(
                    "E102",
                    self._positions.key(path),
                    f'"{section.name}.{name}" must be a table',
                    f"write [{section.name}.NAME] above the keys",
                )
                continue
            self._check_name(name, self._positions.key(path))
            found.append(self._entry(section, name, path, table))
        return found

    def _repeated(self, section: Section, data: dict[str, Any]) -> list[Entry]:
        tables = data.get(section.name, [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            self._sink.add(
                "E102",
                self._positions.key((section.name,)),
                f'"{section.name}" must be an array of tables',
                f"write [[{section.name}]]",
            )
            return []
        return [self._entry(section, "", (section.name, i), table) for i, table in enumerate(tables)]

    def _check_name(self, name: str, pos: Pos) -> bool:
        if not _NAME.fullmatch(name):
            self._sink.add("E106", pos, f'"{name}" is not a valid name', "a-z, then a-z 0-9 _ - (31 at most)")
            return False
        if name in schema.RESERVED_NAMES:
            self._sink.add("E106", pos, f'"{name}" is a reserved name', "choose another")
            return False
        return True

    def _entry(self, section: Section, name: str, path: Path, table: dict[str, Any]) -> Entry:
        entry = Entry(section, name, path, self._positions)
        for key, value in table.items():
            entry.present.add(key)
            spec = section.key(key)
            if spec is not None:
                converted = self._convert(entry, key, spec.type, value)
                if converted is not None:
                    entry.values[key] = converted
            elif key in section.later:
                self._sink.add(
                    "E108", entry.key_pos(key), f'"{key}" in {entry.title} is not supported yet', "remove it"
                )
            else:
                known = [k.name for k in section.keys]
                self._sink.add("E101", entry.key_pos(key), f'unknown key "{key}" in {entry.title}', closest(key, known))
        for spec in section.keys:
            if spec.required and spec.name not in table:
                where = f"in {entry.title}" if section.name else "at the top of the file"
                self._sink.add("E104", entry.pos, f'missing key "{spec.name}" {where}')
        return entry

    def _convert(self, entry: Entry, key: str, kind: Type, value: Any) -> Any:
        """The value in its internal form, or None after a message."""
        pos = entry.value_pos(key)

        def wrong(what: str) -> None:
            self._sink.add("E102", pos, f'"{key}" must be {what}, not {_type_name(value)}')

        if kind is Type.INT:
            if not _is_int(value):
                return wrong(kind.value)
            return value
        if kind is Type.BOOL:
            return value if isinstance(value, bool) else wrong(kind.value)
        if kind is Type.TEXTS:
            value = [value] if isinstance(value, str) else value
            return self._list(entry, key, value, str, kind.value, wrong)
        if kind is Type.NAMES:
            return self._list(entry, key, value, str, kind.value, wrong)
        if kind is Type.NUMBERS:
            return self._list(entry, key, value, int, kind.value, wrong)
        if kind is Type.SIZE and _is_int(value):
            self._sink.add("E103", pos, f"{value} is not a size", 'write a string with a unit, e.g. "256M"')
            return None
        if not isinstance(value, str):
            return wrong("a string")
        return self._convert_text(key, kind, value, pos)

    def _convert_text(self, key: str, kind: Type, value: str, pos: Pos) -> Any:
        if any(ord(c) < 32 or ord(c) == 127 for c in value):
            self._sink.add("E102", pos, f'"{key}" must not contain control characters')
            return None
        if kind is Type.SIZE:
            try:
                size = units.parse_size(value)
            except ValueError as error:
                self._sink.add("E103", pos, str(error), 'write a string with a unit, e.g. "256M"')
                return None
            if size >= 1 << 48:
                self._sink.add("E103", pos, f'"{value}" is larger than any machine')
                return None
            return size
        if kind is Type.BUDGET:
            try:
                return units.parse_budget(value)
            except ValueError as error:
                self._sink.add("E144", pos, str(error), 'e.g. "8ms/20ms"')
                return None
        if kind is Type.CLASS and value not in schema.CLASSES:
            self._sink.add("E112", pos, f'unknown priority class "{value}"', closest(value, schema.CLASSES))
            return None
        if kind is Type.COLOR and not _COLOR.fullmatch(value):
            self._sink.add("E161", pos, f'"{value}" is not #RRGGBB')
            return None
        if kind is Type.NAME and not self._check_name(value, pos):
            return None
        return value

    def _list(self, entry: Entry, key: str, value: Any, item_type: type, what: str, wrong: Any) -> Any:
        if not isinstance(value, list):
            return wrong(what)
        for index, item in enumerate(value):
            good = isinstance(item, str) if item_type is str else _is_int(item)
            if not good:
                noun = "strings" if item_type is str else "integers"
                self._sink.add(
                    "E102", entry.value_pos(key, index), f'"{key}" must contain {noun}, not {_type_name(item)}'
                )
                return None
            if item in value[:index]:
                self._sink.add("E115", entry.value_pos(key, index), f'{_quoted(item)} is listed twice in "{key}"')
                return None
        return value


def _quoted(item: Any) -> str:
    return f'"{item}"' if isinstance(item, str) else str(item)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _type_name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return "an integer of more than 64 bits"
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")
