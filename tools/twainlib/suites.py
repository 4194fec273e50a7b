# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The test suites and what `test`, `test --all` and `test --matrix` run of them."""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build, demo, matrix, system
from .errors import Exit, TwainError
from .paths import ROOT, build_root, own_directory, short
from .progress import say, stage

NAMES = ("host", "branches", "config", "tool", "coverage", "bounds", "kernel", "fuzz", "bench", "demos", "system", "mutants")
QUICK = ("host", "config", "tool", "demos")
SAMPLED_MUTANTS = 10
BRANCHES = 92  # percent of kernel/core's that its host tests must take


class Run:
    """Counts what the suites did."""

    def __init__(self, scope):
        self.scope = scope  # quick, all, matrix
        self.passed = 0
        self.failed = 0
        self.lock = threading.Lock()
        self.directory = own_directory(build_root()) / "tests"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.results = matrix.Results(self.directory / "matrix.json")
        self.machines = matrix.everything() if scope == "matrix" else matrix.SAMPLE

    def add(self, title, passed, failed, seconds, log=None):
        with self.lock:
            self.passed += passed
            self.failed += failed
        tail = f"; log: {short(log)}" if failed and log else ""
        say(f"{'ok  ' if not failed else 'FAIL'}  {title}: {passed} passed, {failed} failed in {seconds:.1f} s{tail}")
        return not failed


def run(options):
    scope = "matrix" if options.matrix else "all" if options.all else "quick"
    names = (options.only,) if options.only else QUICK if scope == "quick" else NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        raise TwainError(Exit.USAGE, f"there is no suite {', '.join(unknown)}", hint="known: " + ", ".join(NAMES))
    state = Run(scope)
    for name in names:
        start = time.monotonic()
        try:
            globals()[f"_{name}"](state)
        except TwainError as error:
            # One suite that cannot even start must not hide what the others find.
            print(error.render(), file=sys.stderr)
            state.add(name, 0, 1, time.monotonic() - start)
    if scope == "matrix":
        state.results.write()
        say(f"wrote {short(matrix.DOCUMENT)}")
    print(f"{state.passed} passed, {state.failed} failed")
    return Exit.OK if state.failed == 0 and state.passed else Exit.TESTS


# ---------------------------------------------------------------------------------------------- suites


def _host(state):
    """Catch2 under the sanitizers; the searches through all states take minutes, so not with the quick tests."""
    log = state.directory / "host.log"
    with stage("building the host tests"):
        build.targets(["all"], log)
    report = state.directory / "host.xml"
    report.unlink(missing_ok=True)
    left_out = ["--exclude-regex", "^search$"] if state.scope == "quick" else []
    _command(state, "host", ["ctest", "--test-dir", build.tree(), "--output-on-failure", "--no-tests=error", *left_out,
                             "--output-junit", report], log, report)


def _branches(state):
    """Which branches of the kernel's core its host tests take; the table of files is printed."""
    log = state.directory / "branches.log"
    if not shutil.which("gcovr"):
        raise TwainError(Exit.MISSING, "gcovr is not installed", hint="run `tools/twain setup`")
    start = time.monotonic()
    with stage("building the kernel's host tests, to count branches"):
        directory = build.host_tests("branches", ["test-kernel"], log)
    for old in directory.rglob("*.gcda"):
        old.unlink()
    program = directory / "tests" / "unit" / "kernel"
    gcovr = ["gcovr", "--root", ROOT, "--filter", "kernel/core/", "--branches", "--exclude-throw-branches",
             "--exclude-unreachable-branches", "--fail-under-branch", str(BRANCHES), program]
    with open(log, "a") as file:
        tests = subprocess.run([program / "test-kernel"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        table = subprocess.run([str(part) for part in gcovr], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        file.write(table.stdout)
    say("\n".join("  | " + line for line in table.stdout.splitlines() if "---" not in line))
    good = tests.returncode == 0 and table.returncode == 0
    state.add("branches", int(good), int(not good), time.monotonic() - start, log)


def _config(state):
    _pytest(state, "config", ["tests/config"])


def _tool(state):
    _pytest(state, "tool", ["tests/system", "-m", "not machine"])


def _coverage(state):
    """Every method, error and message has its check, and tests/coverage.md says so."""
    _command(state, "coverage", [sys.executable, "-B", ROOT / "tests/coverage.py"], state.directory / "coverage.log", None,
             append=False)


def _bounds(state):
    """Stack, recursion, heap and rights of the kernels as they are linked."""
    _pytest(state, "bounds", ["tests/bounds"])


def _system(state):
    _pytest(state, "system", ["tests/system", "-m", "machine"])


def _kernel(state):
    """The kernel test program as root task, on every machine of the scope."""
    _pytest(state, "kernel coverage", ["tests/kernel/test_coverage.py"])
    log = state.directory / "kernel-build.log"
    with stage("building the kernel's tests"):
        image = build.targets(["target"], log) / "target" / "test" / "kernel.bin"

    def boot(row):
        passed = _pytest(state, f"kernel, {row}", ["tests/kernel/test_kernel.py"],
                         {"TWAIN_TEST_LEVEL": str(row.level), "TWAIN_TEST_CORES": str(row.cores), "TWAIN_TEST_GIC": str(row.gic),
                          "TWAIN_TEST_CPU": row.cpu, "TWAIN_TEST_IMAGE": str(image)})
        with state.lock:
            state.results.add("kernel", row, passed)

    # A machine whose instructions are counted keeps one processor of ours busy, whatever it has itself.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(boot, state.machines))


def _fuzz(state):
    """Random calls in QEMU, and the longest path of the kernel under them and under the conformance tests."""
    _pytest(state, "fuzz", ["tests/fuzz"])


def _bench(state):
    """The figures that take seconds, against the recorded ones."""
    _command(state, "bench", [ROOT / "tools/twain", "bench", "--check"], state.directory / "bench.log", None, append=False)


def _mutants(state):
    if state.scope == "quick":
        return
    arguments = ["--sample", str(SAMPLED_MUTANTS)] if state.scope == "all" else []
    log, report = state.directory / "mutants.log", state.directory / "mutants.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-B", ROOT / "tests/mutants/run.py", *arguments, "--junit", report]
    _command(state, "mutants", command, log, report, append=False)


def _demos(state):
    if state.scope == "quick":
        for config in matrix.SYSTEMS:
            _demo(state, config, f"demo {config}")
        return
    for row in state.machines:
        passed = _demo(state, row.system, f"demo {row.system}, {row}", row)
        state.results.add("demo", row, passed)


# ---------------------------------------------------------------------------------------------- helpers


def _demo(state, config, title, row=None):
    start = time.monotonic()
    lines = []
    cores = row.cores if row else None
    options = argparse.Namespace(cpus=cores, cpu=row.cpu if row else None, extra=[])
    if row:
        options.gic, options.el1 = row.gic, row.level == 1
    try:
        built = build.make(system.config_path(config), cores)
        demo.scripted(built, options, state.directory / f"{_file_name(title)}.json", lines.append)
    except TwainError as error:
        say("\n".join("  " + line for line in lines))
        say(error.render())
        return state.add(title, 0, 1, time.monotonic() - start)
    return state.add(title, 1, 0, time.monotonic() - start)


def _file_name(title):
    return title.replace(", ", "-").replace(" ", "-")


def _pytest(state, title, arguments, environment=None):
    name = _file_name(title)
    log, report = state.directory / f"{name}.log", state.directory / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    return _command(state, title, command, log, report, environment, append=False)


def _command(state, title, command, log, report, environment=None, append=True):
    """Runs a test program; counts the cases of its JUnit report, or 1 if it writes none."""
    start = time.monotonic()
    with open(log, "a" if append else "w") as file:
        result = subprocess.run([str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file,
                                stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})
    passed, failed = _count(report) if report else (1, 0)
    if result.returncode != 0 and failed == 0:
        passed, failed = (passed if report else 0), 1
    if failed:
        say("\n".join("  | " + line for line in Path(log).read_text(errors="replace").splitlines()[-20:]))
    return state.add(title, passed, failed, time.monotonic() - start, log)


def _count(report):
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return 0, 1
    cases = list(root.iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None
           or case.get("status") == "fail"]
    skipped = [case for case in cases if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")]
    return len(cases) - len(bad) - len(skipped), len(bad)
