#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Plants small faults, one at a time, and checks that the test named for each turns red.

    tests/mutants/run.py [--sample N] [--seed S] [--only ID]... [--list] [--json FILE] [--junit FILE]

The faults are data: *.toml beside this file. Each replaces one text of one file and names the test that must fail:

    unit-NAME     the host test of tests/unit/NAME
    config:FILE   pytest on tests/config/FILE
    kernel        the kernel test image (tests/kernel) in QEMU, two cores
    kernel-gic2   the same on a machine with GICv2
    kernel-el1    the same without EL2
    paths         pytest on tests/fuzz/test_fuzz.py -k longest: the kernel's longest path, in QEMU
    hostile       pytest on tests/system/test_hostile.py: a whole system in QEMU

All happens in a copy of the tree below build/mutants, which later runs reuse; the checkout is not touched. A mutant
is `caught` if its test builds and fails (or does not end). It has failed itself if it `survived`, if it `no longer
applies` (its old text is not there exactly once), or if it `does not build`, because then no test has seen it.
The last line is "N passed, N failed"; exit 1 if any failed.
"""

import argparse
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from twainlib import qemu  # noqa: E402

WORK = Path(os.environ.get("TWAIN_OUTPUT") or ROOT / "build") / "mutants"
TREE = WORK / "tree"
HOST, TARGET = WORK / "host", WORK / "target"
BUILD_LIMIT = 900  # seconds
TEST_LIMIT = 300  # seconds


@dataclass(frozen=True)
class Mutant:
    id: str
    file: str
    old: str
    new: str
    test: str
    why: str
    cases: str = ""  # of the test: a Catch2 test specification, or pytest's -k; empty: all


@dataclass
class Outcome:
    mutant: Mutant
    result: str  # caught, survived, no longer applies, does not build, test is red without it
    seconds: float
    by: str = ""  # what failed first

    @property
    def ok(self):
        return self.result == "caught"


class Broken(Exception):
    """The tree does not build, or its tests are red, without any fault of ours."""


def load():
    mutants = []
    for file in sorted(HERE.glob("*.toml")):
        for row in tomllib.loads(file.read_text())["mutant"]:
            mutants.append(Mutant(**row))
    names = [mutant.id for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise SystemExit(f"two mutants are called {name}")
    stale = [mutant.id for mutant in mutants if not applies(ROOT, mutant)]
    if stale:
        raise SystemExit(f"no longer apply: {', '.join(stale)}")
    return mutants


def applies(tree, mutant):
    path = tree / mutant.file
    return path.is_file() and path.read_text().count(mutant.old) == 1 and mutant.old != mutant.new


# ---------------------------------------------------------------------------------------------- the copy


def tracked():
    """What belongs to the tree: all that git does not ignore, also what is not committed yet."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode().split("\0")
    else:  # no checkout
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not name.startswith((".git/", "build/"))]
    return {name for name in names if name and (ROOT / name).is_file()}


def synchronize():
    """Brings the copy up to date. A file that is equal keeps its time, so that nothing is built again for it."""
    wanted = tracked()
    TREE.mkdir(parents=True, exist_ok=True)
    for path in [path for path in TREE.rglob("*") if path.is_file() or path.is_symlink()]:
        if str(path.relative_to(TREE)) not in wanted:
            path.unlink()
    for name in wanted:
        source, copy = ROOT / name, TREE / name
        contents = source.read_bytes()
        if not copy.is_file() or copy.read_bytes() != contents:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(contents)
        shutil.copymode(source, copy)


@contextmanager
def planted(mutant):
    """The copy with the fault in it. Raises ValueError if it does not apply."""
    if not applies(TREE, mutant):
        raise ValueError(mutant.id)
    path = TREE / mutant.file
    before = path.read_text()
    path.write_text(before.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(before)


# ---------------------------------------------------------------------------------------------- building, testing


def execute(command, log, limit):
    """Exit code; None: it did not end in time, or the kernel has panicked. All that it started is gone afterwards."""
    with open(log, "w") as file:
        process = subprocess.Popen([str(part) for part in command], cwd=TREE, stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + limit
            while time.monotonic() < deadline:
                try:
                    return process.wait(0.5)
                except subprocess.TimeoutExpired:
                    if "end of panic" in log.read_text(errors="replace"):
                        return None
            return None
        finally:
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()


def configure(target, log):
    directory = TARGET if target else HOST
    if (directory / "build.ninja").is_file():
        return
    options = ["-G", "Ninja", f"-DTWAIN_PYTHON={sys.executable}", f"-DTWAIN_CONFIG={TREE / 'configs/two-guests.toml'}",
               f"-DTWAIN_OUTPUT={WORK / 'out'}"]
    if target:
        options += ["-DTWAIN_TARGET=ON", f"-DCMAKE_TOOLCHAIN_FILE={TREE / 'cmake/toolchain-aarch64.cmake'}",
                    "-DCMAKE_BUILD_TYPE=Release", "-DTWAIN_FILES="]
    if execute(["cmake", "-S", TREE, "-B", directory, *options], log, BUILD_LIMIT) != 0:
        raise Broken(f"cmake fails: see {log}")


KERNEL = {"kernel": {}, "kernel-gic2": {"gic": 2}, "kernel-el1": {"el2": False}}  # the machine


SYSTEM = ["env", f"TWAIN_OUTPUT={WORK / 'system'}", f"PYTHONPATH={TREE / 'tools'}"]  # for systems that the copy's own tool builds


MAKES = {"hostile": "from twainlib import hostile; hostile.make(hostile.Board(1))",
         "paths": f"from pathlib import Path; from twainlib import build; build.targets(['target'], Path('{WORK / 'paths-build.log'}'))"}


def build(test, log):
    """True: built, or nothing to build."""
    if test.startswith("unit-"):
        configure(False, log)
        return execute(["cmake", "--build", HOST, "--target", "test-" + test.removeprefix("unit-")], log, BUILD_LIMIT) == 0
    if test in KERNEL:
        configure(True, log)
        return execute(["cmake", "--build", TARGET, "--target", "image-kernel"], log, BUILD_LIMIT) == 0
    if test in MAKES:
        make = MAKES[test]
        return execute([*SYSTEM, sys.executable, "-B", "-c", make], log, BUILD_LIMIT) == 0
    return True


def command_of(test, cases):
    if test.startswith("unit-"):
        program = next(HOST.rglob("test-" + test.removeprefix("unit-")))
        return [program, "--abort", *([cases] if cases else [])]
    if test in KERNEL:
        return qemu.command(TARGET / "test/kernel.bin", cpus=2, memory="512M", cpu="max", deterministic=True,
                            extra=qemu.DMA, **KERNEL[test])
    path = {"hostile": "tests/system/test_hostile.py", "paths": "tests/fuzz/test_fuzz.py"}.get(test, "tests/config/" + test.removeprefix("config:"))
    return [*SYSTEM, sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path, *(["-k", cases] if cases else [])]


FIRST_FAILURE = (  # of the kernel, of pytest, of a sanitizer, of Catch2
    r"^FAIL (\S+)", r"^(kernel panic: .*)", r"^FAILED (\S+)", r"ERROR: AddressSanitizer: (\S+)", r"SUMMARY: ThreadSanitizer: (.*)", r"runtime error: (.*)",
    r"^-{20,}\n(\S.*)\n")


def run_test(test, cases, log, limit):
    """(green, what failed first)"""
    code = execute(command_of(test, cases), log, limit)
    text = log.read_text(errors="replace").replace("\r", "")
    if code == 0 and (test not in KERNEL or re.search(r"^KERNEL TESTS PASSED", text, re.MULTILINE)):
        return True, ""
    found = next(filter(None, (re.search(pattern, text, re.MULTILINE) for pattern in FIRST_FAILURE)), None)
    return False, found.group(1) if found else "did not end" if code is None else f"exit {code}"


# ---------------------------------------------------------------------------------------------- the run


class Baselines:
    """Without a fault every test is green; each is looked at once, when it is needed."""

    def __init__(self):
        self._known = {}

    def limit(self, mutant):
        """Seconds after which its test counts as one that does not end. Raises Broken."""
        key = (mutant.test, mutant.cases)
        if key not in self._known:
            self._known[key] = self._look(*key)
        wrong, seconds = self._known[key]
        if wrong:
            raise Broken(wrong)
        return min(TEST_LIMIT, 30 + 4 * seconds)

    def _look(self, test, cases):
        log = WORK / f"baseline-{re.sub('[^a-z0-9-]+', '-', f'{test} {cases}'.strip())}.log"
        if not build(test, log):
            return f"{test} does not build: see {log}", 0
        start = time.monotonic()
        green, by = run_test(test, cases, log, TEST_LIMIT)
        return "" if green else f"{test} is red without a fault ({by}): see {log}", time.monotonic() - start


def judge(mutant, baselines):
    start = time.monotonic()

    def outcome(result, by=""):
        return Outcome(mutant, result, time.monotonic() - start, by)

    log = WORK / f"{mutant.id}.log"
    try:
        limit = baselines.limit(mutant)
        with planted(mutant):
            if not build(mutant.test, log):
                return outcome("does not build", f"see {log}")
            green, by = run_test(mutant.test, mutant.cases, log, limit)
            return outcome("survived" if green else "caught", by)
    except ValueError:
        return outcome("no longer applies", mutant.file)
    except Broken as broken:
        return outcome("test is red without it", str(broken))


def chosen(mutants, options):
    if options.only:
        known = {mutant.id: mutant for mutant in mutants}
        missing = [name for name in options.only if name not in known]
        if missing:
            raise SystemExit(f"no such mutant: {', '.join(missing)}")
        return [known[name] for name in options.only]
    if options.sample is None or options.sample >= len(mutants):
        return mutants
    seed = options.seed
    if seed is None:  # another choice for each commit, the same one each time
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
        seed = head.stdout.strip() or "0"
    print(f"{options.sample} of {len(mutants)} mutants, seed {seed}", flush=True)
    return random.Random(seed).sample(mutants, options.sample)


def write_reports(outcomes, options):
    rows = [{"id": o.mutant.id, "file": o.mutant.file, "test": o.mutant.test, "why": o.mutant.why, "result": o.result,
             "by": o.by, "seconds": round(o.seconds, 1), "ok": o.ok} for o in outcomes]
    text = json.dumps({"mutants": rows, "ok": all(row["ok"] for row in rows)}, indent=2) + "\n"
    Path(options.json or WORK / "report.json").write_text(text)
    if options.junit:
        suite = ElementTree.Element("testsuite", name="mutants")
        for row in rows:
            case = ElementTree.SubElement(suite, "testcase", name=row["id"], time=str(row["seconds"]))
            if not row["ok"]:
                ElementTree.SubElement(case, "failure", message=row["result"]).text = row["by"]
        ElementTree.ElementTree(suite).write(options.junit)


def main():
    parser = argparse.ArgumentParser(
        description="Plants small faults and checks that tests find them.", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  tests/mutants/run.py --sample 10\n  tests/mutants/run.py --list | grep budget")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, chosen at random")
    parser.add_argument("--seed", metavar="S", help="of that choice; default: the commit")
    parser.add_argument("--only", action="append", metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="list them and stop")
    parser.add_argument("--json", metavar="FILE", help="default: build/mutants/report.json")
    parser.add_argument("--junit", metavar="FILE")
    options = parser.parse_args()
    mutants = load()
    if options.list:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader may have seen enough
        for mutant in mutants:
            print(f"{mutant.id:32} {mutant.test:24} {mutant.why}")
        return 0
    picked = sorted(chosen(mutants, options), key=lambda m: (m.test, m.file))  # neighbours share most of their build
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        synchronize()
        baselines, outcomes = Baselines(), []
        for mutant in picked:
            outcomes.append(judge(mutant, baselines))
            last = outcomes[-1]
            by = f" ({last.by})" if last.by else ""
            print(f"{'ok  ' if last.ok else 'FAIL'}  {mutant.id}: {last.result}{by} in {last.seconds:.1f} s", flush=True)
        write_reports(outcomes, options)
    failed = sum(not outcome.ok for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
