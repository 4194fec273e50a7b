# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The command line: python3 -m sysgen COMMAND. Results go to stdout, messages to stderr.

Exit codes: 0 ok, 1 errors, 2 usage, 3 claim failed, 5 tool missing, 70 internal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from . import (
    ERRORS,
    INTERNAL,
    OK,
    USAGE,
    Options,
    Result,
    as_diagnostics,
    board,
    check,
    codes,
    emit,
    expand,
    graph,
    live,
    memmap,
    render,
    report,
    verify,
)
from .diag import MAX_MESSAGES, closest
from .units import size_text

_MISSING_TOOL = 5
_CLAIM_FAILED = 3


class Refused(Exception):
    """A command that cannot be carried out as it was given."""

    def __init__(self, code: int, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint


def main(arguments: list[str] | None = None) -> int:
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Refused as error:
        print(f"sysgen: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"sysgen: {error}", file=sys.stderr)
        return INTERNAL


def run(arguments: list[str] | None = None) -> int:
    """As main(), for a caller that reports by itself: raises Refused and OSError."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except graph.GraphvizMissing as error:
        raise Refused(_MISSING_TOOL, str(error), "run `tools/twain setup`") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sysgen", description="Checks and lowers Twain system descriptions.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def plain(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = plain(name, run, text)
        sub.add_argument("config", help="the system description (TOML)")
        sub.add_argument("--programs", type=Path, metavar="DIR", help="built programs; looked at if given")
        sub.add_argument("--files", type=Path, metavar="DIR", help="guest images made by the tool; looked at if given")
        sub.add_argument("--cpus", type=int, metavar="N", help="lower for N cores instead of board_args.cpus")
        return sub

    sub = command("check", _run_check, "check a system description and prove its claims")
    sub.add_argument("--json", action="store_true", help="messages as JSON on stdout")
    sub.add_argument("--expand", action="store_true", help="print the full description, defaults marked")
    sub = command("generate", _run_generate, "write tables.cpp, manifest.json, expect.json and system.json")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    command("report", _run_report, "who holds what, what guests share, what is trusted (Markdown)")
    sub = command("graph", _run_graph, "a picture of the system (SVG)")
    sub.add_argument("--dot", action="store_true", help="Graphviz source instead of SVG")
    command("map", _run_map, "the layout of physical memory")
    sub = plain("claims", _run_claims, "prove the claims of a lowered table (system.json)")
    sub.add_argument("table", type=Path)
    sub = plain("live", _run_live, "compare a live capability dump with the declared table")
    sub.add_argument("table", type=Path, help="system.json")
    sub.add_argument("dump", type=Path, help="the supervisor's answer to caps")
    sub = plain("explain", _run_explain, "what a numbered message means")
    sub.add_argument("code", nargs="?", help="for example E101; without it, a list of all")
    sub = plain("boards", _run_boards, "the boards that a description may name")
    sub.add_argument("board", nargs="?", help="a board: list its devices")
    return parser


def _check(options: argparse.Namespace, built: bool = False) -> Result:
    return check(options.config, Options(options.programs, options.files, options.cpus, built))


def _print(result: Result) -> None:
    for item in result.diagnostics:
        print(render(item), file=sys.stderr)
    if result.diagnostics:
        counts = [
            f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
            for noun, items in (("error", result.errors), ("warning", result.warnings))
            if items
        ]
        more = any(len(items) >= MAX_MESSAGES for items in (result.errors, result.warnings))
        print(", ".join(counts) + (", and more that are not shown" if more else ""), file=sys.stderr)


def _run_check(options: argparse.Namespace) -> int:
    result = _check(options)
    if options.json:
        ok = result.exit_code == OK
        print(json.dumps({"diagnostics": [d.as_dict() for d in result.diagnostics], "ok": ok}, indent=1))
        return result.exit_code
    _print(result)
    if options.expand and result.config is not None:
        print(expand.text(result.config), end="")
    return result.exit_code


def _run_generate(options: argparse.Namespace) -> int:
    result = _check(options, built=True)
    _print(result)
    if result.system is not None and result.exit_code == OK:
        emit.write(result.system, options.out)
    return result.exit_code


def _run_report(options: argparse.Namespace) -> int:
    result = _check(options)
    _print(result)
    if result.system is not None:
        print(report.markdown(result.system, result.findings), end="")
    return result.exit_code


def _run_graph(options: argparse.Namespace) -> int:
    result = _check(options)
    _print(result)
    if result.system is not None:
        print(graph.dot(result.system) if options.dot else graph.svg(result.system), end="")
    return result.exit_code


def _run_map(options: argparse.Namespace) -> int:
    result = _check(options)
    _print(result)
    if result.system is not None:
        print(memmap.text(result.system), end="")
    return result.exit_code


def _run_claims(options: argparse.Namespace) -> int:
    try:
        text = options.table.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"sysgen: cannot read {options.table}: {error}", file=sys.stderr)
        return ERRORS
    findings = verify(text)
    path, lines = str(options.table), []
    if not any(f.code == "E189" for f in findings):
        path = str(json.loads(text).get("config", path))
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            lines = []
    for item in as_diagnostics(findings, path, lines):
        print(render(item), file=sys.stderr)
    return _CLAIM_FAILED if any(f.code.startswith("E") for f in findings) else OK


def _run_live(options: argparse.Namespace) -> int:
    try:
        table, dump = (json.loads(p.read_text(encoding="utf-8")) for p in (options.table, options.dump))
    except (OSError, ValueError, RecursionError) as error:
        print(f"sysgen: {error}", file=sys.stderr)
        return ERRORS
    found = live.differences(table, dump)
    for line in found:
        print(line)
    return _CLAIM_FAILED if found else OK


def _run_explain(options: argparse.Namespace) -> int:
    if options.code is None:
        for code in codes.known():
            print(f"{code}  {codes.title(code)}")
        return OK
    code = options.code.upper()
    try:
        print(codes.page(code), end="")
        return OK
    except KeyError:
        raise Refused(USAGE, f"there is no message {options.code}", closest(code, codes.known())) from None


def _run_boards(options: argparse.Namespace) -> int:
    known = board.available(board.directories(None))
    if options.board is None:
        for name, path in known.items():
            print(f"{name}  {board.load(path).description}")
        return OK
    if options.board not in known:
        raise Refused(USAGE, f'there is no board "{options.board}"', closest(options.board, known))
    found = board.load(known[options.board])
    print(f"{found.name}: {found.description}")
    print(
        f"cores {found.min_cpus}..{found.max_cpus} (default {found.default_cpus}), RAM {size_text(found.min_ram)}.."
        f"{size_text(found.max_ram)} (default {size_text(found.default_ram)}), {found.gic}"
    )
    for device in found.devices:
        irqs = ",".join(str(i.intid) for i in device.irqs) or "-"
        owner = "kernel" if device.kernel_owned else ""
        size, kind = size_text(device.regs[0][1]), device.compatible[0]
        print(f"{device.path:<28} {size:>10}  irq {irqs:<8} {kind:<24} {owner}".rstrip())
    return OK
