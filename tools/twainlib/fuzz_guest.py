# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A guest that executes random instruction words, as its kernel and as its user, beside one that must not notice.

Word n of a seed, and the registers that it finds, are always the same. A word that takes the guest's own senses away (its
vectors, its tables) is noticed by another of its processors, and the guest is reset; one that stops the guest is found by
executing the last words again, each announced. What comes behind it is executed by a fresh guest."""

import re
import shutil
import time
from dataclasses import dataclass, field

from . import hostile, qemu
from .hostile import Board, Harm
from .progress import say, stage

FOREVER = 1 << 60
ANNOUNCED = 4096  # words that are executed again, one by one: more than between two reports
TELL = 30.0  # seconds


@dataclass
class Outcome:
    words: int = 0  # executed
    resets: int = 0  # of the guest by itself: a word had taken its senses away
    stops: int = 0  # of the guest by its monitor, or of one that had fallen silent
    offs: int = 0  # a word has switched off the processor that executes them
    stopped_by: list = field(default_factory=list)  # which words did
    failure: str = ""  # who else came to harm; empty: nobody did
    reproducer: str = ""  # a command
    log: str = ""
    seconds: float = 0.0
    seed: int = 0


def run(options, seed):
    """{level: Outcome}"""
    qemu.require()
    levels = [level for level in (1, 2) if getattr(options, f"el{level}")] or [1, 2]
    share = None if options.words else options.seconds / len(levels)
    outcomes = {}
    for level in levels:
        board = Board(level, options.cpus or 2, options.cpu or "max", options.gic or 3)
        built = hostile.make(board)
        length = f"{options.words} words" if options.words else f"{share:.0f} s"
        with stage(f"fuzzing guests (EL{level}, seed {seed}, {length})") as note:
            start = time.monotonic()
            outcome = Campaign(built, board, seed, options.first or 0).run(options.words, share)
            outcome.seconds = round(time.monotonic() - start, 1)
            note.text = f"{outcome.words} words, {outcome.resets} resets, {outcome.stops} stops"
        outcomes[f"el{level}"] = outcome
    return outcomes


class Campaign:
    def __init__(self, built, board, seed, first):
        self.built, self.board, self.seed, self.first = built, board, seed, first
        self.index = first  # all words before it have been executed
        self.announced = None  # (number, its line) of the word that is being executed, if that is known
        self.outcome = Outcome(seed=seed, log=str(built.directory / "console.log"))

    def run(self, words=None, seconds=None):
        """As many words, or for so long."""
        end = self.first + words if words else FOREVER
        try:
            with hostile.boot(self.built, self.board) as guest:
                self._play(guest, self.first, end, time.monotonic() + seconds if seconds else None)
                guest.check()
        except Harm as harm:
            self.outcome.failure = str(harm)
            self._find_the_word()
        self.outcome.words = self.index - self.first
        return self.outcome

    def _play(self, guest, index, end, deadline, slow=False):
        start = told = time.monotonic()
        self._begin(guest, index, end, slow)
        while self.index < end:
            line = guest.hear()
            now = time.monotonic()
            if deadline and now > deadline:
                return
            if now - told > TELL:
                say(f"  {self.index - self.first} words in {now - start:.0f} s, {self.outcome.resets} resets")
                told = now
            if line is None or line == "vmm: powered off":
                guest.reboot()
                self._begin_behind_what_stopped_it(guest, end)
            elif line == hostile.READY:
                self._begin_behind_what_stopped_it(guest, end)
            elif line.startswith("FAIL a word"):
                raise Harm(line)
            elif found := re.fullmatch(r"(at|done|word|stuck|off) (\d+)( 0x[0-9a-f]{16} EL[01])?", line):
                number = int(found[2])
                if not self.index <= number <= end:
                    continue  # a line that a word has written into
                if found[1] == "word":
                    self.announced = number, line
                self.index = number
                if found[1] == "stuck":
                    self.outcome.resets += 1
                    guest.wait_until_ready()
                    self._begin(guest, number + 1, end)
                elif found[1] == "off":
                    self.outcome.offs += 1
                elif found[1] == "done" and number < end:
                    self._begin(guest, number, end)

    def _begin(self, guest, index, end, slow=False):
        self.index, self.announced = index, None
        count = min(end - index, ANNOUNCED) if slow else end - index
        if count > 0:
            guest.command(f"words {self.seed} {index} {count}" + (" slow" if slow else ""))

    def _begin_behind_what_stopped_it(self, guest, end):
        if self.announced is None:
            self._begin(guest, self.index, end, slow=True)
        else:
            self.outcome.stops += 1
            self.outcome.stopped_by.append(self.announced[1].removeprefix("word "))
            self._begin(guest, self.announced[0] + 1, end)

    def _find_the_word(self):
        """On a fresh machine, word by word."""
        number, what = self.announced or (self.index, "")
        self.outcome.log = str(shutil.copy(self.outcome.log, self.built.directory / "harm.log"))  # the console's will be another
        if not self.announced:
            try:
                with hostile.boot(self.built, self.board) as guest:
                    self._play(guest, self.index, self.index + ANNOUNCED, None, slow=True)
            except Harm:
                number, what = self.announced or (self.index, "")
        self.outcome.failure += f"; {what}" if what else f"; one of the words behind {number}"
        board = self.board
        self.outcome.reproducer = (
            f"tools/twain fuzz guest --el{board.level} --seed {self.seed} --first {number} --words {1 if what else ANNOUNCED}"
            + (f" --cpus {board.cpus}" if board.cpus != 2 else "") + (f" --cpu {board.cpu}" if board.cpu != "max" else "")
            + (f" --gic {board.gic}" if board.gic != 3 else ""))
