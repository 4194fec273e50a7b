# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The command line: python3 -m sysgen COMMAND CONFIG. Exit codes: 0 ok, 1 errors, 2 usage, 3 claim failed, 70 internal."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import Options, Result, check, emit, render

OK, ERRORS, USAGE, CLAIM, INTERNAL = 0, 1, 2, 3, 70


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except OSError as error:
        print(f"sysgen: {error}", file=sys.stderr)
        return INTERNAL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sysgen", description="Checks and lowers Twain system descriptions.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("config", help="the system description (TOML)")
        sub.add_argument("--programs", type=Path, metavar="DIR", help="built programs; looked at if given")
        sub.add_argument("--files", type=Path, metavar="DIR", help="guest images made by the tool; looked at if given")
        sub.add_argument("--cpus", type=int, metavar="N", help="lower for N cores instead of board_args.cpus")
        sub.set_defaults(run=run)
        return sub

    sub = command("check", _run_check, "check a system description")
    sub.add_argument("--json", action="store_true", help="messages as JSON on stdout")
    sub = command("generate", _run_generate, "write tables.cpp, manifest.json, expect.json and system.json")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser


def _check(options: argparse.Namespace) -> Result:
    return check(options.config, Options(options.programs, options.files, options.cpus))


def _print(result: Result) -> None:
    for item in result.diagnostics:
        print(render(item), file=sys.stderr)


def _run_check(options: argparse.Namespace) -> int:
    result = _check(options)
    if options.json:
        print(json.dumps({"diagnostics": [d.as_dict() for d in result.diagnostics], "ok": not result.errors}, indent=1))
    else:
        _print(result)
    return ERRORS if result.errors else OK


def _run_generate(options: argparse.Namespace) -> int:
    result = _check(options)
    _print(result)
    if result.system is None:
        return ERRORS
    emit.write(result.system, options.out)
    return OK
