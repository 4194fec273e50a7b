# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A reader for flattened device trees (Devicetree Specification v0.4, chapter 5). Read only, bounds-checked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_MAGIC = 0xD00DFEED
_BEGIN, _END, _PROP, _NOP, _FINISH = 1, 2, 3, 4, 9
_MAX_DEPTH = 32


class FdtError(Exception):
    """The blob is not a well-formed device tree."""


@dataclass
class Node:
    name: str
    parent: Node | None = None
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def path(self) -> str:
        if self.parent is None:
            return "/"
        above = self.parent.path
        return (above if above == "/" else above + "/") + self.name

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    def strings(self, key: str) -> list[str]:
        raw = self.properties.get(key, b"")
        return [part.decode("utf-8", "replace") for part in raw.split(b"\0") if part]

    def cells(self, key: str) -> list[int]:
        raw = self.properties.get(key, b"")
        if len(raw) % 4:
            raise FdtError(f"{self.path}: property {key} is not a list of cells")
        return list(struct.unpack(f">{len(raw) // 4}I", raw))

    def cell(self, key: str, default: int) -> int:
        cells = self.cells(key)
        return cells[0] if cells else default

    def reg(self) -> list[tuple[int, int]]:
        """(address, bytes) pairs, as the parent's #address-cells and #size-cells say."""
        above = self.parent or self
        address_cells, size_cells = above.cell("#address-cells", 2), above.cell("#size-cells", 1)
        if not (1 <= address_cells <= 2 and 0 <= size_cells <= 2):
            return []
        cells, step, pairs = self.cells("reg"), address_cells + size_cells, []
        for start in range(0, len(cells) - step + 1, step):
            pairs.append(
                (_number(cells[start : start + address_cells]), _number(cells[start + address_cells : start + step]))
            )
        return pairs

    def inherited_cell(self, key: str) -> int:
        node: Node | None = self
        while node is not None:
            if key in node.properties:
                return node.cell(key, 0)
            node = node.parent
        return 0


def _number(cells: list[int]) -> int:
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def parse(blob: bytes) -> Node:
    """The root node. Raises FdtError for anything that is not a complete, well-formed tree."""
    if len(blob) < 40:
        raise FdtError("shorter than a header")
    magic, total, structure, strings, _, version, compatible, _, strings_size, structure_size = struct.unpack(
        ">10I", blob[:40]
    )
    if magic != _MAGIC:
        raise FdtError("bad magic number")
    if compatible > 17 or version < 17:
        raise FdtError(f"version {version} is not supported")
    if total > len(blob):
        raise FdtError(f"cut short: {len(blob)} of {total} bytes")
    if structure % 4 or structure + structure_size > total or strings + strings_size > total:
        raise FdtError("a block lies outside the blob")
    return _Parser(blob[structure : structure + structure_size], blob[strings : strings + strings_size]).run()


class _Parser:
    def __init__(self, structure: bytes, strings: bytes) -> None:
        self._data, self._strings, self._at = structure, strings, 0

    def run(self) -> Node:
        root: Node | None = None
        current: Node | None = None
        depth = 0
        while True:
            token = self._word()
            if token == _NOP:
                continue
            if token == _FINISH:
                if root is None or current is not None:
                    raise FdtError("unbalanced nodes")
                return root
            if token == _BEGIN:
                depth += 1
                if depth > _MAX_DEPTH or (current is None and root is not None):
                    raise FdtError("nodes nested wrongly")
                node = Node(self._name(), current)
                if current is None:
                    root = node
                else:
                    current.children.append(node)
                current = node
            elif token == _END and current is not None:
                depth -= 1
                current = current.parent
            elif token == _PROP and current is not None:
                length, name = self._word(), self._word()
                current.properties[self._string(name)] = self._bytes(length)
            else:
                raise FdtError(f"unexpected token {token}")

    def _word(self) -> int:
        return int(struct.unpack(">I", self._bytes(4))[0])

    def _bytes(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise FdtError("structure block ends early")
        value = self._data[self._at : self._at + length]
        self._at += length + 3 & ~3
        return value

    def _name(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise FdtError("unterminated name")
        return self._bytes(end + 1 - self._at)[:-1].decode("utf-8", "replace")

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise FdtError("property name outside the strings block")
        return self._strings[offset:end].decode("utf-8", "replace")
