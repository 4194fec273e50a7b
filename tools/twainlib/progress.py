# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Progress on stderr: one line per stage, with its seconds."""

import sys
import time
from contextlib import contextmanager


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextmanager
def stage(title):
    """Prints `title ... N.N s` when the stage ends; `title ... failed` when it raises."""
    terminal = sys.stderr.isatty()
    if terminal:
        print(f"{title} ...", end="", file=sys.stderr, flush=True)
    note = Note()
    start = time.monotonic()
    try:
        yield note
    except BaseException:
        _finish(terminal, f"{title} ... failed after {time.monotonic() - start:.1f} s")
        raise
    extra = f" ({note.text})" if note.text else ""
    _finish(terminal, f"{title} ... {time.monotonic() - start:.1f} s{extra}")


class Note:
    """What a stage wants to add to its line."""

    text = ""


def _finish(terminal, line):
    print(("\r" if terminal else "") + line, file=sys.stderr, flush=True)
