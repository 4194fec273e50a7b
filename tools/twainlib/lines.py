# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Reads the serial line of a running system: `[tag] text` lines from the console server, untagged ones from
the loader and the kernel."""

import json
import re
import time
from dataclasses import dataclass

KERNEL = ""  # tag of lines that carry none
SUPERVISOR = "twain"

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_TAGGED = re.compile(r"\[([A-Za-z0-9_.-]+)\] ?(.*)", re.DOTALL)


def plain(text):
    """The text without colour, cursor sequences and control characters other than tab."""
    return _SEQUENCE.sub("", text)


@dataclass
class Line:
    tag: str
    text: str
    time: float  # seconds since the system was started

    def __str__(self):
        return f"[{self.tag}] {self.text}" if self.tag else self.text


class LineParser:
    """Bytes in, lines out. `partial` is the line that has not ended yet (a prompt, for example)."""

    def __init__(self, tags, clock=time.monotonic):
        self._tags = {*tags, SUPERVISOR}
        self._clock = clock
        self._start = clock()
        self._buffer = b""

    def feed(self, data):
        self._buffer += data
        *complete, self._buffer = self._buffer.split(b"\n")
        return [self._line(raw) for raw in complete]

    @property
    def partial(self):
        return self._line(self._buffer)

    def _line(self, raw):
        # A carriage return inside a line redraws it: what counts is what stands there in the end.
        text = plain(raw.decode("utf-8", "replace").rstrip("\r").split("\r")[-1])
        match = _TAGGED.fullmatch(text)
        moment = self._clock() - self._start
        if match and match[1] in self._tags:
            return Line(match[1], match[2], moment)
        return Line(KERNEL, text, moment)


def json_answer(line):
    """The supervisor's answer in a line, or None. Events (`{"event": ...}`) answer nothing."""
    if line.tag != SUPERVISOR or not line.text.startswith("{"):
        return None
    try:
        answer = json.loads(line.text)
    except ValueError:
        return None
    return None if not isinstance(answer, dict) or "event" in answer else answer
