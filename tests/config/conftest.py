# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Shared by the configuration tests. `pytest tests/config --update` rewrites the golden files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(HERE)]
sys.dont_write_bytecode = True

import fixtures  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden outputs instead of comparing them")


@pytest.fixture(scope="session")
def bad_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of bad/ with the binary files that its descriptions name."""
    directory = tmp_path_factory.mktemp("config") / "bad"
    shutil.copytree(HERE / "bad", directory)
    fixtures.write_bad_files(directory / "files")
    return directory


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Directories of programs and guest files, as a build makes them."""
    return fixtures.write_good_files(tmp_path_factory.mktemp("built"))
