# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The kernel's portable core under libFuzzer, on a machine that the tests play (tests/fuzz/kernel.cpp)."""

import re
import shutil
import subprocess

from . import build
from .errors import Exit, TwainError
from .fuzz_outcome import Outcome
from .paths import ROOT, build_root

CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "kernel"
BYTES = 640  # of one input


def prepare():
    if not shutil.which("clang++"):
        raise TwainError(Exit.MISSING, "the fuzzer needs Clang and its runtime", hint="run `tools/twain setup`")
    log = build_root() / "fuzz" / "build.log"
    build.targets(["fuzz"], log)


def run(seconds, seed, directory, _):
    corpus, log = directory / "corpus", directory / "fuzz.log"
    corpus.mkdir(exist_ok=True)
    for old in [*directory.glob("crash-*"), *directory.glob("timeout-*")]:
        old.unlink()
    program = build.tree() / "tests" / "fuzz" / "fuzz-kernel"
    command = [program, f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", f"-max_len={BYTES}", "-timeout=20",
               f"-artifact_prefix={directory}/", corpus, CORPUS]
    with open(log, "w") as file:
        result = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    text = log.read_text(errors="replace")
    played = re.search(r"played (\d+) calls, (\d+) refused", text)
    calls, refused = (int(played[1]), int(played[2])) if played else (0, 0)
    if result.returncode == 0:
        return Outcome(calls, refused, log=str(log))
    found = next(iter(directory.glob("crash-*")), "") or next(iter(directory.glob("timeout-*")), "")
    why = re.search(r"^broken: (.*)|runtime error: (.*)|ERROR: (?:AddressSanitizer|libFuzzer): (.*)", text, re.MULTILINE)
    if found:
        found = _minimized(program, found, directory)
    return Outcome(calls, refused, next(filter(None, why.groups()), "") if why else f"exit {result.returncode}", str(found), str(log))


def _minimized(program, found, directory):
    """The shortest input that libFuzzer makes of it in a few seconds; it still fails."""
    small = directory / "crash-minimized"
    with open(directory / "minimize.log", "w") as file:
        subprocess.run([program, "-minimize_crash=1", "-max_total_time=10", f"-exact_artifact_path={small}", found],
                       stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    return small if small.is_file() else found
