# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""docs/config.md says what the schema says: each section, each key, its type and its default, and no others. All documents:
what they refer to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sysgen import codes, schema

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "config.md").read_text()


def heading(section: schema.Section) -> str:
    if not section.name:
        return "The top of the file"
    if section.repeated:
        return f"[[{section.name}]]"
    return f"[{section.name}.NAME]" if section.named else f"[{section.name}]"


def rows(section: schema.Section) -> dict[str, tuple[str, str]]:
    body = TEXT.split(f"\n## {heading(section)}\n", 1)[1].split("\n## ", 1)[0]
    return {m[1]: (m[2].strip(), m[3].strip()) for m in re.finditer(r"^\| `(\w+)` \|(.*)\|(.*)\|$", body, re.MULTILINE)}


@pytest.mark.parametrize("section", [schema.TOP, *schema.SECTIONS.values()], ids=lambda s: s.name or "top")
def test_section(section: schema.Section) -> None:
    documented = rows(section)
    assert list(documented) == [k.name for k in section.keys]
    for key in section.keys:
        what, default = documented[key.name]
        assert what.startswith(key.type.value), (key.name, what)
        assert default == ("required" if key.required else key.default), key.name


def test_sample_is_the_shipped_file() -> None:
    sample = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert sample is not None and sample[1] == (ROOT / "configs" / "two-guests.toml").read_text()


def test_names_that_exist() -> None:
    for program in [*schema.DRIVER_PROGRAMS.values(), *schema.SERVER_PROGRAMS.values()]:
        assert f"`{program}`" in TEXT
    for name in schema.RESERVED_NAMES:
        assert f"`{name}`" in TEXT
    for code in re.findall(r"\b[EW]\d{3}\b", TEXT):
        assert code in codes.known()


DOCUMENTS = [*ROOT.glob("*.md"), *(path for top in ("docs", "vmm", "tools", "tests", "configs") for path in (ROOT / top).rglob("*.md"))]


def anchors(path: Path) -> set[str]:
    """Of the headings, as they are made of them everywhere."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_refers_to_is_there(document: Path) -> None:
    text = document.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for name in re.findall(r"`((?:kernel|libs|vmm|drivers|system|configs|tools|tests|docs|cmake)/[\w./-]*)`", text):
        assert (ROOT / name).exists() or "NAME" in name, name
