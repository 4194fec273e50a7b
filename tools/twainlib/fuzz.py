# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`fuzz kernel`: system calls at random against the kernel, with its invariants checked.

A back end is a module with

    prepare()                                     builds what it runs
    run(seconds, seed, directory, options) -> Outcome
                                                  plays for about that long; what breaks the kernel goes into `directory`

The same seed and as many calls are the same campaign. Reproducers that are kept lie in tests/fuzz/corpus and are tests."""

import json
import random
import time
from dataclasses import asdict, dataclass, field

from . import fuzz_host, fuzz_qemu
from .errors import Exit, TwainError
from .paths import build_root, short
from .progress import stage

BACKENDS = {"host": fuzz_host, "qemu": fuzz_qemu}


@dataclass
class Outcome:
    calls: int  # system calls made
    refused: int  # of these, answered with an error at once
    failure: str = ""  # what broke; empty: nothing did
    reproducer: str = ""  # a file, or a command
    log: str = ""
    seconds: float = 0.0
    seed: int = 0
    details: dict = field(default_factory=dict)  # what this back end alone counts


def run(options):
    chosen = [name for name in BACKENDS if getattr(options, name)] or list(BACKENDS)
    if options.calls and chosen != ["qemu"]:
        raise TwainError(Exit.USAGE, "--calls counts the calls of the fuzz in QEMU", hint="add --qemu")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    outcomes = {}
    for name in chosen:
        backend = BACKENDS[name]
        directory = build_root() / "fuzz" / name
        directory.mkdir(parents=True, exist_ok=True)
        with stage(f"building the fuzzer ({name})"):
            backend.prepare()
        share = options.seconds / len(chosen)
        length = f"{options.calls} calls" if options.calls else f"{share:.0f} s"
        with stage(f"fuzzing the kernel ({name}, seed {seed}, {length})") as note:
            start = time.monotonic()
            outcome = backend.run(share, seed, directory, options)
            outcome.seconds, outcome.seed = round(time.monotonic() - start, 1), seed
            note.text = f"{outcome.calls} calls, {outcome.refused} refused"
        outcomes[name] = outcome
    if options.json:
        print(json.dumps({"seed": seed, "ok": not any(each.failure for each in outcomes.values()),
                          "runs": {name: asdict(each) for name, each in outcomes.items()}}, indent=2))
    for name, outcome in outcomes.items():
        if outcome.failure:
            hint = f"to repeat it: {short(outcome.reproducer)}; " if outcome.reproducer else ""
            raise TwainError(Exit.TESTS, f"{name}: {outcome.failure}", hint=f"{hint}log: {short(outcome.log)}")
        if not options.json:
            print(f"{name}: {outcome.calls} calls, {outcome.refused} refused, nothing broke (seed {seed})")
    return Exit.OK
