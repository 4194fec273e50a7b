# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A system of two bare-metal guests (tests/hostile): one does its worst when it is told to, the other counts and watches
over its memory. Whatever the first one does, it alone may come to harm."""

import argparse
import contextlib
import os
import re
import time
from dataclasses import dataclass

from . import build, machine
from .lines import KERNEL
from .paths import build_root
from .session import Session
from .system import describe

GUEST, NEIGHBOUR = "hostile", "neighbour"
READY = "hostile READY"
LIMIT = 240.0  # seconds of real time in which the neighbour must count, however busy the host
SILENT = 25  # counts of the neighbour without a word of the hostile guest: that is given up,
SILENT_SECONDS = 2.0  # but not before so much real time: where nobody has work, virtual time flies
PATIENCE = 30  # half milliseconds without progress, then as many again; real ones, on a host that may be busy

class Harm(Exception):
    """Somebody else than the hostile guest has come to harm."""


@dataclass(frozen=True)
class Board:
    level: int  # exception level of the kernel
    cpus: int = 2
    cpu: str = "max"
    gic: int = 3

    def options(self):
        # Instructions are not counted (-icount): QEMU 7.2 would never come back from a guest at EL2 whose vectors are not
        # mapped, since that faults for ever without executing one.
        return argparse.Namespace(cpus=self.cpus, cpu=self.cpu, gic=self.gic, el1=self.level == 1, extra=[])


def make(board):
    directory = build_root() / "tests"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "hostile-build.log"
    kernels = os.path.relpath(build.targets(["target"], log) / "target" / "test", directory)
    config = directory / f"hostile-el{board.level}.toml"
    config.write_text(describe({GUEST: {"kernel": f"{kernels}/hostile.bin", "ram": "32M", "vcpus": 4},
                                NEIGHBOUR: {"kernel": f"{kernels}/neighbour.bin", "ram": "32M"}}, isolate=True))
    return build.make(str(config), cpus=board.cpus, warnings=False)


@contextlib.contextmanager
def boot(built, board):
    with machine.boot(built, board.options()) as broker:
        yield Hostile(Session(broker), board)


class Hostile:
    """The running system. Every method may raise Harm."""

    def __init__(self, session, board):
        self.session, self.broker, self.board = session, session.broker, board
        self.count = 0  # what the neighbour said last
        self._next = 0  # line
        self._counted = time.monotonic()
        self._note()
        self.wait_until_ready()
        self.wait_for_neighbour()

    def command(self, text):
        self._note()
        self.broker.type(GUEST, f"{text}\n".encode())

    def hear(self, patience=1):
        """The next line of the hostile guest; None: it has been silent for long."""
        while True:
            if (text := self._take()) is not None:
                return text
            if self.count - self._heard > patience * SILENT and time.monotonic() - self._heard_at > patience * SILENT_SECONDS:
                self._note()
                return None

    def wait_until_ready(self):
        """The guest has come up, by itself or because it was told to."""
        patience = 20
        while (line := self.hear()) != READY:
            patience -= line is None
            if patience == 0:
                raise Harm("the guest does not come up again")
        self.command(f"patience {PATIENCE}")

    def reboot(self):
        """By the supervisor, whatever state the guest is in."""
        self.session.ask(f"reboot {GUEST}")
        self.wait_until_ready()

    def wait_for_neighbour(self, counts=2):
        """What the hostile guest says meanwhile is of no interest."""
        goal = self.count + counts
        while self.count < goal:
            self._take()

    def check(self):
        """The neighbour counts, and no process has faulted."""
        self.wait_for_neighbour()
        processes = self.session.ask("ps")["processes"]
        harmed = [each["name"] for each in processes if each["faults"] or each["state"] != "running"]
        if harmed:
            raise Harm(f"came to harm: {', '.join(harmed)}")

    def _take(self):
        """Takes one line, or waits for more; the text if it is the hostile guest's."""
        if self._next == len(self.broker.lines):
            self._pump()
            return None
        line = self.broker.lines[self._next]
        self._next += 1
        if not line.complete:  # it will be shown again
            return None
        if line.tag == NEIGHBOUR:
            self._hear_neighbour(line.text.strip())
        elif line.tag == KERNEL and (found := re.match(r"init: (\S+) stopped: .*", line.text)):
            raise Harm(f"{found[1]} came to harm: {line.text}")
        elif line.tag == GUEST and line.text.strip():
            self._note()
            return line.text.strip()
        return None

    def _note(self):
        self._heard, self._heard_at = self.count, time.monotonic()

    def _hear_neighbour(self, text):
        if found := re.fullmatch(r"count (\d+)", text):
            if int(found[1]) <= self.count:
                raise Harm(f"the neighbour counts {found[1]} after {self.count}")
            self.count = int(found[1])
            self._counted = time.monotonic()
        elif text and text != "neighbour READY":
            raise Harm(f"the neighbour came to harm: {text}")

    def _pump(self):
        if self.broker.panicked:
            raise Harm("the kernel has panicked")
        if not self.broker.running:
            raise Harm(f"the machine has ended: {self.broker.tail(1)}")
        if time.monotonic() - self._counted > LIMIT:
            raise Harm(f"the neighbour has not counted for {LIMIT:.0f} s")
        self.broker.pump(0.2)
