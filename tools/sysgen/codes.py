# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The numbered messages. Each has a page in explain/ (what it means, an example, what to do)."""

from __future__ import annotations

from pathlib import Path

_PAGES = Path(__file__).parent / "explain"


def known() -> list[str]:
    """All codes, by number."""
    return sorted((p.stem for p in _PAGES.glob("*.md")), key=lambda c: (c[1:], c[0]))


def title(code: str) -> str:
    return page(code).splitlines()[0].removeprefix("# ").partition(": ")[2]


def page(code: str) -> str:
    """Raises KeyError for an unknown code."""
    if code not in known():
        raise KeyError(code)
    return (_PAGES / f"{code}.md").read_text(encoding="utf-8")
