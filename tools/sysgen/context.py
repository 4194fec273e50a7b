# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What the parts of the check have in common: the document, the board, the archive's files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from . import abi
from .board import Board
from .diag import Sink
from .files import FileProblem
from .model import BootFile
from .reader import Document, Entry


@dataclass(frozen=True)
class Options:
    """Where built files lie (None: not looked at) and how many cores to lower for (None: as the file says).

    A file that the build or the tool makes may be missing, as long as it need not be `built`.
    """

    programs: Path | None = None
    files: Path | None = None
    cpus: int | None = None
    built: bool = False


@dataclass
class Context:
    doc: Document
    sink: Sink
    options: Options
    board: Board | None = None
    ram: int = 0
    ram_known: bool = False  # ram is what the file means, not a substitute for something wrong
    cpus: int = 0
    modules: dict[str, BootFile] = field(default_factory=dict)  # by path, or by ":name" for files not made yet

    def module(self, name: str, path: Path | None) -> BootFile:
        """One archive file for each different path; names are made unique and short enough for the archive."""
        key = str(path.resolve()) if path is not None else ":" + name
        if key not in self.modules:
            name = re.sub(r"[^A-Za-z0-9._/-]", "_", name) or "file"
            name = name[-abi.MODULE_NAME + 4 :]
            taken = {m.module for m in self.modules.values()}
            unique, number = name, 2
            while unique in taken:
                unique, number = f"{name}.{number}", number + 1
            self.modules[key] = BootFile(unique, path)
        return self.modules[key]

    def made(self, directory: Path | None, name: str) -> BootFile:
        """A file that the build or the tool makes; its path is unknown while it does not exist and need not."""
        path = directory / name if directory is not None and name else None
        return self.module(name, path if path is not None and (self.options.built or path.is_file()) else None)

    def program(self, entry: Entry, builtin: str) -> BootFile:
        """A name without "/" is a program of the build; anything else a path relative to the file."""
        text = entry.get("program", builtin)
        if "program" in entry.values and not text:
            self.sink.add("E117", entry.value_pos("program"), '"program" is empty')
        if "/" in text:
            found = self.module(Path(text).name, self.doc.file.parent / text)
        else:
            found = self.made(self.options.programs, text)
        return BootFile(found.module, found.path, is_program=True)

    def problem(self, entry: Entry, key: str, otherwise: str, problem: FileProblem) -> None:
        """Reports a file at the key that names it, or at the one that led to it, or at the section."""
        key = key if key in entry.present else otherwise
        pos = entry.value_pos(key) if key in entry.present else entry.pos
        self.sink.add(problem.code, pos, problem.message, problem.hint)
