# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Quantities: sizes ("256M"), times ("8ms") and budgets ("8ms/10ms"), read and written."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})([KMG])", re.ASCII)
_TIME = re.compile(r"(0|[1-9][0-9]{0,11})(us|ms|s)", re.ASCII)
_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIME_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
PAGE = 4096
BLOCK = 2 << 20


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a size')
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_budget(text: str) -> tuple[int, int]:
    """(budget, period) in nanoseconds. Raises ValueError."""
    parts = text.split("/")
    matches = [_TIME.fullmatch(part.strip()) for part in parts]
    if len(parts) != 2 or matches[0] is None or matches[1] is None:
        raise ValueError(f'"{text}" is not budget/period')
    return tuple(int(m[1]) * _TIME_UNITS[m[2]] for m in matches if m)  # type: ignore[return-value]


def size_text(count: int) -> str:
    """The shortest exact form: 256M, 20K, 4660 bytes."""
    for unit in ("G", "M", "K"):
        if count and count % _SIZE_UNITS[unit] == 0:
            return f"{count // _SIZE_UNITS[unit]}{unit}"
    return f"{count} bytes" if count else "0"


def time_text(ns: int) -> str:
    for unit in ("s", "ms", "us"):
        if ns and ns % _TIME_UNITS[unit] == 0:
            return f"{ns // _TIME_UNITS[unit]}{unit}"
    return f"{ns}ns"


def budget_text(budget: int, period: int) -> str:
    return "none" if period == 0 else f"{time_text(budget)}/{time_text(period)}"


def round_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
