# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The regression gate: figures recorded before, by compiler. Counts are exact, so a figure that has grown has got worse."""

import json
import subprocess

from .. import symbols
from ..errors import Exit, TwainError
from ..paths import ROOT, short
from ..progress import say

PATH = ROOT / "tools" / "bench" / "recorded.json"
TOLERANCE = 0.05


def compiler():
    return subprocess.run([symbols.tool("g++"), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def load():
    try:
        return json.loads(PATH.read_text())
    except FileNotFoundError:
        return {"compiler": compiler(), "figures": {}, "raised": []}
    except ValueError as error:
        raise TwainError(Exit.RUN, f"{short(PATH)}: {error}") from None


def grown(figures, recorded):
    """[(key, before, now)] of what is more than the tolerance above its record."""
    return [(key, before, figures[key].value) for key, before in recorded.items()
            if key in figures and figures[key].measure.exact and figures[key].value > before * (1 + TOLERANCE)]


def check(figures):
    found = load()
    if found["compiler"] != compiler():
        say(f"not compared: {short(PATH)} was recorded with {found['compiler']}, this is {compiler()}")
        return Exit.OK
    bad = [f"{key}: {now} instead of {before}, {now / before - 1:+.0%}" for key, before, now in grown(figures, found["figures"])]
    bad += [f"{key}: nothing is recorded" for key, figure in figures.items()
            if figure.measure.exact and key not in found["figures"]]
    for line in bad:
        say(f"FAIL  {line}")
    if bad:
        say("  hint: make it as good as it was; if there is a reason, `bench --record --because \"...\"`")
        return Exit.TESTS
    count = sum(figure.measure.exact for figure in figures.values())
    say(f"ok    {count} figures are at most {TOLERANCE:.0%} above the recorded ones")
    return Exit.OK


def write(figures, because=None):
    """Makes these the recorded figures. One that grows needs a reason, which is kept."""
    found = load()
    same = found["compiler"] == compiler()
    higher = grown(figures, found["figures"]) if same else []
    if higher and not because:
        raise TwainError(Exit.USAGE, "figures have grown: " + ", ".join(f"{key} {before} -> {now}" for key, before, now in higher),
                         hint="say why: --because \"...\"")
    found["compiler"] = compiler()
    found["figures"] = {**(found["figures"] if same else {}), **{key: figure.value for key, figure in figures.items() if figure.measure.exact}}
    found["raised"] += [{"key": key, "from": before, "to": now, "because": because} for key, before, now in higher]
    PATH.write_text(json.dumps(found, indent=2) + "\n")
