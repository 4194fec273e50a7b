# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The subcommands. Each takes the parsed options and returns an exit code; results go to stdout."""

import contextlib
import json
import shlex
import sys
import time
import tomllib
from pathlib import Path

from . import bench as bench_module
from . import build as build_module, control, demo as demo_module, doctor as doctor_module, fuzz as fuzz_module
from . import debugger, linuxguest, machine, packages, qemu, suites, symbols, system, terminal, views
from .errors import Exit, TwainError
from .paths import build_root, cache_dir, remove_tree, short, system_dir
from .progress import say, stage
from .session import Session

SUITES = suites.NAMES
BENCH_TABLES, BENCH_QUICK, BENCH_GATE = tuple(bench_module.TABLES), bench_module.QUICK, bench_module.GATE
FUZZ_BACKENDS = fuzz_module.BACKENDS


# ---------------------------------------------------------------------------------------------- prepare


def setup(options):
    packages.install(everything=options.all, yes=options.yes)
    info = system.load(system.default_config())
    build_module.make_images(info, refresh=options.refresh)
    with stage("libraries"):
        build_module.fetch_libraries()
        linuxguest.fetch()
    say("ready: `tools/twain demo` needs no network from now on")


def doctor(options):
    result, good = doctor_module.report(options.json)
    _print(result, options.json)
    return Exit.OK if good else Exit.MISSING


def check(options):
    arguments = (["--json"] if options.json else []) + (["--expand"] if options.expand else [])
    code = system.delegate("check", _config(options), arguments)
    if code == Exit.OK and not arguments:
        claims = tomllib.loads(Path(_config(options)).read_text(encoding="utf-8")).get("claim")
        print(f"{_config(options)}: no errors, " + ("every claim holds" if claims else "nothing is claimed"))
    return code


def build(options):
    built = build_module.make(_config(options), options.cpus, options.debug)
    result = {"system": built.info.name, "image": str(built.image), "bytes": built.image.stat().st_size,
              "guests": {guest.name: {"kernel_sha256": built.kernel_sha256(guest)} for guest in built.info.guests}}
    _print(result if options.json else short(built.image), options.json)


def report(options):
    return system.delegate("report", _config(options))


def graph(options):
    if not options.output:
        return system.delegate("graph", _config(options))
    with open(options.output, "w") as file, contextlib.redirect_stdout(file):
        return system.delegate("graph", _config(options))


def map_(options):
    return system.delegate("map", _config(options))


def explain(options):
    return system.delegate("explain", None, [options.code] if options.code else [])


def boards(options):
    return system.delegate("boards", None, [options.board] if options.board else [])


# ---------------------------------------------------------------------------------------------- run


def run(options):
    qemu.require()
    if options.dry_run:
        info = system.load(_config(options), options.cpus)
        print(shlex.join(machine.command(system_dir(info.name) / "image.bin", info, options)))
        return Exit.OK
    built = _build_to_run(options)
    with machine.boot(built, options) as running:
        code = terminal.serve(running, options.timeout, linger=options.gdb)
    if running.refused:
        raise Session(running).failure("the system did not start")
    if code != 0:
        raise Session(running).failure(f"QEMU ended with exit code {code}")
    return Exit.OK


def demo(options):
    packages.install(yes=options.yes)
    qemu.require()
    built = _build_to_run(options)
    if sys.stdin.isatty() and sys.stdout.isatty() and not options.script:
        return _interactive_demo(built, options)
    return demo_module.scripted(built, options, options.json)


def _build_to_run(options):
    """A system that runs keeps its image: what it is made of can be looked up as long as it lives."""
    machine.need_stopped(system.load(_config(options), options.cpus, warnings=False).name)
    return build_module.make(_config(options), options.cpus, options.debug)


def _interactive_demo(built, options):
    names = ", ".join(f"{number} {guest.name}" for number, guest in enumerate(built.info.guests, 1))
    say(f"Guests: {names}; the first one has the keyboard. Ctrl-A and its number chooses another, Ctrl-A ? helps, Ctrl-A x powers off.")
    with machine.boot(built, options) as running:
        code = terminal.serve(running)
    return Exit.OK if code == 0 else Exit.RUN


def test(options):
    packages.install(everything=options.all or options.matrix, yes=options.yes)
    return suites.run(options)


def fuzz(options):
    return fuzz_module.run(options)


def bench(options):
    return bench_module.run(options)


# ---------------------------------------------------------------------------------------------- running system


def ps(options):
    return _ask(options, "ps")


def caps(options):
    return _ask(options, "caps" + (f" {options.target}" if options.target else ""))


def stat(options):
    return _ask(options, "stat")


def kill(options):
    return _ask(options, f"kill {options.target}")


def reboot(options):
    return _ask(options, f"reboot {options.target}")


def console(options):
    terminal.attach(_running(options), options.target)


def stop(options):
    directory = _running(options)
    with stage(f"stopping {directory.name}"):
        control.request(directory, {"stop": True})
        deadline = time.monotonic() + 20
        while (connection := control.connect(directory)) is not None:
            connection.close()
            if time.monotonic() > deadline:
                raise TwainError(Exit.RUN, "the system still runs 20 s after it was told to power off")
            time.sleep(0.1)


# ---------------------------------------------------------------------------------------------- look inside


def debug(options):
    info = system.load(_config(options))
    return debugger.attach(info, system_dir(info.name), build_module.tree(options.debug), options.el1, options.extra)


def symbolize(options):
    if options.log == "-":
        text = sys.stdin.read()
    else:
        path = Path(options.log) if options.log else _newest_log()
        try:
            text = path.read_text(errors="replace")
        except OSError as error:
            raise TwainError(Exit.USAGE, f"cannot read {path}: {error.strerror}") from None
    print(symbols.symbolize(text, build_root()))


def clean(options):
    for directory in control.running_in(build_root()):
        raise TwainError(Exit.RUN, f"{directory.name} is running", hint=f"tools/twain stop --system {directory.name}")
    with stage("removing what was built"):
        remove_tree(build_root())
    if options.cache:
        with stage("removing downloaded packages"):
            remove_tree(cache_dir())


# ---------------------------------------------------------------------------------------------- helpers


def _config(options):
    return system.config_path(options.config)


def _running(options):
    """The directory of the system that runs, or of the one that `--system` names."""
    found = control.running_in(build_root())
    names = [path.name for path in found]
    if not found:
        raise TwainError(Exit.RUN, "no system is running", hint="start one with `tools/twain run`")
    if options.system:
        if options.system not in names:
            raise TwainError(Exit.RUN, f"no system {options.system!r} is running", hint="running: " + ", ".join(names))
        return found[names.index(options.system)]
    if len(found) > 1:
        raise TwainError(Exit.USAGE, "several systems run: " + ", ".join(names), hint="--system NAME")
    return found[0]


def _ask(options, command):
    answer = control.request(_running(options), {"command": command})
    if "answer" in answer:
        answer = answer["answer"]
    failed = isinstance(answer, dict) and (answer.get("ok") is False or "error" in answer)
    if failed and not getattr(options, "json", False):
        name = f": {answer['name']}" if answer.get("name") else ""
        raise TwainError(Exit.RUN, str(answer.get("error", answer)) + name)
    _print(answer, getattr(options, "json", False))
    return Exit.RUN if failed else Exit.OK


def _print(value, as_json):
    if as_json:
        print(json.dumps(value, indent=2))
    else:
        print(value if isinstance(value, str) else views.render(value))


def _newest_log():
    logs = sorted(build_root().glob("*/console.log"), key=lambda path: path.stat().st_mtime)
    if not logs:
        raise TwainError(Exit.USAGE, "nothing has run yet: name a file")
    return logs[-1]
