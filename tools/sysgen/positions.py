# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Where keys and values stand in a TOML file.

tomllib gives values without positions. This scanner walks a text *that tomllib has accepted* and records
the place of each key and value, by path: ("guest", "business", "ram"), ("claim", 0, "isolate", 1). It
needs no error handling of its own beyond stopping at the end of the text.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right

from .diag import Pos

Path = tuple[str | int, ...]
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Positions:
    """Positions of a TOML text's keys and values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0] + [i + 1 for i, c in enumerate(text) if c == "\n"]
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # number of elements of each array of tables
        self._at = 0
        self._scan()

    def key(self, path: Path) -> Pos:
        """Of the key; for a table, of its header. Falls back to the nearest enclosing table."""
        return self._find(self._keys, path)

    def value(self, path: Path) -> Pos:
        """Of the value's first character; of the key for a table that has no value of its own."""
        if path in self._values:
            return self._pos(self._values[path])
        return self.key(path)

    def has(self, path: Path) -> bool:
        return path in self._values

    def _find(self, table: dict[Path, int], path: Path) -> Pos:
        while path and path not in table:
            path = path[:-1]
        return self._pos(table[path]) if path else Pos()

    def _pos(self, offset: int) -> Pos:
        line = bisect_right(self._starts, offset)
        return Pos(line, offset - self._starts[line - 1] + 1)

    # The scanner. `_at` is the offset of the next character.

    def _peek(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def _skip(self, characters: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1

    def _skip_comment(self) -> None:
        while self._at < len(self._text) and self._text[self._at] != "\n":
            self._at += 1

    def _skip_filling(self) -> None:
        self._skip(" \t\r\n")
        while self._peek() == "#":
            self._skip_comment()
            self._skip(" \t\r\n")

    def _scan(self) -> None:
        prefix: Path = ()
        while True:
            self._skip_filling()
            if self._at >= len(self._text):
                return
            if self._peek() == "[":
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> Path:
        start = self._at
        double = self._peek(2) == "[["
        self._at += 2 if double else 1
        path = self._resolve(self._key_parts())
        self._at += 2 if double else 1
        if double:
            number = self._tables.get(path, 0)
            self._tables[path] = number + 1
            self._keys.setdefault(path, start)
            path += (number,)
        self._note(path, start)
        self._keys[path] = start
        return path

    def _resolve(self, parts: list[str]) -> Path:
        """The path of a header: a part that is an array of tables means its last element."""
        path: Path = ()
        for position, part in enumerate(parts):
            path += (part,)
            if path in self._tables and position < len(parts) - 1:
                path += (self._tables[path] - 1,)
        return path

    def _note(self, path: Path, offset: int) -> None:
        for length in range(1, len(path) + 1):
            self._keys.setdefault(path[:length], offset)

    def _key_parts(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(" \t")
            start = self._at
            if self._peek() in ('"', "'") and self._peek():
                self._string()
                parts.append(_unquote(self._text[start : self._at]))
            else:
                while self._at < len(self._text) and self._text[self._at] in _BARE:
                    self._at += 1
                parts.append(self._text[start : self._at])
                if start == self._at:
                    self._at += 1  # never stand still
            self._skip(" \t")
            if self._peek() != ".":
                return parts
            self._at += 1

    def _pair(self, prefix: Path) -> None:
        start = self._at
        path = prefix + tuple(self._key_parts())
        self._note(path, start)
        self._skip(" \t=")
        self._value(path)

    def _value(self, path: Path) -> None:
        """Values nest, so this keeps its own stack: (path, next index) for an array, (path, -1) for a table."""
        stack: list[tuple[Path, int]] = []
        self._values[path] = self._at
        self._open(path, stack)
        while stack and self._at < len(self._text):
            top, index = stack[-1]
            self._skip_filling()
            character = self._peek()
            if character in ("]", "}"):
                self._at += 1
                stack.pop()
            elif character == ",":
                self._at += 1
            elif index >= 0:
                stack[-1] = (top, index + 1)
                self._values[top + (index,)] = self._at
                self._keys[top + (index,)] = self._at
                self._open(top + (index,), stack)
            else:
                start = self._at
                inner = top + tuple(self._key_parts())
                self._note(inner, start)
                self._skip(" \t=")
                self._values[inner] = self._at
                self._open(inner, stack)

    def _open(self, path: Path, stack: list[tuple[Path, int]]) -> None:
        character = self._peek()
        if character == "[":
            self._at += 1
            stack.append((path, 0))
        elif character == "{":
            self._at += 1
            stack.append((path, -1))
        elif character in ('"', "'") and character:
            self._string()
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._at += 1

    def _string(self) -> None:
        quote = self._peek()
        if self._peek(3) == quote * 3:
            self._at += 3
            while self._at < len(self._text) and self._peek(3) != quote * 3:
                self._at += 2 if quote == '"' and self._peek() == "\\" else 1
            self._at += 3
            while self._peek() == quote and quote:  # up to two quotes may precede the closing three
                self._at += 1
            return
        self._at += 1
        while self._at < len(self._text) and self._peek() not in (quote, "\n"):
            self._at += 2 if quote == '"' and self._peek() == "\\" else 1
        self._at += 1


def _unquote(token: str) -> str:
    try:
        return str(tomllib.loads("k = " + token)["k"])
    except (tomllib.TOMLDecodeError, KeyError):
        return token
