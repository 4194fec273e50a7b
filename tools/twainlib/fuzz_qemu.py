# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The whole kernel in QEMU: random calls by threads on several cores (tests/fuzz/root)."""

import queue
import re
import shlex
import subprocess
import threading
import time

from . import build, qemu
from .fuzz_outcome import Outcome
from .paths import build_root
from .progress import say

MAGIC = 0x315A5A55464E5754  # kParametersMagic in tests/fuzz/root/parameters.hpp
MEMORY = 512 << 20
PARAMETERS = 0x4000_0000 + MEMORY - (4 << 20) - 4096  # below the root task's pool and stack
ROUND = 5000  # calls, then everything is destroyed and counted
WORKERS = 4  # on each core: with fewer, all of them wait most of the time
REPORT = 5000
SILENCE = 240.0  # seconds of real time without a word
FOREVER = 1 << 40


def prepare():
    log = build_root() / "fuzz" / "build.log"
    build.targets(["target"], log)


def image():
    return build.tree() / "target" / "test" / "fuzz.bin"


def command(seed, calls, options, extra=()):
    """QEMU's command line; the parameters lie where struct Parameters of the program is read."""
    patience = 20_000 if options.races else 1000
    words = [MAGIC, seed, calls, ROUND, WORKERS, REPORT, patience]
    devices = [part for i, word in enumerate(words)
               for part in ("-device", f"loader,addr={PARAMETERS + 8 * i:#x},data={word:#x},data-len=8")]
    return qemu.command(image(), cpus=options.cpus or 2, memory="512M", cpu=options.cpu or "cortex-a57",
                        deterministic=not options.races, el2=not options.el1, extra=[*devices, *qemu.DMA, *extra])


def repeat(seed, calls, options):
    return (f"tools/twain fuzz kernel --qemu --seed {seed} --calls {calls} --cpus {options.cpus or 2}"
            + (f" --cpu {options.cpu}" if options.cpu else "") + (" --el1" if options.el1 else "") + (" --races" if options.races else ""))


def run(seconds, seed, directory, options):
    qemu.require()
    log = directory / "console.log"
    line = command(seed, options.calls or FOREVER, options)
    (directory / "qemu.cmdline").write_text(shlex.join(line) + "\n")
    seen, failure = _play(line, log, None if options.calls else seconds)
    result = seen["result"]
    calls = int(result[1]) if result else seen["calls"]
    refused = sum(int(each) for each in result["errors"].split()[1:]) if result else 0
    outcome = Outcome(calls, refused, failure, log=str(log))
    if result:
        outcome.details = {"checked": int(result["checked"]), "rounds": int(result["rounds"]), "restarts": int(result["restarts"])}
    if failure:
        outcome.reproducer = repeat(seed, max(calls, seen["calls"]) + REPORT, options)
    return outcome


_PASSED = re.compile(r"FUZZ PASSED (\d+) calls, (?P<checked>\d+) failures checked, (?P<rounds>\d+) rounds, "
                     r"(?P<restarts>\d+) restarts; by error (?P<errors>[0-9 ]+)")


def _play(line, log, seconds):
    """Runs QEMU until the program has ended, failed, or its time is up."""
    seen, failure = {"calls": 0, "result": None}, ""
    start = time.monotonic()
    with open(log, "w") as file, subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                                  text=True, errors="replace") as process:
        lines = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        last = told = start
        try:
            while True:
                now = time.monotonic()
                if seconds is not None and now - start > seconds and not failure:
                    break
                if now - last > (5 if failure else SILENCE):
                    failure = failure or f"nothing for {SILENCE:.0f} s: it hangs"
                    break
                try:
                    text = lines.get(timeout=0.5)
                except queue.Empty:
                    continue
                if text is None:
                    if not failure and not seen["result"]:
                        failure = "QEMU ended too early"
                    break
                last = time.monotonic()
                file.write(text)
                file.flush()
                if found := re.search(r"FUZZ at (\d+)", text):
                    seen["calls"] = int(found[1])
                    if now - told > 30:
                        say(f"  {found[1]} calls in {now - start:.0f} s")
                        told = now
                elif found := _PASSED.search(text):
                    seen["result"] = found
                elif found := re.search(r"FUZZ FAIL (.*)", text):
                    failure = failure or found[1].strip()
                    if calls := re.search(r"(\d+) calls", found[1]):
                        seen["calls"] = max(seen["calls"], int(calls[1]))
                elif "kernel panic" in text:
                    failure = failure or text.strip()
        finally:
            process.kill()
    return seen, failure


def _read(pipe, lines):
    for text in pipe:
        lines.put(text.replace("\r", ""))
    lines.put(None)
