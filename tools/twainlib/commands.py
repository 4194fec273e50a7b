# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The subcommands. Each takes the parsed options and returns an exit code; results go to stdout."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from . import bench as bench_module
from . import broker, build as build_module, demo as demo_module, doctor as doctor_module, fuzz as fuzz_module
from . import packages, qemu, suites, symbols, system, terminal, views
from .errors import Exit, TwainError
from .paths import ROOT, build_root, cache_dir, short, system_dir
from .progress import say, stage
from .session import TAIL, Session

SUITES = suites.NAMES
BENCH_TABLES, BENCH_QUICK = tuple(bench_module.TABLES), bench_module.QUICK
FUZZ_BACKENDS = fuzz_module.BACKENDS
GDB_PORT = 1234


# ---------------------------------------------------------------------------------------------- prepare


def setup(options):
    packages.install(everything=options.all, yes=options.yes)
    info = system.load(system.default_config())
    build_module.make_images(info, refresh=options.refresh)
    with stage("libraries"):
        build_module.fetch_libraries()
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
              "guests": {guest.name: {"kernel_sha256": _kernel_sha256(built, guest)} for guest in built.info.guests}}
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
        print(shlex.join(_command(system_dir(info.name) / "image.bin", info, options)))
        return Exit.OK
    built = build_module.make(_config(options), options.cpus, options.debug)
    with machine(built, options) as running:
        code = terminal.serve(running, options.timeout)
    if code != 0:
        raise Session(running).failure(f"QEMU ended with exit code {code}")
    return Exit.OK


def demo(options):
    packages.install(yes=options.yes)
    qemu.require()
    built = build_module.make(_config(options), options.cpus, options.debug)
    if sys.stdin.isatty() and sys.stdout.isatty() and not options.script:
        return _interactive_demo(built, options)
    return scripted_demo(built, options, options.json)


def _interactive_demo(built, options):
    say("Two guests boot; the first one has the keyboard. Ctrl-A ? helps, Ctrl-A x powers off.")
    with machine(built, options) as running:
        code = terminal.serve(running)
    return Exit.OK if code == 0 else Exit.RUN


def scripted_demo(built, options, json_path=None, out=print):
    """Runs the scripted session; writes its report. Raises when a step fails."""
    demo = None
    try:
        with stage(f"running {built.info.name} on {built.info.cpus} cores ({options.cpu or 'max'})"), \
                machine(built, options) as running:
            demo = demo_module.Demo(Session(running), built.info, out=out)
            demo.run()
        seen = demo.report()
    except TwainError as error:
        seen = demo_module.failed_report(demo, error)
        raise
    except KeyboardInterrupt:
        seen = demo_module.failed_report(demo, "interrupted")
        raise
    finally:
        for guest in built.info.guests:
            seen["guests"].setdefault(guest.name, {})["kernel_sha256"] = _kernel_sha256(built, guest)
        if json_path:
            demo_module.write_json(json_path, seen)
    out(f"all {len(seen['steps'])} steps seen; the log is {short(built.directory / 'console.log')}")
    return Exit.OK


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
        broker.request(directory, {"stop": True})
        deadline = time.monotonic() + 20
        while (connection := broker.connect(directory)) is not None:
            connection.close()
            if time.monotonic() > deadline:
                raise TwainError(Exit.RUN, "the system still runs 20 s after it was told to power off")
            time.sleep(0.1)


# ---------------------------------------------------------------------------------------------- look inside


def debug(options):
    if not shutil.which("gdb-multiarch"):
        raise TwainError(Exit.MISSING, "gdb-multiarch is not installed", hint="run `tools/twain setup --all`")
    info = system.load(_config(options))
    tree = build_module.tree()
    kernels = sorted(tree.rglob("kernel-el2.elf"))
    command = ["gdb-multiarch", "-q", *([str(kernels[0])] if kernels else []), "-ex", f"target remote 127.0.0.1:{GDB_PORT}"]
    for program in sorted((tree / "target" / "bin").glob("*")) if (tree / "target" / "bin").is_dir() else []:
        command += ["-ex", f"# other program: add-symbol-file {program}"]
    say(f"attaching to {info.name}; start it with `tools/twain run --gdb`")
    os.execvp(command[0], command + options.extra)


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
    with stage("removing what was built"):
        shutil.rmtree(build_root(), ignore_errors=True)
    if options.cache:
        with stage("removing downloaded packages"):
            shutil.rmtree(cache_dir(), ignore_errors=True)


# ---------------------------------------------------------------------------------------------- helpers


def _config(options):
    return system.config_path(options.config)


def _command(image, info, options):
    return qemu.command(image, cpus=info.cpus, memory=f"{info.ram >> 20}M", cpu=options.cpu or system.settings().get("TWAIN_CPU"),
                        gdb=getattr(options, "gdb", False), deterministic=getattr(options, "deterministic", False),
                        extra=options.extra, el2=not getattr(options, "el1", False))


@contextlib.contextmanager
def machine(built, options):
    """The running machine (a Broker); ended, whatever happens, when the block is left."""
    other = broker.connect(built.directory)
    if other:
        other.close()
        raise TwainError(Exit.RUN, f"{built.info.name} is running already", hint="tools/twain stop")
    command = _command(built.image, built.info, options)
    built.directory.mkdir(parents=True, exist_ok=True)
    (built.directory / "qemu.cmdline").write_text(shlex.join(command) + "\n")
    guests = [guest.name for guest in built.info.guests]
    with broker.Broker(command, built.directory, guests, built.info.labels) as running:
        yield running


def _kernel_sha256(built, guest):
    for module, path in ((guest.kernel, build_root() / "images" / guest.kernel),):
        record = built.records.get(module)
        if record:
            return record["sha256"]
        if path.is_file():
            return build_module.images.file_sha256(path)
    return ""


def _running(options):
    """The directory of the system that runs, or of the one that `--system` names."""
    if options.system:
        return system_dir(options.system)
    found = []
    for path in sorted(build_root().glob(f"*/{broker.SOCKET_NAME}")):
        connection = broker.connect(path.parent)
        if connection:
            connection.close()
            found.append(path.parent)
    if not found:
        raise TwainError(Exit.RUN, "no system is running", hint="start one with `tools/twain run`")
    if len(found) > 1:
        raise TwainError(Exit.USAGE, "several systems run: " + ", ".join(path.name for path in found), hint="--system NAME")
    return found[0]


def _ask(options, command):
    answer = broker.request(_running(options), {"command": command})
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
