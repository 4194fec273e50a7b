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
REFUSALS = ("twain: cannot start: ", "twain: this image was built for ", "twain: the loader failed",
            "init: the system cannot be made")  # of loader and init; the machine then goes off or stays still
END_OF_PANIC = "end of panic"  # the kernel's last line; guests cannot forge one without a tag

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_TAGGED = re.compile(r"\[([^\]\s]+)\]>? ?(.*)", re.DOTALL)  # `]>`: goes on a line that was too long
_MORE = b"\x1b[2m\xe2\x80\xa6\x1b[0m"  # ends a line that will be shown again when it is complete


def plain(text):
    """The text without colour, cursor sequences and control characters other than tab."""
    return _SEQUENCE.sub("", text)


@dataclass
class Line:
    tag: str  # guest's name, `twain`, or KERNEL
    text: str
    time: float  # seconds since the system was started
    complete: bool = True

    def __str__(self):
        return f"[{self.tag}] {self.text}" if self.tag else self.text


class LineParser:
    """Bytes in, lines out. `partial` is the line that has not ended yet (a prompt, for example).
    labels: {label on the terminal: name}."""

    def __init__(self, labels, clock=time.monotonic):
        self._names = {**labels, SUPERVISOR: SUPERVISOR}
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
        raw = raw.rstrip(b"\r").split(b"\r")[-1]
        text = plain(raw.decode("utf-8", "replace"))
        match = _TAGGED.fullmatch(text)
        moment = self._clock() - self._start
        complete = not raw.endswith(_MORE)
        if match and match[1] in self._names:
            return Line(self._names[match[1]], match[2], moment, complete)
        return Line(KERNEL, text, moment, complete)


def json_answer(line, command):
    """The supervisor's answer to a command in a line, or None. Events (`{"event": ...}`) answer nothing, and what
    somebody else has asked at the supervisor's keyboard is not ours."""
    if line.tag != SUPERVISOR or not line.complete or not line.text.startswith("{"):
        return None
    try:
        answer = json.loads(line.text)
    except ValueError:
        return None
    if not isinstance(answer, dict) or "event" in answer or answer.get("cmd", command) != command:
        return None
    return answer
