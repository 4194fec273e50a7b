# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The hostile guest's attacks (tests/hostile/attacks.cpp) beside a guest that counts, with EL2 and without it. An attack may
end its own guest; the attacks that know better say what must come of them. TWAIN_TEST_CORES, TWAIN_TEST_GIC and TWAIN_TEST_CPU name
another machine than one of two cores, GICv3, `max`."""

import os

import pytest
from twainlib import hostile
from twainlib.hostile import Board, Hostile

pytestmark = pytest.mark.machine
PATIENCE = 40  # times that of words: an attack says little; the guest ends it itself after half a minute
ATTACKS = ("shared registers", "stubs", "corrupted tables", "recursive tables", "huge blocks", "user into kernel", "without syndrome",
           "fetch from devices", "races to start", "firmware", "timers", "interrupt controller", "masked loop")
ENDS = {"masked loop": {"stuck"}, "stubs": {"survived", "stuck", "off", "silent", "reset"}}  # others survive
FREE = "islands"  # behind this line an attack executes its own text by the wrong end: what it says then means nothing


@pytest.fixture(scope="module", params=[2, 1], ids=["el2", "el1"])
def system(request):
    board = Board(request.param, int(os.environ.get("TWAIN_TEST_CORES", "2")), os.environ.get("TWAIN_TEST_CPU", "max"),
                  int(os.environ.get("TWAIN_TEST_GIC", "3")))
    with hostile.boot(hostile.make(board), board) as guest:
        yield guest


def attack(guest: Hostile, name):
    """(how it ended, what it said)"""
    said = []
    guest.command(f"patience {400 if ENDS.get(name) == {'stuck'} else 4000}")  # half milliseconds
    guest.command(f"attack {ATTACKS.index(name)}")
    while True:
        line = guest.hear(PATIENCE)
        if line is None or line == "vmm: powered off":
            guest.reboot()
            return "silent" if line is None else "off", said
        if line == hostile.READY:
            return "reset", said
        if line.startswith("stuck "):
            guest.wait_until_ready()
            return "stuck", said
        if line == f"survived {name}":
            return "survived", said
        said.append(line)


def test_the_attacks_are_known(system):
    system.command("attacks")
    assert system.hear() == f"attacks {len(ATTACKS)}"


@pytest.mark.parametrize("name", ATTACKS)
def test_only_the_attacker_comes_to_harm(system, name):
    counted = system.count
    end, said = attack(system, name)
    system.check()
    means = said[:next((n for n, line in enumerate(said) if line.startswith(FREE)), len(said)) + 1]
    assert not [line for line in means if line.startswith("FAIL")]
    assert end in ENDS.get(name, {"survived"}), said
    if name == "shared registers":
        assert means[-1].startswith("shared ") and (means[-1] == "shared 0") == (system.board.level == 2)
    if name == "stubs":
        assert (means[-1] == "islands 0") == (system.board.level == 2)
    if name == "masked loop":
        assert system.count - counted > 10
