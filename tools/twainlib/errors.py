# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Exit codes, and the exception that carries one to the top of the command."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    CONFIG = 1
    USAGE = 2
    CLAIM = 3
    BUILD = 4
    MISSING = 5
    RUN = 6
    TESTS = 7
    INTERNAL = 70
    INTERRUPTED = 130


class TwainError(Exception):
    """Something the user can act on: printed as `error: ...` with optional hint, never with a traceback."""

    def __init__(self, code, message, hint=None, detail=None):
        super().__init__(message)
        self.code = Exit(code)
        self.hint = hint
        self.detail = detail  # lines of context, e.g. the end of a log

    def render(self):
        lines = []
        if self.detail:
            lines += ["  | " + line for line in self.detail]
        lines.append(f"error: {self}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)
