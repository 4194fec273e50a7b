# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The command line: subcommands, their help, exit codes; the work is done elsewhere."""

import argparse
import errno
import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path

from . import VERSION, commands
from .errors import Exit, TwainError
from .paths import ROOT, build_root, short

EXIT_CODES = """exit codes:
  0 ok   1 errors in the configuration   2 usage   3 a claim fails   4 build failed   5 a tool is missing
  6 run failed or timed out   7 tests failed   70 internal error   130 interrupted"""

# What the user's machine refuses, not we: a full disk, a directory that cannot be written or is none.
_ENVIRONMENT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG,
                errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EMFILE, errno.ENFILE,
                errno.ENOMEM)


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    _take_signals()
    try:
        _need_directory()
        # What stands behind `--` goes to QEMU (or gdb) unseen.
        own, extra = (arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]) if "--" in arguments \
            else (arguments, [])
        try:
            options = parser().parse_args(own)
        except SystemExit:  # help, the version, or a mistake that has been explained
            sys.stdout.flush()
            raise
        if extra and options.command not in ("run", "debug"):
            raise TwainError(Exit.USAGE, f"`{options.command}` takes nothing behind `--`")
        options.extra = extra
        code = int(options.run(options) or Exit.OK)
        sys.stdout.flush()  # here, so that a reader who has left is noticed below
        return code
    except TwainError as error:
        print(error.render(), file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left; so do we.
        _give_up_output()
        return int(Exit.OK)
    except OSError as error:
        _give_up_output()
        if error.errno not in _ENVIRONMENT and not _lacks_a_file_of_the_user(error):
            return _internal(error)
        print(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""), file=sys.stderr)
        return int(Exit.RUN)
    except Exception as error:  # noqa: BLE001 the last resort: no bare traceback reaches the user
        return _internal(error)


def _give_up_output():
    """What cannot be written now is not tried, and complained about, once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lacks_a_file_of_the_user(error):
    """A file that is not there is our mistake if it is one of the checkout's."""
    return error.errno == errno.ENOENT and error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(ROOT)


def run():
    """main() as a process: ends with its exit code, whatever signal comes at the last moment."""
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _need_directory():
    try:
        os.getcwd()
    except OSError:
        raise TwainError(Exit.USAGE, "the current directory is not there any more") from None


def _internal(error):
    print(f"error: internal: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"  hint: please report it together with {_write_traceback()}", file=sys.stderr)
    return int(Exit.INTERNAL)


def _take_signals():
    """The first signal ends the command in good order; more of them do not disturb that."""
    taken = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        taken.append(signal.SIGHUP)

    def stop(number, frame):
        for each in taken:
            signal.signal(each, lambda *_: None)  # not SIG_IGN, which children would inherit
        raise KeyboardInterrupt

    def stop_later(unraisable):
        """What interrupts a finalizer is shown and lost: it is neither, but comes again when that is over."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            sys.__unraisablehook__(unraisable)

    for number in (*taken, signal.SIGALRM):
        signal.signal(number, stop)
    sys.unraisablehook = stop_later


def _write_traceback():
    try:
        directory = build_root()
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / time.strftime("internal-%Y%m%d-%H%M%S.log")
        path.write_text(f"twain {VERSION} {sys.argv}\n{traceback.format_exc()}")
        return short(path)
    except OSError as error:
        return f"(no log: {error})"


def parser():
    top = argparse.ArgumentParser(
        prog="tools/twain", description="Describes, builds and runs systems of isolated guests on the Twain microkernel.",
        epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"twain {VERSION}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name, run, text, examples):
        lines = "\n".join(f"  tools/twain {example}" for example in examples)
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                    epilog=f"examples:\n{lines}", formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(run=run)
        return sub

    def config_argument(sub):
        sub.add_argument("config", nargs="?", metavar="CONFIG",
                         help="system description: a file, or the name of one in configs/ (default: easy-settings.cmake)")

    def json_flag(sub):
        sub.add_argument("--json", action="store_true", help="JSON on stdout")

    def machine_arguments(sub):
        sub.add_argument("--cpus", type=_cores, metavar="N", help="cores of the machine; the system is lowered for them")
        sub.add_argument("--cpu", metavar="MODEL", help="core model, e.g. cortex-a57, cortex-a76, max")
        sub.add_argument("--gic", type=int, choices=(2, 3), help="version of the interrupt controller (easy-settings.cmake: 3)")
        sub.add_argument("--el1", action="store_true", help="a machine without EL2: guests run at EL0 as a whole")
        sub.add_argument("--shadow", choices=["naive"], help="with --el1: have every privileged instruction trap, to compare")
        sub.add_argument("--debug", action="store_true", help="the debug build")

    sub = add("demo", commands.demo, "prepare, build and boot the demonstration",
              ["demo", "demo --script --json demo.json"])
    config_argument(sub)
    machine_arguments(sub)
    sub.add_argument("--script", action="store_true", help="run the scripted session even on a terminal")
    sub.add_argument("--json", type=_output, metavar="FILE", help="write what was seen to FILE")
    sub.add_argument("--yes", action="store_true", help="install missing packages without asking")

    sub = add("test", commands.test, "run the tests: on the host, of the configuration and the tool, two demos", ["test", "test --all"])
    scope = sub.add_mutually_exclusive_group()
    scope.add_argument("--all", action="store_true", help="what CI runs (at most 40 minutes on two cores)")
    scope.add_argument("--matrix", action="store_true", help="everything: all cores, core models, mutants")
    sub.add_argument("--only", metavar="SUITE", help="one suite: " + ", ".join(commands.SUITES))
    sub.add_argument("--yes", action="store_true", help="install missing packages without asking")

    sub = add("fuzz", commands.fuzz, "make system calls, or a guest's instructions, at random; nothing else may break",
              ["fuzz kernel --seconds 60", "fuzz kernel --seconds 600 --seed 7 --host",
               "fuzz kernel --qemu --seed 7 --calls 100000 --cpus 4 --el1", "fuzz guest --seconds 60",
               "fuzz guest --el1 --seed 7 --words 1000000"])
    sub.add_argument("what", choices=["kernel", "guest"], metavar="WHAT", help="kernel: its system calls; guest: instructions of a guest")
    sub.add_argument("--seconds", type=_seconds, default=60, metavar="N", help="how long, in all (default: 60)")
    sub.add_argument("--seed", type=_seed, metavar="S", help="where chance begins (default: anywhere; it is printed)")
    sub.add_argument("--calls", type=_count, metavar="N", help="kernel, in QEMU: how many calls, instead of seconds")
    sub.add_argument("--words", type=_count, metavar="N", help="guest: how many instruction words, instead of seconds")
    sub.add_argument("--first", type=_number, metavar="N", help="guest: the number of the first word (default: 0)")
    sub.add_argument("--cpus", type=_cores, metavar="N", help="in QEMU: cores of the machine (default: 2)")
    sub.add_argument("--cpu", metavar="MODEL", help="in QEMU: core model (default: cortex-a57; guest: max)")
    sub.add_argument("--gic", type=int, choices=(2, 3), help="guest: version of the interrupt controller (default: 3)")
    sub.add_argument("--el1", action="store_true", help="in QEMU: a machine without EL2")
    sub.add_argument("--el2", action="store_true", help="guest: only a machine with EL2 (default: both, one after the other)")
    sub.add_argument("--races", action="store_true", help="kernel, in QEMU: cores run at the same time; no run is like another")
    for name in commands.FUZZ_BACKENDS:
        sub.add_argument(f"--{name}", action="store_true", help=f"kernel: {commands.FUZZ_BACKENDS[name].__doc__.splitlines()[0]}")
    json_flag(sub)

    sub = add("setup", commands.setup, "install what is needed and download the guests' packages",
              ["setup", "setup --yes --all"])
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub.add_argument("--all", action="store_true", help="also what only debugging and CI need")
    sub.add_argument("--refresh", action="store_true", help="look for newer guest packages")

    sub = add("doctor", commands.doctor, "check tools, versions and disk", ["doctor", "doctor --json"])
    json_flag(sub)

    sub = add("check", commands.check, "check a system description and its claims",
              ["check configs/two-guests.toml", "check --json dual-persona"])
    config_argument(sub)
    json_flag(sub)
    sub.add_argument("--expand", action="store_true", help="print the full description; defaults are marked")

    sub = add("build", commands.build, "build the bootable image of a system", ["build", "build two-guests --cpus 4"])
    config_argument(sub)
    machine_arguments(sub)
    json_flag(sub)

    sub = add("run", commands.run, "build and boot a system in QEMU; the terminal is its console",
              ["run", "run two-guests --cpus 1 --cpu cortex-a57 -- -d guest_errors"])
    config_argument(sub)
    machine_arguments(sub)
    sub.add_argument("--gdb", action="store_true", help="wait for a debugger on 127.0.0.1:1234")
    sub.add_argument("--dry-run", action="store_true", help="print QEMU's command line only")
    sub.add_argument("--timeout", type=_seconds, metavar="S", help="give up (exit code 6) after S seconds")
    sub.add_argument("--deterministic", action="store_true",
                     help="one instruction is one nanosecond, fixed clock and seed: runs repeat exactly")

    sub = add("report", commands.report, "print who holds what, what guests share, what must be trusted",
              ["report", "report two-guests >report.md"])
    config_argument(sub)
    sub = add("graph", commands.graph, "draw the system as SVG", ["graph >system.svg", "graph two-guests -o two.svg"])
    config_argument(sub)
    sub.add_argument("-o", "--output", type=_output, metavar="FILE", help="write to FILE instead of stdout")
    sub = add("map", commands.map_, "print the physical memory map", ["map", "map two-guests"])
    config_argument(sub)
    sub = add("explain", commands.explain, "explain a message of the configuration checker", ["explain E101", "explain W148"])
    sub.add_argument("code", nargs="?", help="number of the message; without it, a list of all")
    sub = add("boards", commands.boards, "list the boards and what they let you choose", ["boards", "boards qemu-virt"])
    sub.add_argument("board", nargs="?", metavar="BOARD", help="a board: list its devices")

    sub = add("bench", commands.bench, "count instructions and compare with the aims",
              ["bench kernel --json kernel.json", "bench --check"])
    sub.add_argument("tables", nargs="*", metavar="TABLE", type=_table,
                     help="what to measure: " + ", ".join(commands.BENCH_TABLES) + " (default: " +
                     " ".join(commands.BENCH_QUICK) + "; with --check or --record " + " ".join(commands.BENCH_GATE) + ")")
    sub.add_argument("--json", type=_output, metavar="FILE", help="write the figures to FILE")
    sub.add_argument("--write-docs", action="store_true", help="remake the tables in docs/benchmarks.md")
    sub.add_argument("--check", action="store_true", help="fail (exit code 7) if a figure is 5 %% above the recorded one")
    sub.add_argument("--record", action="store_true", help="make these the recorded figures")
    sub.add_argument("--profile", metavar="KEY", help="print where the instructions of one figure go, by function")
    sub.add_argument("--because", metavar="REASON", help="why a recorded figure may grow")

    def live(name, run, text, examples, argument=None, optional=False):
        sub = add(name, run, text, examples)
        if argument:
            sub.add_argument("target", metavar=argument, type=_name, nargs="?" if optional else None)
        sub.add_argument("--system", metavar="NAME", help="which one, if several systems run")
        return sub

    json_flag(live("ps", commands.ps, "list the processes of the running system", ["ps", "ps --json"]))
    json_flag(live("caps", commands.caps, "dump the live capabilities, from the kernel", ["caps", "caps uart"], "PROCESS", True))
    json_flag(live("stat", commands.stat, "print counters of the running system", ["stat", "stat --json"]))
    live("kill", commands.kill, "end a process or the VMM of a guest (a driver or server is made again)", ["kill business", "kill uart"], "NAME")
    live("reboot", commands.reboot, "restart a guest", ["reboot business", "reboot personal --system two-guests"], "NAME")
    live("console", commands.console, "attach this terminal to the running system (Ctrl-A d detaches)",
         ["console", "console personal"], "GUEST", True)
    live("stop", commands.stop, "power off the running system", ["stop", "stop --system two-guests"])

    sub = add("debug", commands.debug, "attach gdb-multiarch to a system started with `run --gdb`",
              ["debug", "debug two-guests -- -ex 'break twain::kernel::panic'"])
    config_argument(sub)
    sub.add_argument("--el1", action="store_true", help="the system runs without EL2")
    sub.add_argument("--debug", action="store_true", help="the debug build")
    sub = add("symbolize", commands.symbolize, "name the functions and lines in a kernel panic",
              ["symbolize", "symbolize build/two-guests/console.log"])
    sub.add_argument("log", nargs="?", metavar="LOG", help="file with the panic (default: the newest console log; - for stdin)")
    sub = add("clean", commands.clean, "remove what was built", ["clean", "clean --cache"])
    sub.add_argument("--cache", action="store_true", help="also the downloaded packages")
    return top


def _cores(text):
    if text not in map(str, range(1, 9)):
        raise argparse.ArgumentTypeError("1 to 8 cores")
    return int(text)


def _table(text):
    if text not in commands.BENCH_TABLES:
        raise argparse.ArgumentTypeError(f"there is no table {text}; there are {', '.join(commands.BENCH_TABLES)}")
    return text


def _name(text):
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,39}", text):  # vmm.NAME, too
        raise argparse.ArgumentTypeError(f"{text!r} is not a name")
    return text


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("a number of seconds above 0")
    return value


def _seed(text):
    if not text.isdecimal() or not 0 < int(text) < 1 << 32:
        raise argparse.ArgumentTypeError("a number from 1 to 4294967295")
    return int(text)


def _count(text):
    if not text.isdecimal() or not 0 < int(text) < 1 << 40:
        raise argparse.ArgumentTypeError("a number above 0")
    return int(text)


def _number(text):
    return 0 if text == "0" else _count(text)


def _output(text):
    """A file that can be written: known before minutes of work go into its contents."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write to {text}")
    return text
