# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""`fuzz kernel`: system calls at random against the kernel, with its invariants checked; `fuzz guest`: instructions at random
in a guest.

A back end of the first is a module with

    prepare()                                     builds what it runs
    run(seconds, seed, directory, options) -> Outcome (fuzz_outcome.py)
                                                  plays for about that long; what breaks the kernel goes into `directory`

The same seed and as many calls are the same campaign. Reproducers that are kept lie in tests/fuzz/corpus and are tests."""

import json
import random
import time
from dataclasses import asdict

from . import fuzz_guest, fuzz_host, fuzz_qemu
from .errors import Exit, TwainError
from .paths import build_root, short
from .progress import stage

BACKENDS = {"host": fuzz_host, "qemu": fuzz_qemu}
ONLY = {"kernel": ("calls", "races", "host", "qemu"), "guest": ("words", "first", "el2", "gic")}  # options


def run(options):
    for what, names in ONLY.items():
        for name in names:
            if what != options.what and getattr(options, name):
                raise TwainError(Exit.USAGE, f"--{name} is of `fuzz {what}`")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    if options.what == "guest":
        outcomes = fuzz_guest.run(options, seed)
        return _tell(options, seed, outcomes, lambda each: f"{each.words} words, {each.resets} resets, {each.stops} stops, nobody else came to harm")
    outcomes = _kernel(options, seed)
    return _tell(options, seed, outcomes, lambda each: f"{each.calls} calls, {each.refused} refused, nothing broke")


def _kernel(options, seed):
    chosen = [name for name in BACKENDS if getattr(options, name)] or list(BACKENDS)
    if options.calls and chosen != ["qemu"]:
        raise TwainError(Exit.USAGE, "--calls counts the calls of the fuzz in QEMU", hint="add --qemu")
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
    return outcomes


def _tell(options, seed, outcomes, summary):
    if options.json:
        print(json.dumps({"seed": seed, "ok": not any(each.failure for each in outcomes.values()),
                          "runs": {name: asdict(each) for name, each in outcomes.items()}}, indent=2))
    for name, outcome in outcomes.items():
        if outcome.failure:
            hint = f"to repeat it: {short(outcome.reproducer)}; " if outcome.reproducer else ""
            raise TwainError(Exit.TESTS, f"{name}: {outcome.failure}", hint=f"{hint}log: {short(outcome.log)}")
        if not options.json:
            print(f"{name}: {summary(outcome)} (seed {seed})")
    return Exit.OK
