# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`fuzz guest` against a system that is played: who is asked for which words, and what is said of a failure."""

import argparse
import contextlib
from types import SimpleNamespace

import pytest
from twainlib import cli, fuzz, fuzz_guest, hostile
from twainlib.errors import Exit, TwainError
from twainlib.hostile import Board, Harm

WORD = "0x00000000d5182040 EL1"


class Played:
    """Says the lines one after the other; a Harm among them is raised."""

    def __init__(self, lines):
        self.lines, self.commands, self.reboots = list(lines), [], 0

    def command(self, text):
        self.commands.append(text)

    def hear(self):
        line = self.lines.pop(0)
        if isinstance(line, Harm):
            raise line
        return line

    def reboot(self):
        self.reboots += 1

    def wait_until_ready(self):
        pass

    def check(self):
        pass


@pytest.fixture
def play(monkeypatch, tmp_path):
    (tmp_path / "console.log").write_text("")

    def run(*machines, words=1000, first=0, board=Board(1)):
        guests = [Played(lines) for lines in machines]
        waiting = list(guests)
        monkeypatch.setattr(hostile, "boot", lambda *_: contextlib.nullcontext(waiting.pop(0)))
        outcome = fuzz_guest.Campaign(SimpleNamespace(directory=tmp_path), board, 7, first).run(words=words)
        return outcome, guests

    return run


def test_a_reset_goes_on_behind_the_word(play):
    outcome, (guest,) = play(["at 300", f"stuck 310 {WORD}", "at 9", "done 1000"])
    assert guest.commands == ["words 7 0 1000", "words 7 311 689"]
    assert (outcome.words, outcome.resets, outcome.stops, outcome.failure) == (1000, 1, 0, "")


@pytest.mark.parametrize("end, reboots", [("vmm: powered off", 2), (None, 2), (hostile.READY, 0)])
def test_what_stops_the_guest_is_found_word_by_word(play, end, reboots):
    outcome, (guest,) = play(["at 300", end, f"word 300 {WORD}", f"word 301 {WORD}", end, "done 1000"])
    assert guest.commands == ["words 7 0 1000", "words 7 300 700 slow", "words 7 302 698"]
    assert (outcome.stops, outcome.stopped_by, guest.reboots) == (1, [f"301 {WORD}"], reboots)


def test_garbage_on_the_line_means_nothing(play):
    outcome, (guest,) = play(["at 300\x7f", "a t 400", "at 99999", "FAIL of another attack", "done 1000"])
    assert guest.commands == ["words 7 0 1000"] and outcome.words == 1000 and not outcome.failure


def test_harm_names_the_word_and_how_to_repeat_it(play):
    outcome, _ = play(["at 300", Harm("the kernel has panicked")], [f"word 317 {WORD}", Harm("the kernel has panicked")])
    assert outcome.failure == f"the kernel has panicked; word 317 {WORD}"
    assert outcome.reproducer == "tools/twain fuzz guest --el1 --seed 7 --first 317 --words 1"
    outcome, _ = play(["at 300", Harm("the neighbour came to harm: TOUCHED")], ["done 4396"], first=100, words=5000, board=Board(2, 4, "cortex-a53", 2))
    assert outcome.failure.endswith("one of the words behind 300")
    assert outcome.reproducer == "tools/twain fuzz guest --el2 --seed 7 --first 300 --words 4096 --cpus 4 --cpu cortex-a53 --gic 2"


def test_a_leak_is_harm(play):
    outcome, _ = play([f"FAIL a word has seen or changed what it must not: 12 {WORD}"], ["done 4096"])
    assert outcome.failure.startswith("FAIL a word has seen or changed what it must not: 12")


@pytest.mark.parametrize("arguments, option", [(["guest", "--calls", "5"], "calls"), (["guest", "--host"], "host"), (["kernel", "--gic", "2"], "gic"),
                                               (["kernel", "--words", "5"], "words"), (["kernel", "--el2"], "el2")])
def test_options_of_the_other_fuzz(arguments, option):
    with pytest.raises(TwainError) as refused:
        fuzz.run(cli.parser().parse_args(["fuzz", *arguments]))
    assert refused.value.code == Exit.USAGE and f"--{option} is of" in str(refused.value)


def test_json(monkeypatch, capsys):
    monkeypatch.setattr(fuzz_guest, "run", lambda options, seed: {"el1": fuzz_guest.Outcome(words=10, seed=seed)})
    options = cli.parser().parse_args(["fuzz", "guest", "--json", "--seed", "5"])
    assert fuzz.run(options) == Exit.OK
    assert '"words": 10' in capsys.readouterr().out
    monkeypatch.setattr(fuzz_guest, "run", lambda options, seed: {"el1": fuzz_guest.Outcome(failure="panic", reproducer="this")})
    with pytest.raises(TwainError) as told:
        fuzz.run(argparse.Namespace(**{**vars(options), "json": False}))
    assert told.value.code == Exit.TESTS and "el1: panic" in str(told.value) and "this" in told.value.hint
